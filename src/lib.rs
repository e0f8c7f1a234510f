//! Lazuli: a JIT-tracing tensor engine.
#![deny(unsafe_op_in_unsafe_fn)]
extern crate self as lazuli;

pub mod backend;
pub mod base;
pub mod data;
pub mod fft;
pub mod function;
pub mod fuse;
pub mod linalg;
pub mod loops;
pub mod models;
pub mod nn;
pub mod optim;
pub mod plan;
pub mod profile;
pub mod program;
pub mod safetensors;
pub mod simplify;
pub mod tensor;
pub mod trace;
pub mod transform;

/// The version of wgpu whose devices, buffers and encoders [`Device::from_wgpu`] and its kin take.
#[cfg(feature = "wgpu")]
pub use ::wgpu;
pub use base::error::catch;
pub use base::{Axes, Axis, DType, Dims, Element, Error, ErrorKind, Result, Scalar, Shape};
pub use fft::Complex;
pub use function::{
    Autocast, BatchAxes, Jit, Policy, Tree, autocast, checkpoint, checkpoint_name, checkpoint_with, cond, custom_jvp, custom_vjp,
    fori_loop, grad, hessian, hvp, jacfwd, jacrev, jit, jvp, linearize, scan, scan_reversed, stop_gradient, value_and_grad, vjp, vmap,
    vmap_with, while_loop,
};
pub use plan::{Report, Stats, explain, stats};
#[cfg(all(feature = "wgpu", not(target_arch = "wasm32")))]
pub use program::Target;
pub use program::{Program, Spec};
pub use tensor::{
    AttentionOptions, AttentionWeights, BagMode, BagOptions, ConvOptions, CrossEntropyOptions, Device, Generator, GridMode, GridPadding,
    Interpolate, KlOptions, NewAxis, NllOptions, Number, Operand, PadMode, PoolOptions, Reduction, ScatterReduce, SliceItem, Tensor,
    TripletOptions, eval, manual_seed,
};
#[cfg(feature = "wgpu")]
pub use tensor::{Budget, Ticket, WgpuBuffer};

/// Everything a program usually needs.
pub mod prelude {
    pub use crate::function::{
        autocast, checkpoint, cond, custom_jvp, custom_vjp, fori_loop, grad, hessian, hvp, jacfwd, jacrev, jit, jvp, linearize, scan,
        scan_reversed, stop_gradient, value_and_grad, vjp, vmap, vmap_with, while_loop,
    };
    pub use crate::nn::Linear;
    pub use crate::optim::Adam;
    pub use crate::safetensors;
    pub use crate::{DType, Device, Error, Generator, NewAxis, Result, Tensor, Tree, catch, manual_seed, s, tensor};
}
