//! How elements narrower than a word lie in memory of words, and who may write a whole word.

use crate::base::DType;
use crate::loops::symbolic::Symbolic;
use crate::loops::{Archetype, Kernel};

/// How many elements share a 32-bit word; 1 for types of a word or more.
pub fn per_word(d: DType) -> usize {
    (4 / d.size()).max(1)
}

/// How a store is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreForm {
    /// The element is a word, or several.
    Plain,
    /// Points in row-major order write neighbouring elements from the first on: one invocation computes all elements of a word.
    Words,
    /// Other invocations may write into the same word at the same time: only by atomic operations.
    Shared,
}

/// The form of every store, by pass. `offset(arg)`: whether the argument may begin in the middle of a word.
pub fn store_forms(k: &Kernel, s: &Symbolic, offset: impl Fn(usize) -> bool) -> Vec<Vec<StoreForm>> {
    let row_major = {
        let mut strides = vec![1i64; k.axes.len()];
        for i in (0..k.axes.len().saturating_sub(1)).rev() {
            strides[i] = strides[i + 1] * k.axes[i + 1].extent as i64;
        }
        strides
    };
    let form = |st: &crate::loops::Store| {
        let arg = &k.args[st.arg.index()];
        if per_word(arg.dtype) == 1 {
            return StoreForm::Plain;
        }
        let whole = k.archetype == Archetype::Pointwise
            && !offset(st.arg.index())
            && arg.numel == k.outer_len()
            && st.valid.is_none()
            && s.affine(st.index).is_some_and(|(base, strides)| {
                base == 0 && strides.iter().zip(&row_major).zip(&k.axes).all(|((a, b), x)| x.extent == 1 || a == b)
            });
        if whole { StoreForm::Words } else { StoreForm::Shared }
    };
    k.passes.iter().map(|p| p.stores.iter().map(form).collect()).collect()
}
