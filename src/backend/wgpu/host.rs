//! On the device of an application: plans go into its encoder, values into its buffers and out of them, and nothing is submitted or waited
//! for.
//!
//! What an encoder will write once it is submitted is a promise: other encoders may build on it, the host cannot read it yet. The
//! application's [`Ticket`] keeps the promise or breaks it. Until then everything the encoder uses is held, and what a broken promise's
//! encoder might still write is never handed out again.

use super::device::WgpuDevice;
use super::executable::{Built, Prepared};
use super::gpu::{Gpu, lock};
use super::memory::{ALIGN, WgpuStorage};
use super::record::{Found, Ids, Recipe, Recorder};
use crate::backend::{Backend, Executable, Failed, counters};
use crate::base::error::{bail, err};
use crate::base::{DeviceId, Result, Scalar, Storage};
use smallvec::SmallVec;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

/// How a promise stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Open,
    Kept,
    Broken,
}

/// That an encoder will be submitted.
#[derive(Debug, Default)]
pub(super) struct Promise(AtomicU8);

impl Promise {
    pub(super) fn state(&self) -> State {
        match self.0.load(Ordering::Acquire) {
            0 => State::Open,
            1 => State::Kept,
            _ => State::Broken,
        }
    }

    fn settle(&self, s: State) {
        self.0.store(s as u8, Ordering::Release);
    }
}

/// What the plans of one frame may take, see [`Device::set_frame_budget`](crate::Device::set_frame_budget).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Budget {
    /// Bytes of device memory for results and temporaries.
    pub max_bytes: Option<usize>,
    /// Dispatches.
    pub max_dispatches: Option<usize>,
}

impl Budget {
    /// At most so many bytes of device memory for results and temporaries.
    pub fn max_bytes(self, n: usize) -> Budget {
        Budget { max_bytes: Some(n), ..self }
    }

    /// At most so many dispatches.
    pub fn max_dispatches(self, n: usize) -> Budget {
        Budget { max_dispatches: Some(n), ..self }
    }
}

/// What was put in an encoder (nothing, if every value was there). Once the application has submitted that, it says so by [`submitted`](Ticket::submitted); dropped before,
/// the values are errors.
#[derive(Default)]
#[must_use = "values are readable after Ticket::submitted(); a ticket that is dropped invalidates them"]
pub struct Ticket {
    pub(super) promise: Arc<Promise>,
    /// Those it builds on.
    needs: SmallVec<[Arc<Promise>; 4]>,
    /// Dispatches recorded.
    dispatches: usize,
    /// What the encoder uses.
    _held: Vec<Arc<dyn Storage>>,
    _recipe: Option<Arc<Recipe>>,
}

impl Ticket {
    /// To be called after `queue.submit` of the encoder: the values are there from now on, in the order of the queue.
    ///
    /// # Errors
    /// `NotReady` if the encoder builds on another one whose ticket was dropped, or not yet submitted. The values are errors then.
    pub fn submitted(self) -> Result<()> {
        let open = self.needs.iter().filter(|p| p.state() != State::Kept).count();
        if open > 0 {
            self.promise.settle(State::Broken);
            bail!(NotReady, "wgpu: this encoder uses values of {open} others that were not submitted before it: its values are lost");
        }
        self.promise.settle(State::Kept);
        Ok(())
    }

    /// The encoder got more: it builds on that, and uses these.
    pub(super) fn also(&mut self, needs: Option<Arc<Promise>>, held: impl IntoIterator<Item = Arc<dyn Storage>>, dispatches: usize) {
        self.needs.extend(needs.filter(|p| !Arc::ptr_eq(p, &self.promise)));
        self._held.extend(held);
        self.dispatches += dispatches;
    }

    /// How many dispatches were put in the encoder.
    pub fn dispatches(&self) -> usize {
        self.dispatches
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.promise.state() == State::Open {
            self.promise.settle(State::Broken);
        }
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ticket({} dispatches, {:?})", self.dispatches, self.promise.state())
    }
}

/// The application's device. It cannot be told whether it was given before: wgpu compares handles by number, and devices of two
/// instances have the same ones.
///
/// # Errors
/// `Device` if it cannot compute.
pub fn borrow(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<DeviceId> {
    crate::backend::register(|id| {
        let d: &'static WgpuDevice = Box::leak(Box::new(WgpuDevice::borrow(id, device, queue)?));
        lock(&super::OPEN).push(d);
        Ok(Box::leak(Box::new(d)) as &'static dyn Backend)
    })
}

impl Gpu {
    /// That the application's buffers are buffers of this device, and still there.
    fn probe(&self, storages: &[&WgpuStorage]) -> Result<()> {
        let buffers: SmallVec<[wgpu::Buffer; 4]> = storages.iter().filter_map(|s| s.borrowed_buffer()).collect();
        if buffers.is_empty() {
            return Ok(());
        }
        // A bind group is the cheapest question that has an answer.
        self.guarded(|| {
            for b in &buffers {
                let layout = self.probe.get(&self.device);
                let size = b.size().min(self.limits.max_storage_buffer_binding_size / 256 * 256);
                let part = wgpu::BufferBinding { buffer: b, offset: 0, size: std::num::NonZeroU64::new(size) };
                let entry = wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(part) };
                let _ = self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: Some("probe"), layout, entries: &[entry] });
            }
        })
        .map_err(|e| err!(Device, "a buffer of the application cannot be used: {}", e.message()))
    }
}

/// A buffer of the application as a tensor's memory.
///
/// # Errors
/// `Argument` if it is too small, not for storage, or the offset is no multiple of 256; `Device` if it is another device's, or destroyed.
pub fn import(device: DeviceId, buffer: wgpu::Buffer, offset: u64, bytes: usize) -> Result<Arc<dyn Storage>> {
    let gpu = super::opened(device)?.gpu();
    gpu.alive()?;
    if !buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
        bail!(Argument, "from_wgpu_buffer: the buffer's usage is {:?}: create it with STORAGE", buffer.usage());
    }
    if !offset.is_multiple_of(ALIGN as u64) {
        bail!(Argument, "from_wgpu_buffer: offset {offset} is no multiple of {ALIGN}");
    }
    let wanted = bytes.next_multiple_of(4).max(4) as u64;
    if offset.checked_add(wanted).is_none_or(|end| end > buffer.size()) {
        bail!(Argument, "from_wgpu_buffer: {bytes} bytes from byte {offset} on are asked of a buffer of {}", buffer.size());
    }
    if bytes as u64 > gpu.span() {
        bail!(Memory, "from_wgpu_buffer: {bytes} bytes are more than the device binds at once ({})", gpu.span());
    }
    let s = WgpuStorage::external(&gpu, buffer, offset, bytes);
    gpu.probe(&[&s])?;
    Ok(s)
}

/// The buffer a tensor's value lies in, and its first byte.
///
/// # Errors
/// `Memory` if it lies in several, `DeviceLost` if it is lost.
pub fn place(device: DeviceId, s: &dyn Storage) -> Result<(wgpu::Buffer, u64)> {
    let gpu = super::opened(device)?.gpu();
    gpu.own(s)?.place(&gpu)
}

/// What the plans of one frame may take.
///
/// # Errors
/// `Device` if it is no wgpu device.
pub fn set_budget(device: DeviceId, b: Budget) -> Result<()> {
    super::opened(device).map(|d| *lock(&d.gpu().budget) = b)
}

/// Takes note of what has been done since, without waiting.
///
/// # Errors
/// `DeviceLost`.
pub fn poll(device: DeviceId) -> Result<()> {
    super::opened(device)?.gpu().poll(wgpu::PollType::Poll)
}

/// Puts a prepared plan in the application's encoder.
///
/// # Errors
/// `Memory` beyond the budget, `NotReady` if it uses a value whose ticket was dropped, `Argument` if it has to look at data on the way.
pub fn encode(
    device: DeviceId,
    exe: &dyn Executable,
    inputs: &[Arc<dyn Storage>],
    params: &[Scalar],
    encoder: &mut wgpu::CommandEncoder,
) -> Result<(Vec<Arc<dyn Storage>>, Ticket), Failed> {
    let gpu = super::opened(device)?.gpu();
    let exe: &Prepared =
        exe.as_any().downcast_ref().ok_or_else(|| err!(Device, "wgpu: an executable of another device was given to this one"))?;
    exe.encode(&gpu, inputs, params, encoder)
}

impl Prepared {
    fn encode(
        &self,
        gpu: &Arc<Gpu>,
        inputs: &[Arc<dyn Storage>],
        params: &[Scalar],
        encoder: &mut wgpu::CommandEncoder,
    ) -> Result<(Vec<Arc<dyn Storage>>, Ticket), Failed> {
        gpu.alive()?;
        let built = self.on(gpu)?;
        let own = built.inputs(gpu, inputs)?;
        let needs = own.iter().filter_map(|s| s.promised().transpose()).collect::<Result<SmallVec<[_; 4]>>>()?;
        gpu.probe(&own)?;
        let loads = gpu.loads(&own)?;
        let dispatches = built.launches() + loads.len();
        let bytes = built.outputs.iter().sum::<usize>() + built.arena;
        within(&lock(&gpu.budget), dispatches, bytes)?;
        let outputs = built.outputs.iter().map(|&n| WgpuStorage::new(gpu, n)).collect::<Result<Vec<_>>>()?;
        let arena = if built.arena > 0 { Some(WgpuStorage::new(gpu, built.arena)?) } else { None };
        let ids: Option<Ids> = own.iter().copied().chain(outputs.iter().chain(&arena).map(|s| &**s)).map(|s| s.buffer_id(gpu)).collect();
        let _running = lock(&gpu.running);
        let recipe = match ids.as_ref().map_or(Found::Nothing, |ids| gpu.recipes.find(self.number, ids)) {
            Found::Kept(r) => r,
            _ => {
                let recipe = Arc::new(self.recorded(gpu, &built, &own, &outputs, arena.as_ref(), params)?);
                if let Some(ids) = &ids {
                    gpu.recipes.keep(self.number, ids, &recipe);
                }
                recipe
            }
        };
        gpu.guarded(|| {
            loads.encode(encoder);
            recipe.encode(gpu, encoder, params)
        })??;
        counters::LAUNCHES.fetch_add(built.steps() as u64, Ordering::Relaxed);
        let promise = Arc::new(Promise::default());
        let held = inputs.iter().cloned();
        let held = held.chain(outputs.iter().chain(&arena).map(|s| s.clone() as Arc<dyn Storage>)).collect();
        outputs.iter().chain(&arena).for_each(|s| s.promise(&promise));
        let ticket = Ticket { promise, needs, dispatches, _held: held, _recipe: Some(recipe) };
        Ok((outputs.into_iter().map(|s| s as Arc<dyn Storage>).collect(), ticket))
    }

    fn recorded(
        &self,
        gpu: &Arc<Gpu>,
        built: &Built,
        own: &[&WgpuStorage],
        outputs: &[Arc<WgpuStorage>],
        arena: Option<&Arc<WgpuStorage>>,
        params: &[Scalar],
    ) -> Result<Recipe> {
        let given = own.iter().map(|s| s.contents(gpu)).collect::<Result<Vec<_>>>()?;
        let to = outputs.iter().map(|s| s.contents(gpu)).collect::<Result<Vec<_>>>()?;
        let arena = arena.map(|a| a.contents(gpu)).transpose()?;
        let mut rec = Box::new(Recorder::captive(gpu.clone(), "an encoder cannot wait for: evaluate it by eval()"));
        built.record(&mut rec, &given, &to, arena.as_ref(), params)?;
        gpu.guarded(|| rec.keep())?.map_err(|_| err!(Internal, "wgpu: a program for an encoder was submitted"))
    }
}

fn within(b: &Budget, dispatches: usize, bytes: usize) -> Result<()> {
    if let Some(most) = b.max_dispatches.filter(|&m| dispatches > m) {
        bail!(
            Memory,
            "wgpu: this program takes {dispatches} dispatches, the frame's budget has {most}: encode less, or over several frames"
        );
    }
    if let Some(most) = b.max_bytes.filter(|&m| bytes > m) {
        bail!(Memory, "wgpu: this program takes {bytes} bytes, the frame's budget has {most}: encode less, or over several frames");
    }
    Ok(())
}

/// A layout of one storage buffer, for questions about buffers.
#[derive(Default)]
pub(super) struct OneBuffer(OnceLock<wgpu::BindGroupLayout>);

impl OneBuffer {
    pub(super) fn get(&self, device: &wgpu::Device) -> &wgpu::BindGroupLayout {
        self.0.get_or_init(|| {
            let ty = wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Storage { read_only: true },
                has_dynamic_offset: false,
                min_binding_size: None,
            };
            let entry = wgpu::BindGroupLayoutEntry { binding: 0, visibility: wgpu::ShaderStages::COMPUTE, ty, count: None };
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some("probe"), entries: &[entry] })
        })
    }
}
