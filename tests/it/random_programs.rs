//! Random programs on the device, fused, fused over their inputs, and unfused twice, against the interpreter.
//!
//! `LAZULI_PROGRAMS=N` runs N of them, `LAZULI_SEED=S` starts at another seed.

use lazuli::plan::{How, run_trace};
use lazuli::trace::generate::random_program;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

fn size(seed: u64) -> usize {
    4 + seed as usize % 45
}

/// What is wrong with a program's runs, if anything.
fn fault(seed: u64) -> Option<String> {
    let p = random_program(seed, size(seed));
    for times in [[How::Fused, How::OverInputs], [How::Unfused; 2]] {
        let mut runs = Vec::new();
        for how in times {
            match catch_unwind(AssertUnwindSafe(|| run_trace(&p.trace, &p.inputs, &p.params, how))) {
                Ok(Ok(out)) => runs.push(out),
                Ok(Err(e)) => return Some(format!("{how:?}: {e}\n{}", p.trace)),
                Err(_) => return Some(format!("{how:?}: panicked\n{}", p.trace)),
            }
        }
        if let Err(e) = p.check(&runs[0]) {
            return Some(format!("{:?}: {e}", times[0]));
        }
        if !runs[0].iter().zip(&runs[1]).all(|(a, b)| a.same(b)) {
            return Some(format!("{:?} differs from {:?}\n{}", times[1], times[0], p.trace));
        }
    }
    None
}

/// A program that takes longer is stuck: they are small.
const STUCK: Duration = Duration::from_secs(100);

#[test]
fn random_programs() {
    let (from, count) = (number("LAZULI_SEED", 1), number("LAZULI_PROGRAMS", 2000));
    struct Shared {
        next: AtomicU64,
        /// What each worker is at, 0: nothing any more.
        at: Vec<AtomicU64>,
        faults: Mutex<Vec<(u64, String)>>,
    }
    let shared =
        Arc::new(Shared { next: AtomicU64::new(from), at: (0..4).map(|_| AtomicU64::new(from)).collect(), faults: Mutex::default() });
    for worker in 0..shared.at.len() {
        let s = shared.clone();
        // Not scoped: a stuck one must not keep the test from failing.
        std::thread::spawn(move || {
            loop {
                let seed = s.next.fetch_add(1, Relaxed);
                if seed >= from + count {
                    s.at[worker].store(u64::MAX, Relaxed);
                    return;
                }
                s.at[worker].store(seed, Relaxed);
                if let Some(f) = fault(seed) {
                    s.faults.lock().expect("not poisoned").push((seed, f));
                }
            }
        });
    }
    let (mut last, mut since) = (Vec::new(), Instant::now());
    loop {
        let now: Vec<u64> = shared.at.iter().map(|a| a.load(Relaxed)).collect();
        if now.iter().all(|&a| a == u64::MAX) {
            break;
        }
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if since.elapsed() > STUCK {
            let stuck: Vec<u64> = last.into_iter().filter(|&s| s != u64::MAX).collect();
            let seed = stuck[0];
            panic!("stuck at seeds {stuck:?}; seed {seed}:\n{}", random_program(seed, size(seed)).trace);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut faults = std::mem::take(&mut *shared.faults.lock().expect("not poisoned"));
    // The shortest program first: it is the easiest to look at.
    faults.sort_by_key(|(_, f)| f.len());
    let seeds: Vec<u64> = faults.iter().map(|(s, _)| *s).collect();
    if let Some((seed, f)) = faults.first() {
        panic!("{} of {count} programs are off, seeds {seeds:?}; seed {seed}:\n{f}", faults.len());
    }
}
