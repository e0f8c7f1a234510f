//! Random programs on the device, fused and unfused, against the interpreter, each run twice.
//!
//! `LAZULI_PROGRAMS=N` runs N of them, `LAZULI_SEED=S` starts at another seed.

use lazuli::plan::run_trace;
use lazuli::trace::generate::random_program;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// What is wrong with a program's runs, if anything.
fn fault(seed: u64) -> Option<String> {
    let p = random_program(seed, 4 + seed as usize % 45);
    for fusing in [true, false] {
        let run = || catch_unwind(AssertUnwindSafe(|| run_trace(&p.trace, &p.inputs, &p.params, fusing)));
        let how = if fusing { "fused" } else { "unfused" };
        let mut runs = Vec::new();
        for time in ["first", "second"] {
            match run() {
                Ok(Ok(out)) => runs.push(out),
                Ok(Err(e)) => return Some(format!("{how}, {time} run: {e}\n{}", p.trace)),
                Err(_) => return Some(format!("{how}, {time} run: panicked\n{}", p.trace)),
            }
        }
        if let Err(e) = p.check(&runs[0]) {
            return Some(format!("{how}: {e}"));
        }
        if !runs[0].iter().zip(&runs[1]).all(|(a, b)| a.same(b)) {
            return Some(format!("{how}: the second run differs from the first\n{}", p.trace));
        }
    }
    None
}

#[test]
fn random_programs() {
    let (from, count) = (number("LAZULI_SEED", 1), number("LAZULI_PROGRAMS", 2000));
    let next = AtomicU64::new(from);
    let faults: Mutex<Vec<(u64, String)>> = Mutex::default();
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count {
                        return;
                    }
                    if let Some(f) = fault(seed) {
                        faults.lock().expect("not poisoned").push((seed, f));
                    }
                }
            });
        }
    });
    let mut faults = faults.into_inner().expect("not poisoned");
    // The shortest program first: it is the easiest to look at.
    faults.sort_by_key(|(_, f)| f.len());
    let seeds: Vec<u64> = faults.iter().map(|(s, _)| *s).collect();
    if let Some((seed, f)) = faults.first() {
        panic!("{} of {count} programs are off, seeds {seeds:?}; seed {seed}:\n{f}", faults.len());
    }
}
