//! One opaque error type, and the way a slip in the program (a wrong shape, say) becomes a panic or an `Error`.
//!
//! What the world can cause is returned as [`Result`]. A slip panics at the user's line; inside [`catch`] it is
//! kept instead, the operation yields a poisoned value, and `catch` returns the first slip as an `Error`. No
//! unwinding is involved, so this also works with `panic = "abort"`.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// Where the user called: file, line, column.
pub type Site = &'static std::panic::Location<'static>;

/// `std::result::Result` with [`Error`] as its default error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Shapes, ranks or sizes do not fit.
    Shape,
    /// A dtype does not fit, or the device lacks it.
    DType,
    /// An axis or index is out of range.
    Index,
    /// An argument has a value the operation does not accept.
    Argument,
    /// A gradient cannot be formed: the trace was cut, or the function has no derivative of that sort.
    Gradient,
    /// The device is absent, or tensors live on different devices.
    Device,
    /// The device, and with it the data it held, was lost.
    DeviceLost,
    /// A memory limit or the device's memory is exhausted.
    Memory,
    /// A file or stream could not be read or written.
    Io,
    /// Bytes are not what their format says: cut, foreign or hostile.
    Format,
    /// The engine broke one of its own rules. Please report it.
    Internal,
}

/// An error: what kind, and a message naming the operation, the shapes or dtypes, the user's `file:line` and what to do.
///
/// `Debug` prints as `Display`, so that `fn main() -> lazuli::Result<()>` shows a readable message.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    site: Option<Site>,
}

impl Error {
    /// An error without a call site.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Arc::new(Inner { kind, message: message.into(), site: None }))
    }

    /// The same error, located at `site` unless it already has a site.
    pub fn at(self, site: Site) -> Error {
        if self.0.site.is_some() {
            return self;
        }
        Error(Arc::new(Inner { kind: self.0.kind, message: self.0.message.clone(), site: Some(site) }))
    }

    /// What sort of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The user's line that caused it, where known.
    pub fn site(&self) -> Option<Site> {
        self.0.site
    }

    /// The message without the call site.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match self.0.site {
            Some(s) => write!(f, " (at {}:{})", s.file(), s.line()),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Error {
        Error::new(ErrorKind::Io, e.to_string())
    }
}

/// `err!(Shape, "matmul: {} against {}", a, b)`: an [`Error`] of that kind.
macro_rules! err {
    ($kind:ident, $($arg:tt)*) => { $crate::base::Error::new($crate::base::ErrorKind::$kind, format!($($arg)*)) };
}
/// Returns early with [`err!`].
macro_rules! bail {
    ($kind:ident, $($arg:tt)*) => { return Err($crate::base::error::err!($kind, $($arg)*)) };
}
pub(crate) use {bail, err};

thread_local! {
    /// The first slip of each `catch` that this thread is inside of, innermost last.
    static CATCHING: RefCell<Vec<Option<Error>>> = const { RefCell::new(Vec::new()) };
}

/// Reports a slip: kept if this thread is inside [`catch`], else a panic whose location is the caller's.
#[track_caller]
pub(crate) fn slip(e: &Error) {
    let kept = CATCHING.with_borrow_mut(|stack| match stack.last_mut() {
        Some(first) => {
            first.get_or_insert_with(|| e.clone());
            true
        }
        None => false,
    });
    if !kept {
        panic!("{e}");
    }
}

/// Runs `f`; a slip inside (a shape or dtype that does not fit) makes this return it as an `Error`.
///
/// A panic of the closure's own propagates.
///
/// ```
/// use lazuli::prelude::*;
/// let a = Tensor::zeros([2, 3]);
/// let e = lazuli::catch(|| a.matmul(&a)).unwrap_err();
/// assert_eq!(e.kind(), lazuli::ErrorKind::Shape);
/// ```
///
/// # Errors
/// The first slip inside `f`.
pub fn catch<R>(f: impl FnOnce() -> R) -> Result<R> {
    /// Pops this call's entry also when the user's closure panics.
    struct Scope;
    impl Scope {
        fn pop(self) -> Option<Error> {
            std::mem::forget(self);
            CATCHING.with_borrow_mut(|s| s.pop().flatten())
        }
    }
    impl Drop for Scope {
        fn drop(&mut self) {
            CATCHING.with_borrow_mut(|s| s.pop());
        }
    }
    CATCHING.with_borrow_mut(|s| s.push(None));
    let scope = Scope;
    let r = f();
    match scope.pop() {
        Some(e) => Err(e),
        None => Ok(r),
    }
}
