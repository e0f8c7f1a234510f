//! Shapes and the conversions that let users write `[2, 3]`, `-1`, `[0, 1]` or `..`.

use super::error::{Result, bail};
use smallvec::SmallVec;
use std::fmt;
use std::ops::{Deref, RangeFull};

/// The extents of a tensor, outermost first; row-major. A 0-d tensor has none.
#[derive(Clone)]
pub struct Shape(Extents);

/// Axes kept without an allocation.
const INLINE: usize = 4;

/// Every recorded op copies and compares a shape: few axes are a plain array, not a vector.
#[derive(Clone)]
enum Extents {
    /// `dims[len..]` are 0, so that arrays compare whole.
    Few { len: u8, dims: [usize; INLINE] },
    /// More than [`INLINE`] axes.
    Many(Box<[usize]>),
}

impl Default for Shape {
    fn default() -> Shape {
        Shape(Extents::Few { len: 0, dims: [0; INLINE] })
    }
}

impl PartialEq for Shape {
    fn eq(&self, other: &Shape) -> bool {
        match (&self.0, &other.0) {
            (Extents::Few { len: m, dims: a }, Extents::Few { len: n, dims: b }) => m == n && a == b,
            (Extents::Many(a), Extents::Many(b)) => a == b,
            _ => false,
        }
    }
}
impl Eq for Shape {}

impl std::hash::Hash for Shape {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl Shape {
    /// The shape of a 0-d tensor.
    pub fn scalar() -> Shape {
        Shape::default()
    }

    /// From extents.
    pub fn new(dims: &[usize]) -> Shape {
        if dims.len() > INLINE {
            return Shape(Extents::Many(dims.into()));
        }
        let mut few = [0; INLINE];
        few[..dims.len()].copy_from_slice(dims);
        Shape(Extents::Few { len: dims.len() as u8, dims: few })
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.len()
    }

    /// The number of elements; saturates.
    pub fn numel(&self) -> usize {
        self.iter().fold(1usize, |n, &d| if d == 0 { 0 } else { n.saturating_mul(d) })
    }

    /// Row-major strides in elements.
    pub fn strides(&self) -> SmallVec<[usize; 4]> {
        let mut s: SmallVec<[usize; 4]> = SmallVec::from_elem(1, self.rank());
        for i in (0..self.rank().saturating_sub(1)).rev() {
            s[i] = s[i + 1] * self[i + 1].max(1);
        }
        s
    }

    /// The shape both broadcast to (NumPy's rule: aligned at the right, 1 stretches).
    ///
    /// # Errors
    /// `Shape` if two extents differ and neither is 1.
    pub fn broadcast(&self, other: &Shape) -> Result<Shape> {
        if self == other {
            return Ok(self.clone());
        }
        let rank = self.rank().max(other.rank());
        let mut out: SmallVec<[usize; INLINE]> = SmallVec::from_elem(1, rank);
        for (i, o) in out.iter_mut().enumerate() {
            let at = |s: &Shape| (i + s.rank()).checked_sub(rank).map_or(1, |k| s[k]);
            *o = match (at(self), at(other)) {
                (a, b) if a == b => a,
                (1, b) => b,
                (a, 1) => a,
                _ => bail!(Shape, "shapes {self} and {other} do not broadcast together: aligned at the right, extents must be equal or 1"),
            };
        }
        Ok(Shape::new(&out))
    }

    /// The shape without the axes in `axes` (ascending).
    pub fn without(&self, axes: &[usize]) -> Shape {
        self.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, &d)| d).collect()
    }

    /// The shape with the axes in `axes` set to 1.
    pub fn keepdim(&self, axes: &[usize]) -> Shape {
        self.iter().enumerate().map(|(i, &d)| if axes.contains(&i) { 1 } else { d }).collect()
    }
}

impl Deref for Shape {
    type Target = [usize];
    #[inline]
    fn deref(&self) -> &[usize] {
        match &self.0 {
            Extents::Few { len, dims } => &dims[..*len as usize],
            Extents::Many(dims) => dims,
        }
    }
}

impl std::ops::DerefMut for Shape {
    fn deref_mut(&mut self) -> &mut [usize] {
        match &mut self.0 {
            Extents::Few { len, dims } => &mut dims[..*len as usize],
            Extents::Many(dims) => dims,
        }
    }
}

impl FromIterator<usize> for Shape {
    fn from_iter<I: IntoIterator<Item = usize>>(it: I) -> Shape {
        Shape::new(&it.into_iter().collect::<SmallVec<[usize; INLINE]>>())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, d) in self.iter().enumerate() {
            write!(f, "{}{d}", if i > 0 { ", " } else { "" })?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq<[usize]> for Shape {
    fn eq(&self, other: &[usize]) -> bool {
        self[..] == *other
    }
}
impl<const N: usize> PartialEq<[usize; N]> for Shape {
    fn eq(&self, other: &[usize; N]) -> bool {
        self[..] == other[..]
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(x: [usize; N]) -> Shape {
        Shape::new(&x)
    }
}
impl<const N: usize> From<&[usize; N]> for Shape {
    fn from(x: &[usize; N]) -> Shape {
        Shape::new(x)
    }
}
impl From<&[usize]> for Shape {
    fn from(x: &[usize]) -> Shape {
        Shape::new(x)
    }
}
impl From<Vec<usize>> for Shape {
    fn from(x: Vec<usize>) -> Shape {
        Shape::new(&x)
    }
}
impl From<&Vec<usize>> for Shape {
    fn from(x: &Vec<usize>) -> Shape {
        Shape::new(x)
    }
}
impl From<&Shape> for Shape {
    fn from(x: &Shape) -> Shape {
        x.clone()
    }
}

/// Extents for `reshape`, where one may be -1: "whatever is left".
#[derive(Clone, Debug)]
pub struct Dims(pub(crate) SmallVec<[isize; 4]>);

impl Dims {
    /// The shape these extents name for `from`'s elements.
    ///
    /// # Errors
    /// `Shape` if the number of elements differs, an extent is below -1, or two are -1.
    pub fn resolve(&self, from: &Shape) -> Result<Shape> {
        let show = || Axes::show(&self.0);
        if self.0.iter().any(|&d| d < -1) {
            bail!(Shape, "reshape: extents {} hold a negative number other than -1", show());
        }
        if self.0.iter().filter(|&&d| d == -1).count() > 1 {
            bail!(Shape, "reshape: extents {} hold more than one -1", show());
        }
        let known = self.0.iter().filter(|&&d| d >= 0).fold(1usize, |n, &d| n.saturating_mul(d as usize));
        let n = from.numel();
        let free = if self.0.contains(&-1) {
            if known == 0 || !n.is_multiple_of(known) {
                bail!(Shape, "reshape: {n} elements of shape {from} do not divide into {}", show());
            }
            n / known
        } else {
            1
        };
        let out: Shape = self.0.iter().map(|&d| if d == -1 { free } else { d as usize }).collect();
        if out.numel() != n {
            bail!(Shape, "reshape: shape {from} has {n} elements, {out} has {}", out.numel());
        }
        Ok(out)
    }
}

/// Several axes; negative ones count from the end; `..` means all.
#[derive(Clone, Debug)]
pub struct Axes(Option<SmallVec<[isize; 4]>>);

impl Axes {
    /// All axes.
    pub fn all() -> Axes {
        Axes(None)
    }

    /// The axes as written, or `None` for `..`.
    pub fn given(&self) -> Option<&[isize]> {
        self.0.as_deref()
    }

    /// Ascending axis numbers for a tensor of `rank` axes; an empty list stays empty.
    ///
    /// # Errors
    /// `Index` if an axis is out of range or named twice.
    pub fn resolve(&self, rank: usize, op: &str) -> Result<SmallVec<[usize; 4]>> {
        let mut out = self.resolve_ordered(rank, op)?;
        out.sort_unstable();
        Ok(out)
    }

    /// As [`resolve`](Axes::resolve), in the order given.
    ///
    /// # Errors
    /// `Index` if an axis is out of range or named twice.
    pub fn resolve_ordered(&self, rank: usize, op: &str) -> Result<SmallVec<[usize; 4]>> {
        let Some(axes) = &self.0 else { return Ok((0..rank).collect()) };
        let mut out: SmallVec<[usize; 4]> = SmallVec::new();
        for &a in axes {
            let r = Axis(a).resolve(rank, op)?;
            if out.contains(&r) && rank > 0 {
                bail!(Index, "{op}: axis {a} is named twice in {}", Axes::show(axes));
            }
            if rank > 0 {
                out.push(r);
            }
        }
        Ok(out)
    }

    fn show(axes: &[isize]) -> String {
        format!("{axes:?}")
    }
}

/// One axis; negative counts from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis(pub isize);

impl Axis {
    /// The axis number for a tensor of `rank` axes. As PyTorch, a 0-d tensor accepts 0 and -1.
    ///
    /// # Errors
    /// `Index` if it is out of range.
    pub fn resolve(self, rank: usize, op: &str) -> Result<usize> {
        let n = rank.max(1) as isize;
        if self.0 < -n || self.0 >= n {
            bail!(Index, "{op}: axis {} is out of range for a tensor of {rank} axes (expected {}..={})", self.0, -n, n - 1);
        }
        Ok((if self.0 < 0 { self.0 + n } else { self.0 }) as usize)
    }
}

macro_rules! from_ints {
    ($($t:ty),*) => {$(
        impl<const N: usize> From<[$t; N]> for Dims { fn from(x: [$t; N]) -> Self { Dims(x.iter().map(|&v| v as isize).collect()) } }
        impl From<&[$t]> for Dims { fn from(x: &[$t]) -> Self { Dims(x.iter().map(|&v| v as isize).collect()) } }
        impl From<Vec<$t>> for Dims { fn from(x: Vec<$t>) -> Self { Dims(x.iter().map(|&v| v as isize).collect()) } }
        impl From<$t> for Axes { fn from(x: $t) -> Self { Axes(Some(SmallVec::from_slice(&[x as isize]))) } }
        impl<const N: usize> From<[$t; N]> for Axes { fn from(x: [$t; N]) -> Self { Axes(Some(x.iter().map(|&v| v as isize).collect())) } }
        impl From<&[$t]> for Axes { fn from(x: &[$t]) -> Self { Axes(Some(x.iter().map(|&v| v as isize).collect())) } }
        impl From<Vec<$t>> for Axes { fn from(x: Vec<$t>) -> Self { Axes(Some(x.iter().map(|&v| v as isize).collect())) } }
        impl From<$t> for Axis { fn from(x: $t) -> Self { Axis(x as isize) } }
    )*};
}
from_ints!(isize, usize, i32);
impl From<&Shape> for Dims {
    fn from(x: &Shape) -> Dims {
        Dims(x.iter().map(|&v| v as isize).collect())
    }
}
impl From<RangeFull> for Axes {
    fn from(_: RangeFull) -> Axes {
        Axes::all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcast_and_reshape() {
        let s = |d: &[usize]| Shape::new(d);
        assert_eq!(s(&[3, 1]).broadcast(&s(&[2, 1, 4])).unwrap(), s(&[2, 3, 4]));
        assert_eq!(s(&[0]).broadcast(&s(&[1])).unwrap(), s(&[0]));
        assert!(s(&[2]).broadcast(&s(&[3])).is_err());
        assert_eq!(Dims::from([-1, 2]).resolve(&s(&[4, 3])).unwrap(), s(&[6, 2]));
        assert!(Dims::from([-1, 0]).resolve(&s(&[4])).is_err());
        assert!(Dims::from([5]).resolve(&s(&[4])).is_err());
    }

    #[test]
    fn axes() {
        assert_eq!(Axes::from([-1, 0]).resolve(3, "sum").unwrap()[..], [0, 2]);
        assert!(Axes::from([0, -3]).resolve(3, "sum").is_err());
        assert!(Axes::from(3).resolve(3, "sum").is_err());
        assert_eq!(Axes::from(-1).resolve(0, "sum").unwrap().len(), 0);
        assert_eq!(Axes::from(..).resolve(2, "sum").unwrap()[..], [0, 1]);
    }
}
