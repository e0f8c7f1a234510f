//! The names under which layers below the backends know devices and their memory.

use super::DType;
use std::any::Any;
use std::sync::Arc;

/// A device of this process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct DeviceId(pub u16);

/// A piece of a device's memory that holds one tensor's elements, contiguous and row-major. Dropping it gives it back to the
/// device's caching allocator.
pub trait Storage: Send + Sync + Any + std::fmt::Debug {
    /// The device it is on.
    fn device(&self) -> DeviceId;
    /// Bytes a tensor may use.
    fn bytes(&self) -> usize;
    /// Whether it is somebody else's memory, which is only read.
    fn lent(&self) -> bool {
        false
    }
    /// For the backend it came from.
    fn as_any(&self) -> &dyn Any;
}

/// The elements of a tensor in a device's memory.
#[derive(Clone, Debug)]
pub struct Value {
    /// Where they are.
    pub storage: Arc<dyn Storage>,
    /// Their type.
    pub dtype: DType,
}
