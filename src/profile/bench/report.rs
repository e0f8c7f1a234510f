//! Outcomes as text: one JSON line a case, or a table to read.

use super::floor::Peaks;
use super::{Case, Outcome, Rate, Timing};
use std::fmt::Write;

/// The engine's name in JSON lines.
const PEER: &str = "lazuli";

/// A row of the table.
pub struct Row {
    /// What was run.
    pub case: Case,
    /// What came of it.
    pub outcome: Outcome,
    /// Median of the hand-written loop, in ms, where there is one.
    pub control_ms: Option<f64>,
}

/// The JSON line of a case: `peer`, `mode` (the device), `case`, `median_ms` (null after a failure), `n`, `extra`.
pub fn json(case: &Case, device: &str, outcome: &Outcome) -> String {
    match &outcome.result {
        Ok((t, check)) => {
            let mut extra = fields(t);
            if check.is_finite() {
                let _ = write!(extra, ",\"check\":{check:.6e}");
            }
            if case.bytes > 0.0 {
                let _ = write!(extra, ",\"gbps\":{:.2}", rate(case.bytes, t.median_ms));
            }
            if case.flop > 0.0 {
                let _ = write!(extra, ",\"gflops\":{:.2}", rate(case.flop, t.median_ms));
            }
            if let Some((key, value)) = derived(case, t) {
                let _ = write!(extra, ",\"{key}\":{value:.4}");
            }
            line(PEER, device, case.name, Some(t.median_ms), t.n, &extra)
        }
        Err(e) => failure(device, case.name, e),
    }
}

/// The JSON line of the hand-written loop beside a case.
pub fn control_json(case: &Case, t: &Timing) -> String {
    line("control", "", case.name, Some(t.median_ms), t.n, &fields(t))
}

/// The JSON line of a case that failed.
pub fn failure(device: &str, case: &str, error: &str) -> String {
    let text = quotable(error);
    line(PEER, device, case, None, 0, &format!("\"error\":\"{text}\""))
}

/// The text as it may stand between quotes of JSON.
fn quotable(error: &str) -> String {
    let mut text = String::new();
    for c in error.chars().take(300) {
        match c {
            '"' | '\\' => {
                text.push('\\');
                text.push(c);
            }
            c if c.is_control() => text.push(' '),
            c => text.push(c),
        }
    }
    text
}

/// The JSON line of `cold_jit`: times of fresh processes, the first call and the second.
pub fn cold_json(device: &str, first_ms: f64, least_ms: f64, second_ms: f64, n: usize) -> String {
    let load = super::measure::load1().map_or(String::new(), |l| format!(",\"load1\":{l:.1}"));
    line(PEER, device, "cold_jit", Some(first_ms), n, &format!("\"min_ms\":{least_ms:.4},\"second_ms\":{second_ms:.4}{load}"))
}

fn line(peer: &str, mode: &str, case: &str, median_ms: Option<f64>, n: usize, extra: &str) -> String {
    let median = median_ms.map_or("null".to_string(), |m| format!("{m:.4}"));
    format!("{{\"peer\":\"{peer}\",\"mode\":\"{mode}\",\"case\":\"{case}\",\"median_ms\":{median},\"n\":{n},\"extra\":{{{extra}}}}}")
}

fn fields(t: &Timing) -> String {
    let mut s = format!("\"min_ms\":{:.4}", t.min_ms);
    let mut add = |key: &str, value: Option<f64>, digits: usize| {
        if let Some(v) = value {
            let _ = write!(s, ",\"{key}\":{v:.digits$}");
        }
    };
    add("cpu_ms", t.cpu_ms, 4);
    add("first_ms", Some(t.first_ms), 2);
    add("load1", t.load1, 1);
    add("others", t.others, 2);
    add("launches", t.launches, 1);
    s
}

fn derived(case: &Case, t: &Timing) -> Option<(&'static str, f64)> {
    match case.rate {
        Rate::Plain => None,
        Rate::Micros(key, items) => Some((key, t.median_ms * 1e3 / items)),
        Rate::Steps(steps) => Some(("steps_per_s", steps / t.median_ms * 1e3)),
    }
}

/// The JSON line of an op of the sweep: `op`, `ns` (the median, null after a failure), `min_ns`, `launches`.
pub fn op_json(outcome: &Outcome) -> String {
    match &outcome.result {
        Ok((t, _)) => format!(
            "{{\"op\":\"{}\",\"ns\":{:.0},\"min_ns\":{:.0},\"launches\":{:.1}}}",
            outcome.name,
            t.median_ms * 1e6,
            t.min_ms * 1e6,
            t.launches.unwrap_or(0.0)
        ),
        Err(e) => format!("{{\"op\":\"{}\",\"ns\":null,\"error\":\"{}\"}}", outcome.name, quotable(e)),
    }
}

/// One row of the table of the sweep: microseconds (median and least), kernels.
pub fn op_row(outcome: &Outcome) -> String {
    match &outcome.result {
        Ok((t, _)) => {
            let kernels = t.launches.unwrap_or(0.0);
            format!("{:<56}{:>10} us{:>10}{kernels:>5.0}", outcome.name, short(t.median_ms * 1e3), short(t.min_ms * 1e3))
        }
        Err(e) => format!("{:<56}{:>10}  {e}", outcome.name, "failed"),
    }
}

/// Billions a second.
fn rate(count: f64, ms: f64) -> f64 {
    count / ms / 1e6
}

/// Three digits or so.
pub fn short(x: f64) -> String {
    match x {
        x if x >= 100.0 => format!("{x:.0}"),
        x if x >= 10.0 => format!("{x:.1}"),
        x if x >= 1.0 => format!("{x:.2}"),
        x => format!("{x:.3}"),
    }
}

/// The head of the table.
pub fn head(peaks: &Peaks) -> String {
    format!(
        "floor: {:.1} GB/s, {:.0} GFLOP/s (two threads, measured now)\n{:<24}{:>10}{:>10}{:>9}{:>9}{:>9}{:>10}{:>9}{:>9}",
        peaks.gbps, peaks.gflops, "case", "ms", "first ms", "GB/s", "GFLOP/s", "x floor", "control", "x ctrl", "kernels"
    )
}

/// One row of the table; `~` marks a time taken while other processes used more than 0.3 cores.
pub fn row(row: &Row, peaks: &Peaks) -> String {
    let Row { case, outcome, control_ms } = row;
    let (t, _) = match &outcome.result {
        Ok(r) => r,
        Err(e) => return format!("{:<24}{:>10}  {e}", case.name, "failed"),
    };
    let disturbed = if t.others.is_some_and(|o| o > 0.3) { "~" } else { "" };
    let floor = peaks.floor_ms(case);
    let or_empty = |on: bool, x: f64| if on { short(x) } else { String::new() };
    let mut s = format!(
        "{:<24}{:>10}{:>10}{:>9}{:>9}{:>9}",
        case.name,
        format!("{disturbed}{}", short(t.median_ms)),
        short(t.first_ms),
        or_empty(case.bytes > 0.0, rate(case.bytes, t.median_ms)),
        or_empty(case.flop > 0.0, rate(case.flop, t.median_ms)),
        or_empty(floor > 0.0, t.median_ms / floor),
    );
    let control = control_ms.unwrap_or(0.0);
    let launches = t.launches.map_or(String::new(), |l| format!("{:.0}", l));
    let _ = write!(s, "{:>10}{:>9}{:>9}", or_empty(control > 0.0, control), or_empty(control > 0.0, t.median_ms / control), launches);
    if let Some((key, value)) = derived(case, t) {
        let _ = write!(s, "  {key} {}", short(value));
    }
    s.trim_end().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> Case {
        let setup = || Err(crate::base::error::err!(Internal, "this case is only printed"));
        Case::new("ew_chain", "", 0.0, 128e6, setup).rate(Rate::Micros("us_per_op", 1000.0))
    }

    fn timing() -> Timing {
        Timing { median_ms: 4.0, min_ms: 3.5, first_ms: 9.0, cpu_ms: Some(7.5), n: 5, load1: Some(0.25), others: None, launches: Some(2.0) }
    }

    #[test]
    fn a_line_has_the_fields_of_the_schema() {
        let outcome = Outcome { name: "ew_chain", result: Ok((timing(), 0.75)) };
        assert_eq!(
            json(&case(), "cpu", &outcome),
            "{\"peer\":\"lazuli\",\"mode\":\"cpu\",\"case\":\"ew_chain\",\"median_ms\":4.0000,\"n\":5,\"extra\":{\"min_ms\":3.5000,\"cpu_ms\":7.5000,\
             \"first_ms\":9.00,\"load1\":0.2,\"launches\":2.0,\"check\":7.500000e-1,\"gbps\":32.00,\"us_per_op\":4.0000}}"
        );
    }

    #[test]
    fn a_failure_is_valid_json() {
        let line = failure("cpu", "x", "a \"b\"\n\\c");
        assert!(line.contains("\"median_ms\":null,\"n\":0,\"extra\":{\"error\":\"a \\\"b\\\" \\\\c\"}"), "{line}");
    }

    #[test]
    fn the_floor_is_the_larger_of_bytes_and_flops() {
        let mut c = case();
        let peaks = Peaks { gbps: 32.0, gflops: 100.0 };
        assert_eq!(peaks.floor_ms(&c), 4.0);
        c.flop = 1e9;
        assert_eq!(peaks.floor_ms(&c), 10.0);
    }
}
