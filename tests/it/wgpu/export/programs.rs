//! Programs of every kind of kernel, with arguments to run them on.

use crate::rng::Rng;
use lazuli::data::Mnist;
use lazuli::models::Mlp;
use lazuli::optim::Adam;
use lazuli::prelude::*;
use lazuli::{Program, fori_loop};

/// A program and what it runs on.
#[derive(Clone)]
pub struct Case {
    pub name: &'static str,
    pub program: Program,
    pub arguments: Vec<Tensor>,
}

fn case(name: &'static str, arguments: Vec<Tensor>, f: impl Fn(&[Tensor]) -> Vec<Tensor>) -> Case {
    let program = Program::new(f, &arguments).unwrap_or_else(|e| panic!("{name}: {e}"));
    Case { name, program, arguments }
}

fn floats(seed: u64, shape: &[usize]) -> Tensor {
    Tensor::from_vec(Rng(seed).floats(shape.iter().product(), -1.0, 1.0), shape)
}

fn ids(seed: u64, n: usize, below: f32) -> Tensor {
    Tensor::from_vec(Rng(seed).floats(n, 0.0, below).into_iter().map(|x| x as i64).collect::<Vec<_>>(), [n])
}

pub fn all() -> Vec<Case> {
    let weight = floats(1, &[48, 20]);
    let filters = floats(2, &[8, 3, 3, 3]);
    let step = floats(3, &[16, 16]) * 0.3;
    vec![
        case("elementwise", vec![floats(4, &[33, 65]), floats(5, &[65])], |x| vec![(x[0].sin() * 2.0 + &x[1]).tanh() / (x[0].abs() + 0.5)]),
        case("reduction", vec![floats(6, &[37, 513])], |x| vec![x[0].sum(-1), x[0].amax(0), x[0].var(.., 1)]),
        case("matmul", vec![floats(7, &[70, 48])], move |x| vec![x[0].matmul(&weight).relu()]),
        case("convolution", vec![floats(8, &[2, 3, 17, 19])], move |x| vec![x[0].conv2d(&filters, None, [1], [1], [1], 1).relu()]),
        case("softmax", vec![floats(9, &[40, 300])], |x| vec![x[0].softmax(-1), x[0].log_softmax(0)]),
        case("gather and scatter", vec![floats(10, &[50, 12]), ids(11, 90, 50.0)], |x| {
            let rows = x[0].index_select(0, &x[1]);
            let sums = Tensor::zeros([50, 12]).index_add(0, &x[1], &(&rows * 2.0));
            vec![rows, sums]
        }),
        case("sort", vec![floats(12, &[6, 700])], |x| {
            let (values, order) = x[0].sort(-1);
            vec![values, order]
        }),
        case("running sums", vec![floats(13, &[5, 3000]), ids(14, 999, 7.0)], |x| vec![x[0].cumsum(-1), x[1].cumsum(0)]),
        case("a loop", vec![floats(15, &[16, 16])], move |x| {
            vec![fori_loop(0..5, x[0].clone(), |i, s| s.matmul(&step).tanh() + i.cast(DType::F32))]
        }),
        case("packed types", vec![floats(16, &[7, 31]).cast(DType::BF16), floats(17, &[7, 31]).cast(DType::F16)], |x| {
            let (a, b) = (&x[0] * 3.0, &x[1] + 1.0);
            let bytes = (b.cast(DType::F32) * 50.0).cast(DType::U8);
            vec![a.gt(0.25), bytes, a, b]
        }),
        case("integers", vec![ids(18, 77, 1e6), ids(19, 77, 900.0)], |x| vec![(&x[0] * &x[1] * 100_003).remainder(7919), x[0].amin(..)]),
        case("an argument as it is", vec![floats(20, &[9]), floats(21, &[9])], |x| vec![x[1].clone(), &x[0] + 1.0]),
        branch(),
    ]
}

/// Launches that data decide about.
pub fn branch() -> Case {
    case("a branch", vec![floats(22, &[40, 40])], |x| {
        let predicate = x[0].sum(..).gt(0.0);
        vec![cond(&predicate, |x: &Tensor| x.matmul(x) * 0.5, |x: &Tensor| x.softmax(-1), &x[0])]
    })
}

/// A network that reads digits, after some steps of training, and digits that it has not seen.
pub fn trained() -> Case {
    lazuli::manual_seed(0);
    let data = Mnist::load(concat!(env!("CARGO_MANIFEST_DIR"), "/data/mnist10k")).expect("digits");
    let mut model = Mlp::new(&[784, 32, 10]);
    let mut adam = Adam::new(3e-3);
    for batch in data.train.batches(64).expect("batches").shuffle(0, 1).take(20) {
        let (x, y) = batch.expect("a batch");
        let grads = grad(|m: &Mlp| m.forward(&x).cross_entropy(&y), &model);
        adam.step(&mut model, &grads).expect("a step");
    }
    let (images, _) = data.test.get(&(0..50).collect::<Vec<_>>()).expect("images");
    case("a trained network", vec![images], |x| vec![model.forward(&x[0]).softmax(-1)])
}
