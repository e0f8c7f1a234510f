//! Launches in the order in which they run: recorded, submitted together, and kept with their bindings for the next run on the same
//! buffers.

use super::gpu::{Gpu, PARAMS, lock, uniform};
use super::memory::{Range, View, WgpuStorage};
use super::pipelines::Pipeline;
use crate::base::error::{bail, err};
use crate::base::{DType, Result, Scalar};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// How many workgroups.
#[derive(Clone, Debug)]
pub(super) enum Grid {
    Fixed(u32, u32),
    /// As that range says when the time comes: so many, or none.
    // Who asks how many it can be is not there in the browser.
    #[cfg_attr(target_arch = "wasm32", allow(dead_code))]
    Gated(Box<Range>, (u32, u32)),
}

/// A launch of a kernel.
pub(super) struct Launch {
    pub pipeline: Arc<Pipeline>,
    pub name: Arc<str>,
    pub ranges: SmallVec<[Range; 8]>,
    /// Its block of numbers: bytes, and where it is among all.
    pub block: usize,
    pub offset: u32,
    pub grid: Grid,
}

pub(super) enum Item {
    Launch(Box<Launch>),
    Copy { from: Range, to: Range },
}

/// What is ready for the encoder.
pub(super) enum Ready {
    Launch { pipeline: Arc<Pipeline>, name: Arc<str>, group: wgpu::BindGroup, offset: u32, grid: Grid },
    Copy { from: Range, to: Range },
}

/// A word among the blocks of numbers that is a parameter of the plan.
struct Patch {
    at: u32,
    param: u32,
    dtype: DType,
    high: bool,
}

/// A number's bits.
pub(super) fn word_of(v: Scalar, d: DType, high: bool) -> u32 {
    let v = v.cast(d);
    match d {
        DType::F32 | DType::F16 | DType::BF16 => (v.as_f64() as f32).to_bits(),
        DType::Bool => v.as_bool() as u32,
        _ => {
            let x = if d == DType::F64 { v.as_f64().to_bits() } else { v.as_i64() as u64 };
            (if high { x >> 32 } else { x }) as u32
        }
    }
}

/// What decides whether launches take place: the sizes of all that ask it, and the buffer where it writes them, or zeros.
#[derive(Clone)]
pub(super) struct Gated {
    pub sizes: Arc<[(u32, u32)]>,
    pub buffer: wgpu::Buffer,
    /// Where the first lies in it; each takes 16 bytes.
    pub at: u64,
    /// Names the buffer.
    pub id: u64,
}

/// Launches that are not yet submitted.
pub(super) struct Recorder {
    pub gpu: Arc<Gpu>,
    blob: Vec<u8>,
    patches: Vec<Patch>,
    items: Vec<Item>,
    /// Memory that launches not yet submitted use.
    pub held: Vec<Arc<WgpuStorage>>,
    /// What launches are subject to.
    gate: Option<Gated>,
    /// Something was submitted before the end: this cannot be kept.
    parted: bool,
    /// Nothing may be submitted; why not.
    captive: Option<&'static str>,
}

impl Recorder {
    pub(super) fn new(gpu: Arc<Gpu>) -> Recorder {
        Recorder {
            gpu,
            blob: Vec::new(),
            patches: Vec::new(),
            items: Vec::new(),
            held: Vec::new(),
            gate: None,
            parted: false,
            captive: None,
        }
    }

    /// For launches that are somebody else's business. What has to look at data half way is refused: `why` says who cannot wait for that,
    /// and what to do.
    pub(super) fn captive(gpu: Arc<Gpu>, why: &'static str) -> Recorder {
        Recorder { captive: Some(why), ..Recorder::new(gpu) }
    }

    /// Room for a block of numbers; its offset.
    pub(super) fn reserve(&mut self, bytes: usize) -> Result<usize> {
        let align = self.gpu.limits.min_uniform_buffer_offset_alignment as usize;
        let mut at = self.blob.len().next_multiple_of(align);
        if at + bytes > PARAMS && self.captive.is_none() {
            self.submit()?;
            at = 0;
        }
        self.blob.resize(at + bytes, 0);
        Ok(at)
    }

    /// Sets a word of a reserved block.
    pub(super) fn word(&mut self, at: usize, w: u32) {
        self.blob[at..][..4].copy_from_slice(&w.to_ne_bytes());
    }

    /// Sets a word to a parameter of the plan.
    pub(super) fn param(&mut self, at: usize, param: u32, dtype: DType, high: bool, params: &[Scalar]) -> Result<()> {
        let v = *params.get(param as usize).ok_or_else(|| err!(Internal, "the plan has no parameter {param}"))?;
        self.word(at, word_of(v, dtype, high));
        self.patches.push(Patch { at: at as u32, param, dtype, high });
        Ok(())
    }

    /// Temporary memory until the end of the run.
    pub(super) fn memory(&mut self, bytes: usize) -> Result<View> {
        let s = WgpuStorage::new(&self.gpu, bytes)?;
        let view = s.view(&self.gpu)?;
        self.held.push(s);
        Ok(view)
    }

    /// Puts what follows under a gate, or, given none, under none; returns what there was before.
    pub(super) fn under(&mut self, gate: Option<Gated>) -> Option<Gated> {
        std::mem::replace(&mut self.gate, gate)
    }

    /// Another launch.
    pub(super) fn launch(
        &mut self,
        pipeline: &Arc<Pipeline>,
        name: &Arc<str>,
        ranges: SmallVec<[Range; 8]>,
        block: (usize, usize),
        size: (u32, u32),
    ) -> Result<()> {
        let grid = match &self.gate {
            None => Grid::Fixed(size.0, size.1),
            Some(g) => match g.sizes.binary_search(&size) {
                Ok(n) => Grid::Gated(Box::new(Range { buffer: g.buffer.clone(), id: g.id, offset: g.at + n as u64 * 16, len: 16 }), size),
                Err(_) => bail!(Internal, "wgpu: a launch of {size:?} workgroups was not foreseen by its gate"),
            },
        };
        let launch = Launch { pipeline: pipeline.clone(), name: name.clone(), ranges, block: block.1, offset: block.0 as u32, grid };
        self.items.push(Item::Launch(Box::new(launch)));
        Ok(())
    }

    /// A copy between buffers. Not under a gate.
    pub(super) fn copy(&mut self, from: &[Range], to: &[Range]) -> Result<()> {
        if self.gate.is_some() {
            bail!(Internal, "wgpu: a copy under a gate");
        }
        let (mut from, mut to) = (from.to_vec(), to.to_vec());
        from.reverse();
        to.reverse();
        while let (Some(mut p), Some(mut q)) = (from.pop(), to.pop()) {
            let len = p.len.min(q.len);
            self.items.push(Item::Copy { from: Range { len, ..p.clone() }, to: Range { len, ..q.clone() } });
            for (r, list) in [(&mut p, &mut from), (&mut q, &mut to)] {
                (r.offset, r.len) = (r.offset + len, r.len - len);
                if r.len > 0 {
                    list.push(r.clone());
                }
            }
        }
        Ok(())
    }

    /// Submits everything recorded, because `what` has to look at data before the rest can be.
    ///
    /// # Errors
    /// `Argument` where nothing may be submitted; what the device reports.
    pub(super) fn submit_for(&mut self, what: &str) -> Result<()> {
        if let Some(why) = self.captive {
            bail!(Argument, "wgpu: {what} has to look at data before it goes on, which {why}, or give it a fixed length");
        }
        self.submit()
    }

    /// Submits everything recorded: one encoder, one pass.
    pub(super) fn submit(&mut self) -> Result<()> {
        self.parted = true;
        let (items, gpu) = (std::mem::take(&mut self.items), &self.gpu);
        self.patches.clear();
        if !items.is_empty() {
            gpu.guarded(|| {
                let ready = bound(items, |l| gpu.bind_kept(&l.pipeline.layout, l.block, &l.ranges));
                gpu.queue.write_buffer(&gpu.params, 0, &self.blob);
                encode(gpu, &ready)
            })??;
        }
        self.blob.clear();
        self.gpu.alive()
    }

    /// Everything recorded, to be run now and again; the recorder itself if parts of it ran already, or its memory is worth more.
    pub(super) fn keep(self: Box<Self>) -> Result<Recipe, Box<Recorder>> {
        use crate::base::Storage;
        const WORTH: usize = 4 << 20;
        if self.captive.is_some() {
            return Ok(self.recipe());
        }
        if self.parted || self.held.iter().map(|s| s.bytes()).sum::<usize>() > WORTH {
            return Err(self);
        }
        Ok(self.recipe())
    }

    /// Everything recorded, and all blocks of numbers.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn into_items(self) -> (Vec<Item>, Vec<u8>) {
        (self.items, self.blob)
    }

    fn recipe(self) -> Recipe {
        let Recorder { gpu, blob, patches, items, held, .. } = self;
        let numbers = uniform(&gpu.device, blob.len());
        let ready = bound(items, |l| gpu.bind(&l.pipeline.layout, &numbers, l.block, &l.ranges));
        Recipe { ready, numbers, patches, blob: Mutex::new((blob, false)), _held: held }
    }
}

fn bound(items: Vec<Item>, bind: impl Fn(&Launch) -> wgpu::BindGroup) -> Vec<Ready> {
    let one = |i| match i {
        Item::Launch(l) => {
            let group = bind(&l);
            Ready::Launch { pipeline: l.pipeline, name: l.name, group, offset: l.offset, grid: l.grid }
        }
        Item::Copy { from, to } => Ready::Copy { from, to },
    };
    items.into_iter().map(one).collect()
}

/// One encoder, one pass (more if there are copies between), one submission.
fn encode(gpu: &Gpu, ready: &[Ready]) -> Result<()> {
    gpu.launched(ready.len());
    if gpu.timing.on() {
        return gpu.timed(ready);
    }
    let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: None });
    encode_into(&mut encoder, ready);
    gpu.queue.submit([encoder.finish()]);
    Ok(())
}

/// As few passes as the copies between launches allow.
fn encode_into(encoder: &mut wgpu::CommandEncoder, ready: &[Ready]) {
    let mut rest = ready;
    while let Some(first) = rest.first() {
        if let Ready::Copy { from, to } = first {
            encoder.copy_buffer_to_buffer(&from.buffer, from.offset, &to.buffer, to.offset, from.len);
            rest = &rest[1..];
            continue;
        }
        let n = rest.iter().position(|r| matches!(r, Ready::Copy { .. })).unwrap_or(rest.len());
        let (now, later) = rest.split_at(n);
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes: None });
        dispatch(&mut pass, now);
        rest = later;
    }
}

/// Launches within a pass.
pub(super) fn dispatch(pass: &mut wgpu::ComputePass<'_>, launches: &[Ready]) {
    let mut last: *const Pipeline = std::ptr::null();
    for r in launches {
        let Ready::Launch { pipeline, group, offset, grid, .. } = r else { continue };
        if !std::ptr::eq(last, Arc::as_ptr(pipeline)) {
            pass.set_pipeline(&pipeline.pipeline);
            last = Arc::as_ptr(pipeline);
        }
        pass.set_bind_group(0, group, &[*offset]);
        match grid {
            Grid::Fixed(x, y) => pass.dispatch_workgroups(*x, *y, 1),
            Grid::Gated(size, _) => pass.dispatch_workgroups_indirect(&size.buffer, size.offset),
        }
    }
}

/// A plan's launches bound to buffers.
pub(super) struct Recipe {
    ready: Vec<Ready>,
    /// All blocks of numbers.
    numbers: wgpu::Buffer,
    patches: Vec<Patch>,
    /// What they are, and whether the device has them.
    blob: Mutex<(Vec<u8>, bool)>,
    _held: Vec<Arc<WgpuStorage>>,
}

impl Recipe {
    /// Sets the parameters among the numbers; whether any is another than before.
    fn patch(&self, blob: &mut [u8], params: &[Scalar]) -> Result<bool> {
        let mut changed = false;
        for p in &self.patches {
            let v = *params.get(p.param as usize).ok_or_else(|| err!(Internal, "the plan has no parameter {}", p.param))?;
            let (new, at) = (word_of(v, p.dtype, p.high).to_ne_bytes(), p.at as usize);
            if blob[at..at + 4] != new {
                blob[at..at + 4].copy_from_slice(&new);
                changed = true;
            }
        }
        Ok(changed)
    }

    /// Puts it in an encoder of the application. The numbers go with it, so that each of several encodings has its own.
    pub(super) fn encode(&self, gpu: &Gpu, encoder: &mut wgpu::CommandEncoder, params: &[Scalar]) -> Result<()> {
        let mut state = lock(&self.blob);
        let (blob, written) = &mut *state;
        self.patch(blob, params)?;
        if self.patches.is_empty() {
            if !std::mem::replace(written, true) && !blob.is_empty() {
                gpu.queue.write_buffer(&self.numbers, 0, blob);
            }
        } else {
            let staging = gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("numbers"),
                size: self.numbers.size(),
                usage: wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: true,
            });
            {
                let mut to =
                    staging.get_mapped_range_mut(..blob.len() as u64).map_err(|e| err!(Device, "wgpu: memory cannot be written: {e}"))?;
                to.slice(..).copy_from_slice(blob);
            }
            staging.unmap();
            encoder.copy_buffer_to_buffer(&staging, 0, &self.numbers, 0, self.numbers.size());
            *written = false;
        }
        encode_into(encoder, &self.ready);
        Ok(())
    }

    /// Runs it with these parameters.
    pub(super) fn run(&self, gpu: &Gpu, params: &[Scalar]) -> Result<()> {
        let mut state = lock(&self.blob);
        let (blob, written) = &mut *state;
        *written &= !self.patch(blob, params)?;
        let fresh = !std::mem::replace(written, true) && !blob.is_empty();
        let ran = gpu.guarded(|| {
            if fresh {
                gpu.queue.write_buffer(&self.numbers, 0, blob);
            }
            encode(gpu, &self.ready)
        });
        let ran = ran.and_then(|r| r).and_then(|()| gpu.alive());
        *written = ran.is_ok();
        ran
    }
}

/// Names of the buffers a plan runs on.
pub(super) type Ids = SmallVec<[u64; 16]>;

/// Sets of buffers remembered for each plan.
const SETS: usize = 8;

/// What was found for a plan on a set of buffers.
pub(super) enum Found {
    /// They are new.
    Nothing,
    /// They came before: it is worth while to keep the recording.
    Seen,
    /// It is there.
    Kept(Arc<Recipe>),
}

/// Buffers a plan ran on, and its recording if that was kept.
type Set = (Ids, Option<Arc<Recipe>>);

/// The recorded plans of a device.
#[derive(Default)]
pub(super) struct Recipes {
    by_plan: Mutex<HashMap<u64, Vec<Set>>>,
}

impl Recipes {
    pub(super) fn find(&self, plan: u64, ids: &Ids) -> Found {
        let mut all = lock(&self.by_plan);
        let sets = all.entry(plan).or_default();
        match sets.iter().find(|s| s.0 == *ids) {
            Some((_, Some(r))) => Found::Kept(r.clone()),
            Some((_, None)) => Found::Seen,
            None => {
                if sets.len() >= SETS {
                    sets.remove(0);
                }
                sets.push((ids.clone(), None));
                Found::Nothing
            }
        }
    }

    pub(super) fn keep(&self, plan: u64, ids: &Ids, recipe: &Arc<Recipe>) {
        let mut all = lock(&self.by_plan);
        if let Some(s) = all.get_mut(&plan).and_then(|sets| sets.iter_mut().find(|s| s.0 == *ids)) {
            s.1 = Some(recipe.clone());
        }
    }

    /// A plan is no more.
    pub(super) fn forget(&self, plan: u64) {
        let gone = lock(&self.by_plan).remove(&plan);
        drop(gone);
    }

    pub(super) fn clear(&self) {
        let gone = std::mem::take(&mut *lock(&self.by_plan));
        drop(gone);
    }
}
