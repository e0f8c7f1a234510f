//! Why values were not fused: kept for `explain`.

use super::group::GroupId;
use crate::trace::ValueId;
use std::fmt;

/// A value that did not join a group that reads it.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The value, in the simplified trace.
    pub value: ValueId,
    /// The group.
    pub group: GroupId,
    /// Why.
    pub reason: Reason,
}

/// Why a value did not join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Another kernel lies between the two.
    Cycle,
    /// It is stored for several kernels, and costs less as the epilogue of its own contraction.
    Epilogue,
    /// The reader walks another domain: permuted, cut, stretched or reduced otherwise.
    Domain,
    /// The reader is a kernel of a kind that takes nothing more.
    Kind,
    /// The kernel holds as many values or reductions as it may.
    Size,
    /// The row has that many elements: revisited, it would fall out of the cache.
    LongRow(usize),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Cycle => f.write_str("another kernel lies between them"),
            Reason::Epilogue => f.write_str("several kernels read it; it is the epilogue of its own contraction"),
            Reason::Domain => f.write_str("its reader walks another iteration domain"),
            Reason::Kind => f.write_str("its reader is a contraction, sort, scan or scatter, which takes it as a stored operand"),
            Reason::Size => f.write_str("its reader holds as many values or reductions as a kernel may"),
            Reason::LongRow(n) => write!(f, "a row of {n} elements would fall out of the cache before it is revisited"),
        }
    }
}
