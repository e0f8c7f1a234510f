//! The CPU device: Loop IR kernels as tile programs on a pool of threads, memory from a caching allocator.
//!
//! A kernel takes this way: [`nest`] decides how its domain is traversed and where each load and store lies in it; [`compile`] turns every pass
//! into a [`program`] (found in the [`cache`] by structure); [`drive`] cuts the domain into tasks; [`run`] executes one task's tiles with
//! the functions of [`kernels`]. Matrix products, convolutions, scatters and sorts have their own drivers around the same programs.
//! [`executable`] strings kernels together; [`pool`] and [`alloc`] are threads and memory.
//!
//! Invariants: the tree of a reduction depends on the shape only; a program holds no extent or stride; nothing is allocated per tile.

mod access;
pub mod alloc;
mod attention;
pub mod cache;
pub mod compile;
mod control;
mod conv;
mod cut;
pub mod drive;
pub mod executable;
pub mod kernels;
mod matmul;
mod micro;
pub mod nest;
mod packed;
pub mod pool;
pub mod program;
mod resident;
mod rewrite;
mod run;
mod scatter;
mod sort;
mod split;
mod strip;
mod tile;

#[cfg(test)]
mod tests;

use super::{Artefacts, Backend, Executable, Failed, MemoryStats};
use crate::base::error::err;
use crate::base::{DType, Result, Scalar, Storage};
use crate::loops::schedule::Schedule;
use alloc::{Allocator, CpuStorage};
use std::sync::Arc;

/// The memory of the process's CPU device.
pub(crate) static MEMORY: Allocator = Allocator::new();
/// Its kernel cache.
pub(crate) static CACHE: cache::Cache = cache::Cache::new();

/// The CPU device.
struct Cpu;

/// The process's CPU device.
pub fn device() -> &'static dyn Backend {
    &Cpu
}

fn own(s: &dyn Storage) -> Result<&CpuStorage> {
    s.as_any().downcast_ref().ok_or_else(|| err!(Device, "cpu: a buffer of device {} was given to the CPU", s.device().0))
}

impl Backend for Cpu {
    fn describe(&self) -> String {
        format!("cpu: {} threads, {:?} tile kernels", pool::pool().threads(), kernels::isa())
    }

    fn kind(&self) -> &'static str {
        "cpu"
    }

    fn supports(&self, _: DType) -> bool {
        true
    }

    fn allocate(&self, bytes: usize) -> Result<Arc<dyn Storage>> {
        MEMORY.storage(bytes)
    }

    fn upload(&self, bytes: &[u8]) -> Result<Arc<dyn Storage>> {
        let block = MEMORY.storage(bytes.len())?;
        // SAFETY: the new block has this many bytes and nobody else knows it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), own(&*block)?.ptr(), bytes.len()) };
        Ok(block)
    }

    fn adopt(&self, bytes: Vec<u8>) -> Result<Arc<dyn Storage>> {
        // Small ones are cheaper to copy than to keep apart from the bins.
        if bytes.len() < 1 << 16 || !(bytes.as_ptr() as usize).is_multiple_of(16) {
            return self.upload(&bytes);
        }
        MEMORY.adopt(bytes)
    }

    fn download(&self, from: &dyn Storage, out: &mut [u8]) -> Result<()> {
        let s = own(from)?;
        if out.len() > from.bytes() {
            return Err(err!(Internal, "cpu: {} bytes asked from a buffer of {}", out.len(), from.bytes()));
        }
        // SAFETY: the length was checked; plans that write the buffer have finished.
        unsafe { std::ptr::copy_nonoverlapping(s.ptr(), out.as_mut_ptr(), out.len()) };
        Ok(())
    }

    fn read(&self, from: Arc<dyn Storage>, bytes: usize) -> crate::backend::Reading {
        Box::pin(async move {
            let mut out = vec![0; bytes];
            device().download(&*from, &mut out)?;
            Ok(out)
        })
    }

    fn prepare(&self, schedule: &Schedule, _: &mut Artefacts) -> Result<Arc<dyn Executable>> {
        Ok(Arc::new(executable::CpuExecutable::new(schedule)?))
    }

    fn run(&self, exe: &dyn Executable, inputs: &[Arc<dyn Storage>], params: &[Scalar]) -> Result<Vec<Arc<dyn Storage>>, Failed> {
        let exe: &executable::CpuExecutable =
            exe.as_any().downcast_ref().ok_or_else(|| err!(Device, "cpu: an executable of another device was given to the CPU"))?;
        exe.run(inputs, params)
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn memory_stats(&self) -> MemoryStats {
        MEMORY.stats()
    }

    fn set_memory_limit(&self, limit: Option<usize>) {
        MEMORY.set_limit(limit);
    }

    fn trim(&self) {
        MEMORY.trim();
    }
}
