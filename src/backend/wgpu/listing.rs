//! A plan as data: kernels, buffers, and what is launched on them in order, for whoever runs them without this crate.
//!
//! It is recorded as any run is, on wgpu's device that does nothing, with the limits that every WebGPU device has. So it needs no adapter,
//! and what it lists is what the engine would launch on the least of them.

use super::adapter::Bounds;
use super::executable::Built;
use super::gpu::Gpu;
use super::memory::{ALIGN, Range, WgpuStorage};
use super::preparing::Preparing;
use super::record::{Grid, Item, Launch, Recorder};
use crate::backend::Artefacts;
use crate::base::error::{bail, err};
use crate::base::{DeviceId, Result};
use crate::loops::schedule::Schedule;
use std::collections::HashMap;
use std::sync::Arc;

/// Multiples of so many bytes are where temporaries have to begin.
pub const ALIGNMENT: usize = ALIGN;

/// A plan as data.
#[derive(Debug)]
pub struct Listing {
    /// Every kernel once.
    pub kernels: Vec<Source>,
    /// The first are the inputs, then the outputs.
    pub buffers: Vec<Memory>,
    /// In the order in which they run.
    pub steps: Vec<Step>,
}

/// A kernel.
#[derive(Debug)]
pub struct Source {
    /// What sort it is, in a word.
    pub name: String,
    /// WGSL, entry point `main`.
    pub text: String,
}

/// What a buffer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The caller's of that number.
    Input(u32),
    /// The result of that number.
    Output(u32),
    /// Anything may be in it before, nothing in it is wanted after.
    Temporary,
    /// 0, 1, 2.. as I64: the numbers of iterations.
    Counting,
    /// The blocks of numbers of all launches.
    Parameters,
}

/// A buffer.
#[derive(Clone, Debug)]
pub struct Memory {
    /// What it is for.
    pub role: Role,
    /// Its size, a multiple of 4.
    pub bytes: u64,
    /// Launches take their size from it.
    pub indirect: bool,
}

/// A range of a buffer.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Which.
    pub buffer: usize,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What is to be done.
#[derive(Debug)]
pub enum Step {
    /// A launch.
    Launch {
        /// Which kernel.
        kernel: usize,
        /// Workgroups, if it takes place.
        groups: [u32; 3],
        /// Where the device finds how many workgroups, or zeros; `None`: it always takes place.
        gate: Option<Part>,
        /// Bindings from 0 on; the first is its block of numbers.
        parts: Vec<Part>,
        /// That block.
        numbers: Vec<u32>,
    },
    /// A copy, after what stands before it and before what follows.
    Copy {
        /// From there.
        from: Part,
        /// To there.
        to: Part,
    },
}

/// What a schedule launches. `inputs`: names and bytes of the inputs, whether any kernel reads them or not.
///
/// # Errors
/// What preparing it for a device would report; `Argument` if it has to look at data half way; `Memory` if an input or output is larger than
/// a buffer.
pub fn list(s: &Schedule, inputs: &[(&str, usize)]) -> Result<Listing> {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    let gpu = Gpu::borrow(DeviceId(u16::MAX), &device, &queue, &Bounds { floor: true, ..Bounds::default() })?;
    let most = gpu.largest();
    if let Some((name, bytes)) = inputs.iter().find(|i| i.1 as u64 > most) {
        bail!(Memory, "{name} has {bytes} bytes, a buffer of every device at most {most}: split the tensor");
    }
    let built = Built::new(&Preparing::new(&gpu, &mut Artefacts::default()), s, None)?;
    if let Some((n, bytes)) = built.outputs.iter().enumerate().find(|o| *o.1 as u64 > most) {
        bail!(Memory, "result {n} has {bytes} bytes, a buffer of every device at most {most}: split the tensor");
    }
    let mut all = Buffers { list: Vec::new(), by_id: HashMap::new() };
    let mut storages = |role: fn(u32) -> Role, sizes: &mut dyn Iterator<Item = usize>| -> Result<Vec<Arc<WgpuStorage>>> {
        let made = sizes.map(|bytes| WgpuStorage::new(&gpu, bytes)).collect::<Result<Vec<_>>>()?;
        for (n, s) in made.iter().enumerate() {
            let r = s.view(&gpu)?.whole().ok_or_else(|| err!(Internal, "a value of one buffer lies in several"))?;
            all.add(&r, role(n as u32));
        }
        Ok(made)
    };
    let given = storages(Role::Input, &mut inputs.iter().map(|i| i.1))?;
    let to = storages(Role::Output, &mut built.outputs.iter().copied())?;
    let arena = if built.arena > 0 { Some(WgpuStorage::new(&gpu, built.arena)?) } else { None };
    let views = |list: &[Arc<WgpuStorage>]| list.iter().map(|s| s.view(&gpu)).collect::<Result<Vec<_>>>();
    let arena_view = arena.as_ref().map(|a| a.view(&gpu)).transpose()?;
    let mut recorder = Recorder::captive(gpu.clone(), "whoever runs exported kernels cannot do: run the program in the engine");
    built.record(&mut recorder, &views(&given)?, &views(&to)?, arena_view.as_ref(), &[])?;
    // It was made if anything counts.
    if let Some(n) = &*super::gpu::lock(&gpu.numbers)
        && let Some(r) = n.view(&gpu)?.whole()
    {
        all.add(&r, Role::Counting);
    }
    let (items, numbers) = recorder.into_items();
    let parameters = all.list.len();
    if !numbers.is_empty() {
        all.list.push(Memory { role: Role::Parameters, bytes: numbers.len() as u64, indirect: false });
    }
    let (mut kernels, mut known) = (Vec::new(), HashMap::new());
    let mut steps = Vec::with_capacity(items.len());
    for item in items {
        steps.push(match item {
            Item::Copy { from, to } => Step::Copy { from: all.part(&from), to: all.part(&to) },
            Item::Launch(l) => {
                let Launch { pipeline, name, ranges, block, offset, grid } = *l;
                let kernel = *known.entry(Arc::as_ptr(&pipeline)).or_insert_with(|| {
                    let word = name.split(' ').next().unwrap_or_default();
                    kernels.push(Source { name: word.to_string(), text: pipeline.text.clone() });
                    kernels.len() - 1
                });
                let own = Part { buffer: parameters, offset: offset as u64, bytes: block as u64 };
                let words = numbers[offset as usize..][..block].chunks_exact(4);
                let (gate, (x, y)) = match grid {
                    Grid::Fixed(x, y) => (None, (x, y)),
                    Grid::Gated(size, most) => {
                        let gate = all.part(&size);
                        all.list[gate.buffer].indirect = true;
                        (Some(gate), most)
                    }
                };
                Step::Launch {
                    kernel,
                    groups: [x, y, 1],
                    gate,
                    parts: std::iter::once(own).chain(ranges.iter().map(|r| all.part(r))).collect(),
                    numbers: words.map(|w| u32::from_ne_bytes([w[0], w[1], w[2], w[3]])).collect(),
                }
            }
        });
    }
    Ok(Listing { kernels, buffers: all.list, steps })
}

/// The buffers met so far, by the ids they have in the engine.
struct Buffers {
    list: Vec<Memory>,
    by_id: HashMap<u64, usize>,
}

impl Buffers {
    fn add(&mut self, r: &Range, role: Role) -> usize {
        *self.by_id.entry(r.id).or_insert_with(|| {
            self.list.push(Memory { role, bytes: r.buffer.size(), indirect: false });
            self.list.len() - 1
        })
    }

    /// What is met first in a launch is a temporary.
    fn part(&mut self, r: &Range) -> Part {
        Part { buffer: self.add(r, Role::Temporary), offset: r.offset, bytes: r.len }
    }
}
