//! Faults, limits, several devices, threads, long runs.

use crate::devices;
use lazuli::ErrorKind;
use lazuli::backend::wgpu::{Bounds, fail_after, lose};
use lazuli::plan::{How, run_trace};
use lazuli::prelude::*;
use lazuli::trace::generate::random_program;

/// A device of the test's own, so that what happens to it is nobody else's business.
fn fresh(what: &str, change: impl FnOnce(&mut Bounds)) -> Option<Device> {
    devices::wgpu(what)?;
    let mut bounds = Bounds::default();
    change(&mut bounds);
    Some(Device::open_wgpu(&bounds).expect("a second device on the same adapter"))
}

fn ramp(n: usize) -> Tensor {
    Tensor::from_vec((0..n).map(|i| i as f32).collect::<Vec<_>>(), [n])
}

#[test]
fn a_full_device_is_an_error_and_works_on() {
    let Some(d) = fresh("out of memory", |_| {}) else { return };
    d.scope(|| {
        let x = ramp(1000);
        assert_eq!(x.sum(..).item::<f32>().unwrap(), 499_500.0);
        fail_after(d.id(), Some(0)).unwrap();
        // Larger than anything given back so far.
        let e = x.broadcast_to([3000, 1000]).eval().unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Memory, "{e}");
        assert!(e.message().contains("12000000"), "{e}");
        fail_after(d.id(), None).unwrap();
        assert_eq!((&x + 1.0).sum(..).item::<f32>().unwrap(), 500_500.0);
        // One that fails once and succeeds after what is free was given back.
        let before = d.memory_stats().reserved;
        d.trim();
        assert!(d.memory_stats().reserved < before);
    });
}

#[test]
fn a_limit_on_memory_holds() {
    let Some(d) = fresh("memory limit", |_| {}) else { return };
    d.set_memory_limit(Some(4 << 20));
    d.scope(|| {
        let e = (Tensor::full([4 << 20], 1.0) + 1.0).eval().unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Memory, "{e}");
        assert_eq!(ramp(4).sum(..).item::<f32>().unwrap(), 6.0);
    });
}

#[test]
fn a_lost_device_says_so_and_others_live() {
    let (Some(a), Some(b)) = (fresh("device lost", |_| {}), fresh("device lost", |_| {})) else { return };
    let (x, y) = (a.scope(|| ramp(10)), b.scope(|| ramp(10)));
    let pending = &x * 2.0;
    let done = (&x + 1.0).sum(..);
    done.eval().unwrap();
    lose(a.id()).unwrap();
    for e in [pending.eval().unwrap_err(), done.item::<f32>().unwrap_err(), a.synchronize().unwrap_err()] {
        assert_eq!(e.kind(), ErrorKind::Device, "{e}");
        assert!(e.message().contains("lost"), "{e}");
    }
    let e = a.scope(|| lazuli::catch(|| ramp(3))).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Device, "{e}");
    assert_eq!((&y * 2.0).sum(..).item::<f32>().unwrap(), 90.0);
}

#[test]
fn two_devices_do_not_mix() {
    let (Some(a), Some(b)) = (fresh("two devices", |_| {}), fresh("two devices", |_| {})) else { return };
    let (x, y) = (a.scope(|| ramp(10)), b.scope(|| ramp(10)));
    let e = lazuli::catch(|| (&x + &y).sum(..)).and_then(|t| t.item::<f32>()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Device, "{e}");
    let moved = x.to_device(&b);
    assert_eq!((&moved + &y).sum(..).item::<f32>().unwrap(), 90.0);
    assert_eq!((x.to_device(&Device::cpu()) + 1.0).sum(..).item::<f32>().unwrap(), 55.0);
}

/// Sixteen operands and few bindings: what is too much is copied to one buffer.
#[test]
fn kernels_of_more_buffers_than_a_device_binds() {
    let Some(d) = fresh("few bindings", |b| (b.floor, b.bindings) = (true, Some(3))) else { return };
    d.scope(|| {
        let xs: Vec<Tensor> = (0..16).map(|i| ramp(100) + i).collect();
        let half: Vec<Tensor> = xs.iter().map(|x| x.cast(DType::F16)).collect();
        let flags: Vec<Tensor> = xs.iter().map(|x| x.gt(&Tensor::full([100], 20.0))).collect();
        lazuli::eval(&[xs.clone(), half.clone(), flags.clone()].concat()).unwrap();
        let mut sum = Tensor::zeros([100]);
        for ((x, h), f) in xs.iter().zip(&half).zip(&flags) {
            sum += Tensor::where_(f, x, &h.cast(DType::F32)) * 0.5;
        }
        let (sum, below) = (&sum * 2.0, sum.lt(&Tensor::full([100], 500.0)));
        lazuli::eval(&[&sum, &below]).unwrap();
        let want: Vec<f32> = (0..100).map(|k| (0..16).map(|i| (k + i) as f32).sum()).collect();
        assert_eq!(sum.to_vec::<f32>().unwrap(), want);
        assert_eq!(below.to_vec::<bool>().unwrap(), want.iter().map(|w| w * 0.5 < 500.0).collect::<Vec<_>>());
    });
}

/// The limits of an application that asks for nothing, and fewer bindings still.
#[test]
fn random_programs_at_the_floor() {
    for bindings in [8, 3] {
        let Some(d) = fresh("the floor's limits", |b| (b.floor, b.bindings) = (true, Some(bindings))) else { return };
        let (mut ran, mut refused) = (0, 0);
        for seed in 5000..5020 {
            let p = random_program(seed, 8 + seed as usize % 30);
            match run_trace(&p.trace, &p.inputs, &p.params, How::OverInputs, d.id()) {
                Ok(out) => p.check(&out).unwrap_or_else(|e| panic!("seed {seed}, {bindings} bindings: {e}")),
                Err(e) if e.kind() == ErrorKind::DType => refused += 1,
                Err(e) => panic!("seed {seed}, {bindings} bindings: {e}\n{}", p.trace),
            }
            ran += 1;
        }
        assert!(refused < ran / 2, "{refused} of {ran} refused");
    }
}

#[test]
fn more_than_can_be_bound_is_an_error() {
    let Some(d) = fresh("binding limit", |b| b.binding_bytes = Some(1 << 20)) else { return };
    d.scope(|| {
        let x = ramp(1000);
        let e = x.broadcast_to([300, 1000]).eval().unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Memory, "{e}");
        assert!(e.message().contains("split"), "{e}");
        // Not stored: nothing is too large.
        assert_eq!(x.broadcast_to([300, 1000]).max(..).item::<f32>().unwrap(), 999.0);
    });
}

#[test]
fn every_type_and_length_goes_there_and_back() {
    let Some(d) = devices::wgpu("transfers") else { return };
    d.scope(|| {
        for n in [0usize, 1, 2, 3, 5, 64, 1023] {
            let bytes: Vec<u8> = (0..n).map(|i| (i * 7) as u8).collect();
            assert_eq!(Tensor::from_vec(bytes.clone(), [n]).to_vec::<u8>().unwrap(), bytes);
            let halves: Vec<half::f16> = (0..n).map(|i| half::f16::from_f32(i as f32 * 0.5)).collect();
            assert_eq!(Tensor::from_vec(halves.clone(), [n]).to_vec::<half::f16>().unwrap(), halves);
            let long: Vec<i64> = (0..n as i64).map(|i| i * -3_000_000_000).collect();
            assert_eq!((Tensor::from_vec(long.clone(), [n]) + 0).to_vec::<i64>().unwrap(), long);
            let flags: Vec<bool> = (0..n).map(|i| i % 3 == 0).collect();
            let not: Vec<bool> = flags.iter().map(|b| !b).collect();
            assert_eq!(Tensor::from_vec(flags, [n]).logical_not().to_vec::<bool>().unwrap(), not);
        }
    });
}

#[test]
fn threads_share_a_device() {
    let Some(d) = devices::wgpu("threads") else { return };
    std::thread::scope(|s| {
        for t in 0..6 {
            s.spawn(move || {
                d.scope(|| {
                    for i in 0..30 {
                        let x = ramp(200 + t) * (1.0 + i as f32) + t as f32;
                        let n = (200 + t) as f32;
                        let want = (n * (n - 1.0) / 2.0) * (1.0 + i as f32) + n * t as f32;
                        let got = x.sum(..).item::<f32>().unwrap();
                        assert!((got - want).abs() <= 1e-5 * want.abs(), "thread {t}, step {i}: {got}, expected {want}");
                    }
                });
            });
        }
    });
}

/// The same net from the same start on both devices: their losses stay together, and memory stays what it was.
#[test]
fn training_follows_the_cpu_in_flat_memory() {
    let Some(gpu) = fresh("training", |_| {}) else { return };
    let run = |d: Device, steps: usize| -> (Vec<f32>, Vec<usize>) {
        d.scope(|| {
            let mut r = crate::rng::Rng(3);
            let x = Tensor::from_vec(r.floats(32 * 10, -1.0, 1.0), [32, 10]);
            let labels = Tensor::from_vec((0..32).map(|i| i % 4).collect::<Vec<i64>>(), [32]);
            let mut w = (
                Tensor::from_vec(r.floats(10 * 16, -0.5, 0.5), [10, 16]),
                Tensor::zeros([16]),
                Tensor::from_vec(r.floats(16 * 4, -0.5, 0.5), [16, 4]),
            );
            let mut opt = Adam::new(0.02);
            let (mut losses, mut live) = (Vec::new(), Vec::new());
            for step in 0..steps {
                let (loss, g) =
                    value_and_grad(|(a, b, c): &(Tensor, Tensor, Tensor)| (x.matmul(a) + b).relu().matmul(c).cross_entropy(&labels), &w);
                opt.step(&mut w, &g).unwrap();
                if step % 10 == 9 {
                    losses.push(loss.item::<f32>().unwrap());
                    live.push(d.memory_stats().reserved);
                }
            }
            (losses, live)
        })
    };
    let ((ours, live), (cpu, _)) = (run(gpu, 200), run(Device::cpu(), 200));
    for (i, (a, b)) in ours.iter().zip(&cpu).enumerate() {
        assert!((a - b).abs() <= 2e-3 * (1.0 + b.abs()), "at step {}: {a}, on the cpu {b}", i * 10 + 9);
    }
    assert!(ours.last() < ours.first(), "{ours:?}");
    assert_eq!(live[2], live[19], "reserved: {live:?}");
}

/// Without an adapter of that name: an error that lists those there are. In a process of its own, for the variable.
#[test]
fn an_absent_adapter_is_an_error() {
    const CHILD: &str = "LAZULI_TEST_ABSENT";
    if std::env::var_os(CHILD).is_some() {
        let e = Device::wgpu().unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Device, "{e}");
        assert!(e.message().contains("no such adapter anywhere"), "{e}");
        assert_eq!(Device::best(), Device::cpu());
        assert_eq!(Device::all(), [Device::cpu()]);
        return;
    }
    let out = std::process::Command::new(std::env::current_exe().expect("this binary"))
        .args(["wgpu::device::an_absent_adapter_is_an_error", "--exact"])
        .env(CHILD, "1")
        .env("LAZULI_ADAPTER", "no such adapter anywhere")
        .env_remove("LAZULI_DEVICE")
        .output()
        .expect("this binary starts");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && text.contains("1 passed"), "{text}");
}
