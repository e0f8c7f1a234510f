//! A frame: the fluid goes on and is drawn, in one encoder.

use crate::app::Gpu;
use crate::fluid::{Fluid, Stir};
use crate::show::Show;
use lazuli::prelude::*;
use lazuli::wgpu;

/// Rows and columns of the fluid.
const SIZE: [usize; 2] = [144, 256];

pub struct Scene {
    pub gpu: Gpu,
    dev: Device,
    fluid: Fluid,
    picture: wgpu::Texture,
    show: Show,
}

impl Scene {
    /// For targets of that format.
    pub fn new(gpu: Gpu, target: wgpu::TextureFormat) -> Result<Scene> {
        let dev = Device::from_wgpu(&gpu.device, &gpu.queue)?;
        let picture = gpu.picture([SIZE[1] as u32, SIZE[0] as u32]);
        let show = Show::new(&gpu, &picture, target);
        Ok(Scene { fluid: Fluid::new(&dev, SIZE), gpu, dev, picture, show })
    }

    pub fn rows(&self) -> usize {
        SIZE[0]
    }

    pub fn columns(&self) -> usize {
        SIZE[1]
    }

    pub fn clear(&mut self) {
        self.fluid = Fluid::new(&self.dev, SIZE);
    }

    /// Stirs the fluid (or lets it rest), and draws it on a target.
    pub fn frame(&mut self, target: &wgpu::Texture, stir: Option<(&Stir, f32)>) -> Result<()> {
        let mut encoder = self.gpu.encoder();
        let mut tickets = Vec::new();
        if let Some((stir, dt)) = stir {
            self.fluid.step(stir, dt);
            tickets.push(self.dev.encode_into(&mut encoder, &[&self.fluid.speed, &self.fluid.dye])?);
            tickets.push(self.fluid.picture().copy_to_texture(&mut encoder, &self.picture)?);
        }
        self.show.draw(&mut encoder, target);
        self.gpu.queue.submit([encoder.finish()]);
        tickets.into_iter().try_for_each(|t| t.submitted())
    }
}
