//! Every op on a device that is not the default: values and gradients as on the CPU, and everything computed is where the operands are.

use crate::devices;
use crate::op_tables::inputs;
use crate::op_tables::samples::{SAMPLES, Sample};
use lazuli::prelude::*;

/// A weighted sum: what is normalised would have no gradient of a plain one.
fn total(y: &Tensor) -> Tensor {
    // Small ones of both signs, so that sums of thousands are no larger than their terms' roundings allow for.
    let weights = (Tensor::arange(y.numel() as i64).remainder(7) - 3).cast(y.dtype()) * 0.015625;
    (y * weights.reshape(y.shape())).sum(..)
}

/// Result and gradients, on the host.
fn run(s: &Sample, x: &[Tensor], at: Device) -> Result<Vec<(String, Vec<f64>)>> {
    manual_seed(11);
    let float = x.iter().all(|t| t.dtype().is_float());
    let mut all = Vec::new();
    let mut keep = |what: String, t: &Tensor| -> Result<()> {
        if t.device() != at {
            return Err(Error::new(lazuli::ErrorKind::Device, format!("{what} is on {}", t.device())));
        }
        t.eval()?;
        // On the host, where there is every type.
        all.push((what, t.to_device(&Device::cpu()).cast(DType::F64).to_vec::<f64>()?));
        Ok(())
    };
    let y = lazuli::catch(|| (s.call)(x))?;
    keep("result".into(), &y)?;
    if s.gradient && float && y.dtype().is_float() {
        manual_seed(11);
        let grads = lazuli::catch(|| grad(|x: &Vec<Tensor>| total(&(s.call)(x)), &x.to_vec()))?;
        for (i, g) in grads.iter().enumerate() {
            keep(format!("gradient {i}"), g)?;
        }
    }
    Ok(all)
}

/// How far results may be apart, in proportion to themselves: both are within a few roundings of the truth, sums within as many as they have
/// terms, and functions built of several others multiply that. What is a whole number is the same.
fn close(a: f64, b: f64, largest: f64, within: f64) -> bool {
    let whole = a.fract() == 0.0 && b.fract() == 0.0 && a.abs() < 1e6;
    a == b
        || (a.is_nan() && b.is_nan())
        || b.is_finite() && (a - b).abs() <= if whole { 0.5 } else { within * (b.abs() + 0.1 * largest.max(1.0)) }
}

/// Some inputs lie outside the domain (a probability above 1), where the host's infinity is a matter of how a difference cancels.
const OUTSIDE: [&str; 1] = ["nn.functional.binary_cross_entropy"];

/// The graphics device, if it is not the default: the other half of the tests is about that.
fn beside() -> Option<Device> {
    devices::wgpu("ops").filter(|_| Device::current() == Device::cpu())
}

#[test]
fn every_op_beside_the_default_device() {
    let Some(dev) = beside() else { return };
    let double = dev.scope(|| devices::f64_on_current("ops in F64"));
    let refused = every_op(dev, &[DType::F32, DType::I32, DType::Bool], 1e-4);
    assert_eq!(refused, if double { vec![] } else { vec!["float_power"] });
}

/// Where the device has F64, to its precision. (Some ops compute in F32 whatever they are given, so not to the last digit.)
#[test]
fn every_op_in_f64() {
    let Some(dev) = beside() else { return };
    if dev.scope(|| devices::f64_on_current("every_op_in_f64")) {
        assert!(every_op(dev, &[DType::F64], 1e-11).is_empty());
    }
}

/// Names of the ops that were refused for lack of F64; of each op that takes one of the types, the first of them is tried.
fn every_op(dev: Device, dtypes: &[DType], within: f64) -> Vec<&'static str> {
    let (mut passed, mut refused, mut failed) = (0, Vec::new(), Vec::new());
    for s in SAMPLES {
        let found = dtypes.iter().find_map(|&d| {
            let x = inputs(s, d);
            run(s, &x, Device::cpu()).ok().map(|want| (x, want))
        });
        let Some((x, want)) = found else {
            assert!(dtypes.len() == 1, "{}: no type will do", s.name);
            continue;
        };
        let there: Vec<Tensor> = x.iter().map(|t| t.to_device(&dev)).collect();
        let got = match run(s, &there, dev) {
            Ok(got) => got,
            Err(e) => {
                let f64 = e.kind() == lazuli::ErrorKind::DType && e.message().contains("has no f64");
                if f64 {
                    refused.push(s.name)
                } else {
                    failed.push(format!("{}: {e}", s.name))
                }
                continue;
            }
        };
        let before = failed.len();
        for ((what, g), (_, w)) in got.iter().zip(&want) {
            let largest = w.iter().copied().filter(|v| v.is_finite()).fold(0.0, |m: f64, v| m.max(v.abs()));
            let free = |w: f64| w.is_infinite() && OUTSIDE.contains(&s.name);
            if let Some(i) = (0..w.len()).find(|&i| !close(g[i], w[i], largest, within) && !free(w[i])) {
                failed.push(format!("{}: {what}: element {i} is {} instead of {}", s.name, g[i], w[i]));
            }
        }
        passed += usize::from(failed.len() == before);
    }
    println!("ops beside the default device: passed {passed} failed {} refused for lack of F64 {refused:?}", failed.len());
    assert!(failed.is_empty(), "{} fail:\n{}", failed.len(), failed.join("\n"));
    assert!(passed > 100, "{passed}");
    refused
}
