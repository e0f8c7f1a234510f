//! F64 on devices that have it: functions beside the host's, and what else is told apart by a number's width: parameters, constants, rows,
//! sorts, buffers that are bound as words, loops inside a kernel, pieces.

use super::fresh;
use crate::devices;
use crate::rng::Rng;
use lazuli::plan::{How, run_trace};
use lazuli::prelude::*;
use lazuli::trace::interp::HostTensor;
use lazuli::trace::{Binary, Trace, Unary, ValueId};
use lazuli::{Scalar, Shape};
use std::f64::consts::PI;

/// A device that has F64; where there is none, says so.
fn with_f64(what: &str) -> Option<Device> {
    let d = devices::wgpu(what)?;
    d.scope(|| devices::f64_on_current(what)).then_some(d)
}

const SPECIAL: [f64; 30] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    2.5,
    -2.5,
    2.0,
    3.0,
    -3.0,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    1e-20,
    -1e-20,
    709.78,
    709.79,
    -708.0,
    -746.0,
    1.0 - f64::EPSILON / 2.0,
    1.0 + f64::EPSILON,
    4503599627370497.5,
    9007199254740993.0,
    1048576.0,
    1e22,
];

/// Numbers of every size, near 1, around whole multiples of a quarter turn, integers and halves; and another beside each.
fn operands(n: usize) -> [Vec<f64>; 2] {
    let mut r = Rng(0x5eed);
    let (mut x, mut y): (Vec<f64>, Vec<f64>) = SPECIAL.iter().flat_map(|&a| SPECIAL.iter().map(move |&b| (a, b))).unzip();
    let wild = |r: &mut Rng| std::iter::from_fn(|| Some(f64::from_bits(r.bits()))).find(|x| x.is_normal()).unwrap_or(1.0);
    for k in 0..n - x.len() {
        let (a, b) = match k % 8 {
            0 => (wild(&mut r), wild(&mut r)),
            1 => (r.float(-1.0, 1.0), r.float(-1.0, 1.0)),
            2 => (r.float(-800.0, 800.0), r.float(-20.0, 20.0)),
            3 => (1.0 + r.float(-20.0, 0.0).exp2() * r.float(-1.0, 1.0), r.float(0.0, 30.0).exp2()),
            4 => ((r.float(0.0, 1e3) as i64) as f64 * (PI / 4.0), (r.float(-20.0, 20.0) as i64) as f64),
            5 => (r.float(0.0, 60.0).exp2() * (PI / 2.0), r.float(-3.0, 3.0)),
            6 => (r.float(-1000.0, 1000.0).exp2(), r.float(-1.0, 1.0)),
            _ => ((r.float(-100.0, 100.0) as i64) as f64 * 0.5, (r.float(-100.0, 100.0) as i64) as f64 * 0.5),
        };
        x.push(a);
        y.push(b);
    }
    [x, y]
}

fn tensor(v: &[f64]) -> HostTensor {
    HostTensor::from_scalars(DType::F64, Shape::new(&[v.len()]), v.iter().map(|&x| Scalar::Float(x)))
}

fn run(device: Device, inputs: &[Vec<f64>], build: &dyn Fn(&mut Trace, &[ValueId]) -> ValueId) -> Vec<f64> {
    let mut t = Trace::new();
    let args: Vec<ValueId> = inputs.iter().map(|x| t.input(DType::F64, Shape::new(&[x.len()]))).collect();
    t.outputs = vec![build(&mut t, &args)];
    let inputs: Vec<HostTensor> = inputs.iter().map(|x| tensor(x)).collect();
    let out = run_trace(&t, &inputs, &[], How::Fused, device.id()).unwrap_or_else(|e| panic!("{e}\n{t}"));
    out[0].scalars().map(|s| s.as_f64()).collect()
}

/// The distance in units of the last place, and whether the two are alike where that says nothing. Subnormal results may be zero.
fn apart(got: f64, want: f64) -> f64 {
    let tiny = |x: f64| x.abs() < f64::MIN_POSITIVE;
    if got.is_nan() && want.is_nan() || got == want || tiny(got) && tiny(want) {
        return 0.0;
    }
    if !got.is_finite() || !want.is_finite() || got.is_sign_negative() != want.is_sign_negative() {
        return f64::INFINITY;
    }
    got.to_bits().abs_diff(want.to_bits()) as f64
}

fn judge(name: &str, limit: f64, inputs: &[Vec<f64>], got: &[f64], want: &[f64]) -> Option<String> {
    let worst = (0..got.len()).max_by(|&a, &b| apart(got[a], want[a]).total_cmp(&apart(got[b], want[b])))?;
    let d = apart(got[worst], want[worst]);
    let at: Vec<f64> = inputs.iter().map(|x| x[worst]).collect();
    println!("{name}: at most {d} units of the last place apart, at {at:?}");
    (d > limit).then(|| format!("{name} of {at:?} is {:e}, on the host {:e}", got[worst], want[worst]))
}

/// Every function of F64, on numbers of every size.
#[test]
fn functions_are_those_of_the_host() {
    let Some(d) = with_f64("functions of F64") else { return };
    let all = operands(1 << 14);
    let mut wrong = Vec::new();
    for &op in Unary::ALL.iter().filter(|op| op.accepts(DType::F64)) {
        use Unary::*;
        let x = &all[..1];
        let [got, want] = [d, Device::cpu()].map(|d| run(d, x, &|t, v| t.unary(op, v[0])));
        let exact = matches!(op, Neg | Abs | Sign | Not | Sqrt | Recip | Floor | Ceil | Round | Trunc);
        wrong.extend(judge(op.name(), if exact { 0.0 } else { 4.0 }, x, &got, &want));
    }
    for &op in Binary::ALL.iter().filter(|op| op.accepts(DType::F64)) {
        let [got, want] = [d, Device::cpu()].map(|d| run(d, &all, &|t, v| t.binary(op, v[0], v[1])));
        let exact = !matches!(op, Binary::Pow | Binary::Atan2);
        wrong.extend(judge(op.name(), if exact { 0.0 } else { 4.0 }, &all, &got, &want));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// To every type: exact, or rounded once, on the host too.
#[test]
fn casts_round_once() {
    let Some(d) = with_f64("casts of F64") else { return };
    let mut x = operands(1 << 13)[0].clone();
    // Halfway between neighbours of the narrower types, and a little to either side: what two roundings would get wrong.
    let mut r = Rng(3);
    for (bits, low) in [(23, -149.0), (10, -24.0), (7, -133.0)] {
        for _ in 0..600 {
            let e = r.float(low - 1.0, 16.0).floor();
            let m = 1.0 + (r.float(0.0, 2f64.powi(bits)).floor() + 0.5) * 2f64.powi(-bits);
            let y = m * e.exp2();
            x.extend([y, -y, f64::from_bits(y.to_bits() + 1), f64::from_bits(y.to_bits() - 1)]);
        }
    }
    for to in DType::ALL {
        let want = HostTensor::from_scalars(to, Shape::new(&[x.len()]), x.iter().map(|&v| Scalar::Float(v).cast(to))).to_bytes();
        for d in [d, Device::cpu()] {
            // As bytes: nothing is cast on the way.
            let got = d.scope(|| Tensor::from_vec(x.clone(), [x.len()]).cast(to).to_bytes()).unwrap_or_else(|e| panic!("{to}: {e}"));
            let n = to.size();
            for (i, (g, w)) in got.chunks(n).zip(want.chunks(n)).enumerate() {
                let nan = to.is_float() && x[i].is_nan();
                assert!(g == w || nan, "{:e} as {to} on {d}: {g:x?} instead of {w:x?}", x[i]);
            }
        }
    }
}

fn close(what: &str, got: &Tensor, want: &Tensor) {
    assert_eq!((got.dtype(), got.shape()), (want.dtype(), want.shape()), "{what}");
    let values = |t: &Tensor| t.to_device(&Device::cpu()).cast(DType::F64).to_vec::<f64>();
    let (got, want) = (values(got).unwrap_or_else(|e| panic!("{what}: {e}")), values(want).unwrap());
    for (i, (a, b)) in got.iter().zip(&want).enumerate() {
        assert!(a == b || (a - b).abs() <= 1e-12 * (1.0 + b.abs()), "{what}, element {i}: {a}, on the cpu {b}");
    }
}

/// The same function on both, of a matrix of that shape.
fn both(what: &str, d: Device, shape: [usize; 2], f: impl Fn(&Tensor) -> Vec<Tensor>) {
    let run = |d: Device| {
        d.scope(|| {
            let mut r = Rng(21);
            let values: Vec<f64> = (0..shape[0] * shape[1]).map(|_| r.float(-1.0, 1.0)).collect();
            let all = f(&Tensor::from_vec(values, shape));
            lazuli::eval(&all).unwrap_or_else(|e| panic!("{what}: {e}"));
            all
        })
    };
    run(d).iter().zip(&run(Device::cpu())).for_each(|(g, w)| close(what, g, w));
}

const SHAPE: [usize; 2] = [60, 200];

type Case = (&'static str, fn(&Tensor) -> Vec<Tensor>);

const CASES: [Case; 11] = [
    ("numbers of the user's", |x| vec![x * 0.1 + 1e-300, Tensor::full([5], 0.1).cast(DType::F64) * 3.0]),
    ("infinities", |x| vec![x.gt(0.5).cast(DType::F64).log(), (x / x.zeros_like()).isinf()]),
    ("rows", |x| vec![x.sum(-1), x.max(-1), x.prod(-1), x.argmin(-1), x.softmax(-1)]),
    ("columns", |x| vec![x.sum(0), x.min(0), x.argmax(0), x.mean(..), x.max(..)]),
    ("scans", |x| vec![x.cumsum(1), x.cumsum(0), x.flip(0).cumsum(0)]),
    ("sorts", |x| {
        let (values, at) = x.sort(1);
        vec![values, at, x.t().sort(1).1]
    }),
    ("products", |x| vec![x.matmul(&x.t()), x.t().matmul(x).sin(), x.slice(s![.., 0..7]).matmul(&x.slice(s![0..7, 0..33]))]),
    ("gathers", |x| vec![x.index_select(1, &Tensor::from_vec(vec![7i64, 0, 199, 7], [4])) * 2.0]),
    ("transposed", |x| vec![x.t() + 0.0, x.flatten(0, 1) * 2.0, x.slice(s![3..50;3, 100..]) * 1.0]),
    ("a loop inside a kernel", |x| vec![fori_loop(0..20, x.clone(), |_, c: Tensor| &c * 0.75 + c.sin())]),
    ("a loop over rows", |x| {
        let (last, rows) = scan(x.slice(s![0]), x, |c: Tensor, row: Tensor| {
            let next = c * 0.5 + row;
            (next.clone(), next.sum(..))
        });
        vec![last, rows]
    }),
];

#[test]
fn everything_but_functions() {
    let Some(d) = with_f64("what is not a function of F64") else { return };
    CASES.iter().for_each(|(what, f)| both(what, d, SHAPE, f));
    // Large enough to be visited four at a time, where memory is whole fours, and where it is not.
    for shape in [[128, 1024], [129, 1022], [131, 1001]] {
        for (what, f) in CASES.iter().filter(|c| c.0 != "products" && c.0 != "a loop over rows") {
            both(&format!("{what} of {shape:?}"), d, shape, f);
        }
        let [a, b] = shape;
        both(&format!("turned and mixed, {shape:?}"), d, shape, |x| {
            let mixed = Tensor::where_(&x.gt(0.25), x, &(x.cast(DType::F32) * 2.0).cast(DType::F64));
            vec![x.t() * 3.0, x.reshape([b, a]).exp(), mixed.sum(0), mixed.cast(DType::F16), x.cast(DType::I64)]
        });
    }
    // The same draws, too.
    let draws = |d: Device| {
        d.scope(|| {
            manual_seed(5);
            Tensor::zeros([100]).cast(DType::F64).rand_like().to_bytes().unwrap()
        })
    };
    assert_eq!(draws(d), draws(Device::cpu()));
}

/// Bound in small parts, and as words beside other types.
#[test]
fn within_small_limits() {
    if with_f64("F64 within small limits").is_none() {
        return;
    }
    for (bound, buffer) in [(20_000, 1 << 30), (1 << 30, 30_000)] {
        let Some(d) = fresh("small bindings", |b| (b.binding_bytes, b.buffer_bytes) = (Some(bound), Some(buffer))) else { return };
        for (what, f) in CASES.iter().filter(|c| !["products", "columns", "gathers", "sorts", "scans", "a loop over rows"].contains(&c.0)) {
            both(what, d, SHAPE, f);
        }
    }
    let Some(d) = fresh("few bindings", |b| b.bindings = Some(3)) else { return };
    both("sixteen operands", d, SHAPE, |x| {
        let all: Vec<Tensor> = (0..16).map(|i| x.slice(s![i]) * (i as f64 + 0.5)).collect();
        let narrow: Vec<Tensor> = all.iter().map(|x| x.cast(DType::F16)).collect();
        lazuli::eval(&[all.clone(), narrow.clone()].concat()).unwrap();
        let mut sum = x.slice(s![20]) * 1.0;
        for (a, n) in all.iter().zip(&narrow) {
            sum = Tensor::where_(&n.gt(0.0), &(&sum + a), &(&sum - n.cast(DType::F64)));
        }
        vec![&sum * 2.0, sum.sum(..)]
    });
}

/// Nothing but the feature decides: at the limits of an application that asks for nothing, F64 is refused with the way out.
#[test]
fn without_the_feature_it_is_refused() {
    let Some(d) = fresh("the floor's features", |b| b.floor = true) else { return };
    d.scope(|| {
        let e = (Tensor::from_vec(vec![1.0f64, 2.0], [2]) + 1.0).eval().unwrap_err();
        assert!(e.kind() == lazuli::ErrorKind::DType && e.message().contains("no f64") && e.message().contains("cast"), "{e}");
    });
}
