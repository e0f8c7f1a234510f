//! The command-line tool: devices, benchmarks, what becomes of a trace.

use lazuli::profile::bench::{self, Case, Rules, floor, report, sweep};
use lazuli::profile::explain_text;
use lazuli::{Device, Program, Report};
use std::process::{Command, ExitCode};

/// As std's, but a reader that has seen enough (`| head`) ends the program without a word.
macro_rules! println {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        if writeln!(std::io::stdout(), $($text)*).is_err() {
            std::process::exit(0);
        }
    }};
}

const HELP: &str = "\
lazuli: looks at devices, measures them, and shows what becomes of a trace

    lazuli devices                       the devices present, every graphics adapter, and this machine's processor and memory
    lazuli bench [OPTIONS]               times the benchmark cases on a device
    lazuli op-sweep [OPTIONS]            times every op at about a million elements
    lazuli explain FILE                  kernels, bytes, flops and emitted code of a saved program, or of a trace in text form
    lazuli show FILE                     a saved program: its arguments, weights, results, and the trace
    lazuli help                          this text

Options of bench:
    --case NAME,NAME..   only these; a name ending in * is a prefix (default: all)
    --device NAME        cpu, wgpu or best (default: best)
    --json               one JSON line a case instead of a table
    --quick              fewer repeats: at least 3 and 0.2 s a case, good to some 10 %
    --explain            what the cases run instead of how long: kernels, bytes, flops, emitted code
    --kernels            how long each kernel of a call takes by the device's own clock, where it has one
    --list               names and work of the cases, without running them
    --cold               makes one measurement of cold_jit in this process and prints its two times in ms

Options of op-sweep (benches/op_sweep.py puts the times beside PyTorch's):
    --ops NAME;NAME..    only these, by PyTorch's names; a name ending in * is a prefix (default: all)
    --device NAME        cpu, wgpu or best (default: cpu, or what LAZULI_DEVICE names)
    --json               one JSON line an op instead of a table
    --quick, --explain, --list   as above

A time is the median of at least 5 calls and 1 second, after a first call (shown apart: it compiles, or reads the plan that another run
has left; with LAZULI_CACHE_DIR set to nothing it always compiles) and a warm-up. Each call records its
operations anew. The control column is hand-written code for the same work on two threads, in the same run. To keep the threads of
the engine on certain cores, run the tool under `taskset -c 0,1`.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.first().map(String::as_str) {
        Some("devices") => no_more(&args[1..]).map(|()| devices()),
        Some("bench") => BenchOptions::parse(&args[1..]).and_then(bench),
        Some("op-sweep") => SweepOptions::parse(&args[1..]).and_then(op_sweep),
        Some("explain") => explain(&args[1..]),
        Some("show") => show(&args[1..]),
        Some("help" | "--help" | "-h") => no_more(&args[1..]).map(|()| println!("{HELP}")),
        Some(other) => Err(Failure::Usage(format!("unknown command `{other}`"))),
        None => Err(Failure::Usage("which command?".to_string())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            eprintln!("lazuli: {message}\nTry `lazuli help`.");
            ExitCode::from(2)
        }
        Err(Failure::Run(message)) => {
            eprintln!("lazuli: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Why a command did not do its work.
enum Failure {
    /// It was asked for wrongly.
    Usage(String),
    /// It went wrong.
    Run(String),
}

impl From<lazuli::Error> for Failure {
    fn from(e: lazuli::Error) -> Failure {
        Failure::Run(e.to_string())
    }
}

type Done = Result<(), Failure>;

fn no_more(args: &[String]) -> Done {
    match args.first() {
        Some(a) => Err(Failure::Usage(format!("unexpected argument `{a}`"))),
        None => Ok(()),
    }
}

fn devices() {
    for d in Device::all() {
        let m = d.memory_stats();
        let limit = m.limit.map_or("none".to_string(), mib);
        println!("{}: {}", d.kind(), d.describe());
        println!("    memory: {} reserved, limit {limit}", mib(m.reserved));
    }
    #[cfg(feature = "wgpu")]
    for a in lazuli::backend::wgpu::adapters() {
        println!("adapter: {a}");
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("machine: {}, {cores} cores usable, {}, {}", processor(), std::env::consts::ARCH, vectors());
    if let Some((total, free)) = memory() {
        println!("    memory: {} of {} available", mib(free), mib(total));
    }
}

fn mib(bytes: usize) -> String {
    if bytes >= 10 << 30 { format!("{} GiB", bytes >> 30) } else { format!("{} MiB", bytes >> 20) }
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split_once(':'));
    name.map_or("unknown processor".to_string(), |(_, n)| n.trim().to_string())
}

fn vectors() -> String {
    let mut found: Vec<&str> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! look {
            ($($name:tt)*) => { $(if is_x86_feature_detected!($name) { found.push($name); })* };
        }
        look!("sse4.2" "avx" "f16c" "fma" "avx2" "avx512f" "avx512bw" "avx512vnni" "avx512bf16" "avx512fp16");
    }
    #[cfg(target_arch = "aarch64")]
    found.push("neon");
    if found.is_empty() { "no vectors known".to_string() } else { found.join(" ") }
}

/// Bytes of memory in all and available, where the system tells.
fn memory() -> Option<(usize, usize)> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let field = |name: &str| -> Option<usize> {
        let line = info.lines().find(|l| l.starts_with(name))?;
        Some(line.split_whitespace().nth(1)?.parse::<usize>().ok()? << 10)
    };
    Some((field("MemTotal:")?, field("MemAvailable:")?))
}

/// What `bench` is asked to do.
#[derive(Default)]
struct BenchOptions {
    cases: Vec<String>,
    device: Option<String>,
    json: bool,
    quick: bool,
    explain: bool,
    kernels: bool,
    list: bool,
    cold: bool,
}

impl BenchOptions {
    fn parse(args: &[String]) -> Result<BenchOptions, Failure> {
        let mut o = BenchOptions::default();
        let mut args = args.iter();
        while let Some(a) = args.next() {
            let (name, inline) = match a.split_once('=') {
                Some((n, v)) => (n, Some(v.to_string())),
                None => (a.as_str(), None),
            };
            let mut value = || {
                let v = inline.clone().or_else(|| args.next().cloned());
                v.filter(|v| !v.is_empty()).ok_or_else(|| Failure::Usage(format!("{name} needs a value")))
            };
            match name {
                "--case" => o.cases.extend(value()?.split(',').filter(|c| !c.is_empty()).map(String::from)),
                "--device" => o.device = Some(value()?),
                _ if inline.is_some() => return Err(Failure::Usage(format!("unknown option `{a}` of bench"))),
                "--json" => o.json = true,
                "--quick" => o.quick = true,
                "--explain" => o.explain = true,
                "--kernels" => o.kernels = true,
                "--list" => o.list = true,
                "--cold" => o.cold = true,
                _ => return Err(Failure::Usage(format!("unknown option `{a}` of bench"))),
            }
        }
        let known: Vec<&str> = bench::cases().iter().map(|c| c.name).chain([COLD]).collect();
        if let Some(c) = o.cases.iter().find(|c| !known.iter().any(|k| matches(c, k))) {
            return Err(Failure::Usage(format!("there is no case `{c}`; the cases are {}", known.join(", "))));
        }
        Ok(o)
    }

    fn wants(&self, name: &str) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|c| matches(c, name))
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern == name || pattern.strip_suffix('*').is_some_and(|p| name.starts_with(p))
}

/// The case that needs fresh processes.
const COLD: &str = "cold_jit";

fn bench(o: BenchOptions) -> Done {
    let device = match &o.device {
        None => Device::best(),
        Some(name) => Device::named(name).map_err(|e| Failure::Usage(e.to_string()))?,
    };
    device.set_default();
    if o.cold {
        let (first, second) = bench::cold()?;
        println!("{first} {second}");
        return Ok(());
    }
    let cases: Vec<Case> = bench::cases().into_iter().filter(|c| o.wants(c.name)).collect();
    if o.list {
        cases.iter().for_each(|c| println!("{:<24}{}", c.name, c.work));
        if o.wants(COLD) {
            println!("{COLD:<24}first result of ew_chain at 1Mi in a fresh process");
        }
        return Ok(());
    }
    if o.explain {
        for case in &cases {
            println!("{}: {}", case.name, case.work);
            match bench::explain_case(case)? {
                Some(report) => print_report(&report),
                None => println!("evaluates on its own: see LAZULI_DEBUG=fuse"),
            }
        }
        return Ok(());
    }
    if o.kernels {
        for case in &cases {
            println!("{}: {}", case.name, case.work);
            let kernels = bench::kernels_of(case, device)?;
            kernels.iter().for_each(|(name, us)| println!("    {us:>10.1} us  {name}"));
            println!("    {:>10.1} us  in {} launches", kernels.iter().map(|k| k.1).sum::<f64>(), kernels.len());
        }
        return Ok(());
    }
    let rules = if o.quick { Rules::QUICK } else { Rules::FULL };
    let peaks = (!o.json).then(floor::peaks);
    if let Some(p) = &peaks {
        println!("{}", report::head(p));
    }
    let mut failed = Vec::new();
    for case in cases {
        let outcome = bench::run(&case, &rules);
        let control = bench::control::run(&case, &rules).transpose()?;
        if outcome.result.is_err() {
            failed.push(case.name);
        }
        match &peaks {
            Some(p) => {
                let control_ms = control.map(|(t, _)| t.median_ms);
                println!("{}", report::row(&report::Row { case, outcome, control_ms }, p));
            }
            None => {
                println!("{}", report::json(&case, device.kind(), &outcome));
                if let Some((t, _)) = control {
                    println!("{}", report::control_json(&case, &t));
                }
            }
        }
    }
    if o.wants(COLD) {
        cold(&o, device.kind())?;
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::Run(format!("failed: {}", failed.join(", ")))) }
}

/// What `op-sweep` is asked to do.
#[derive(Default)]
struct SweepOptions {
    ops: Vec<String>,
    json: bool,
    quick: bool,
    explain: bool,
    list: bool,
}

impl SweepOptions {
    fn parse(args: &[String]) -> Result<SweepOptions, Failure> {
        let mut o = SweepOptions::default();
        let mut args = args.iter();
        while let Some(a) = args.next() {
            match a.as_str() {
                // Names contain commas.
                "--ops" => match args.next() {
                    Some(v) => o.ops.extend(v.split(';').filter(|n| !n.is_empty()).map(String::from)),
                    None => return Err(Failure::Usage("--ops needs a value".to_string())),
                },
                "--device" => match args.next() {
                    Some(v) => Device::named(v).map_err(|e| Failure::Usage(e.to_string()))?.set_default(),
                    None => return Err(Failure::Usage("--device needs a value".to_string())),
                },
                "--json" => o.json = true,
                "--quick" => o.quick = true,
                "--explain" => o.explain = true,
                "--list" => o.list = true,
                _ => return Err(Failure::Usage(format!("unknown option `{a}` of op-sweep"))),
            }
        }
        match o.ops.iter().find(|n| !sweep::OPS.iter().any(|op| matches(n, op.name))) {
            Some(n) => Err(Failure::Usage(format!("op-sweep has no op `{n}`: see `lazuli op-sweep --list`"))),
            None => Ok(o),
        }
    }
}

fn op_sweep(o: SweepOptions) -> Done {
    let rules = if o.quick { Rules::QUICK_OP } else { Rules::OP };
    let mut failed = Vec::new();
    for op in sweep::OPS.iter().filter(|op| o.ops.is_empty() || o.ops.iter().any(|n| matches(n, op.name))) {
        if o.list {
            match o.json {
                true => println!("{{\"op\":\"{}\",\"inputs\":\"{}\"}}", op.name, op.inputs),
                false => println!("{:<56}{}", op.name, op.inputs),
            }
        } else if o.explain {
            println!("{}: {}", op.name, op.inputs);
            print_report(&op.explain()?);
        } else {
            let outcome = op.run(&rules);
            if outcome.result.is_err() {
                failed.push(op.name);
            }
            println!("{}", if o.json { report::op_json(&outcome) } else { report::op_row(&outcome) });
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::Run(format!("failed: {}", failed.join(", ")))) }
}

/// `cold_jit`: medians over fresh processes.
fn cold(o: &BenchOptions, device: &str) -> Done {
    let failure = |what: String| Failure::Run(format!("{COLD}: {what}"));
    let exe = std::env::current_exe().map_err(|e| failure(e.to_string()))?;
    let n = if o.quick { 2 } else { 3 };
    let mut times: Vec<(f64, f64)> = Vec::new();
    for _ in 0..n {
        let cold = Command::new(&exe).args(["bench", "--cold", "--device", device]).env("LAZULI_CACHE_DIR", "").output();
        let out = cold.map_err(|e| failure(e.to_string()))?;
        let text = String::from_utf8_lossy(&out.stdout);
        let mut numbers = text.split_whitespace().map(str::parse::<f64>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(a)), Some(Ok(b))) => times.push((a, b)),
            _ => return Err(failure(format!("a fresh process said `{}`", String::from_utf8_lossy(&out.stderr).trim()))),
        }
    }
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (first, second) = times[times.len() / 2];
    match o.json {
        true => println!("{}", report::cold_json(device, first, times[0].0, second, times.len())),
        false => println!("{COLD:<24}{:>10}  then {} ms", report::short(first), report::short(second)),
    }
    Ok(())
}

fn explain(args: &[String]) -> Done {
    let path = only_path("explain", args)?;
    let failed = |e: &dyn std::fmt::Display| Failure::Run(format!("{path}: {e}"));
    let bytes = std::fs::read(path).map_err(|e| failed(&e))?;
    let is_program = bytes.starts_with(b"\x89LZL") || bytes.starts_with(b"lazuli program ");
    let text = if is_program {
        Program::load(path)?.trace().to_string()
    } else {
        String::from_utf8(bytes).map_err(|_| failed(&"neither a program nor text"))?
    };
    let report = explain_text(&text, Device::best()).map_err(|e| failed(&e))?;
    print_report(&report);
    Ok(())
}

/// The one argument of a command that takes a file.
fn only_path<'a>(command: &str, args: &'a [String]) -> Result<&'a String, Failure> {
    match args {
        [path] if !path.starts_with('-') => Ok(path),
        [] => Err(Failure::Usage(format!("{command} needs a file"))),
        [option] => Err(Failure::Usage(format!("unknown option `{option}` of {command}"))),
        [_, more, ..] => Err(Failure::Usage(format!("unexpected argument `{more}`"))),
    }
}

fn show(args: &[String]) -> Done {
    let p = Program::load(only_path("show", args)?)?;
    for (what, ports) in [("argument", p.inputs()), ("result", p.outputs())] {
        ports.iter().for_each(|(name, spec)| println!("{what:<10}{name:<24}{spec}"));
    }
    for (name, w) in p.weights() {
        println!("{:<10}{name:<24}{}{}", "weight", w.dtype(), w.shape());
    }
    println!("\n{}", p.trace());
    Ok(())
}

fn print_report(report: &Report) {
    println!("trace, simplified:\n{}\n{report}", report.trace());
    for (i, k) in report.kernels().iter().enumerate() {
        println!("kernel {i}, {}: {} bytes, {} flop\n{}", k.name(), k.bytes(), k.flops(), report.source(i));
    }
}
