//! Random programs on the device, fused, fused over their inputs, and unfused, each twice, through the recorder and the plan cache, against the interpreter;
//! and batched.
//!
//! `LAZULI_PROGRAMS=N` runs N of them, `LAZULI_SEED=S` starts at another seed.

use lazuli::function::record_trace;
use lazuli::plan::{How, run_trace};
use lazuli::trace::generate::random_program;
use lazuli::trace::interp::HostTensor;
use lazuli::transform::{Lifted, vmap};
use lazuli::{Device, Shape};
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
fn fault(seed: u64, device: Device) -> Option<String> {
    let p = random_program(seed, size(seed));
    for times in [&[How::Fused, How::Fused, How::OverInputs][..], &[How::Unfused; 2]] {
        let mut runs = Vec::new();
        for &how in times {
            match catch_unwind(AssertUnwindSafe(|| run_trace(&p.trace, &p.inputs, &p.params, how, device.id()))) {
                Ok(Ok(out)) => runs.push(out),
                Ok(Err(e)) if refused(&e, device) => return None,
                Ok(Err(e)) => return Some(format!("{how:?}: {e}\n{}", p.trace)),
                Err(_) => return Some(format!("{how:?}: panicked\n{}", p.trace)),
            }
        }
        if let Err(e) = p.check(&runs[0]) {
            return Some(format!("{:?}: {e}", times[0]));
        }
        for (run, how) in runs.iter().zip(times) {
            if !runs[0].iter().zip(run).all(|(a, b)| a.same(b)) {
                return Some(format!("{how:?} differs from {:?}\n{}", times[0], p.trace));
            }
        }
    }
    // Through the recorder and the plan cache: the second time the plan is there.
    let recorded = || -> lazuli::Result<Vec<HostTensor>> {
        let outs = device.scope(|| record_trace(&p.trace, &p.inputs, &p.params))?;
        lazuli::eval(&outs)?;
        outs.iter().map(|t| HostTensor::from_bytes(t.dtype(), t.shape().clone(), &t.to_bytes()?)).collect()
    };
    match catch_unwind(AssertUnwindSafe(|| (recorded(), recorded()))) {
        Ok((Ok(miss), Ok(hit))) => {
            if let Err(e) = p.check(&miss) {
                return Some(format!("recorded: {e}"));
            }
            if !miss.iter().zip(&hit).all(|(a, b)| a.same(b)) {
                return Some(format!("a plan that is found differs from one that is made\n{}", p.trace));
            }
        }
        Ok((Err(e), _) | (_, Err(e))) => return Some(format!("recorded: {e}\n{}", p.trace)),
        Err(_) => return Some(format!("recorded: panicked\n{}", p.trace)),
    }
    None
}

/// A program that takes longer is stuck: they are small.
const STUCK: Duration = Duration::from_secs(100);

crate::devices::each_device!(random_programs);

/// A type that the device has not.
fn refused(e: &lazuli::Error, device: Device) -> bool {
    device.kind() == "wgpu" && e.kind() == lazuli::ErrorKind::DType && e.message().contains("f64")
}

fn random_programs(device: Device) {
    // Each program is some kernels nobody has compiled yet, which on a graphics device takes a while.
    let few = if device.kind() == "cpu" { 2000 } else { 40 };
    let (from, count) = (number("LAZULI_SEED", 1), number("LAZULI_PROGRAMS", few));
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
                if let Some(f) = fault(seed, device) {
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

/// Batched over some inputs whose examples are all alike, a program gives every example what it gives alone.
#[test]
fn batched_random_programs() {
    let mut outputs = 0;
    for seed in number("LAZULI_SEED", 1)..number("LAZULI_SEED", 1) + number("LAZULI_PROGRAMS", 2000) / 5 {
        let p = random_program(seed, size(seed));
        let (n, copies) = (p.inputs.len(), 1 + seed as usize % 3);
        let batched = |i: usize| (seed >> (i % 7)) & 1 == 0 || i as u64 == seed % n as u64;
        let (mut t, mut inputs, mut seeds) = (p.trace.clone(), p.inputs.clone(), Vec::new());
        for (i, x) in p.inputs.iter().enumerate().filter(|(i, _)| batched(*i)) {
            let shape: Shape = [copies].iter().chain(x.shape.iter()).copied().collect();
            seeds.push((p.trace.inputs[i], t.input(x.dtype, shape.clone())));
            let all: Vec<_> = (0..copies).flat_map(|_| x.scalars()).collect();
            inputs.push(HostTensor::from_scalars(x.dtype, shape, all));
        }
        let found = vmap(&mut t, copies, &seeds, &[], &p.trace.outputs).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{}", p.trace));
        t.outputs = found.iter().map(|l| l.value).collect();
        for how in [How::Fused, How::Unfused] {
            let out = run_trace(&t, &inputs, &p.params, how, lazuli::Device::cpu().id())
                .unwrap_or_else(|e| panic!("seed {seed}, {how:?}: {e}\n{t}"));
            for e in 0..copies {
                let one = |(x, l): (&HostTensor, &Lifted)| {
                    if !l.batched {
                        return x.clone();
                    }
                    let shape: Shape = x.shape[1..].iter().copied().collect();
                    let part: Vec<_> = x.scalars().skip(e * shape.numel()).take(shape.numel()).collect();
                    HostTensor::from_scalars(x.dtype, shape, part)
                };
                let outs: Vec<HostTensor> = out.iter().zip(&found).map(one).collect();
                p.check(&outs).unwrap_or_else(|fault| panic!("seed {seed}, {how:?}, example {e} of {copies}: {fault}\nbatched\n{t}"));
            }
        }
        outputs += found.iter().filter(|l| l.batched).count();
    }
    assert!(outputs > 0);
}
