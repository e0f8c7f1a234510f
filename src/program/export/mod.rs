//! Programs as kernels in files, for engines without this crate: sources in a shading language, the weights, and a manifest that says what is
//! launched on which buffers.
//!
//! The plan is the one that the wgpu backend would run on the least of devices ([`listing`]), so no adapter is needed; it is not made for the
//! one at hand. [`translate`] writes a kernel in another language, [`manifest`] the manifest in [`json`], [`folder`] all of it at once. This
//! module runs nothing.
//!
//! Invariants: what the manifest says is all there is to know; a folder holds a whole export or none.

mod folder;
mod json;
mod manifest;
mod translate;

use super::Program;
use crate::Result;
use crate::backend::wgpu::{self, listing};
use crate::base::error::bail;
use crate::plan;
use std::path::Path;
use translate::translate;

/// A shading language that kernels are exported in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target {
    /// WGSL: WebGPU.
    Wgsl,
    /// SPIR-V 1.3: Vulkan 1.1.
    Spirv,
    /// Metal Shading Language 2.1.
    Msl,
    /// HLSL, shader model 5.1: Direct3D 12.
    Hlsl,
    /// GLSL 4.30: OpenGL.
    Glsl,
}

impl Target {
    /// In the manifest.
    fn name(self) -> &'static str {
        match self {
            Target::Wgsl => "wgsl",
            Target::Spirv => "spirv",
            Target::Msl => "msl",
            Target::Hlsl => "hlsl",
            Target::Glsl => "glsl",
        }
    }

    /// Of a source's name.
    fn extension(self) -> &'static str {
        match self {
            Target::Wgsl => "wgsl",
            Target::Spirv => "spv",
            Target::Msl => "metal",
            Target::Hlsl => "hlsl",
            Target::Glsl => "comp",
        }
    }
}

impl Program {
    /// Writes the folder `dir`, with which an engine in any language runs the program without this crate: a source per kernel in `kernels/`,
    /// `weights.safetensors`, and `manifest.json`, which says what is launched on which buffers; its format is in `docs/export.md`. It needs no
    /// graphics adapter. An earlier export in `dir` is replaced.
    ///
    /// Loops of a fixed length become their launches, a branch becomes launches that take their size from a buffer.
    ///
    /// # Errors
    /// `Argument` if the program draws random numbers, or has a loop that looks at data to know when to end; `DType` for F64, which few devices have; `Memory` if a
    /// tensor is larger than every device's buffers; `Io` if something cannot be written, or `dir` holds what is no export; what reading a
    /// weight reports. Then `dir` is as it was.
    ///
    /// ```
    /// use lazuli::prelude::*;
    /// use lazuli::{Program, Spec, Target};
    /// let w = Tensor::from_vec(vec![1f32, 2.0, 3.0, 4.0], [2, 2]);
    /// let p = Program::new(|x: &[Tensor]| x[0].matmul(&w).relu(), &[Spec::new(DType::F32, [3, 2])])?;
    /// let dir = std::env::temp_dir().join(format!("kernels-{}", std::process::id()));
    /// p.export_kernels(&dir, Target::Spirv)?;
    /// assert!(dir.join("manifest.json").is_file() && dir.join("weights.safetensors").is_file());
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), lazuli::Error>(())
    /// ```
    pub fn export_kernels(&self, dir: impl AsRef<Path>, target: Target) -> Result<()> {
        if self.draws > 0 {
            bail!(Argument, "a program that draws random numbers cannot be exported: give it the numbers as an argument");
        }
        if let Some(i) = self.trace.insts.iter().find(|i| !wgpu::supports(i.dtype)) {
            bail!(DType, "a program that computes in {} cannot be exported: few devices have it; cast to f32 in the program", i.dtype);
        }
        let lowered = plan::lower_for(&self.trace, wgpu::KIND, &wgpu::supports, listing::ALIGNMENT, wgpu::LIMITS)?;
        let names = self.inputs.iter().chain(self.weights.iter().map(|w| &w.0));
        let sizes = self.trace.inputs.iter().map(|&i| self.trace.shape(i).numel() * self.trace.dtype(i).size());
        let inputs: Vec<(&str, usize)> = names.map(String::as_str).zip(sizes).collect();
        let plan = listing::list(&lowered.schedule, &inputs)?;
        let mut kernels = Vec::with_capacity(plan.kernels.len());
        let mut files = Vec::new();
        for (n, k) in plan.kernels.iter().enumerate() {
            let file = format!("{}/{n:03}_{}.{}", folder::KERNELS, k.name, target.extension());
            let mut translated = translate(&k.text, target)?;
            files.push((file.clone(), std::mem::take(&mut translated.source)));
            kernels.push((file, translated));
        }
        let manifest = manifest::manifest(self, target, &plan, &lowered.results, &kernels)?;
        files.push((folder::MANIFEST.to_string(), format!("{manifest}\n").into_bytes()));
        if let Some(bytes) = self.weight_bytes()? {
            files.push((folder::WEIGHTS.to_string(), bytes));
        }
        folder::replace(dir.as_ref(), &files)
    }
}
