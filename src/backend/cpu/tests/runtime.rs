use super::pointwise::chain;
use super::reductions::{layer_norm, softmax};
use super::*;
use crate::backend::counters;
use std::sync::atomic::Ordering::Relaxed;

#[test]
fn a_new_batch_size_compiles_nothing() {
    let prepare = |k: &Kernel| CpuExecutable::new(&schedule(std::slice::from_ref(k))).unwrap();
    prepare(&layer_norm(37, 345));
    // Other tests compile meanwhile, so hits are counted over several sizes and must appear for each.
    for rows in [38, 64, 1000] {
        let before = counters::KERNEL_HITS.load(Relaxed);
        prepare(&layer_norm(rows, 345));
        assert!(counters::KERNEL_HITS.load(Relaxed) > before);
    }
}

#[test]
fn several_threads_at_once() {
    std::thread::scope(|s| {
        for i in 0..4 {
            s.spawn(move || {
                for n in 0..4 {
                    check(&chain(30_000 + 1000 * i + n), &[]);
                    check(&softmax(20 + i, 700, "f32"), &[]);
                }
            });
        }
    });
}

#[test]
fn grouped_launches() {
    let kernels: Vec<Kernel> = [5, 70_000, 1, 300, 0, 40_000].into_iter().map(chain).collect();
    let exe = CpuExecutable::new(&schedule(&kernels)).unwrap();
    let mut rng = Rng(1);
    let inputs: Vec<HostTensor> = kernels.iter().map(|k| random(DType::F32, k.args[0].numel, &mut rng)).collect();
    let stored: Vec<_> = inputs.iter().map(upload).collect();
    let out = exe.run(&stored, &[]).unwrap();
    for (x, y) in inputs.iter().zip(&out) {
        let y = download(y, DType::F32, x.numel());
        for i in 0..x.numel() {
            let v = x.get(i).as_f64();
            assert!(((v * 2.0 + 1.0).tanh() * v + 0.5 - y.get(i).as_f64()).abs() < 1e-6);
        }
    }
}

#[test]
fn wrong_buffers_are_errors() {
    let exe = CpuExecutable::new(&schedule(&[chain(100)])).unwrap();
    assert!(exe.run(&[], &[]).is_err());
    let small = upload(&random(DType::F32, 10, &mut Rng(1)));
    let e = exe.run(&[small], &[]).unwrap_err();
    assert!(e.error.message().contains("400") && !e.started, "{}", e.error);
}

#[test]
fn source_is_readable() {
    use crate::backend::Executable;
    let exe = CpuExecutable::new(&schedule(&[softmax(4, 100, "f32")])).unwrap();
    let text = exe.source(0);
    assert!(text.contains("pass 2") && text.contains("Exp") && text.contains("accumulate Sum"), "{text}");
    assert_eq!(exe.source(7), "");
}
