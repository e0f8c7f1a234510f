//! Runs an export as another engine would: by its manifest, with nothing of this crate but wgpu.

use super::super::host::open;
use super::{int, list, manifest, text};
use lazuli::prelude::*;
use lazuli::wgpu;
use serde_json::Value;
use std::path::Path;

pub struct Replayer {
    device: wgpu::Device,
    queue: wgpu::Queue,
}

impl Replayer {
    /// On a device that is no more than any.
    pub fn open() -> Option<Replayer> {
        open(wgpu::Limits::default()).map(|(device, queue)| Replayer { device, queue })
    }

    pub fn run(&self, dir: &Path, arguments: &[Tensor]) -> Vec<Tensor> {
        let m = manifest(dir);
        let buffers: Vec<wgpu::Buffer> = list(&m["buffers"]).iter().map(|b| self.buffer(b)).collect();
        for (v, t) in list(&m["arguments"]).iter().zip(arguments) {
            self.write(&buffers[int(&v["buffer"])], 0, t.to_bytes().expect("bytes"));
        }
        if let Some(file) = m.get("weights_file") {
            let bytes = std::fs::read(dir.join(text(file))).expect("weights");
            let weights = ::safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
            for w in list(&m["weights"]) {
                let t = weights.tensor(text(&w["name"])).expect("a weight");
                self.write(&buffers[int(&w["buffer"])], 0, t.data().to_vec());
            }
        }
        let kernels: Vec<_> = list(&m["kernels"]).iter().map(|k| self.kernel(dir, k)).collect();
        let mut encoder = self.device.create_command_encoder(&Default::default());
        for s in list(&m["steps"]) {
            self.step(&mut encoder, s, &kernels, &buffers);
        }
        self.queue.submit([encoder.finish()]);
        list(&m["results"]).iter().map(|r| self.read(&buffers[int(&r["buffer"])], r)).collect()
    }

    fn buffer(&self, b: &Value) -> wgpu::Buffer {
        use wgpu::BufferUsages as U;
        let size = int(&b["bytes"]) as u64;
        let mut usage = U::STORAGE | U::COPY_SRC | U::COPY_DST;
        usage.set(U::UNIFORM, text(&b["role"]) == "parameters");
        usage.set(U::INDIRECT, b["indirect"] == true);
        let made = self.device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
        match text(&b["role"]) {
            "counting" => self.write(&made, 0, (0..size as i64 / 8).flat_map(i64::to_le_bytes).collect()),
            // Nothing may depend on what was there before.
            "temporary" | "result" => self.write(&made, 0, vec![0xa5; size as usize]),
            _ => {}
        }
        made
    }

    fn write(&self, b: &wgpu::Buffer, offset: u64, mut bytes: Vec<u8>) {
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        self.queue.write_buffer(b, offset, &bytes);
    }

    fn kernel(&self, dir: &Path, k: &Value) -> (wgpu::BindGroupLayout, wgpu::ComputePipeline) {
        let source = std::fs::read_to_string(dir.join(text(&k["file"]))).expect("a source");
        let entry = |b: &Value| wgpu::BindGroupLayoutEntry {
            binding: int(&b["binding"]) as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: match text(&b["access"]) {
                    "uniform" => wgpu::BufferBindingType::Uniform,
                    access => wgpu::BufferBindingType::Storage { read_only: access == "read" },
                },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        };
        let entries: Vec<_> = list(&k["bindings"]).iter().map(entry).collect();
        let bindings = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&bindings)],
            immediate_size: 0,
        });
        let module =
            self.device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source: wgpu::ShaderSource::Wgsl(source.into()) });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: Some(&layout),
            module: &module,
            entry_point: Some(text(&k["entry"])),
            compilation_options: Default::default(),
            cache: None,
        });
        (bindings, pipeline)
    }

    fn step(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        s: &Value,
        kernels: &[(wgpu::BindGroupLayout, wgpu::ComputePipeline)],
        buffers: &[wgpu::Buffer],
    ) {
        let at = |v: &Value| (&buffers[int(&v["buffer"])], int(&v["offset"]) as u64);
        if let Some(bytes) = s.get("copy") {
            let ((from, start), (to, end)) = (at(&s["from"]), at(&s["to"]));
            encoder.copy_buffer_to_buffer(from, start, to, end, int(bytes) as u64);
            return;
        }
        let (layout, pipeline) = &kernels[int(&s["kernel"])];
        let parts = list(&s["bindings"]);
        let (parameters, offset) = at(&parts[0]);
        self.write(parameters, offset, list(&s["numbers"]).iter().flat_map(|w| (int(w) as u32).to_le_bytes()).collect());
        let entries: Vec<_> = parts
            .iter()
            .enumerate()
            .map(|(n, p)| {
                let ((buffer, offset), size) = (at(p), std::num::NonZeroU64::new(int(&p["bytes"]) as u64));
                wgpu::BindGroupEntry {
                    binding: n as u32,
                    resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size }),
                }
            })
            .collect();
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries });
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, &group, &[]);
        let groups: Vec<u32> = list(&s["groups"]).iter().map(|g| int(g) as u32).collect();
        match s.get("indirect") {
            Some(v) => {
                let (buffer, offset) = at(v);
                pass.dispatch_workgroups_indirect(buffer, offset);
            }
            None => pass.dispatch_workgroups(groups[0], groups[1], groups[2]),
        }
    }

    fn read(&self, b: &wgpu::Buffer, r: &Value) -> Tensor {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor { label: None, size: b.size(), usage, mapped_at_creation: false });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(b, 0, &staging, 0, b.size());
        self.queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |e| e.expect("mapped"));
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("the device answers");
        let dtype = DType::from_name(text(&r["dtype"])).expect("a type");
        let shape: Vec<usize> = list(&r["shape"]).iter().map(int).collect();
        let bytes = shape.iter().product::<usize>() * dtype.size();
        let found = staging.get_mapped_range(..).expect("mapped")[..bytes].to_vec();
        Tensor::from_bytes(&found, dtype, shape).expect("a tensor")
    }
}
