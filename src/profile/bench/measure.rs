//! The rules by which every case is timed, and what the machine did meanwhile.

use crate::base::Result;
use std::time::Instant;

/// How long a case is repeated.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// At least so many repeats,
    pub min_n: usize,
    /// and at least so many seconds of them.
    pub min_s: f64,
    /// After so many seconds two repeats are enough.
    pub max_s: f64,
    /// Seconds of warm-up after the first call.
    pub warm_s: f64,
}

impl Rules {
    /// At least 5 repeats and 1 second.
    pub const FULL: Rules = Rules { min_n: 5, min_s: 1.0, max_s: 30.0, warm_s: 0.2 };
    /// At least 3 repeats and 0.2 seconds: good to some 10 %.
    pub const QUICK: Rules = Rules { min_n: 3, min_s: 0.2, max_s: 6.0, warm_s: 0.02 };
    /// For one op among hundreds: at least 5 repeats and 0.1 seconds.
    pub const OP: Rules = Rules { min_n: 5, min_s: 0.1, max_s: 2.0, warm_s: 0.03 };
    /// At least 3 repeats and 0.03 seconds.
    pub const QUICK_OP: Rules = Rules { min_n: 3, min_s: 0.03, max_s: 1.0, warm_s: 0.01 };
}

/// Times of one call, in milliseconds.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Of all repeats.
    pub median_ms: f64,
    /// The least disturbed repeat.
    pub min_ms: f64,
    /// The first call, with compilation.
    pub first_ms: f64,
    /// Processor time of the process, all threads, where the system tells.
    pub cpu_ms: Option<f64>,
    /// Repeats.
    pub n: usize,
    /// Load average at the end.
    pub load1: Option<f64>,
    /// Cores that other processes used meanwhile.
    pub others: Option<f64>,
    /// Kernel launches of a call.
    pub launches: Option<f64>,
}

/// Times `call`, which does one whole forced call; gives `check` of the first result too, made outside the timing.
pub(super) fn measure<T>(
    rules: &Rules,
    mut call: impl FnMut() -> Result<T>,
    check: impl FnOnce(&T) -> Result<f64>,
) -> Result<(Timing, f64)> {
    let start = Instant::now();
    let first = call()?;
    let first_ms = ms(start);
    let checked = check(&first)?;
    drop(first);
    let start = Instant::now();
    loop {
        call()?;
        if ms(start) >= rules.warm_s * 1e3 {
            break;
        }
    }
    let (cpu, busy, begin) = (cpu_seconds(), busy_seconds(), Instant::now());
    let mut times = Vec::new();
    loop {
        let start = Instant::now();
        call()?;
        times.push(ms(start));
        let elapsed = ms(begin) / 1e3;
        if (times.len() >= rules.min_n && elapsed >= rules.min_s) || (elapsed > rules.max_s && times.len() >= 2) {
            break;
        }
    }
    let wall = ms(begin) / 1e3;
    let cpu = cpu_seconds().zip(cpu).map(|(b, a)| b - a);
    let others = busy_seconds().zip(busy).zip(cpu).map(|((b, a), own)| ((b - a - own) / wall).max(0.0));
    times.sort_by(f64::total_cmp);
    let n = times.len();
    let median_ms = if n % 2 == 1 { times[n / 2] } else { (times[n / 2 - 1] + times[n / 2]) / 2.0 };
    let timing = Timing {
        median_ms,
        min_ms: times[0],
        first_ms,
        cpu_ms: cpu.map(|s| s * 1e3 / n as f64),
        n,
        load1: load1(),
        others,
        launches: None,
    };
    Ok((timing, checked))
}

pub(super) fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Processor time of the threads alive, in seconds; `None` where the system does not tell.
pub(super) fn cpu_seconds() -> Option<f64> {
    let mut ns = 0u64;
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let stat = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        ns += stat.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(ns as f64 * 1e-9)
}

/// Processor time the whole machine has spent working, stolen time included.
fn busy_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let v: Vec<f64> = stat.lines().next()?.split_whitespace().skip(1).take(8).filter_map(|x| x.parse().ok()).collect();
    // Linux counts in hundredths of a second here, whatever its own tick is; idle and waiting for disks are not work.
    (v.len() == 8).then(|| (v.iter().sum::<f64>() - v[3] - v[4]) / 100.0)
}

pub(super) fn load1() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::err;

    const SHORT: Rules = Rules { min_n: 4, min_s: 0.0, max_s: 1.0, warm_s: 0.0 };

    #[test]
    fn repeats_are_counted_and_the_check_is_of_the_first_call() {
        let mut calls = 0;
        let call = || {
            calls += 1;
            Ok(calls)
        };
        let (t, check) = measure(&SHORT, call, |&n| Ok(n as f64)).unwrap();
        assert_eq!((t.n, check, calls), (4, 1.0, 6));
        assert!(t.min_ms <= t.median_ms);
    }

    #[test]
    fn a_failing_call_is_an_error() {
        let r = measure::<()>(&SHORT, || Err(err!(Device, "lost")), |_| Ok(0.0));
        assert!(r.unwrap_err().to_string().contains("lost"));
    }
}
