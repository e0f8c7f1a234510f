//! What an application's frame pays for tensor programs in its encoder: time until they are recorded there, beside the same launches written
//! against wgpu by hand. `cargo bench --features wgpu --bench frame`.

#[allow(dead_code)]
#[path = "../examples/common/app.rs"]
mod app;

use app::Gpu;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lazuli::prelude::*;
use lazuli::wgpu;
use std::time::{Duration, Instant};

/// Ends a frame; now and then the queue is waited for, so that nothing piles up.
fn submit(gpu: &Gpu, encoder: wgpu::CommandEncoder, frame: u64) {
    gpu.queue.submit([encoder.finish()]);
    if frame.is_multiple_of(16) {
        gpu.device.poll(wgpu::PollType::wait_indefinitely()).expect("the device is well");
    }
}

/// One kernel, with numbers that are others in every frame.
fn pull(state: &Tensor, at: f32) -> Tensor {
    let away = state - at.sin();
    state + (&away / (&away * &away + 0.03)) * 0.01
}

/// `kernels` launches that depend on each other.
fn program(state: &Tensor, kernels: usize, at: f32) -> Tensor {
    (0..kernels).fold(state.clone(), |s, k| if k == 0 { pull(&s, at) } else { pull(&s, at).softmax(1) })
}

/// The launches alone: parameters staged as an encoder has to, one pass, every launch with a pipeline and a bind group of its own.
struct ByHand {
    pipelines: [wgpu::ComputePipeline; 2],
    group: wgpu::BindGroup,
    numbers: wgpu::Buffer,
}

impl ByHand {
    fn new(gpu: &Gpu) -> ByHand {
        use wgpu::BufferUsages as U;
        let buffer =
            |usage| gpu.device.create_buffer(&wgpu::BufferDescriptor { label: None, size: 4096, usage, mapped_at_creation: false });
        let text = "@group(0) @binding(0) var<uniform> p: array<vec4<f32>, 4>;
            @group(0) @binding(1) var<storage, read_write> a: array<f32>;
            @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) i: vec3<u32>) { a[i.x] = a[i.x] * p[0].x + p[1].y; }";
        let source = wgpu::ShaderSource::Wgsl(text.into());
        let module = gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
        let entry = |binding, ty| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        };
        let entries = [entry(0, wgpu::BufferBindingType::Uniform), entry(1, wgpu::BufferBindingType::Storage { read_only: false })];
        let layout = gpu.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let all = gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = || {
            gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: None,
                layout: Some(&all),
                module: &module,
                entry_point: Some("main"),
                compilation_options: Default::default(),
                cache: None,
            })
        };
        let (numbers, values) = (buffer(U::UNIFORM | U::COPY_DST), buffer(U::STORAGE));
        let entries = [
            wgpu::BindGroupEntry { binding: 0, resource: numbers.as_entire_binding() },
            wgpu::BindGroupEntry { binding: 1, resource: values.as_entire_binding() },
        ];
        let group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries });
        ByHand { pipelines: [pipeline(), pipeline()], group, numbers }
    }

    fn encode(&self, gpu: &Gpu, encoder: &mut wgpu::CommandEncoder, launches: usize) {
        let size = self.numbers.size();
        let usage = wgpu::BufferUsages::COPY_SRC;
        let staging = gpu.device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: true });
        staging.get_mapped_range_mut(..).expect("it was created mapped").slice(..).copy_from_slice(&[0; 4096]);
        staging.unmap();
        encoder.copy_buffer_to_buffer(&staging, 0, &self.numbers, 0, size);
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for n in 0..launches {
            pass.set_pipeline(&self.pipelines[n % 2]);
            pass.set_bind_group(0, &self.group, &[]);
            pass.dispatch_workgroups(1, 1, 1);
        }
    }
}

fn encoding(c: &mut Criterion) {
    let gpu = Gpu::open().expect("an adapter: LAZULI_ADAPTER names one in software");
    let dev = Device::from_wgpu(&gpu.device, &gpu.queue).expect("it can compute");
    let mut group = c.benchmark_group("frame");
    let by_hand = ByHand::new(&gpu);
    for kernels in [1usize, 10, 100] {
        group.bench_with_input(BenchmarkId::new("by_hand", kernels), &kernels, |b, &kernels| {
            b.iter_custom(|frames| {
                (0..frames).fold(Duration::ZERO, |sum, frame| {
                    let mut encoder = gpu.encoder();
                    let begun = Instant::now();
                    by_hand.encode(&gpu, &mut encoder, kernels);
                    let took = begun.elapsed();
                    submit(&gpu, encoder, frame);
                    sum + took
                })
            })
        });
        let mut state = dev.scope(|| Tensor::randn([8, 8]));
        state.eval().expect("it is computed");
        group.bench_with_input(BenchmarkId::new("encode_into", kernels), &kernels, |b, &kernels| {
            b.iter_custom(|frames| {
                (0..frames).fold(Duration::ZERO, |sum, frame| {
                    state = program(&state, kernels, frame as f32);
                    let mut encoder = gpu.encoder();
                    let begun = Instant::now();
                    let ticket = dev.encode_into(&mut encoder, &[&state]).expect("it is encoded");
                    let took = begun.elapsed();
                    assert_eq!(ticket.dispatches(), kernels);
                    submit(&gpu, encoder, frame);
                    ticket.submitted().expect("in order");
                    sum + took
                })
            })
        });
    }
    // A frame that comes before its program of 400 operations is ready.
    let x = dev.scope(|| Tensor::randn([64, 64]));
    x.eval().expect("it is computed");
    let mut programs = 0;
    group.bench_function("not_ready", |b| {
        b.iter_custom(|calls| {
            let (mut done, mut sum) = (0, Duration::ZERO);
            while done < calls {
                programs += 1;
                let ask = || {
                    (0..400)
                        .fold(x.clone(), |y, i| if i % 7 == programs % 7 { y.tanh() } else { y * 1.01 + i as f32 })
                        .slice(s![programs % 64.., ..])
                };
                dev.prepare(&[&ask()]).expect("it can be prepared");
                while done < calls {
                    let y = ask();
                    let mut encoder = gpu.encoder();
                    let begun = Instant::now();
                    let early = dev.encode_into(&mut encoder, &[&y]);
                    let took = begun.elapsed();
                    match early {
                        Err(e) => assert_eq!(e.kind(), lazuli::ErrorKind::NotReady),
                        Ok(ticket) => {
                            submit(&gpu, encoder, 0);
                            ticket.submitted().expect("in order");
                            break;
                        }
                    }
                    (done, sum) = (done + 1, sum + took);
                }
            }
            sum
        })
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = encoding
}
criterion_main!(benches);
