//! The devices that tests run on: the CPU always, a graphics device where there is an adapter (`LAZULI_ADAPTER` names a software one).

use lazuli::{Device, Tensor};

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

/// Whether the current device computes in F64. Where it does not, that is a refusal, printed and counted as such, and no failure.
pub fn f64_on_current(test: &str) -> bool {
    let d = Device::current();
    match (Tensor::from_vec(vec![1.0f64], [1]) + 1.0).eval() {
        Ok(()) => true,
        Err(e) => {
            assert_eq!(e.kind(), lazuli::ErrorKind::DType, "{e}");
            println!("refused on {d}: {test}: {e}");
            false
        }
    }
}

/// Leaves a test that needs F64 where the device has none.
macro_rules! needs_f64 {
    ($test:expr) => {
        crate::devices::needs_f64!($test, ())
    };
    ($test:expr, $else:expr) => {
        if !crate::devices::f64_on_current(concat!(module_path!(), "::", $test)) {
            return $else;
        }
    };
}
pub(crate) use needs_f64;
