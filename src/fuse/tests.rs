//! Fused programs against the trace interpreter, without any backend: kernels run in the Loop IR interpreter on real arena bytes.

use super::Limits;
use crate::base::{DType, Scalar, Shape};
use crate::loops::interp;
use crate::plan::PlanResult;
use crate::plan::compile::{self, Lowering};
use crate::trace::generate;
use crate::trace::interp::HostTensor;
use crate::trace::{Binary, Reduce, Trace, Unary};

fn lowered(text: &str) -> Lowering {
    let t: Trace = text.parse().unwrap();
    compile::lower(&t, compile::Target { fusing: true, alignment: 64, limits: Limits::default() }, &[]).unwrap()
}

fn kernels(text: &str) -> usize {
    lowered(text).schedule.launches.len()
}

fn run(l: &Lowering, inputs: &[HostTensor], params: &[crate::base::Scalar], shapes: &[HostTensor]) -> Vec<HostTensor> {
    let outs = interp::run_schedule(&l.schedule, inputs, params).unwrap();
    l.results
        .iter()
        .zip(shapes)
        .map(|(r, like)| {
            let mut h = match *r {
                PlanResult::Output(i) => outs[i as usize].clone(),
                PlanResult::Leaf(i) => inputs[i as usize].clone(),
            };
            h.shape = like.shape.clone();
            h
        })
        .collect()
}

#[test]
fn random_programs_fused_and_unfused() {
    for seed in 0..400 {
        let p = generate::random_program(seed, 3 + seed as usize % 30);
        let (t, inputs, params) = generate::random_trace(seed, 3 + seed as usize % 30);
        let want = p.expected();
        for fusing in [true, false] {
            let l = compile::lower(&t, compile::Target { fusing, alignment: 64, limits: Limits::default() }, &[])
                .unwrap_or_else(|e| panic!("seed {seed} fusing {fusing}: {e}\n{t}"));
            let got = run(&l, &inputs, &params, &want);
            if let Err(e) = p.check(&got) {
                panic!("seed {seed} fusing {fusing}: {e}\n{t}");
            }
        }
    }
}

#[test]
fn softmax_is_one_kernel() {
    let t = "%0 = input 0 : f32[4, 30]
%1 = reduce max axes=[1] %0 : f32[4]
%2 = reshape %1 : f32[4, 1]
%3 = broadcast %2 : f32[4, 30]
%4 = sub %0 %3 : f32[4, 30]
%5 = exp %4 : f32[4, 30]
%6 = reduce sum axes=[1] %5 : f32[4]
%7 = reshape %6 : f32[4, 1]
%8 = broadcast %7 : f32[4, 30]
%9 = div %5 %8 : f32[4, 30]
return %9
";
    assert_eq!(kernels(t), 1);
}

#[test]
fn standardised_columns_are_one_kernel() {
    let t = "%0 = input 0 : f32[40, 3]
%1 = const 0.025 : f32[]
%2 = broadcast %1 : f32[3]
%3 = reduce sum axes=[0] %0 : f32[3]
%4 = mul %3 %2 : f32[3]
%5 = broadcast %4 : f32[40, 3]
%6 = sub %0 %5 : f32[40, 3]
%7 = mul %6 %6 : f32[40, 3]
%8 = reduce sum axes=[0] %7 : f32[3]
%9 = mul %8 %2 : f32[3]
%10 = sqrt %9 : f32[3]
%11 = broadcast %10 : f32[40, 3]
%12 = div %6 %11 : f32[40, 3]
return %12
";
    assert_eq!(kernels(t), 1);
}

#[test]
fn bias_and_activation_are_the_matmuls_epilogue() {
    let t = "%0 = input 0 : f32[8, 5]
%1 = input 1 : f32[5, 7]
%2 = input 2 : f32[7]
%3 = dot %0 %1 : f32[8, 7]
%4 = broadcast %2 : f32[8, 7]
%5 = add %3 %4 : f32[8, 7]
%6 = tanh %5 : f32[8, 7]
return %6
";
    assert_eq!(kernels(t), 1);
}

#[test]
fn a_long_sum_has_two_phases() {
    let t = "%0 = input 0 : f32[1000000]
%1 = exp %0 : f32[1000000]
%2 = reduce sum axes=[0] %1 : f32[]
return %2
";
    assert_eq!(kernels(t), 2);
}

/// A kernel of limited size, and one that concatenates few operands.
#[test]
fn kernels_are_no_larger_than_the_limits() {
    let mut t = Trace::new();
    let x = t.input(DType::F32, Shape::new(&[5]));
    let parts: Vec<_> = (0..100).map(|i| t.binary_const(Binary::Mul, x, f64::from(i))).collect();
    let wide = t.concat(&parts, 0);
    let sum = t.reduce(Reduce::Max, wide, &[0]);
    let mut chain = x;
    for i in 0..300 {
        chain = if i % 2 == 0 { t.unary(Unary::Sin, chain) } else { t.binary(Binary::Mul, chain, x) };
    }
    t.outputs.extend([sum, chain]);
    let input = HostTensor::from_slice([5], &[0.5f32, -1.0, 2.0, 0.0, 0.25]).unwrap();
    let want = crate::trace::interp::interpret(&t, std::slice::from_ref(&input), &[]).unwrap();
    // Two concatenations of 20 are one kernel of 42 values.
    for (values, operands, least) in [(4096, usize::MAX, 1), (50, 20, 1 + 3 + 6), (7, 17, 1 + 6 + 300 / 7)] {
        let target = compile::Target { fusing: true, alignment: 64, limits: Limits { values, operands } };
        let l = compile::lower(&t, target, &[]).unwrap();
        assert!(l.schedule.launches.iter().flat_map(|l| l.instances()).count() >= least, "{values} values");
        for k in l.schedule.launches.iter().flat_map(|l| l.instances()) {
            assert!(k.kernel.args.len() <= operands.saturating_add(3), "{}", k.kernel);
        }
        let got = run(&l, std::slice::from_ref(&input), &[], &want);
        for (g, w) in got.iter().zip(&want) {
            assert!(
                g.to_vec::<f32>().iter().zip(w.to_vec::<f32>()).all(|(a, b)| (a - b).abs() <= 1e-4 * (1.0 + b.abs())),
                "{values} values"
            );
        }
    }
}

/// Halves are summed in f32 between the phases, and a batch keeps its axes.
#[test]
fn a_product_with_a_long_sum_has_two_phases() {
    for (dtype, batch) in [("f32", ""), ("f16", ""), ("f32", "2, ")] {
        let t = format!(
            "%0 = input 0 : {dtype}[{batch}3, 16384]
%1 = input 1 : {dtype}[{batch}16384, 2]
%2 = dot %0 %1 : {dtype}[{batch}3, 2]
return %2
"
        );
        assert_eq!(kernels(&t), 2);
        let trace: Trace = t.parse().unwrap();
        let make = |v: usize| {
            let shape = trace.shape(trace.inputs[v]).clone();
            let n = shape.numel();
            let numbers = (0..n).map(|i| Scalar::Float(((i * 7919 + v) % 61) as f64 / 16.0 - 1.875));
            HostTensor::from_scalars(trace.dtype(trace.inputs[v]), shape, numbers)
        };
        let inputs = [make(0), make(1)];
        let want = crate::trace::interp::interpret(&trace, &inputs, &[]).unwrap();
        let got = run(&lowered(&t), &inputs, &[], &want);
        for i in 0..want[0].numel() {
            let (a, b) = (got[0].get(i).as_f64(), want[0].get(i).as_f64());
            assert!((a - b).abs() <= 1e-3 * b.abs().max(1.0), "{t}element {i}: {a}, expected {b}");
        }
    }
}
