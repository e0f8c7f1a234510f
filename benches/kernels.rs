//! Small versions of the main cases: a change in a kernel's code shows here in seconds. Whole sizes: `lazuli bench`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lazuli::{Tensor, eval};
use std::time::Duration;

/// Numbers between -1 and 1 without pattern.
fn noise(shape: &[usize], seed: u64) -> Tensor {
    let mut s = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        (s >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    Tensor::from_vec((0..shape.iter().product()).map(|_| next()).collect(), shape)
}

/// Times recording and evaluating `f`; throughput is in the bytes or elements given.
fn case(c: &mut Criterion, name: &str, throughput: Throughput, f: impl Fn() -> Tensor) {
    let mut group = c.benchmark_group("kernels");
    group.throughput(throughput);
    group.bench_function(name, |b| {
        b.iter(|| {
            let y = f();
            eval(&[&y]).expect("the case is evaluated");
            y
        })
    });
    group.finish();
}

fn kernels(c: &mut Criterion) {
    let f32s = |n: usize| Throughput::Bytes(4 * n as u64);
    let x = noise(&[1 << 18], 1);
    case(c, "ew_chain_256Ki", f32s(2 << 18), || (&x * 2.0 + 1.0).tanh() * &x + 0.5);
    case(c, "ew_sum_256Ki", f32s(1 << 18), || ((-&x) * &x).exp().sum(..));
    let rows = noise(&[256, 1024], 2);
    let (gamma, beta) = (noise(&[1024], 3), noise(&[1024], 4));
    case(c, "softmax_256x1024", f32s(2 << 18), || rows.softmax(-1));
    case(c, "layernorm_256x1024", f32s(2 << 18), || {
        let d = &rows - rows.mean_keepdim(-1);
        let var = d.square().mean_keepdim(-1);
        d * (var + 1e-5).rsqrt() * &gamma + &beta
    });
    case(c, "reduce_axis0_256x1024", f32s(1 << 18), || rows.sum(0));
    case(c, "reduce_axis1_256x1024", f32s(1 << 18), || rows.sum(1));
    let square = noise(&[512, 512], 5);
    case(c, "transpose_add_512", f32s(3 << 18), || square.t() + &square);
    let table = noise(&[4096, 64], 6);
    let ids = Tensor::from_vec((0..1024i64).map(|i| i * 2_654_435_761 % 4096).collect(), [1024]);
    case(c, "gather_1024x64", f32s(2 << 16), || table.index_select(0, &ids));
    case(c, "matmul_256", Throughput::Elements(2 << 24), || {
        let m = square.reshape([4, 256, 256]).select(0, 0);
        m.matmul(&m)
    });
    let (image, kernel) = (noise(&[1, 16, 32, 32], 7), noise(&[16, 16, 3, 3], 8));
    case(c, "conv3x3_16x32x32", Throughput::Elements(2 * 16 * 16 * 9 * 1024), || image.conv2d(&kernel, None, [1], [1], [1], 1));
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = kernels
}
criterion_main!(benches);
