//! Kept modules under a browser's rules, which are stricter than naga's in places (uniform control flow, constants): a page that compiles each of
//! them in headless Chromium and sends back what it was told. Opt-in: `LAZULI_CHROMIUM` names the program.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PAGE: &str = r#"<!doctype html><script type="module">
const answer = { modules: 0, complaints: [] };
try {
  const adapter = await navigator.gpu.requestAdapter();
  const device = await adapter.requestDevice();
  for (const { name, text } of await (await fetch("/modules")).json()) {
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ code: text });
    const { messages } = await module.getCompilationInfo();
    for (const m of messages) answer.complaints.push(`${name}:${m.lineNum}: ${m.type}: ${m.message}`);
    device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main" } });
    const error = await device.popErrorScope();
    if (error) answer.complaints.push(`${name}: ${error.message}`);
    answer.modules += 1;
  }
} catch (e) {
  answer.complaints.push(String(e));
}
await fetch("/answer", { method: "POST", body: JSON.stringify(answer) });
</script>"#;

/// Every module of the kept files that a browser can have: there is no F64 on the web.
fn modules() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut out = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("kept modules").map(|f| f.expect("a file").path()).collect();
    files.sort();
    for f in files {
        let text = std::fs::read_to_string(&f).expect("readable");
        let name = f.file_stem().expect("a name").to_string_lossy().into_owned();
        if name.starts_with("f64_") {
            continue;
        }
        // A line above each module says how it is launched.
        let mut parts: Vec<String> = Vec::new();
        for line in text.lines() {
            if line.starts_with("// ") && line.contains(" workgroups, ") {
                parts.push(String::new());
            }
            let part = parts.last_mut().expect("a module begins with how it is launched");
            part.push_str(line);
            part.push('\n');
        }
        out.extend(parts.iter().enumerate().map(|(n, text)| json!({ "name": format!("{name}#{n}"), "text": text })));
    }
    out
}

#[test]
fn a_browser_accepts_what_is_kept() {
    let Some(program) = std::env::var_os("LAZULI_CHROMIUM") else {
        println!("skipped: LAZULI_CHROMIUM names no browser");
        return;
    };
    let modules = modules();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let profile = std::env::temp_dir().join(format!("lazuli-browser-{}", std::process::id()));
    let mut browser = Command::new(program)
        .args(["--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"])
        .args(["--disable-component-update", "--disable-sync", "--remote-debugging-port=0"])
        .args(["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("http://{address}/"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the browser starts");
    listener.set_nonblocking(true).expect("no waiting");
    let until = Instant::now() + Duration::from_secs(300);
    let answer: Option<Value> = loop {
        if Instant::now() > until {
            break None;
        }
        let Ok((mut stream, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        stream.set_nonblocking(false).expect("waiting");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
        let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
        let mut request = String::new();
        if reader.read_line(&mut request).is_err() {
            continue;
        }
        let mut length = 0;
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok() && line.trim() != "" {
            if let Some(n) = line.to_lowercase().strip_prefix("content-length:") {
                length = n.trim().parse().unwrap_or(0);
            }
            line.clear();
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            continue;
        }
        let (kind, reply) = match request.split(' ').nth(1) {
            Some("/") => ("text/html", PAGE.to_string()),
            Some("/modules") => ("application/json", Value::from(modules.clone()).to_string()),
            _ => ("text/plain", String::new()),
        };
        // A browser that has gone away shows below.
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{reply}",
            reply.len()
        );
        if request.starts_with("POST /answer") {
            break serde_json::from_slice(&body).ok();
        }
    };
    let _ = browser.kill();
    let _ = browser.wait();
    let _ = std::fs::remove_dir_all(&profile);
    let answer = answer.expect("the page answers within five minutes");
    assert_eq!(answer["complaints"], json!([]), "of {} modules", modules.len());
    assert_eq!(answer["modules"], json!(modules.len()));
    assert!(modules.len() >= 40, "{}", modules.len());
}
