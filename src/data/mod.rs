//! From files to batches: the [`Idx`] reader, [`Mnist`], a [`Dataset`] in host memory, its [`Batches`] and [`Prefetch`].
//!
//! Nothing here downloads anything, and nothing trusts a file: sizes are checked against what is there before memory is taken.
//! Order depends on the seed and the epoch alone, never on threads.

mod batches;
mod idx;
mod mnist;
mod philox;
mod prefetch;

pub use batches::{Batches, Dataset};
pub use idx::{Idx, IdxElement};
pub use mnist::Mnist;
pub use philox::Philox;
pub use prefetch::Prefetch;
