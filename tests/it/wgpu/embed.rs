//! Inside an application: its device, its buffers, its encoder; what it may do wrong.

use super::host::{host, kind, open};
use lazuli::prelude::*;
use lazuli::{Budget, ErrorKind, wgpu};

fn ramp(n: usize) -> Vec<f32> {
    (0..n).map(|i| i as f32 * 0.25 - 3.0).collect()
}

#[test]
fn a_frame_between_the_hosts_own_passes() -> Result<()> {
    let Some(h) = host() else { return Ok(()) };
    let data = ramp(100);
    let given = h.storage(&data);
    let x = Tensor::from_wgpu_buffer(&h.dev, given.clone(), DType::F32, [4, 25])?;
    assert_eq!(x.device(), h.dev);
    let y = (&x * 2.0 + 1.0).t();

    // The host writes before, and doubles what comes out with a kernel of its own after.
    let module = h.device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(
            "@group(0) @binding(0) var<storage, read> a: array<f32>;
             @group(0) @binding(1) var<storage, read_write> b: array<f32>;
             @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) i: vec3<u32>) { if i.x < 100u { b[i.x] = a[i.x] * 2.0; } }"
                .into(),
        ),
    });
    let pipeline = h.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    let doubled = h.storage(&[0.0; 100]);
    let later: Vec<f32> = data.iter().map(|x| x + 10.0).collect();
    let source = h.storage(&later);

    let mut e = h.encoder();
    e.copy_buffer_to_buffer(&source, 0, &given, 0, 400);
    let ticket = h.dev.encode_into(&mut e, &[&y])?;
    assert_eq!(ticket.dispatches(), 1);
    assert_eq!(kind(y.to_vec::<f32>()), ErrorKind::NotReady);
    let b = y.wgpu_buffer()?;
    assert_eq!(b.size, 400);
    let entries = [
        wgpu::BindGroupEntry {
            binding: 0,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: &b.buffer, offset: b.offset, size: None }),
        },
        wgpu::BindGroupEntry { binding: 1, resource: doubled.as_entire_binding() },
    ];
    let group = h.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    });
    {
        let mut pass = e.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(2, 1, 1);
    }
    h.submit(e);
    ticket.submitted()?;
    let expected: Vec<f32> = (0..25).flat_map(|c| (0..4).map(move |r| r * 25 + c)).map(|i| later[i] * 2.0 + 1.0).collect();
    assert_eq!(y.to_vec::<f32>()?, expected);
    assert_eq!(h.read(&doubled, 0, 100), expected.iter().map(|x| x * 2.0).collect::<Vec<_>>());
    // It is a leaf like any other now.
    assert_eq!(y.sum(..).item::<f32>()?, expected.iter().sum::<f32>());
    Ok(())
}

#[test]
fn frames_encoded_before_one_submission_have_their_own_numbers() -> Result<()> {
    let Some(h) = host() else { return Ok(()) };
    let x = h.dev.scope(|| Tensor::from_vec(ramp(32), [32]));
    let mut state = x.clone();
    let (mut tickets, mut outs, mut e) = (Vec::new(), Vec::new(), h.encoder());
    let hits = lazuli::stats().plan_misses;
    for k in 1..=4 {
        let apart = &x * k as f32;
        // And one that goes on from the frame before, which is not submitted either.
        state = &state + k as f32;
        tickets.push(h.dev.encode_into(&mut e, &[&apart, &state])?);
        outs.push((apart, state.clone()));
    }
    // The first frame's state is an operand twice over; from then on every plan is found.
    assert!(lazuli::stats().plan_misses - hits <= 2);
    h.submit(e);
    tickets.into_iter().try_for_each(|t| t.submitted())?;
    let mut sum = 0.0;
    for (k, (apart, state)) in outs.iter().enumerate() {
        sum += (k + 1) as f32;
        assert_eq!(apart.to_vec::<f32>()?, ramp(32).iter().map(|v| v * (k + 1) as f32).collect::<Vec<_>>());
        assert_eq!(state.to_vec::<f32>()?, ramp(32).iter().map(|v| v + sum).collect::<Vec<_>>(), "frame {k}");
    }
    Ok(())
}

#[test]
fn a_ticket_dropped_invalidates_its_values_and_harms_no_others() -> Result<()> {
    let Some(h) = host() else { return Ok(()) };
    let x = h.dev.scope(|| Tensor::from_vec(ramp(1000), [1000]));
    let y = &x * 3.0;
    let mut e = h.encoder();
    drop(h.dev.encode_into(&mut e, &[&y])?);
    assert_eq!(kind(y.to_vec::<f32>()), ErrorKind::NotReady);
    assert_eq!(kind((&y + 1.0).to_vec::<f32>()), ErrorKind::NotReady);
    let mut other = h.encoder();
    assert_eq!(kind(h.dev.encode_into(&mut other, &[&(&y + 1.0)])), ErrorKind::NotReady);
    drop(y);
    // Values of the same size, made before the forgotten encoder is submitted after all.
    let kept: Vec<Tensor> = (0..4).map(|k| &x + k as f32).collect();
    lazuli::eval(&kept)?;
    h.submit(e);
    for (k, t) in kept.iter().enumerate() {
        assert_eq!(t.to_vec::<f32>()?, ramp(1000).iter().map(|v| v + k as f32).collect::<Vec<_>>());
    }
    Ok(())
}

#[test]
fn tickets_are_submitted_in_the_order_of_their_values() -> Result<()> {
    let Some(h) = host() else { return Ok(()) };
    let x = h.dev.scope(|| Tensor::from_vec(ramp(16), [16]));
    let (mut first, mut second) = (h.encoder(), h.encoder());
    let a = &x * 2.0;
    let one = h.dev.encode_into(&mut first, &[&a])?;
    let b = &a + 1.0;
    let two = h.dev.encode_into(&mut second, &[&b])?;
    h.submit(second);
    assert_eq!(kind(two.submitted()), ErrorKind::NotReady);
    h.submit(first);
    one.submitted()?;
    assert_eq!(a.to_vec::<f32>()?, ramp(16).iter().map(|v| v * 2.0).collect::<Vec<_>>());
    assert_eq!(kind(b.to_vec::<f32>()), ErrorKind::NotReady);
    // Late, but in order.
    let c = &a * 5.0;
    let mut e = h.encoder();
    let t = h.dev.encode_into(&mut e, &[&c])?;
    let buffer = e.finish();
    (&a + 1.0).eval()?;
    h.queue.submit([buffer]);
    t.submitted()?;
    assert_eq!(c.to_vec::<f32>()?, ramp(16).iter().map(|v| v * 10.0).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn buffers_that_cannot_be_tensors() -> Result<()> {
    let Some(h) = host() else { return Ok(()) };
    let from = |b: wgpu::Buffer, d, n: usize| Tensor::from_wgpu_buffer(&h.dev, b, d, [n]);
    let data = ramp(128);
    assert_eq!(kind(from(h.buffer(&data, wgpu::BufferUsages::COPY_DST), DType::F32, 4)), ErrorKind::Argument);
    assert_eq!(kind(from(h.storage(&data), DType::F32, 129)), ErrorKind::Argument);
    assert_eq!(kind(from(h.storage(&data), DType::F64, 4)), ErrorKind::DType);
    assert_eq!(kind(Tensor::from_wgpu_buffer_at(&h.dev, h.storage(&data), 4, DType::F32, [4])), ErrorKind::Argument);
    assert_eq!(kind(Tensor::from_wgpu_buffer(&Device::cpu(), h.storage(&data), DType::F32, [4])), ErrorKind::Device);
    let destroyed = h.storage(&data);
    destroyed.destroy();
    assert_eq!(kind(from(destroyed, DType::F32, 4)), ErrorKind::Device);
    let Some(other) = host() else { return Ok(()) };
    assert_eq!(kind(from(other.storage(&data), DType::F32, 4)), ErrorKind::Device);
    // At an offset.
    let t = Tensor::from_wgpu_buffer_at(&h.dev, h.storage(&data), 256, DType::F32, [64])?;
    assert_eq!((&t * 1.0).to_vec::<f32>()?, data[64..]);
    // Freed by the host while a tensor is made of it.
    let b = h.storage(&data);
    let t = from(b.clone(), DType::F32, 128)?;
    assert_eq!((&t + 1.0).to_vec::<f32>()?, data.iter().map(|x| x + 1.0).collect::<Vec<_>>());
    b.destroy();
    let mut e = h.encoder();
    assert_eq!(kind(h.dev.encode_into(&mut e, &[&(&t + 1.0)])), ErrorKind::Device);
    // The encoder is as it was, and the device goes on.
    let y = h.dev.scope(|| Tensor::from_vec(data.clone(), [128])) + 2.0;
    let ticket = h.dev.encode_into(&mut e, &[&y])?;
    h.submit(e);
    ticket.submitted()?;
    assert_eq!(y.to_vec::<f32>()?, data.iter().map(|x| x + 2.0).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn the_hosts_buffer_is_never_written() -> Result<()> {
    let Some(h) = host() else { return Ok(()) };
    let data = ramp(1 << 17);
    let b = h.storage(&data);
    let mut x = Tensor::from_wgpu_buffer(&h.dev, b.clone(), DType::F32, [1 << 17])?;
    for _ in 0..3 {
        // The only handle goes: memory of the engine's would be written in place.
        x += 1.0;
        x.eval()?;
    }
    assert_eq!(x.slice(s![0..4]).to_vec::<f32>()?, data[..4].iter().map(|v| v + 3.0).collect::<Vec<_>>());
    assert_eq!(h.read(&b, 0, 1 << 17), data);
    Ok(())
}

#[test]
fn programs_are_prepared_in_the_background_and_kept_within_a_budget() -> Result<()> {
    let Some(h) = host() else { return Ok(()) };
    let x = h.dev.scope(|| Tensor::from_vec(ramp(640), [10, 64]));
    let make = || (&x * 1.5).softmax(-1).matmul(&x.t());
    let y = make();
    h.dev.prepare(&[&y])?;
    let mut e = h.encoder();
    let mut waited = 0;
    let ticket = loop {
        match h.dev.encode_into(&mut e, &[&y]) {
            Ok(t) => break t,
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::NotReady, "{e}");
                waited += 1;
                std::thread::sleep(std::time::Duration::from_millis(1));
                assert!(waited < 60_000);
            }
        }
    };
    h.submit(e);
    ticket.submitted()?;
    let expected = make().to_vec::<f32>()?;
    assert_eq!(y.to_vec::<f32>()?, expected);

    h.dev.set_frame_budget(Budget::default().max_dispatches(1))?;
    let mut e = h.encoder();
    let z = make();
    assert_eq!(kind(h.dev.encode_into(&mut e, &[&z])), ErrorKind::Memory);
    h.dev.set_frame_budget(Budget::default().max_bytes(100))?;
    assert_eq!(kind(h.dev.encode_into(&mut e, &[&z])), ErrorKind::Memory);
    h.dev.set_frame_budget(Budget::default())?;
    let ticket = h.dev.encode_into(&mut e, &[&z])?;
    h.submit(e);
    ticket.submitted()?;
    assert_eq!(z.to_vec::<f32>()?, expected);
    Ok(())
}

crate::serial::alone! {
    fn a_thousand_frames_take_no_more_than_two() {
        a_thousand_frames().unwrap();
    }
}

fn a_thousand_frames() -> Result<()> {
    let Some(h) = host() else { return Ok(()) };
    let mut state = h.dev.scope(|| Tensor::from_vec(ramp(4096), [4096]));
    let (mut compiled, mut reserved) = ((0, 0), 0);
    for frame in 0..1000 {
        state = (&state * 0.5 + frame as f32 * 1e-3).tanh();
        let mut e = h.encoder();
        let ticket = h.dev.encode_into(&mut e, &[&state])?;
        h.submit(e);
        ticket.submitted()?;
        // The host polls, as hosts do.
        h.device.poll(wgpu::PollType::Poll).expect("polled");
        let s = lazuli::stats();
        assert_eq!(s.waits, 0, "frame {frame}");
        let now = (s.compiles, s.plan_misses);
        if frame < 2 {
            compiled = now;
        }
        assert_eq!(now, compiled, "kernels and plans, frame {frame}");
        // Two states and the one before are alive at a time.
        let now = h.dev.memory_stats().reserved;
        if frame < 3 {
            reserved = now;
        }
        assert_eq!(now, reserved, "bytes, frame {frame}");
    }
    let mut x = ramp(4096);
    for frame in 0..1000 {
        x.iter_mut().for_each(|x| *x = (*x * 0.5 + frame as f32 * 1e-3).tanh());
    }
    let y = state.to_vec::<f32>()?;
    assert!(y.iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-4), "{} {}", y[0], x[0]);
    Ok(())
}

#[test]
fn programs_that_look_at_data_and_devices_that_are_lost() -> Result<()> {
    let Some(h) = host() else { return Ok(()) };
    let x = h.dev.scope(|| Tensor::from_vec(vec![1.0f32; 300_000], [300_000]));
    let mut e = h.encoder();
    // A fixed length needs nobody to look.
    let y = lazuli::fori_loop(0..3, x.clone(), |_, v: Tensor| v * 2.0);
    let ticket = h.dev.encode_into(&mut e, &[&y])?;
    h.submit(e);
    ticket.submitted()?;
    assert_eq!(y.slice(s![0..2]).to_vec::<f32>()?, [8.0, 8.0]);

    h.dev.notify_lost()?;
    assert_eq!(kind((&x + 1.0).to_vec::<f32>()), ErrorKind::DeviceLost);
    let mut e = h.encoder();
    assert_eq!(kind(h.dev.encode_into(&mut e, &[&(&x + 2.0)])), ErrorKind::DeviceLost);
    assert_eq!(kind(h.dev.recover()), ErrorKind::Device);
    Ok(())
}

#[test]
fn a_device_without_compute_is_refused() {
    let Some((device, queue)) = open(wgpu::Limits::downlevel_webgl2_defaults()) else { return };
    let e = Device::from_wgpu(&device, &queue).expect_err("no compute");
    assert_eq!(e.kind(), ErrorKind::Device);
    assert!(e.message().contains("without compute"), "{e}");
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    assert_eq!(kind(Device::cpu().encode_into(&mut encoder, &[&Tensor::zeros([2])])), ErrorKind::Device);
}
