//! Headless Chromium on SwiftShader: started, sent to pages that a small server hands out, asked by the DevTools protocol.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What makes WebGPU of a software adapter.
pub const WEBGPU: [&str; 2] = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];

/// A running browser, ended when dropped.
pub struct Browser {
    child: Child,
    profile: PathBuf,
    port: u16,
}

impl Browser {
    pub fn start(program: &std::ffi::OsStr, flags: &[&str]) -> Browser {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let profile = std::env::temp_dir().join(format!("lazuli-devtools-{}-{number}", std::process::id()));
        let child = Command::new(program)
            .args(["--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-port=0"])
            .args(flags)
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the browser starts");
        let mut browser = Browser { child, profile, port: 0 };
        // It writes down where it listens.
        let file = browser.profile.join("DevToolsActivePort");
        let until = Instant::now() + Duration::from_secs(60);
        while browser.port == 0 {
            assert!(Instant::now() < until, "the browser says where it listens within a minute");
            std::thread::sleep(Duration::from_millis(50));
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            browser.port = text.split_once('\n').and_then(|(port, _)| port.parse().ok()).unwrap_or(0);
        }
        browser
    }

    /// Its one page.
    pub fn page(&self) -> Page {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the browser listens");
        write!(stream, "GET /json/list HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").expect("asked");
        let mut reader = BufReader::new(stream);
        let length = headers(&mut reader).1;
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a list");
        let list: Vec<Value> = serde_json::from_slice(&body).expect("a list of targets");
        let target = list.iter().find(|t| t["type"] == "page").expect("a page");
        let address = target["webSocketDebuggerUrl"].as_str().expect("its address");
        let path = &address[address.find("/devtools").expect("a path")..];
        let mut page = Page::connect(self.port, path);
        for domain in ["Page", "Runtime", "Log"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// The first line of a message and the length of its body.
fn headers(reader: &mut impl BufRead) -> (String, usize) {
    let (mut first, mut length) = (String::new(), 0);
    let _ = reader.read_line(&mut first);
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok() && !line.trim().is_empty() {
        if let Some(n) = line.to_lowercase().strip_prefix("content-length:") {
            length = n.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    (first, length)
}

/// A page, by a WebSocket (RFC 6455) of its DevTools.
pub struct Page {
    stream: TcpStream,
    next: u64,
    /// Errors it reported.
    pub complaints: Vec<String>,
}

impl Page {
    fn connect(port: u16, path: &str) -> Page {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the browser listens");
        stream.set_read_timeout(Some(Duration::from_secs(300))).expect("a limit");
        write!(
            &stream,
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: bGF6dWxpIGxhenVsaSBsYQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        .expect("asked");
        // Byte by byte: what follows the headers is for `receive`.
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            (&stream).read_exact(&mut byte).expect("an answer");
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        Page { stream, next: 0, complaints: Vec::new() }
    }

    fn send(&mut self, text: &str) {
        // A client's text is masked; by zeros, it stays as it is.
        let mut frame = vec![0x81];
        match text.len() {
            n @ 0..126 => frame.push(0x80 | n as u8),
            n @ 126..65536 => frame.extend([0x80 | 126, (n >> 8) as u8, n as u8]),
            n => {
                frame.push(0x80 | 127);
                frame.extend((n as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.stream.write_all(&frame).expect("the browser is there");
    }

    fn receive(&mut self) -> Value {
        let mut text = Vec::new();
        loop {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head).expect("the browser answers within five minutes");
            let length = match head[1] & 0x7f {
                126 => {
                    let mut n = [0; 2];
                    self.stream.read_exact(&mut n).expect("a length");
                    u64::from(u16::from_be_bytes(n))
                }
                127 => {
                    let mut n = [0; 8];
                    self.stream.read_exact(&mut n).expect("a length");
                    u64::from_be_bytes(n)
                }
                n => u64::from(n),
            };
            let mut part = vec![0; length as usize];
            self.stream.read_exact(&mut part).expect("a frame");
            text.extend(part);
            if head[0] & 0x80 != 0 {
                return serde_json::from_slice(&text).expect("a message");
            }
        }
    }

    /// Calls a method of the protocol.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        self.send(&json!({ "id": id, "method": method, "params": params }).to_string());
        loop {
            let message = self.receive();
            if message["id"] == id {
                assert!(message.get("error").is_none(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            let about = &message["params"];
            match message["method"].as_str() {
                Some("Runtime.consoleAPICalled") if about["type"] == "error" => self.complaints.push(about["args"].to_string()),
                Some("Runtime.exceptionThrown") => self.complaints.push(about["exceptionDetails"].to_string()),
                Some("Log.entryAdded") if about["entry"]["level"] == "error" => self.complaints.push(about["entry"].to_string()),
                _ => {}
            }
        }
    }

    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
    }

    /// The value of an expression, awaited if it is a promise.
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", asked);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub fn until(&mut self, expression: &str, seconds: u64) {
        let until = Instant::now() + Duration::from_secs(seconds);
        while self.value(&format!("Boolean({expression})")) != true {
            let said = self.value("document.body?.innerText");
            assert!(Instant::now() < until, "{expression} after {seconds} s; {:?}; the page says {said}", self.complaints);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Draws through these points of the page with the mouse.
    pub fn draw(&mut self, points: &[(f64, f64)]) {
        let mut mouse = |kind: &str, (x, y): (f64, f64)| {
            let buttons = u8::from(kind != "mouseReleased");
            let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "buttons": buttons, "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        };
        mouse("mousePressed", points[0]);
        points.iter().for_each(|&p| mouse("mouseMoved", p));
        mouse("mouseReleased", points[points.len() - 1]);
    }

    /// A picture of all of the page, as PNG.
    pub fn picture(&mut self) -> Vec<u8> {
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true }));
        base64(answer["data"].as_str().expect("a picture"))
    }
}

fn base64(text: &str) -> Vec<u8> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for c in text.bytes().take_while(|&c| c != b'=') {
        bits = bits << 6 | u32::from(digit(c));
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    out
}

/// Hands out the files of a folder, for as long as the process lives.
pub fn serve(folder: &Path) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let folder = folder.to_path_buf();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let folder = folder.clone();
            std::thread::spawn(move || stream.and_then(|s| answer(s, &folder)));
        }
    });
    address
}

fn answer(mut stream: TcpStream, folder: &Path) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (request, _) = headers(&mut BufReader::new(&stream));
    let asked = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/');
    let name = if asked.is_empty() { "index.html" } else { asked };
    let kind = match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    };
    let (status, body) = match std::fs::read(folder.join(name)) {
        Ok(body) if !name.contains("..") => ("200 OK", body),
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => ("404 Not Found", Vec::new()),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(&body)
}
