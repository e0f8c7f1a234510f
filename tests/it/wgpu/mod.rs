//! The wgpu backend beyond what every device is tested for: the modules it emits, and what only a graphics device can get wrong.

mod chromium;
mod device;
mod golden;
