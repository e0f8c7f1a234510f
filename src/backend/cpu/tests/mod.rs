//! Kernels by hand against the Loop IR interpreter: every archetype, shape class, access form and dtype.

mod bench;
mod contractions;
mod pointwise;
mod random;
mod reductions;
mod runtime;

use super::executable::CpuExecutable;
use crate::base::{DType, Scalar, Shape, Storage};
use crate::loops::schedule::{Instance, Launch, Place, Schedule, Slot, SlotId};
use crate::loops::{Access, Kernel, interp};
use crate::trace::interp::HostTensor;
use std::sync::Arc;

/// A splitmix generator: tests are the same on every run.
pub struct Rng(pub u64);
impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Values of `dtype`: floats in -2..2, small integers.
pub fn random(dtype: DType, n: usize, rng: &mut Rng) -> HostTensor {
    HostTensor::from_scalars(
        dtype,
        Shape::from([n]),
        (0..n).map(|_| match dtype {
            DType::Bool => Scalar::Bool(rng.next() & 1 == 1),
            d if d.is_float() => Scalar::Float(rng.unit() * 4.0 - 2.0),
            DType::U8 | DType::U32 => Scalar::Int(rng.below(11) as i64),
            _ => Scalar::Int(rng.below(21) as i64 - 10),
        }),
    )
}

/// Builds the text of a kernel.
pub struct Text {
    head: String,
    nodes: String,
    passes: String,
    indices: usize,
    exprs: usize,
}

impl Text {
    pub fn new(kind: &str, axes: &[(usize, bool)], args: &str, rest: &str) -> Text {
        let axes: Vec<String> = axes.iter().map(|(e, r)| format!("{e}{}", if *r { " row" } else { "" })).collect();
        let axes = if axes.is_empty() { String::new() } else { format!("axes {}\n", axes.join(", ")) };
        let rest = if rest.is_empty() { String::new() } else { format!("{rest}\n") };
        Text {
            head: format!("kernel {kind}\n{axes}args {args}\n{rest}"),
            nodes: String::new(),
            passes: String::new(),
            indices: 0,
            exprs: 0,
        }
    }
    pub fn n(&mut self, text: &str) -> String {
        self.nodes += &format!("n{} = {text}\n", self.indices);
        self.indices += 1;
        format!("n{}", self.indices - 1)
    }
    /// `base + sum(stride * axis)`.
    pub fn ix(&mut self, strides: &[i64], base: i64) -> String {
        let mut at = self.n(&base.to_string());
        for (k, &s) in strides.iter().enumerate() {
            if s != 0 {
                let a = self.n(&format!("i{k}"));
                let m = self.n(&format!("{a} * {s}"));
                at = self.n(&format!("{at} + {m}"));
            }
        }
        at
    }
    pub fn e(&mut self, dtype: &str, text: &str) -> String {
        self.nodes += &format!("e{}: {dtype} = {text}\n", self.exprs);
        self.exprs += 1;
        format!("e{}", self.exprs - 1)
    }
    pub fn pass(&mut self, row: bool, lines: &[String]) {
        self.passes += &format!("pass {} {}\n", self.passes.matches("pass").count(), if row { "row" } else { "outer" });
        for l in lines {
            self.passes += &format!("  {l}\n");
        }
    }
    pub fn build(&self) -> Kernel {
        // Indices come before expressions in the text.
        let (n, e): (Vec<&str>, Vec<&str>) = self.nodes.lines().partition(|l| l.starts_with('n'));
        let text = format!("{}{}\n{}\n{}", self.head, n.join("\n"), e.join("\n"), self.passes);
        text.parse().unwrap_or_else(|e| panic!("{e}\n{text}"))
    }
}

/// A schedule of one launch: read arguments are inputs, written ones outputs, updated ones arena slots... which inputs serve here, since
/// every run gets fresh copies.
pub fn schedule(kernels: &[Kernel]) -> Schedule {
    let mut s = Schedule::default();
    let (mut inputs, mut outputs) = (0, 0);
    let mut launch = Vec::new();
    for k in kernels {
        let slots = k
            .args
            .iter()
            .map(|a| {
                let place = if a.access == Access::Write {
                    outputs += 1;
                    Place::Output(outputs - 1)
                } else {
                    inputs += 1;
                    Place::Input(inputs - 1)
                };
                s.slots.push(Slot { dtype: a.dtype, numel: a.numel, place });
                SlotId(s.slots.len() as u32 - 1)
            })
            .collect();
        let first = s.params.len() as u32;
        s.params.extend(&k.params);
        let params = (first..s.params.len() as u32).collect();
        launch.push(Instance { kernel: Arc::new(k.clone()), slots, params });
    }
    s.launches.push(Launch::Kernels(launch));
    s
}

pub fn upload(t: &HostTensor) -> Arc<dyn Storage> {
    super::device().upload(&t.to_bytes()).unwrap()
}

pub fn download(s: &Arc<dyn Storage>, dtype: DType, n: usize) -> HostTensor {
    let mut bytes = vec![0; n * dtype.size()];
    super::device().download(&**s, &mut bytes).unwrap();
    HostTensor::from_bytes(dtype, Shape::from([n]), &bytes).unwrap()
}

/// Runs the kernel on the device; returns its written and updated arguments.
pub fn run_device(k: &Kernel, args: &[HostTensor], params: &[Scalar]) -> Vec<HostTensor> {
    let exe = CpuExecutable::new(&schedule(std::slice::from_ref(k))).unwrap();
    let inputs: Vec<_> = k.args.iter().zip(args).filter(|(a, _)| a.access != Access::Write).map(|(_, t)| upload(t)).collect();
    let outputs = exe.run(&inputs, params).unwrap();
    let (mut i, mut o) = (inputs.iter(), outputs.iter());
    k.args
        .iter()
        .filter_map(|a| match a.access {
            Access::Write => o.next().map(|s| download(s, a.dtype, a.numel)),
            Access::Update => i.next().map(|s| download(s, a.dtype, a.numel)),
            Access::Read => {
                i.next();
                None
            }
        })
        .collect()
}

pub fn assert_close(got: &HostTensor, want: &HostTensor, tolerance: f64, what: &str) {
    assert_eq!(got.numel(), want.numel());
    for i in 0..got.numel() {
        let (a, b) = (got.get(i).as_f64(), want.get(i).as_f64());
        let same = a == b || (a.is_nan() && b.is_nan());
        let near = got.dtype.is_float() && (a - b).abs() <= tolerance * (1.0 + b.abs());
        assert!(same || near, "{what}: element {i} is {a}, should be {b}");
    }
}

pub fn tolerance(d: DType) -> f64 {
    match d {
        DType::F64 => 1e-11,
        DType::F16 => 2e-3,
        DType::BF16 => 1.6e-2,
        _ => 1e-5,
    }
}

/// Device and interpreter agree on given arguments.
pub fn compare(k: &Kernel, args: Vec<HostTensor>, params: &[Scalar]) {
    let mut want = args.clone();
    interp::run(k, &mut want, params).unwrap_or_else(|e| panic!("{e}\n{k}"));
    let got = run_device(k, &args, params);
    let written = k.args.iter().zip(want).filter(|(a, _)| a.access != Access::Read);
    for (n, ((a, w), g)) in written.zip(&got).enumerate() {
        assert_close(g, &w, tolerance(a.dtype), &format!("output {n} of\n{k}"));
    }
}

/// Device and interpreter agree on random arguments.
pub fn check(k: &Kernel, params: &[Scalar]) {
    let mut rng = Rng(k.args.iter().map(|a| a.numel as u64).sum());
    let args = k.args.iter().map(|a| random(a.dtype, a.numel, &mut rng)).collect();
    compare(k, args, params);
}
