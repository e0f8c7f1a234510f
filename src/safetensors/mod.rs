//! Tensors in and out of `.safetensors` files, by name.
//!
//! Reading trusts nothing: the header is checked against the file's length before any tensor is made, and what does not hold is an
//! error of kind [`Format`](crate::ErrorKind::Format). Writing is atomic: a reader sees the old file or the new one, also after a crash.
//! The names of a [`Tree`](crate::Tree)'s tensors are its field paths, as in `fc1.weight`.

mod read;
mod write;

pub(crate) use read::bytes;
pub use read::{load, load_into, parse};
pub(crate) use write::{encode, replace};
pub use write::{save, save_map};

#[cfg(test)]
mod tests;
