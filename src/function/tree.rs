//! Trees: values made of tensors, so that a function can take and return a model, a tuple or a map as easily as one tensor.
//!
//! A [`Tree`] can be looked at ([`Tree::visit`]) and rebuilt with other tensors ([`Tree::map`]), always in the same order.
//! Besides tensors it has *static* leaves (numbers, strings, the lengths of vectors, the variants of enums): they are part of
//! its [`structure`], which `jit` compares before it replays a plan, and stay as they are under every transform.

use crate::base::{DType, Shape};
use crate::tensor::{Device, Tensor};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::hash::BuildHasher;
use std::marker::PhantomData;

/// What a [`Tree`] is made of.
#[derive(Clone, Copy)]
pub enum Leaf<'a> {
    /// A tensor that transforms see.
    Tensor(&'a Tensor),
    /// A tensor under `#[tree(frozen)]`: an input like any other, but not differentiated.
    Frozen(&'a Tensor),
    /// Anything else: part of the structure.
    Static(&'a dyn Debug),
}

/// Looks at the leaves of a tree, in order.
pub trait TreeVisitor {
    /// The next leaf.
    fn leaf(&mut self, leaf: Leaf<'_>);
    /// The leaves up to the matching [`leave`](TreeVisitor::leave) belong to that field, element or key.
    fn enter(&mut self, name: &str) {
        let _ = name;
    }
    /// Ends what [`enter`](TreeVisitor::enter) began.
    fn leave(&mut self) {}
}

/// Gives new tensors for the old, in the order of a visit.
pub trait TreeMapper {
    /// What takes the tensor's place; `frozen` as in [`Leaf::Frozen`].
    fn tensor(&mut self, tensor: &Tensor, frozen: bool) -> Tensor;
    /// As [`TreeVisitor::enter`].
    fn enter(&mut self, name: &str) {
        let _ = name;
    }
    /// As [`TreeVisitor::leave`].
    fn leave(&mut self) {}
}

/// A value made of tensors and static parts: a tensor, a tuple, `Vec`, `Option`, array, `Box` or map of trees, a number or string,
/// or a struct or enum with `#[derive(Tree)]`.
///
/// Fields may be marked `#[tree(frozen)]` (tensors that are not differentiated, as running statistics) or `#[tree(skip)]` (not a
/// tree; cloned along).
///
/// ```
/// use lazuli::prelude::*;
/// #[derive(Tree, Clone)]
/// struct Linear {
///     weight: Tensor,
///     bias: Option<Tensor>,
///     #[tree(frozen)]
///     mean: Tensor,
/// }
/// let layer = Linear { weight: Tensor::zeros([2, 2]), bias: None, mean: Tensor::zeros([2]) };
/// let names: Vec<String> = lazuli::function::tree::named_leaves(&layer).into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["weight", "mean"]);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `Tree`: a value made of tensors",
    label = "not a tensor, tuple, Vec, Option, array, map, number or struct of such",
    note = "a struct or enum of tensors becomes one by `#[derive(Tree, Clone)]`",
    note = "a field that holds no tensors can be left out by `#[tree(skip)]`; references are not trees: clone the tensor, which is cheap"
)]
pub trait Tree: Sized + 'static {
    /// Shows every leaf, in the order of the fields.
    fn visit(&self, v: &mut dyn TreeVisitor);
    /// The same tree with new tensors, asked for in the order of [`visit`](Tree::visit).
    fn map(&self, f: &mut dyn TreeMapper) -> Self;
}

impl Tree for Tensor {
    fn visit(&self, v: &mut dyn TreeVisitor) {
        v.leaf(Leaf::Tensor(self));
    }
    fn map(&self, f: &mut dyn TreeMapper) -> Tensor {
        f.tensor(self, false)
    }
}

macro_rules! statics {
    ($($t:ty),* $(,)?) => {$(
        impl Tree for $t {
            fn visit(&self, v: &mut dyn TreeVisitor) {
                v.leaf(Leaf::Static(self));
            }
            #[allow(clippy::unused_unit)]
            fn map(&self, _: &mut dyn TreeMapper) -> $t {
                self.clone()
            }
        }
    )*};
}
statics!(f32, f64, i8, i16, i32, i64, isize, u8, u16, u32, u64, usize, bool, char, String, &'static str, (), DType, Shape, Device);

impl<T: ?Sized + 'static> Tree for PhantomData<T> {
    fn visit(&self, _: &mut dyn TreeVisitor) {}
    fn map(&self, _: &mut dyn TreeMapper) -> Self {
        PhantomData
    }
}

impl<T: Tree> Tree for Box<T> {
    fn visit(&self, v: &mut dyn TreeVisitor) {
        (**self).visit(v);
    }
    fn map(&self, f: &mut dyn TreeMapper) -> Self {
        Box::new((**self).map(f))
    }
}

/// Whether it is there is static.
impl<T: Tree> Tree for Option<T> {
    fn visit(&self, v: &mut dyn TreeVisitor) {
        v.leaf(Leaf::Static(&self.is_some()));
        if let Some(x) = self {
            x.visit(v);
        }
    }
    fn map(&self, f: &mut dyn TreeMapper) -> Self {
        self.as_ref().map(|x| x.map(f))
    }
}

fn visit_named<T: Tree>(name: &str, x: &T, v: &mut dyn TreeVisitor) {
    v.enter(name);
    x.visit(v);
    v.leave();
}

fn map_named<T: Tree>(name: &str, x: &T, f: &mut dyn TreeMapper) -> T {
    f.enter(name);
    let y = x.map(f);
    f.leave();
    y
}

/// The length is static.
impl<T: Tree> Tree for Vec<T> {
    fn visit(&self, v: &mut dyn TreeVisitor) {
        v.leaf(Leaf::Static(&self.len()));
        self.iter().enumerate().for_each(|(n, x)| visit_named(&n.to_string(), x, v));
    }
    fn map(&self, f: &mut dyn TreeMapper) -> Self {
        self.iter().enumerate().map(|(n, x)| map_named(&n.to_string(), x, f)).collect()
    }
}

impl<T: Tree, const N: usize> Tree for [T; N] {
    fn visit(&self, v: &mut dyn TreeVisitor) {
        self.iter().enumerate().for_each(|(n, x)| visit_named(&n.to_string(), x, v));
    }
    fn map(&self, f: &mut dyn TreeMapper) -> Self {
        std::array::from_fn(|n| map_named(&n.to_string(), &self[n], f))
    }
}

/// The keys are static.
impl<T: Tree> Tree for BTreeMap<String, T> {
    fn visit(&self, v: &mut dyn TreeVisitor) {
        v.leaf(Leaf::Static(&self.len()));
        self.iter().for_each(|(k, x)| visit_named(k, x, v));
    }
    fn map(&self, f: &mut dyn TreeMapper) -> Self {
        self.iter().map(|(k, x)| (k.clone(), map_named(k, x, f))).collect()
    }
}

/// In the order of the keys, which are static.
impl<T: Tree, S: BuildHasher + Default + 'static> Tree for HashMap<String, T, S> {
    fn visit(&self, v: &mut dyn TreeVisitor) {
        v.leaf(Leaf::Static(&self.len()));
        sorted(self).for_each(|(k, x)| visit_named(k, x, v));
    }
    fn map(&self, f: &mut dyn TreeMapper) -> Self {
        sorted(self).map(|(k, x)| (k.clone(), map_named(k, x, f))).collect()
    }
}

fn sorted<T, S>(map: &HashMap<String, T, S>) -> impl Iterator<Item = (&String, &T)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|e| e.0);
    entries.into_iter()
}

/// Calls a macro with every length of tuple that is a tree: letters for types, numbers for fields.
macro_rules! for_tuples {
    ($m:ident) => {
        $m! {
            (A 0);
            (A 0, B 1);
            (A 0, B 1, C 2);
            (A 0, B 1, C 2, D 3);
            (A 0, B 1, C 2, D 3, E 4);
            (A 0, B 1, C 2, D 3, E 4, F 5);
            (A 0, B 1, C 2, D 3, E 4, F 5, G 6);
            (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
        }
    };
}
pub(super) use for_tuples;

macro_rules! tuples {
    ($(($($t:ident $n:tt),+);)*) => {$(
        impl<$($t: Tree),+> Tree for ($($t,)+) {
            fn visit(&self, v: &mut dyn TreeVisitor) {
                $(visit_named(stringify!($n), &self.$n, v);)+
            }
            fn map(&self, f: &mut dyn TreeMapper) -> Self {
                ($(map_named(stringify!($n), &self.$n, f),)+)
            }
        }
    )*};
}
for_tuples!(tuples);

/// [`Tree::visit`] of what is under `#[tree(frozen)]`: its tensors are [`Leaf::Frozen`]. The derive macro calls it.
pub fn visit_frozen<T: Tree>(tree: &T, v: &mut dyn TreeVisitor) {
    struct Frozen<'a>(&'a mut dyn TreeVisitor);
    impl TreeVisitor for Frozen<'_> {
        fn leaf(&mut self, leaf: Leaf<'_>) {
            self.0.leaf(match leaf {
                Leaf::Tensor(t) => Leaf::Frozen(t),
                leaf => leaf,
            });
        }
        fn enter(&mut self, name: &str) {
            self.0.enter(name);
        }
        fn leave(&mut self) {
            self.0.leave();
        }
    }
    tree.visit(&mut Frozen(v));
}

/// [`Tree::map`] of what is under `#[tree(frozen)]`. The derive macro calls it.
pub fn map_frozen<T: Tree>(tree: &T, f: &mut dyn TreeMapper) -> T {
    struct Frozen<'a>(&'a mut dyn TreeMapper);
    impl TreeMapper for Frozen<'_> {
        fn tensor(&mut self, tensor: &Tensor, _: bool) -> Tensor {
            self.0.tensor(tensor, true)
        }
        fn enter(&mut self, name: &str) {
            self.0.enter(name);
        }
        fn leave(&mut self) {
            self.0.leave();
        }
    }
    tree.map(&mut Frozen(f))
}

/// Calls `f` for every leaf with its path: names joined by dots, as `fc1.weight`.
pub fn for_each_leaf<T: Tree>(tree: &T, f: impl FnMut(&str, Leaf<'_>)) {
    struct Paths<F> {
        path: String,
        /// Where the path ended before each name.
        ends: Vec<usize>,
        f: F,
    }
    impl<F: FnMut(&str, Leaf<'_>)> TreeVisitor for Paths<F> {
        fn leaf(&mut self, leaf: Leaf<'_>) {
            (self.f)(&self.path, leaf);
        }
        fn enter(&mut self, name: &str) {
            self.ends.push(self.path.len());
            if !self.path.is_empty() {
                self.path.push('.');
            }
            self.path.push_str(name);
        }
        fn leave(&mut self) {
            let end = self.ends.pop().expect("`leave` follows an `enter`");
            self.path.truncate(end);
        }
    }
    tree.visit(&mut Paths { path: String::new(), ends: vec![], f });
}

/// All tensors, frozen ones too, in order.
pub fn leaves<T: Tree>(tree: &T) -> Vec<Tensor> {
    named_leaves(tree).into_iter().map(|(_, t)| t).collect()
}

/// All tensors, frozen ones too, in order, each with its path, as `fc1.weight`.
pub fn named_leaves<T: Tree>(tree: &T) -> Vec<(String, Tensor)> {
    let mut out = Vec::new();
    for_each_leaf(tree, |path, leaf| match leaf {
        Leaf::Tensor(t) | Leaf::Frozen(t) => out.push((path.to_string(), t.clone())),
        Leaf::Static(_) => {}
    });
    out
}

/// For each of [`leaves`], whether it is frozen.
pub fn frozen<T: Tree>(tree: &T) -> Vec<bool> {
    let mut out = Vec::new();
    for_each_leaf(tree, |_, leaf| match leaf {
        Leaf::Tensor(_) => out.push(false),
        Leaf::Frozen(_) => out.push(true),
        Leaf::Static(_) => {}
    });
    out
}

/// The tree with every tensor replaced by what `f` gives for it and its frozen mark.
pub fn map_tensors<T: Tree>(tree: &T, f: impl FnMut(&Tensor, bool) -> Tensor) -> T {
    struct Each<F>(F);
    impl<F: FnMut(&Tensor, bool) -> Tensor> TreeMapper for Each<F> {
        fn tensor(&mut self, tensor: &Tensor, frozen: bool) -> Tensor {
            (self.0)(tensor, frozen)
        }
    }
    tree.map(&mut Each(f))
}

/// The tree with its tensors replaced, in the order of [`leaves`].
///
/// # Panics
/// If there are fewer or more tensors than the tree has.
pub fn from_leaves<T: Tree>(tree: &T, tensors: impl IntoIterator<Item = Tensor>) -> T {
    let mut tensors = tensors.into_iter();
    let out = map_tensors(tree, |_, _| tensors.next().expect("a tensor for every leaf of the tree"));
    assert!(tensors.next().is_none(), "more tensors than the tree has leaves");
    out
}

/// Everything about a tree except its tensors, as bytes: two trees of one type have equal structures iff their static leaves
/// (as their `Debug` shows them), lengths, keys, variants and frozen marks are equal.
pub fn structure<T: Tree>(tree: &T) -> Vec<u8> {
    struct Encoder(Vec<u8>);
    impl Encoder {
        fn text(&mut self, tag: u8, text: &str) {
            self.0.push(tag);
            self.0.extend((text.len() as u64).to_le_bytes());
            self.0.extend(text.as_bytes());
        }
    }
    impl TreeVisitor for Encoder {
        fn leaf(&mut self, leaf: Leaf<'_>) {
            match leaf {
                Leaf::Tensor(_) => self.0.push(0),
                Leaf::Frozen(_) => self.0.push(1),
                Leaf::Static(s) => self.text(2, &format!("{s:?}")),
            }
        }
        fn enter(&mut self, name: &str) {
            self.text(3, name);
        }
        fn leave(&mut self) {
            self.0.push(4);
        }
    }
    let mut e = Encoder(Vec::new());
    tree.visit(&mut e);
    e.0
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
