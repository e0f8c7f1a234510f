//! The wgpu backend beyond what every device is tested for: the modules it emits, and what only a graphics device can get wrong.

mod browser;
mod chromium;
mod device;
mod doubles;
mod embed;
mod export;
mod faults;
mod golden;
mod hardware;
mod host;
mod limits;
mod loops;
mod ops;
mod page;
mod replay;
mod textures;

use crate::devices;
use lazuli::backend::wgpu::Bounds;
use lazuli::prelude::*;

/// A device of the test's own, so that what happens to it is nobody else's business.
pub fn fresh(what: &str, change: impl FnOnce(&mut Bounds)) -> Option<Device> {
    devices::wgpu(what)?;
    let mut bounds = Bounds::default();
    change(&mut bounds);
    Some(Device::open_wgpu(&bounds).expect("a second device on the same adapter"))
}

pub fn ramp(n: usize) -> Tensor {
    Tensor::from_vec((0..n).map(|i| i as f32).collect::<Vec<_>>(), [n])
}
