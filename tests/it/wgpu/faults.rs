//! Full, lost and absent devices.

use super::{fresh, ramp};
use lazuli::ErrorKind;
use lazuli::backend::wgpu::{fail_after, lose, lose_after};
use lazuli::prelude::*;

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
        assert_eq!(e.kind(), ErrorKind::DeviceLost, "{e}");
        assert!(e.message().contains("recover"), "{e}");
    }
    let e = a.scope(|| lazuli::catch(|| ramp(3))).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::DeviceLost, "{e}");
    assert_eq!((&y * 2.0).sum(..).item::<f32>().unwrap(), 90.0);
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
        .args(["wgpu::faults::an_absent_adapter_is_an_error", "--exact"])
        .env(CHILD, "1")
        .env("LAZULI_ADAPTER", "no such adapter anywhere")
        .env_remove("LAZULI_DEVICE")
        .output()
        .expect("this binary starts");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && text.contains("1 passed"), "{text}");
}

/// The driver goes away under a plan of several submissions: the call is an error, whatever launch it happens at, and so is every later
/// one; then the device is opened again.
#[test]
fn a_device_lost_in_mid_plan() {
    for launch in [0, 1, 2, 5, 9] {
        let Some(d) = fresh("device lost in mid-plan", |_| {}) else { return };
        d.scope(|| {
            let x = ramp(64);
            // A loop whose condition is asked on the way, so that it is no single submission.
            let grow = |x: &Tensor| while_loop(x.clone(), |s| s.sum(..).lt(1e6), |s| s * 1.5 + 1.0, 100);
            let want = grow(&x).to_vec::<f32>().unwrap();
            let y = grow(&(&x + 0.0));
            lose_after(d.id(), launch).unwrap();
            let e = y.to_vec::<f32>().unwrap_err();
            assert_eq!(e.kind(), ErrorKind::DeviceLost, "after {launch} launches: {e}");
            let e = (&x + 2.0).eval().unwrap_err();
            assert_eq!(e.kind(), ErrorKind::DeviceLost, "after {launch} launches: {e}");
            assert_eq!(d.recover().unwrap(), 1);
            assert_eq!(grow(&x).to_vec::<f32>().unwrap(), want);
        });
    }
}

#[test]
fn a_recovered_device_has_what_the_host_held() {
    let Some(d) = fresh("recovery", |b| b.host_copies = Some(10_000)) else { return };
    d.scope(|| {
        let (x, large) = (ramp(100), ramp(5000));
        let computed = &x + 1.0;
        computed.eval().unwrap();
        let flags = Tensor::from_vec(vec![true, false, true], [3]);
        assert_eq!(d.recover().unwrap(), 0, "nothing to do");
        let replayed = || (&x * 2.0).sum(..).item::<f32>().unwrap();
        assert_eq!([replayed(), replayed(), replayed()], [9900.0; 3]);
        lose(d.id()).unwrap();
        assert_eq!(d.recover().unwrap(), 2);
        // Held: what was uploaded. Not held: what is larger than the copies may be, and what was computed.
        assert_eq!(x.to_vec::<f32>().unwrap(), (0..100).map(|i| i as f32).collect::<Vec<_>>());
        assert_eq!(flags.to_vec::<bool>().unwrap(), [true, false, true]);
        for e in [large.to_vec::<f32>().unwrap_err(), (&computed + 1.0).eval().unwrap_err()] {
            assert_eq!(e.kind(), ErrorKind::DeviceLost, "{e}");
            assert!(e.message().contains("again"), "{e}");
        }
        // Plans come from before the loss.
        assert_eq!([replayed(), replayed(), replayed()], [9900.0; 3]);
        assert!(d.memory_stats().live > 0);
    });
}

/// A value that a plan wrote over is no longer what the host held.
#[test]
fn overwritten_values_are_not_restored() {
    let Some(d) = fresh("recovery", |_| {}) else { return };
    d.scope(|| {
        const N: usize = 1 << 17;
        let mut w = ramp(N);
        let g = Tensor::full([N], 1.0);
        let mut opt = lazuli::optim::Sgd::new(1.0);
        for _ in 0..3 {
            opt.step(&mut w, &g).unwrap();
        }
        assert_eq!(w.slice(s![5]).item::<f32>().unwrap(), 2.0);
        lose(d.id()).unwrap();
        d.recover().unwrap();
        let e = w.to_vec::<f32>().unwrap_err();
        assert_eq!(e.kind(), ErrorKind::DeviceLost, "{e}");
    });
}
