//! Memory: limits, flatness over long loops, what is never allocated.

use super::alone;
use lazuli::prelude::*;
use lazuli::{ErrorKind, stats};

alone! {
    fn a_full_device_is_an_error_and_the_engine_works_on() {
        let device = Device::current();
        let small = Tensor::from_vec(vec![1f32; 1000], [1000]);
        small.eval().unwrap();
        device.set_memory_limit(Some(64 << 20));
        let big = Tensor::full([64, 1 << 20], 2.0);
        let e = (&big + 1.0).eval().unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Memory, "{e}");
        // A slip-free call after it, and the same program once there is room.
        assert_eq!(small.sum(..).item::<f32>().unwrap(), 1000.0);
        device.set_memory_limit(None);
        let y = &big + 1.0;
        y.eval().unwrap();
        assert_eq!(y.slice(s![63, -1]).item::<f32>().unwrap(), 3.0);
    }

    fn a_full_device_uploads_nothing_and_works_on() {
        let device = Device::current();
        device.set_memory_limit(Some(1 << 20));
        let e = lazuli::catch(|| Tensor::from_vec(vec![0f32; 4 << 20], [4 << 20])).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Memory, "{e}");
        assert_eq!(Tensor::from_vec(vec![1f32, 2.0], [2]).sum(..).item::<f32>().unwrap(), 3.0);
        device.set_memory_limit(None);
    }

    fn memory_is_flat_over_ten_thousand_steps() {
        let x = Tensor::from_vec(crate::rng::Rng(5).floats(64, -1.0, 1.0), [16, 4]);
        let y = x.sum(1) * 0.5 + 1.0;
        y.eval().unwrap();
        let (mut w, mut b) = (Tensor::zeros([4]), Tensor::zeros([]));
        let mut marks = Vec::new();
        for step in 0..10_000 {
            let (loss, (gw, gb)) = value_and_grad(
                |(w, b): &(Tensor, Tensor)| (x.matmul(w) + b - &y).square().mean(..),
                &(w.clone(), b.clone()),
            );
            (w, b) = (w - gw * 0.1, b - gb * 0.1);
            lazuli::eval(&[&w, &b]).unwrap();
            if step % 1000 == 999 {
                let s = stats();
                marks.push((s.bytes_live, s.bytes_reserved, s.plans));
                assert!(loss.item::<f32>().unwrap() < 1.0);
            }
        }
        // Reading the loss is a plan of its own, made at the first mark.
        let (first, last) = (marks[1], marks[9]);
        assert_eq!(first, last, "live, reserved, plans at each thousand: {marks:?}");
        let w = w.to_vec::<f32>().unwrap();
        assert!(w.iter().all(|w| (w - 0.5).abs() < 0.01) && (b.item::<f32>().unwrap() - 1.0).abs() < 0.01, "{w:?}");
    }

    fn more_elements_than_an_i32_holds_without_the_memory() {
        let n = (1usize << 31) + 3;
        let wide = Tensor::from_vec(vec![1f32], [1]).broadcast_to([n]);
        assert_eq!(wide.numel(), n);
        match wide.cast(DType::I64).sum(..).item::<i64>() {
            Err(e) if Device::current() != Device::cpu() && e.message().contains("32 bits") => println!("refused on {}: {e}", wide.device()),
            sum => assert_eq!(sum.unwrap(), n as i64),
        }
        assert!(stats().bytes_peak < 1 << 28, "{} bytes", stats().bytes_peak);
        // Taken apart, the far end is there.
        let i = Tensor::from_vec(vec![5f32], [1]).broadcast_to([n]).slice(s![n - 1..]);
        assert_eq!(i.to_vec::<f32>().unwrap(), [5.0]);
    }

    fn dropped_tensors_give_their_memory_back() {
        let before = stats().bytes_live;
        let a = Tensor::full([1 << 20], 1.0);
        a.eval().unwrap();
        let b = &a * 2.0;
        b.eval().unwrap();
        assert!(stats().bytes_live >= before + (8 << 20));
        drop((a, b));
        assert_eq!(stats().bytes_live, before);
        Device::current().trim();
        assert!(stats().bytes_reserved < 4 << 20, "{}", stats().bytes_reserved);
    }
}
