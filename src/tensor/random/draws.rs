//! What is drawn inside a function that is recorded for one example and then batched: every example draws for itself.

use crate::tensor::Tensor;
use std::cell::RefCell;

/// One function that is being recorded for many examples.
struct Scope {
    /// How many, those of the functions around it counted in.
    examples: u64,
    /// The bits drawn so far.
    drawn: Vec<Tensor>,
}

thread_local! {
    static COUNT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    /// Those this thread is inside of, innermost last.
    static SCOPES: RefCell<Vec<Scope>> = const { RefCell::new(Vec::new()) };
}

/// For how many examples a draw reserves counters.
pub(crate) fn examples() -> u64 {
    SCOPES.with_borrow(|s| s.last().map_or(1, |s| s.examples))
}

/// How many draws this thread has recorded.
pub(crate) fn count() -> u64 {
    COUNT.get()
}

/// Notes bits as drawn by the function that is being recorded, if any.
pub(crate) fn note(bits: &Tensor) {
    COUNT.set(COUNT.get() + 1);
    SCOPES.with_borrow_mut(|s| {
        if let Some(s) = s.last_mut() {
            s.drawn.push(bits.clone());
        }
    });
}

/// Runs `f`, which is recorded for one of `size` examples; returns also the bits it drew.
pub(crate) fn per_example<R>(size: usize, f: impl FnOnce() -> R) -> (R, Vec<Tensor>) {
    /// Pops this call's entry also when the user's closure panics.
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            // Dropped outside of the borrow: a tensor may take others with it.
            let _scope = SCOPES.with_borrow_mut(|s| s.pop());
        }
    }
    let scope = Scope { examples: examples().saturating_mul(size as u64), drawn: Vec::new() };
    SCOPES.with_borrow_mut(|s| s.push(scope));
    let _leave = Leave;
    let r = f();
    let drawn = SCOPES.with_borrow_mut(|s| s.last_mut().map(|s| std::mem::take(&mut s.drawn)).unwrap_or_default());
    (r, drawn)
}
