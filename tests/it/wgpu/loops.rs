//! Loops that become one kernel: against the CPU, and that they did.

use super::ramp;
use crate::devices;
use lazuli::prelude::*;

/// Runs `f` on both devices; whether the graphics device runs a loop inside of a kernel.
#[track_caller]
fn compare(f: impl Fn() -> Vec<Tensor>) -> Option<bool> {
    let d = devices::wgpu("loops inside kernels")?;
    let values = |all: &[Tensor]| all.iter().map(|t| t.cast(DType::F32).to_vec::<f32>().unwrap()).collect::<Vec<_>>();
    let want = Device::cpu().scope(|| values(&f()));
    d.scope(|| {
        let results = f();
        let refs: Vec<&Tensor> = results.iter().collect();
        let report = lazuli::explain(&refs);
        let inside = (0..report.kernels().len()).any(|k| report.source(k).contains("for (var t = 0u; t < "));
        let got = values(&results);
        for (g, w) in got.iter().zip(&want) {
            assert_eq!(g.len(), w.len());
            for (i, (a, b)) in g.iter().zip(w).enumerate() {
                assert!((a - b).abs() <= 1e-4 * (1.0 + b.abs()), "element {i}: {a}, the CPU has {b}");
            }
        }
        Some(inside)
    })
}

#[test]
fn carried_values_stay_in_registers() {
    let x = || ramp(5000) * 1e-3;
    // One value; two that depend on each other; two that change places; the number of the iteration.
    let Some(one) = compare(|| vec![fori_loop(0..50, x(), |_, s| s.sin() + 0.1)]) else { return };
    assert!(one);
    let two = compare(|| {
        let (a, b) = fori_loop(0..20, (x(), x() * 2.0), |_, (a, b)| (&a * 0.9 + &b * 0.1, b - a * 0.01));
        vec![a, b]
    });
    assert_eq!(two, Some(true));
    let swapped = compare(|| {
        let (a, b) = fori_loop(0..7, (x(), x() + 3.0), |_, (a, b)| (b, a + 1.0));
        vec![a, b]
    });
    assert!(swapped.is_some());
    let counted = compare(|| vec![fori_loop(3..9, x(), |i, s| s + i.cast(DType::F32))]);
    assert!(counted.is_some());
    // What the loop does not change is read at other places too.
    let table = compare(|| {
        let t = ramp(5000);
        vec![fori_loop(0..9, x(), |_, s| s + t.roll(&[17], [0]) * 1e-3)]
    });
    assert!(table.is_some());
}

#[test]
fn rows_of_stacks_are_read_and_written() {
    let run = |reverse: bool| {
        compare(move || {
            let xs = (ramp(12 * 4096) * 1e-3).reshape([12, 4096]);
            let xs = if reverse { xs.flip([0]) } else { xs };
            let (last, rows) = scan(Tensor::zeros([4096]), &xs, |s: Tensor, r: Tensor| {
                let next = s * 0.5 + r.cos();
                (next.clone(), next * 2.0)
            });
            vec![last, rows]
        })
    };
    let Some(forward) = run(false) else { return };
    assert!(forward);
    run(true);
    // Its derivative runs the loop in reverse.
    compare(|| {
        let w = ramp(4096) * 1e-4;
        vec![grad(|w: &Tensor| fori_loop(0..6, w.clone(), |_, s| (s * w).sin() + w).sum(..), &w)]
    });
}
