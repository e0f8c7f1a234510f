//! Random stacks of transforms over random programs: recording, checkpoints and batches change nothing, in whatever order they are put around
//! and inside of derivatives; and the whole, as one program, has the derivatives that central differences give.

use lazuli::prelude::*;
use lazuli::trace::generate::random_program;
use lazuli::trace::interp::HostTensor;
use lazuli::trace::{Binary, Op, Reduce, Region, RegionKind, ScatterMode, Trace, Unary};
use lazuli::transform::check_grads;
use lazuli::{Policy, Program, checkpoint_with};
use proptest::prelude::*;
use std::sync::Arc;

type Function = Arc<dyn Fn(&Vec<Tensor>) -> Vec<Tensor> + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Layer {
    Jit,
    Checkpoint(u8),
    Vjp,
    Jvp,
    Vmap,
}

fn layers() -> impl Strategy<Value = Vec<Layer>> {
    let one = prop_oneof![
        2 => Just(Layer::Jit),
        3 => (0u8..4).prop_map(Layer::Checkpoint),
        2 => Just(Layer::Vjp),
        2 => Just(Layer::Jvp),
        2 => Just(Layer::Vmap),
    ];
    let few = |l: &Vec<Layer>| l.iter().filter(|l| matches!(l, Layer::Vjp | Layer::Jvp)).count() <= 2;
    prop::collection::vec(one, 1..5).prop_filter("at most two derivatives", few)
}

/// The program in F64, its params as inputs; `None` if a rule in it is made up.
fn base(seed: u64, size: usize) -> Option<(Trace, Vec<HostTensor>)> {
    fn wide(t: &Trace) -> Option<Trace> {
        let mut out = Trace::new();
        for inst in &t.insts {
            let dtype = if inst.dtype.is_float() { DType::F64 } else { inst.dtype };
            let op = match &inst.op {
                Op::Param(_) | Op::Input(_) => Op::Input(out.inputs.len() as u32),
                Op::Region(r) => match r.kind {
                    RegionKind::Checkpoint(_) => Op::Region(Arc::new(Region { kind: r.kind.clone(), body: Arc::new(wide(&r.body)?) })),
                    _ => return None,
                },
                op => op.clone(),
            };
            out.push_typed(op, &inst.args, dtype, inst.shape.clone(), None);
        }
        out.outputs = t.outputs.clone();
        Some(out)
    }
    let p = random_program(seed, size);
    let t = wide(&p.trace)?;
    let (mut inputs, mut params) = (p.inputs.iter(), p.params.iter());
    let values = p.trace.insts.iter().filter_map(|i| {
        let dtype = if i.dtype.is_float() { DType::F64 } else { i.dtype };
        match i.op {
            Op::Input(_) => inputs.next().map(|x| HostTensor::from_scalars(dtype, x.shape.clone(), x.scalars())),
            Op::Param(_) => params.next().map(|&p| HostTensor::full(dtype, lazuli::Shape::scalar(), p)),
            _ => None,
        }
    });
    let values = values.collect();
    Some((t, values))
}

fn tensor(h: &HostTensor) -> Tensor {
    Tensor::from_bytes(&h.to_bytes(), h.dtype, h.shape.clone()).unwrap()
}

/// A direction for each tensor: some wave for floats.
fn directions(like: &[Tensor]) -> Vec<Tensor> {
    let wave = |(k, t): (usize, &Tensor)| {
        if !t.dtype().is_float() {
            return t.zeros_like();
        }
        let at = Tensor::arange(t.numel() as i64).cast(t.dtype()) * 0.7 + k as f64;
        at.cos().reshape(t.shape().iter().map(|&n| n as isize).collect::<Vec<_>>())
    };
    like.iter().enumerate().map(wave).collect()
}

/// Two examples of each tensor.
fn examples(x: &[Tensor]) -> [Vec<Tensor>; 2] {
    let other = |t: &Tensor| if t.dtype().is_float() { t * 0.99 } else { t.clone() };
    [x.to_vec(), x.iter().map(other).collect()]
}

fn stacked(parts: &[Vec<Tensor>; 2]) -> Vec<Tensor> {
    parts[0].iter().zip(&parts[1]).map(|(a, b)| Tensor::stack(&[a, b], 0)).collect()
}

fn policy(k: u8) -> Policy {
    match k {
        0 => Policy::nothing(),
        1 => Policy::dots(),
        2 => Policy::when(|v| v.shape.numel() % 2 == 0),
        _ => Policy::everything(),
    }
}

/// One more layer; `plain`: what is there to change nothing is left out, and batches are loops.
fn wrap(f: Function, layer: Layer, plain: bool) -> Function {
    match layer {
        Layer::Jit | Layer::Checkpoint(_) if plain => f,
        Layer::Jit => {
            let j = jit(move |x: Vec<Tensor>| f(&x));
            Arc::new(move |x| j(x.clone()).unwrap())
        }
        Layer::Checkpoint(k) => {
            let c = checkpoint_with(policy(k), move |x: &Vec<Tensor>| f(x));
            Arc::new(move |x| c(x))
        }
        Layer::Vjp => Arc::new(move |x| {
            let (y, pull) = vjp(|x: &Vec<Tensor>| f(x), x);
            pull(&directions(&y))
        }),
        Layer::Jvp => Arc::new(move |x| jvp(|x: &Vec<Tensor>| f(x), x, &directions(x)).1),
        Layer::Vmap if plain => Arc::new(move |x| stacked(&examples(x).map(|x| f(&x)))),
        Layer::Vmap => Arc::new(move |x| vmap(|x: &Vec<Tensor>| f(x), 0)(&stacked(&examples(x)))),
    }
}

fn stack(f: &Function, layers: &[Layer], plain: bool) -> Function {
    layers.iter().fold(f.clone(), |f, &l| wrap(f, l, plain))
}

/// The first difference beyond rounding.
fn difference(a: &[Tensor], b: &[Tensor]) -> Option<String> {
    if a.len() != b.len() {
        return Some(format!("{} and {} results", a.len(), b.len()));
    }
    lazuli::eval(a).unwrap();
    lazuli::eval(b).unwrap();
    for (n, (a, b)) in a.iter().zip(b).enumerate() {
        if a.dtype() != b.dtype() || a.shape() != b.shape() {
            return Some(format!("result {n} is {} {} and {} {}", a.dtype(), a.shape(), b.dtype(), b.shape()));
        }
        let read = |t: &Tensor| t.cast(DType::F64).to_vec::<f64>().unwrap();
        let (x, y) = (read(a), read(b));
        let scale = x.iter().chain(&y).filter(|v| v.is_finite()).fold(1.0, |m: f64, v| m.max(v.abs()));
        for (i, (x, y)) in x.iter().zip(&y).enumerate() {
            let same = x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= 1e-8 * scale;
            if !same {
                return Some(format!("result {n}, element {i}: {x} and {y}"));
            }
        }
    }
    None
}

/// Whether the op bends or jumps, so that differences mislead.
fn kinked(t: &Trace) -> bool {
    t.insts.iter().any(|i| match &i.op {
        Op::Unary(u) => matches!(u, Unary::Abs | Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round | Unary::Trunc),
        Op::Binary(b) => matches!(b, Binary::Max | Binary::Min | Binary::Rem | Binary::Pow),
        Op::Reduce(k, _) | Op::Cumulative { kind: k, .. } => !matches!(k, Reduce::Sum),
        // (The derivative of a product is written in cases, by which of its factors are zero.)
        Op::Scatter(m, _) => matches!(m, ScatterMode::Max | ScatterMode::Min | ScatterMode::Prod),
        Op::ArgSort(_) | Op::Compare(_) => true,
        // To an integer, or a cast that has become one to its own dtype, which stops derivatives.
        Op::Cast => t.dtype(i.args[0]) == DType::F64,
        Op::Region(r) => kinked(&r.body),
        _ => false,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 60, max_global_rejects: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn order_and_company_change_nothing(seed in 0u64..100_000, size in 2usize..14, layers in layers()) {
        crate::devices::needs_f64!("order_and_company_change_nothing", Ok(()));
        let made = base(seed, size);
        prop_assume!(made.is_some());
        let (trace, inputs) = made.unwrap();
        prop_assume!(inputs.iter().any(|x| x.dtype.is_float()));
        let x: Vec<Tensor> = inputs.iter().map(tensor).collect();
        let p = Program::from_trace(trace.clone()).unwrap();
        let f: Function = Arc::new(move |x: &Vec<Tensor>| p.run(x).unwrap());
        let (have, want) = (stack(&f, &layers, false), stack(&f, &layers, true));
        let fault = difference(&have(&x), &want(&x));
        prop_assert!(fault.is_none(), "{layers:?}: {}\n{trace}", fault.unwrap());
        // Recorded as one program, it is what the interpreter says of its trace.
        let whole = Program::of(|x: &Vec<Tensor>| have(x), &x).unwrap();
        let said = lazuli::trace::interp::interpret(whole.trace(), &[&inputs[..], &weights(&whole)].concat(), &[]).unwrap();
        let said: Vec<Tensor> = said.iter().map(tensor).collect();
        let fault = difference(&said, &want(&x));
        prop_assert!(fault.is_none(), "interpreted, {layers:?}: {}\n{}", fault.unwrap(), whole.trace());
    }

    #[test]
    fn stacks_have_the_derivatives_of_central_differences(seed in 0u64..100_000, size in 2usize..10, layers in layers()) {
        crate::devices::needs_f64!("stacks_have_the_derivatives_of_central_differences", Ok(()));
        let made = base(seed, size);
        prop_assume!(made.is_some());
        let (trace, inputs) = made.unwrap();
        prop_assume!(!kinked(&trace) && inputs.iter().any(|x| x.dtype.is_float()));
        let x: Vec<Tensor> = inputs.iter().map(tensor).collect();
        let p = Program::from_trace(trace).unwrap();
        let f: Function = Arc::new(move |x: &Vec<Tensor>| p.run(x).unwrap());
        let have = stack(&f, &layers, false);
        let whole = Program::of(|x: &Vec<Tensor>| have(x), &x).unwrap();
        prop_assume!(whole.outputs().iter().any(|o| o.1.dtype.is_float()));
        let all = [&inputs[..], &weights(&whole)].concat();
        // Steep where a derivative is huge: differences say nothing there.
        let values = lazuli::trace::interp::interpret(whole.trace(), &all, &[]).unwrap();
        prop_assume!(values.iter().all(|v| v.scalars().all(|s| s.as_f64().abs() < 1e3)));
        if let Err(e) = check_grads(whole.trace(), &all, &[], 1) {
            prop_assert!(false, "{layers:?}: {e}\n{}", whole.trace());
        }
    }
}

/// What a program captured, in the order of its inputs.
fn weights(p: &Program) -> Vec<HostTensor> {
    let all = p.weights();
    let host = |t: &Tensor| HostTensor::from_bytes(t.dtype(), t.shape().clone(), &t.to_bytes().unwrap()).unwrap();
    (0..all.len()).map(|i| host(&all[&format!("w{i}")])).collect()
}
