//! Gates: whether launches take place is decided on the device. They ask for their size there, and a gate's own small kernel writes it,
//! or zeros, by a flag among the data.

use super::gpu::Gpu;
use super::memory::{Range, View};
use super::pipelines::Pipeline;
use super::record::{Gated, Recorder};
use crate::base::Result;
use crate::base::error::err;
use smallvec::SmallVec;
use std::sync::Arc;

/// Different sizes of launches under one gate.
const SIZES: usize = 63;
/// Bytes of a gate's state: whether it is open, and how often it was opened. The sizes follow.
const STATE: u64 = 16;

/// When a gate opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// If the flag is set.
    Holds,
    /// If it is not.
    Not,
    /// Before a loop: if it is set; what was is forgotten.
    First,
    /// In a loop: if it is set and the gate was open so far.
    Again,
}

/// A gate and its memory. Only one plan at a time uses it: submissions run in order.
pub(super) struct Gate {
    buffer: wgpu::Buffer,
    /// Names the buffer.
    id: u64,
    sizes: Arc<[(u32, u32)]>,
    /// By whether there is a gate around it.
    kernels: [Arc<Pipeline>; 2],
    name: Arc<str>,
}

fn text(outer: bool) -> String {
    let (around, also) =
        if outer { ("@group(0) @binding(3) var<storage, read_write> around: array<u32>;\n", " && around[0] != 0u") } else { ("", "") };
    format!(
        "@group(0) @binding(0) var<uniform> p: array<vec4<u32>, {n}>;
@group(0) @binding(1) var<storage, read_write> flag: array<u32>;
@group(0) @binding(2) var<storage, read_write> gate: array<vec4<u32>>;
{around}
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lid: u32) {{
    let how = p[0];
    let holds = ((flag[how.x >> 2u] >> ((how.x & 3u) * 8u)) & 0xffu) != 0u;
    let state = gate[0];
    let open = (holds == (how.z == 0u)) && (how.w == 0u || state.x != 0u){also};
    workgroupBarrier();
    if (lid == 0u) {{
        let before = select(0u, state.y, how.w != 0u);
        gate[0] = vec4<u32>(select(0u, 1u, open), select(before, before + 1u, open), 0u, 0u);
    }}
    if (lid < how.y) {{
        let size = p[lid + 1u];
        gate[lid + 1u] = select(vec4<u32>(0u, 0u, 0u, 0u), size, open);
    }}
}}
",
        n = SIZES + 1
    )
}

impl Gate {
    /// A gate for launches of these sizes; `None` if they are too many.
    ///
    /// # Errors
    /// What the device reports.
    pub(super) fn new(gpu: &Arc<Gpu>, mut sizes: Vec<(u32, u32)>) -> Result<Option<Gate>> {
        sizes.sort_unstable();
        sizes.dedup();
        if sizes.len() > SIZES || gpu.limits.max_storage_buffers_per_shader_stage < 3 {
            return Ok(None);
        }
        use wgpu::BufferUsages as U;
        let buffer = gpu.guarded(|| {
            gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("gate"),
                size: STATE + 16 * SIZES as u64,
                usage: U::STORAGE | U::INDIRECT | U::COPY_SRC,
                mapped_at_creation: false,
            })
        })?;
        let kernels = [gpu.pipeline_of(&text(false), &[true; 2])?, gpu.pipeline_of(&text(true), &[true; 3])?];
        Ok(Some(Gate { buffer, id: super::memory::next_id(), sizes: sizes.into(), kernels, name: "gate".into() }))
    }

    /// What launches under it need.
    pub(super) fn open(&self) -> Gated {
        Gated { sizes: self.sizes.clone(), buffer: self.buffer.clone(), at: STATE, id: self.id }
    }

    fn range(buffer: &wgpu::Buffer, id: u64) -> Range {
        Range { buffer: buffer.clone(), id, offset: 0, len: STATE + 16 * SIZES as u64 }
    }

    /// Records that the gate asks the byte `flag`. Stands under no gate itself: one that is `around` it is asked as well.
    pub(super) fn ask(&self, rec: &mut Recorder, flag: &View, around: Option<&Gated>, when: When) -> Result<()> {
        let before = rec.under(None);
        let start = flag.offset + flag.shift;
        let first = start / 256 * 256;
        let of_flag = flag.range(first, 256).ok_or_else(|| err!(Internal, "wgpu: a flag lies in two buffers"))?;
        let mut ranges: SmallVec<[Range; 8]> = SmallVec::new();
        ranges.extend([of_flag, Gate::range(&self.buffer, self.id)]);
        ranges.extend(around.map(|a| Gate::range(&a.buffer, a.id)));
        let block = (SIZES + 1) * 16;
        let at = rec.reserve(block)?;
        let head = [(start - first) as u32, self.sizes.len() as u32, (when == When::Not) as u32, (when == When::Again) as u32];
        let sizes = self.sizes.iter().flat_map(|s| [s.0, s.1, 1, 0]);
        for (n, w) in head.into_iter().chain(sizes).enumerate() {
            rec.word(at + 4 * n, w);
        }
        rec.launch(&self.kernels[usize::from(around.is_some())], &self.name, ranges, (at, block), (1, 1))?;
        rec.under(before);
        Ok(())
    }

    /// Whether it is open, and how often it was asked with success since it was asked first, but for the last of them if it is: the
    /// iterations that took place.
    ///
    /// # Errors
    /// What the device reports.
    pub(super) fn state(&self, gpu: &Gpu) -> Result<(bool, u64)> {
        let mut bytes = [0u8; 8];
        let r = Gate::range(&self.buffer, self.id);
        gpu.read(&View { buffer: r.buffer, id: r.id, offset: 0, len: r.len, shift: 0, parts: None, part_bytes: r.len }, &mut bytes)?;
        let [a, b, c, d, count @ ..] = bytes;
        let open = u32::from_ne_bytes([a, b, c, d]) != 0;
        Ok((open, (u32::from_ne_bytes(count) - u32::from(open)) as u64))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn its_kernels_are_valid() {
        for outer in [false, true] {
            crate::backend::wgpu::validate(&super::text(outer), &crate::backend::wgpu::emit::Target::floor()).unwrap();
        }
    }
}
