//! Checking derivatives numerically, with the reference interpreter.

use super::{jvp, vjp};
use crate::base::error::bail;
use crate::base::{DType, Result, Scalar, Shape};
use crate::trace::interp::{HostTensor, interpret};
use crate::trace::{Op, Trace, ValueId};
use std::sync::Arc;

/// Directions tried at each order.
const TRIALS: u64 = 2;
/// Step of the central differences; their error is some `STEP^4`, plus rounding of some `1e-16 / STEP`.
const STEP: f64 = 1e-4;

/// Checks the derivatives of a trace at a point, in f64 whatever its float dtypes are: forward mode against central
/// differences, reverse against forward mode by inner products, and to higher orders the same for these derivatives.
///
/// The point should have no kink within some 1e-3. Only float inputs are moved. A function with only a reverse rule
/// (`CustomVjp`) cannot be checked, since there is no forward mode to compare.
///
/// # Errors
/// `Gradient`, saying where two derivatives differ by more than about 1e-6 (relative above 1); `Argument` if there is no
/// float input or output; whatever the interpreter and the transforms report.
pub fn check_grads(t: &Trace, inputs: &[HostTensor], params: &[Scalar], order: usize) -> Result<()> {
    let wide: Vec<HostTensor> = inputs
        .iter()
        .map(|x| if x.dtype.is_float() { HostTensor::from_scalars(DType::F64, x.shape.clone(), x.scalars()) } else { x.clone() })
        .collect();
    check(&widen(t), &wide, params, order, "")
}

fn check(t: &Trace, inputs: &[HostTensor], params: &[Scalar], order: usize, of: &str) -> Result<()> {
    if order == 0 {
        return Ok(());
    }
    let xs: Vec<usize> = (0..inputs.len()).filter(|&i| inputs[i].dtype.is_float()).collect();
    let ys: Vec<ValueId> = t.outputs.iter().copied().filter(|&o| t.dtype(o).is_float()).collect();
    if xs.is_empty() || ys.is_empty() {
        bail!(Argument, "check_grads: the trace needs a float input and a float output");
    }
    let wrt: Vec<ValueId> = xs.iter().map(|&i| t.inputs[i]).collect();

    let mut forward = t.clone();
    let seeds: Vec<(ValueId, ValueId)> = wrt.iter().map(|&x| (x, like(&mut forward, x))).collect();
    let tangents = jvp(&mut forward, &seeds, &ys)?;
    forward.outputs = tangents.iter().flatten().copied().collect();

    let mut reverse = t.clone();
    let seeds: Vec<(ValueId, ValueId)> = ys.iter().map(|&y| (y, like(&mut reverse, y))).collect();
    let cotangents = vjp(&mut reverse, &seeds, &wrt)?;
    reverse.outputs = cotangents.iter().flatten().copied().collect();

    let mut primal = t.clone();
    primal.outputs = ys.clone();
    for trial in 0..TRIALS {
        let mut random = Random(0x9e37_79b9 + trial + ((order as u64) << 8));
        let u: Vec<HostTensor> = xs.iter().map(|&i| random.tensor(&inputs[i].shape)).collect();
        let w: Vec<HostTensor> = ys.iter().map(|&y| random.tensor(t.shape(y))).collect();
        let dy = spread(&tangents, interpret(&forward, &[inputs, &u].concat(), params)?, &w);
        let dx = spread(&cotangents, interpret(&reverse, &[inputs, &w].concat(), params)?, &u);

        let at = |step: f64| {
            let mut moved = inputs.to_vec();
            for (&i, u) in xs.iter().zip(&u) {
                let values = inputs[i].scalars().zip(u.scalars()).map(|(x, u)| Scalar::Float(x.as_f64() + step * u.as_f64()));
                moved[i] = HostTensor::from_scalars(DType::F64, inputs[i].shape.clone(), values);
            }
            interpret(&primal, &moved, params)
        };
        let points = [at(-2.0 * STEP)?, at(-STEP)?, at(STEP)?, at(2.0 * STEP)?];
        for (k, dy) in dy.iter().enumerate() {
            for (e, &got) in dy.iter().enumerate() {
                let [a, b, c, d] = [0, 1, 2, 3].map(|p: usize| points[p][k].get(e).as_f64());
                let want = (a - 8.0 * b + 8.0 * c - d) / (12.0 * STEP);
                let scale = [a, b, c, d].iter().fold(1.0 + want.abs(), |m: f64, x| m.max(x.abs()));
                if !within(got, want, 1e-6 * scale) {
                    bail!(Gradient, "check_grads: {of}forward mode yields {got} for element {e} of output {k}, central differences {want}");
                }
            }
        }
        let (a, b, size) = (inner(&w, &dy), inner(&u, &dx), inner_abs(&w, &dy) + inner_abs(&u, &dx));
        if !within(a, b, 1e-9 * (1.0 + size)) {
            bail!(Gradient, "check_grads: {of}forward and reverse mode differ: {a} and {b}");
        }
        if trial == 0 && order > 1 {
            if !forward.outputs.is_empty() {
                check(&forward, &[inputs, &u].concat(), params, order - 1, &format!("of {of}forward mode, "))?;
            }
            if !reverse.outputs.is_empty() {
                check(&reverse, &[inputs, &w].concat(), params, order - 1, &format!("of {of}reverse mode, "))?;
            }
        }
    }
    Ok(())
}

/// False for NaN.
fn within(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance
}

/// A new input of the type of `v`.
fn like(t: &mut Trace, v: ValueId) -> ValueId {
    let (dtype, shape) = (t.dtype(v), t.shape(v).clone());
    t.input(dtype, shape)
}

/// The elements of each result; zeros of the shape in `like` where there is none.
fn spread(present: &[Option<ValueId>], values: Vec<HostTensor>, like: &[HostTensor]) -> Vec<Vec<f64>> {
    let mut values = values.into_iter();
    let elements = |v: HostTensor| v.scalars().map(Scalar::as_f64).collect();
    present.iter().zip(like).map(|(p, z)| p.and_then(|_| values.next()).map_or_else(|| vec![0.0; z.numel()], elements)).collect()
}

fn inner(a: &[HostTensor], b: &[Vec<f64>]) -> f64 {
    a.iter().zip(b).flat_map(|(a, b)| a.scalars().zip(b)).map(|(a, b)| a.as_f64() * b).sum()
}

fn inner_abs(a: &[HostTensor], b: &[Vec<f64>]) -> f64 {
    a.iter().zip(b).flat_map(|(a, b)| a.scalars().zip(b)).map(|(a, b)| (a.as_f64() * b).abs()).sum()
}

/// Numbers in -1..1 (splitmix64), the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn tensor(&mut self, shape: &Shape) -> HostTensor {
        let values: Vec<Scalar> = (0..shape.numel()).map(|_| Scalar::Float(self.next())).collect();
        HostTensor::from_scalars(DType::F64, shape.clone(), values)
    }
}

/// The same program with every float in f64.
fn widen(t: &Trace) -> Trace {
    let mut out = t.clone();
    let wide = |b: &Arc<Trace>| Arc::new(widen(b));
    for inst in &mut out.insts {
        if inst.dtype.is_float() {
            inst.dtype = DType::F64;
        }
        if let Op::Region(r) = &inst.op {
            inst.op = Op::Region(Arc::new(r.with_traces(wide)));
        }
    }
    out
}
