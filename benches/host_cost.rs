//! What the host pays: recording and dropping operations, and evaluating what has been compiled before.
//!
//! Chains of at most 1000 operations on 16 elements, so that the arithmetic is next to nothing and nothing is flushed by itself.
//! Divide by the number of operations for the cost of one.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lazuli::Tensor;
use std::hint::black_box;
use std::time::Duration;

const OPS: [usize; 5] = [1, 10, 100, 1000, 10_000];
const LONGEST: usize = 1000;

/// `ops` operations in chains of at most [`LONGEST`].
fn chains(x: &Tensor, ops: usize) -> Vec<Tensor> {
    let mut done = Vec::with_capacity(ops.div_ceil(LONGEST));
    let mut left = ops;
    while left > 0 {
        let mut y = x.clone();
        for i in 0..left.min(LONGEST) {
            y = if i % 2 == 0 { y * 1.0001 } else { y + 0.0001 };
        }
        left -= left.min(LONGEST);
        done.push(y);
    }
    done
}

fn host_cost(c: &mut Criterion) {
    let x = Tensor::from_vec(vec![0.5f32; 16], [16]);
    let mut group = c.benchmark_group("record_and_drop");
    for ops in OPS {
        group.throughput(Throughput::Elements(ops as u64));
        group.bench_with_input(BenchmarkId::from_parameter(ops), &ops, |b, &ops| b.iter(|| black_box(chains(&x, ops))));
    }
    group.finish();
    let mut group = c.benchmark_group("record_and_evaluate_plan_hit");
    for ops in OPS {
        group.throughput(Throughput::Elements(ops as u64));
        group.bench_with_input(BenchmarkId::from_parameter(ops), &ops, |b, &ops| {
            b.iter(|| {
                let y = chains(&x, ops);
                lazuli::eval(&y).expect("the chain is evaluated");
                y
            })
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = host_cost
}
criterion_main!(benches);
