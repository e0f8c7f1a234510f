//! The devices that tests run on: the CPU always, a graphics device where there is an adapter (`LAZULI_ADAPTER` names a software one).

use lazuli::Device;

/// The wgpu device; without one, says what is skipped.
pub fn wgpu(what: &str) -> Option<Device> {
    match Device::wgpu() {
        Ok(d) => Some(d),
        Err(e) => {
            println!("skipped on wgpu: {what}: {e}");
            None
        }
    }
}

/// Tests of one body on every device: `each_device!(unary, binary)` makes `cpu::unary`, `wgpu::unary`..., which give it a device.
macro_rules! each_device {
    ($($body:ident),* $(,)?) => {
        mod cpu {
            $(#[test] fn $body() { super::$body(lazuli::Device::cpu()); })*
        }
        mod wgpu {
            $(#[test] fn $body() {
                if let Some(d) = crate::devices::wgpu(concat!(module_path!(), "::", stringify!($body))) {
                    super::$body(d);
                }
            })*
        }
    };
}
pub(crate) use each_device;
