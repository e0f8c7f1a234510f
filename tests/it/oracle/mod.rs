//! Every op of the Trace IR in every dtype it takes, on the device and through the whole compile path, against the reference interpreter.
//!
//! Traces are built directly; operands mix random numbers with special ones: NaN, infinities, -0, subnormals, the largest and smallest
//! values, ties; shapes include 0-d, empty ones and ones around the tile sizes. Tolerances are one table: [`tolerance`].

mod data;
mod elementwise;
mod moves;
mod reductions;
mod tolerance;

use crate::rng::Rng;
use lazuli::plan::How;
use lazuli::trace::interp::{HostTensor, interpret};
use lazuli::trace::{Trace, ValueId};
use lazuli::{DType, Device, ErrorKind, Scalar, Shape};
use tolerance::Class;

/// Runs traces and collects what is off, so that one test names every op that is.
pub struct Checker {
    device: Device,
    /// The device takes subnormal numbers of F32, of F64 for zero, as WGSL allows: operands have none then.
    flushes: [bool; 2],
    failures: Vec<String>,
    runs: usize,
    /// Runs of types that the device has not, refused with an error that says so.
    refused: usize,
}

impl Checker {
    pub fn on(device: Device) -> Checker {
        let flushes = [(DType::F32, 1e-40), (DType::F64, 1e-310)].map(|(d, tiny)| {
            let mut t = Trace::new();
            let (x, p) = (t.input(d, Shape::new(&[1])), t.param(d));
            let p = t.broadcast(p, &Shape::new(&[1]));
            t.outputs = vec![t.binary(lazuli::trace::Binary::Mul, x, p)];
            let x = HostTensor::from_scalars(d, Shape::new(&[1]), [Scalar::Float(tiny)]);
            match lazuli::plan::run_trace(&t, &[x], &[Scalar::Float(2.0)], How::Fused, device.id()) {
                Ok(twice) => twice[0].get(0).as_f64() == 0.0,
                Err(e) if d == DType::F64 && e.kind() == ErrorKind::DType => true,
                Err(e) => panic!("it doubles a number: {e}"),
            }
        });
        Checker { device, flushes, failures: Vec::new(), runs: 0, refused: 0 }
    }

    /// Whether the device takes that number for what it is.
    pub fn keeps(&self, d: DType, s: Scalar) -> bool {
        let x = s.as_f64();
        !(self.flushes[usize::from(d == DType::F64)] && x != 0.0 && x.abs() < tolerance::least_normal(d))
    }

    /// One trace, fused and unfused.
    pub fn check(&mut self, name: &str, trace: &Trace, inputs: &[HostTensor], params: &[Scalar], class: Class) {
        let kept = |d: DType, s: Scalar| if self.keeps(d, s) { s } else { Scalar::Float(0f64.copysign(s.as_f64())) };
        let inputs: &[HostTensor] = &inputs
            .iter()
            .map(|x| HostTensor::from_scalars(x.dtype, x.shape.clone(), x.scalars().map(|s| kept(x.dtype, s)).collect::<Vec<_>>()))
            .collect::<Vec<_>>();
        let params: &[Scalar] = &params.iter().map(|&s| kept(DType::F32, s)).collect::<Vec<_>>();
        let want = match interpret(trace, inputs, params) {
            Ok(w) => w,
            Err(e) => panic!("{name}: the test's trace is wrong: {e}\n{trace}"),
        };
        // How large the terms are whose rounding errors an accumulating op may show: the same program on magnitudes.
        let scale = class.accumulates().then(|| {
            let magnitudes: Vec<HostTensor> = inputs.iter().map(tolerance::magnitude).collect();
            interpret(trace, &magnitudes, params).expect("the same trace")
        });
        for fusing in [true, false] {
            self.runs += 1;
            let how = if fusing { "fused" } else { "unfused" };
            let run = std::panic::AssertUnwindSafe(|| {
                lazuli::plan::run_trace(trace, inputs, params, if fusing { How::Fused } else { How::Unfused }, self.device.id())
            });
            let got = match std::panic::catch_unwind(run) {
                Ok(Ok(g)) => g,
                Ok(Err(e)) if e.kind() == ErrorKind::DType && self.device.kind() == "wgpu" && e.message().contains("f64") => {
                    self.refused += 1;
                    continue;
                }
                Ok(Err(e)) => {
                    self.failures.push(format!("{name} {how}: {e}"));
                    continue;
                }
                Err(_) => {
                    self.failures.push(format!("{name} {how}: panicked"));
                    continue;
                }
            };
            if got.len() != want.len() {
                self.failures.push(format!("{name} {how}: {} outputs, expected {}", got.len(), want.len()));
                continue;
            }
            for (i, (g, w)) in got.iter().zip(&want).enumerate() {
                if let Err(e) = tolerance::compare(g, w, scale.as_ref().map(|s| &s[i]), class, self.device.kind() == "wgpu") {
                    let shown: Vec<String> = inputs.iter().map(|x| format!("{} {}", x.dtype, x.shape)).collect();
                    self.failures.push(format!("{name} {how}, output {i}, on {}: {e}", shown.join(", ")));
                }
            }
        }
    }

    /// A trace of one result, built from inputs of the given values.
    pub fn op(&mut self, name: &str, inputs: &[HostTensor], class: Class, build: impl FnOnce(&mut Trace, &[ValueId]) -> ValueId) {
        let mut t = Trace::new();
        let args: Vec<ValueId> = inputs.iter().map(|x| t.input(x.dtype, x.shape.clone())).collect();
        let out = build(&mut t, &args);
        t.outputs = vec![out];
        self.check(name, &t, inputs, &[], class);
    }

    /// Fails the test with everything that was off.
    pub fn finish(self) {
        assert!(self.runs > self.refused);
        if self.refused > 0 {
            println!("{}: {} runs, {} of them refused", self.device, self.runs, self.refused);
        }
        let n = self.failures.len();
        assert!(n == 0, "{n} of {} runs are off:\n{}", self.runs, self.failures[..n.min(40)].join("\n"));
    }
}

/// Shapes every op is run on where its rule allows it.
pub fn shapes() -> Vec<Shape> {
    [&[][..], &[1], &[0], &[7], &[2, 0, 3], &[3, 5], &[4, 1, 6], &[257], &[16, 33], &[2, 3, 4, 5]].map(Shape::new).to_vec()
}

pub fn rng(name: &str) -> Rng {
    Rng(name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ b as u64).wrapping_mul(0x100_0000_01b3)))
}

pub const FLOATS: [DType; 4] = [DType::F32, DType::F16, DType::BF16, DType::F64];
