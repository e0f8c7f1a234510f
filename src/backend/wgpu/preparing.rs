//! The preparation of one schedule: the device it is for, and the modules that another process may have emitted already.

use super::emit::{ArgUse, Module, Repeat, emit_repeated, packed};
use super::gpu::Gpu;
use crate::backend::Artefacts;
use crate::base::Result;
use crate::loops::Kernel;
use std::cell::RefCell;
use std::sync::Arc;

/// The device that a schedule is prepared for, and what is there of that already.
pub(super) struct Preparing<'a> {
    pub gpu: &'a Arc<Gpu>,
    artefacts: RefCell<&'a mut Artefacts>,
}

impl<'a> Preparing<'a> {
    pub(super) fn new(gpu: &'a Arc<Gpu>, artefacts: &'a mut Artefacts) -> Preparing<'a> {
        Preparing { gpu, artefacts: RefCell::new(artefacts) }
    }

    /// The module of a kernel, see [`emit_repeated`].
    ///
    /// # Errors
    /// As there.
    pub(super) fn module(&self, k: &Kernel, uses: &[ArgUse], all_writable: bool, repeat: Option<&Repeat>) -> Result<Module> {
        let mark = packed::mark(k, uses);
        let make = || emit_repeated(k, &self.gpu.target, uses, all_writable, repeat);
        self.artefacts.borrow_mut().next(|bytes| Module::unpack(bytes, mark), make, |m| m.pack(mark))
    }
}

impl std::ops::Deref for Preparing<'_> {
    type Target = Arc<Gpu>;

    fn deref(&self) -> &Arc<Gpu> {
        self.gpu
    }
}
