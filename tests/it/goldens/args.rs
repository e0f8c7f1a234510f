//! A case's arguments, read by position or name as PyTorch would.
//!
//! What cannot be read is an `Err`: the case is unsupported. Every argument that is not null must be read by somebody
//! ([`Args::all_read`]), so that no option is dropped silently.

use super::case::{Arg, Case, Files, Step};
use lazuli::{DType, SliceItem, Tensor};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

/// Why a case is unsupported, or a value.
pub type R<T = Vec<Tensor>> = Result<T, String>;

/// A tensor or a number, where PyTorch takes either. Use with [`operand!`](super::ops::operand).
pub enum Either {
    Tensor(Tensor),
    Int(i64),
    Float(f64),
    Bool(bool),
}

pub struct Args<'a> {
    case: &'a Case,
    files: &'a Files,
    tensors: &'a HashMap<String, Tensor>,
    read: RefCell<BTreeSet<String>>,
}

impl<'a> Args<'a> {
    pub fn new(case: &'a Case, files: &'a Files, tensors: &'a HashMap<String, Tensor>) -> Args<'a> {
        Args { case, files, tensors, read: RefCell::default() }
    }

    /// The argument at that position or of that name (or one of several, `a|b`); null is none.
    pub fn get(&self, at: usize, name: &str) -> Option<&'a Arg> {
        self.read.borrow_mut().insert(at.to_string());
        self.read.borrow_mut().extend(name.split('|').map(str::to_string));
        let a = self.case.args.get(at).or_else(|| name.split('|').find_map(|n| self.case.kwargs.get(n)))?;
        if matches!(a, Arg::None) { None } else { Some(a) }
    }

    /// Declares that an argument changes nothing here.
    pub fn ignore(&self, name: &str) {
        self.read.borrow_mut().insert(name.to_string());
    }

    /// The number of positional arguments.
    pub fn count(&self) -> usize {
        self.case.args.len()
    }

    /// Fails if an argument was not looked at.
    pub fn all_read(&self) -> R<()> {
        let read = self.read.borrow();
        for (i, a) in self.case.args.iter().enumerate() {
            if !matches!(a, Arg::None) && !read.contains(&i.to_string()) {
                return Err(format!("argument {i} ({a:?})"));
            }
        }
        for (k, a) in &self.case.kwargs {
            if !matches!(a, Arg::None) && !read.contains(k) {
                return Err(format!("argument {k}"));
            }
        }
        Ok(())
    }

    fn need(&self, at: usize, name: &str) -> R<&'a Arg> {
        self.get(at, name).ok_or_else(|| format!("no argument {name}"))
    }

    fn view(&self, key: &str, steps: &[Step]) -> Tensor {
        let mut t = self.tensors[key].clone();
        for s in steps {
            t = match s {
                Step::Permute(d) => t.permute(&d[..]),
                Step::Flip(d) => t.flip(&d[..]),
                Step::Slice { dim, start, end, step } => {
                    let mut items: Vec<SliceItem> = (0..*dim).map(|_| SliceItem::from(..).step(1)).collect();
                    items.push(SliceItem::from(*start..*end).step(*step as isize));
                    t.slice(items)
                }
            };
        }
        t
    }

    pub fn to_tensor(&self, a: &Arg) -> R<Tensor> {
        match a {
            Arg::Tensor(k, steps) => Ok(self.view(k, steps)),
            a => Err(format!("{a:?} is no tensor")),
        }
    }

    pub fn tensor(&self, at: usize, name: &str) -> R<Tensor> {
        self.to_tensor(self.need(at, name)?)
    }

    pub fn tensor_opt(&self, at: usize, name: &str) -> R<Option<Tensor>> {
        self.get(at, name).map(|a| self.to_tensor(a)).transpose()
    }

    pub fn tensors(&self, at: usize, name: &str) -> R {
        match self.need(at, name)? {
            Arg::List(l) => l.iter().map(|a| self.to_tensor(a)).collect(),
            a => Ok(vec![self.to_tensor(a)?]),
        }
    }

    /// All positional arguments as tensors, or the tensors of the list that is the only one.
    pub fn all_tensors(&self) -> R {
        match (self.get(0, "tensors"), self.count()) {
            (Some(Arg::List(l)), _) => l.iter().map(|a| self.to_tensor(a)).collect(),
            _ => (0..self.count()).map(|i| self.tensor(i, "tensors")).collect(),
        }
    }

    /// The values of an integer argument, for data that is structure (offsets, starts).
    pub fn host(&self, at: usize, name: &str) -> R<Vec<i64>> {
        match self.need(at, name)? {
            Arg::Tensor(k, steps) => {
                let stored = &self.files.host[k];
                let places = viewed(&stored.shape, steps);
                Ok(places.into_iter().map(|p| stored.get(p).as_i64()).collect())
            }
            a => Err(format!("{name}: {a:?} as host data")),
        }
    }

    pub fn either(&self, at: usize, name: &str) -> R<Either> {
        Ok(match self.need(at, name)? {
            Arg::Int(i) => Either::Int(*i),
            Arg::Float(f) => Either::Float(*f),
            Arg::Bool(b) => Either::Bool(*b),
            a => Either::Tensor(self.to_tensor(a)?),
        })
    }

    pub fn either_or(&self, at: usize, name: &str, default: f64) -> R<Either> {
        if self.get(at, name).is_some() {
            return self.either(at, name);
        }
        // A default that is whole changes no dtype.
        Ok(if default.fract() == 0.0 { Either::Int(default as i64) } else { Either::Float(default) })
    }

    pub fn int_opt(&self, at: usize, name: &str) -> R<Option<isize>> {
        match self.get(at, name) {
            None => Ok(None),
            Some(Arg::Int(i)) => Ok(Some(*i as isize)),
            Some(Arg::List(l)) if l.len() == 1 => Ok(Some(to_int(&l[0])?)),
            Some(Arg::Tensor(..)) => Ok(self.host(at, name)?.first().map(|&i| i as isize)),
            Some(a) => Err(format!("{name}: {a:?} is no integer")),
        }
    }

    pub fn int(&self, at: usize, name: &str) -> R<isize> {
        self.int_opt(at, name)?.ok_or_else(|| format!("no argument {name}"))
    }

    pub fn int_or(&self, at: usize, name: &str, default: isize) -> R<isize> {
        Ok(self.int_opt(at, name)?.unwrap_or(default))
    }

    /// A list of integers, or one.
    pub fn ints_opt(&self, at: usize, name: &str) -> R<Option<Vec<isize>>> {
        match self.get(at, name) {
            None => Ok(None),
            Some(Arg::List(l)) => l.iter().map(to_int).collect::<R<_>>().map(Some),
            Some(a) => Ok(Some(vec![to_int(a)?])),
        }
    }

    pub fn ints(&self, at: usize, name: &str) -> R<Vec<isize>> {
        self.ints_opt(at, name)?.ok_or_else(|| format!("no argument {name}"))
    }

    pub fn usizes(&self, at: usize, name: &str) -> R<Vec<usize>> {
        self.ints(at, name)?.into_iter().map(|i| usize::try_from(i).map_err(|_| format!("{name}: {i} is negative"))).collect()
    }

    /// `N` integers, or one for all.
    pub fn each<const N: usize>(&self, at: usize, name: &str, default: [usize; N]) -> R<[usize; N]> {
        if self.get(at, name).is_none() {
            return Ok(default);
        }
        let l = self.usizes(at, name)?;
        match l.len() {
            0 => Ok(default),
            1 => Ok([l[0]; N]),
            n if n == N => Ok(std::array::from_fn(|i| l[i])),
            n => Err(format!("{name}: {n} integers, expected {N}")),
        }
    }

    pub fn float_opt(&self, at: usize, name: &str) -> R<Option<f64>> {
        match self.get(at, name) {
            None => Ok(None),
            Some(Arg::Int(i)) => Ok(Some(*i as f64)),
            Some(Arg::Float(f)) => Ok(Some(*f)),
            Some(Arg::Bool(b)) => Ok(Some(*b as u8 as f64)),
            Some(Arg::Str(s)) => s.parse().map(Some).map_err(|_| format!("{name}: {s:?}")),
            Some(a) => Err(format!("{name}: {a:?} is no number")),
        }
    }

    pub fn float_or(&self, at: usize, name: &str, default: f64) -> R<f64> {
        Ok(self.float_opt(at, name)?.unwrap_or(default))
    }

    pub fn bool_or(&self, at: usize, name: &str, default: bool) -> R<bool> {
        match self.get(at, name) {
            None => Ok(default),
            Some(Arg::Bool(b)) => Ok(*b),
            Some(a) => Err(format!("{name}: {a:?} is no truth value")),
        }
    }

    pub fn str_or(&self, at: usize, name: &str, default: &'a str) -> R<&'a str> {
        match self.get(at, name) {
            None => Ok(default),
            Some(Arg::Str(s)) => Ok(s),
            Some(a) => Err(format!("{name}: {a:?} is no string")),
        }
    }

    pub fn dtype(&self, at: usize, name: &str) -> R<Option<DType>> {
        match self.get(at, name) {
            None => Ok(None),
            Some(Arg::DType(d)) => Ok(Some(*d)),
            Some(a) => Err(format!("{name}: {a:?} is no dtype")),
        }
    }

    /// The tensor, cast to the dtype the call names.
    pub fn cast(&self, x: Tensor, at: usize, name: &str) -> R<Tensor> {
        Ok(self.dtype(at, name)?.map_or(x.clone(), |d| x.cast(d)))
    }
}

fn to_int(a: &Arg) -> R<isize> {
    match a {
        Arg::Int(i) => Ok(*i as isize),
        Arg::Bool(b) => Ok(*b as isize),
        a => Err(format!("{a:?} is no integer")),
    }
}

/// Where the elements of a view lie in the stored tensor, in the view's row-major order.
fn viewed(stored: &[usize], steps: &[Step]) -> Vec<usize> {
    // (extent, stride, with the offset apart)
    let mut dims: Vec<(usize, isize)> = stored.iter().map(|&n| (n, 0)).collect();
    let mut stride = 1;
    for d in dims.iter_mut().rev() {
        d.1 = stride;
        stride *= d.0 as isize;
    }
    let mut offset = 0;
    for s in steps {
        match s {
            Step::Permute(order) => dims = order.iter().map(|&d| dims[d]).collect(),
            Step::Flip(axes) => {
                for &a in axes {
                    offset += (dims[a].0 as isize - 1) * dims[a].1;
                    dims[a].1 = -dims[a].1;
                }
            }
            Step::Slice { dim, start, end, step } => {
                let (n, stride) = dims[*dim];
                let end = (*end).min(n);
                offset += *start as isize * stride;
                dims[*dim] = (end.saturating_sub(*start).div_ceil(*step), stride * *step as isize);
            }
        }
    }
    let mut places = vec![offset];
    for (n, stride) in dims {
        places = places.into_iter().flat_map(|p| (0..n as isize).map(move |i| p + i * stride)).collect();
    }
    places.into_iter().map(|p| p as usize).collect()
}
