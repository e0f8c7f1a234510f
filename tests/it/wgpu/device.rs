//! Transfers, several devices, threads, long runs.

use super::{fresh, ramp};
use crate::devices;
use lazuli::ErrorKind;
use lazuli::prelude::*;

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

/// Ten thousand steps of a small net: memory stays what it was.
#[test]
fn ten_thousand_steps_in_flat_memory() {
    let Some(d) = fresh("ten thousand steps", |_| {}) else { return };
    d.scope(|| {
        let mut r = crate::rng::Rng(5);
        let x = Tensor::from_vec(r.floats(8 * 4, -1.0, 1.0), [8, 4]);
        let y = Tensor::from_vec(r.floats(8 * 2, -1.0, 1.0), [8, 2]);
        let mut w = (Tensor::from_vec(r.floats(4 * 2, -0.5, 0.5), [4, 2]), Tensor::zeros([2]));
        let mut opt = Adam::new(1e-3);
        let (mut stats, mut losses) = (Vec::new(), Vec::new());
        for step in 0..10_000 {
            let (loss, g) = value_and_grad(|(a, b): &(Tensor, Tensor)| (x.matmul(a) + b - &y).square().mean(..), &w);
            opt.step(&mut w, &g).unwrap();
            if step % 1000 == 999 {
                losses.push(loss.item::<f32>().unwrap());
                let m = d.memory_stats();
                stats.push((m.live, m.reserved));
            }
        }
        assert!(stats[1..].iter().all(|s| *s == stats[1]), "live and reserved: {stats:?}");
        assert!(losses.windows(2).all(|l| l[1] <= l[0] + 1e-6) && losses[9] < losses[0], "{losses:?}");
    });
}

/// A future that is polled by hand: it does not block, and somebody wakes it.
#[test]
fn reading_does_not_block() {
    use std::future::Future;
    use std::sync::mpsc::{Sender, channel};
    use std::task::{Context, Poll, Wake, Waker};
    struct Bell(Sender<()>);
    impl Wake for Bell {
        fn wake(self: std::sync::Arc<Self>) {
            let _ = self.0.send(());
        }
    }
    let Some(d) = devices::wgpu("reading later") else { return };
    d.scope(|| {
        for n in [0usize, 1, 1000, 5 << 20] {
            let x = ramp(n) * 2.0;
            let (ring, rung) = channel();
            let waker = Waker::from(std::sync::Arc::new(Bell(ring)));
            let mut reading = std::pin::pin!(x.read::<f32>());
            let got = loop {
                match reading.as_mut().poll(&mut Context::from_waker(&waker)) {
                    Poll::Ready(r) => break r.unwrap(),
                    Poll::Pending => rung.recv_timeout(std::time::Duration::from_secs(60)).expect("somebody wakes it"),
                }
            };
            assert!(got.len() == n && got.iter().enumerate().all(|(i, &v)| v == i as f32 * 2.0));
        }
        let e = std::pin::pin!(ramp(3).read::<i64>()).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(e, Poll::Ready(Err(e)) if e.kind() == ErrorKind::DType));
    });
}

/// The same plan on the same buffers, with other parameters, on others, and after others: what is replayed is what was recorded.
#[test]
fn plans_are_replayed() {
    let Some(d) = fresh("replay", |_| {}) else { return };
    d.scope(|| {
        let mut x = ramp(100);
        let mut want: Vec<f32> = (0..100).map(|i| i as f32).collect();
        let mut kept = Vec::new();
        for step in 0..40 {
            let s = 1.0 + (step % 7) as f32 * 0.125;
            x = ((&x * s - 1.0).sin() + x.slice(s![0..1])) * 0.5;
            let first = want[0];
            want = want.iter().map(|v| ((v * s - 1.0).sin() + first) * 0.5).collect();
            x.eval().unwrap();
            if step % 5 == 0 {
                // Held, so that the next run gets another buffer.
                kept.push((x.clone(), want.clone()));
                d.trim();
            }
        }
        kept.push((x, want));
        for (x, want) in &kept {
            let got = x.to_vec::<f32>().unwrap();
            assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-3), "{got:?} is not {want:?}");
        }
    });
}

#[test]
fn a_second_process_compiles_nothing() {
    if devices::wgpu("restart").is_some() {
        crate::serial::restart::restart("wgpu");
    }
}

#[test]
fn kernels_are_timed() {
    let Some(d) = fresh("timestamps", |_| {}) else { return };
    if !d.describe().contains("timestamps") {
        println!("skipped on wgpu: {} has no timestamps", d.describe());
        return;
    }
    d.scope(|| {
        let x = ramp(1 << 16);
        (&x * 3.0).sum(..).eval().unwrap();
        let (got, times) = d.time_kernels(|| (&x * 3.0).sum(..).item::<f32>().unwrap()).unwrap();
        assert!(got > 6e9, "{got}");
        assert!(!times.is_empty() && times.iter().all(|t| t.1 >= 0.0 && t.1 < 1e7) && times.iter().any(|t| t.1 > 0.0), "{times:?}");
        assert!(times.iter().any(|t| t.0.contains("reduction")), "{times:?}");
        assert!(d.time_kernels(|| ()).unwrap().1.is_empty());
    });
}
