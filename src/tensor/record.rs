//! Recording: how an op on tensors becomes a node, and when a long recipe is flushed by itself.

use super::Tensor;
use crate::base::error::{err, slip};
use crate::base::{DType, DeviceId, Error, Result, Scalar, Shape, Site, Value};
use crate::plan;
use crate::trace::adopt::adopt;
use crate::trace::graph::{Input, Inputs, NodeRef, Recipe};
use crate::trace::{Op, infer};
use smallvec::SmallVec;
use std::cell::Cell;
use std::panic::Location;

/// A recipe chain longer than this is computed by itself, so that a loop without reads stays bounded.
const FLUSH_DEPTH: u32 = 4096;

thread_local! {
    /// How many transforms (or recorded functions) this thread is inside of: there nothing is cut or flushed.
    static TRANSFORMS: Cell<u32> = const { Cell::new(0) };
}

/// True inside a transform or a function being recorded.
pub(crate) fn inside_transform() -> bool {
    TRANSFORMS.get() > 0
}

/// Runs `f` inside a transform: nothing is cut or flushed meanwhile, also if `f` panics.
pub(crate) fn in_transform<R>(f: impl FnOnce() -> R) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            TRANSFORMS.set(TRANSFORMS.get() - 1);
        }
    }
    TRANSFORMS.set(TRANSFORMS.get() + 1);
    let _leave = Leave;
    f()
}

/// The error of the first poisoned node, if any.
pub(crate) fn first_poison(nodes: &[NodeRef]) -> Result<()> {
    nodes.iter().find_map(|n| n.poison()).map_or(Ok(()), |e| Err(e.clone()))
}

impl Tensor {
    /// Reports a slip and stands in for the result that could not be made.
    #[track_caller]
    pub(crate) fn poisoned(e: Error) -> Tensor {
        let site = Location::caller();
        let e = e.at(site);
        slip(&e);
        Tensor::poison_quietly(e, site)
    }

    pub(crate) fn poison_quietly(e: Error, site: Site) -> Tensor {
        Tensor(NodeRef::new(Recipe::Leaf, DType::F32, Shape::scalar(), DeviceId(0), site, 0, Some(Err(e))))
    }

    /// The result, or a poisoned tensor after reporting the slip, with `op`'s name in front of the message.
    #[track_caller]
    pub(crate) fn or_slip(r: Result<Tensor>) -> Tensor {
        match r {
            Ok(t) => t,
            Err(e) => Tensor::poisoned(e),
        }
    }

    /// Records an op whose type follows from its operands.
    #[track_caller]
    pub(crate) fn record(op: Op, inputs: &[&Tensor]) -> Tensor {
        let types: SmallVec<[(DType, &Shape); 3]> = inputs.iter().map(|t| (t.dtype(), t.shape())).collect();
        if let Some(p) = inputs.iter().find(|t| t.0.poison().is_some()) {
            return (*p).clone();
        }
        match infer::infer(&op, &types) {
            Ok((dtype, shape)) => Tensor::record_typed(op, inputs, dtype, shape),
            Err(e) => Tensor::poisoned(e),
        }
    }

    /// Records an op whose type the caller knows (see `infer::check` for what must hold).
    #[track_caller]
    pub(crate) fn record_typed(op: Op, inputs: &[&Tensor], dtype: DType, shape: Shape) -> Tensor {
        Tensor::record_inputs(op, inputs.iter().map(|t| Input::Node(t.0.clone())).collect(), dtype, shape)
    }

    /// Records an op some of whose operands may be scalars (elementwise, random).
    #[track_caller]
    pub(crate) fn record_inputs(op: Op, mut inputs: Inputs, dtype: DType, shape: Shape) -> Tensor {
        let site = Location::caller();
        let (mut depth, mut device, mut apart): (u32, Option<DeviceId>, bool) = (0, None, false);
        for i in &inputs {
            let Input::Node(n) = i else { continue };
            if let Some(e) = n.poison() {
                return Tensor::poison_quietly(e.clone(), site);
            }
            depth = depth.max(if n.value.get().is_some() { 0 } else { n.depth });
            apart |= *device.get_or_insert(n.device) != n.device;
        }
        if apart {
            match adopt(&mut inputs) {
                Ok(at) => device = Some(at),
                Err((a, b)) => {
                    let [a, b] = [a, b].map(super::Device);
                    return Tensor::poisoned(err!(Device, "{}: operands live on {a} and {b}: move one with to_device", op.name()));
                }
            }
        }
        let device = device.unwrap_or_else(|| super::Device::current().0);
        let t = Tensor(NodeRef::new(Recipe::Made(op, inputs), dtype, shape, device, site, depth + 1, None));
        if depth >= FLUSH_DEPTH && !inside_transform() {
            plan::flush(&t.0);
        }
        t
    }

    /// A leaf that holds a value.
    #[track_caller]
    pub(crate) fn leaf(value: Value, shape: Shape) -> Tensor {
        let device = value.storage.device();
        Tensor(NodeRef::new(Recipe::Leaf, value.dtype, shape, device, Location::caller(), 0, Some(Ok(value))))
    }

    /// An input of a function being recorded.
    #[track_caller]
    pub(crate) fn placeholder(dtype: DType, shape: Shape, device: DeviceId) -> Tensor {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        Tensor(NodeRef::new(Recipe::Placeholder(n), dtype, shape, device, Location::caller(), 0, None))
    }

    /// A constant of the library's own: part of the structure, may be folded.
    #[track_caller]
    pub(crate) fn constant(value: Scalar, dtype: DType, shape: &Shape) -> Tensor {
        let c = Tensor::record_inputs(Op::Const(value.cast(dtype)), Inputs::new(), dtype, Shape::scalar());
        c.broadcast_shape(shape)
    }

    /// Stretched to `shape`, aligned at the right; itself if it has that shape. The caller has checked that it fits.
    #[track_caller]
    pub(crate) fn broadcast_shape(&self, shape: &Shape) -> Tensor {
        if self.shape() == shape {
            return self.clone();
        }
        Tensor::record_typed(Op::Broadcast, &[self], self.dtype(), shape.clone())
    }

    /// Row-major order kept, to `shape`, which has as many elements; itself if it has that shape.
    #[track_caller]
    pub(crate) fn reshape_shape(&self, shape: &Shape) -> Tensor {
        if self.shape() == shape {
            return self.clone();
        }
        Tensor::record_typed(Op::Reshape, &[self], self.dtype(), shape.clone())
    }
}
