//! Superinstructions of f32: two or three operations that are one pass over the tile, so that what lies between them stays in registers.
//!
//! Each gives bit for bit what its parts give one after the other.

use super::drive::{Map, NONE, ONE, TILE, Test, pick_add_flag, pick_map, pick_test};
use super::simd::Simd;
use super::single::{factors, sides};
use super::{First, Inner, Isa, Scalars, Then, TileFn, exp_log};
use crate::trace::elementwise::{Compare, Unary};
use std::marker::PhantomData;

/// A part of a superinstruction. The last operands are ignored by those that have fewer.
trait Part {
    fn call<S: Simd>(s: S, a: S::F, b: S::F, c: S::F) -> S::F;
}

macro_rules! parts {
    ($($name:ident |$s:ident, $a:pat_param, $b:pat_param, $c:pat_param| $e:expr;)*) => {$(
        struct $name;
        impl Part for $name {
            #[inline(always)]
            fn call<S: Simd>($s: S, $a: S::F, $b: S::F, $c: S::F) -> S::F {
                $e
            }
        }
    )*};
}
parts! {
    Exp |s, a, _, _| exp_log::exp(s, a);
    Tanh |s, a, _, _| exp_log::tanh(s, a);
    Recip |s, a, _, _| s.div(s.splat(1.0), a);
    Same |_s, a, _, _| a;
    Neg |s, a, _, _| s.neg(a);
    Add |s, a, b, _| s.add(a, b);
    Sub |s, a, b, _| s.sub(a, b);
    From |s, a, b, _| s.sub(b, a);
    Mul |s, a, b, _| s.mul(a, b);
    Div |s, a, b, _| s.div(a, b);
    Abs |s, a, _, _| s.abs(a);
    NegMul |s, a, b, _| s.neg(s.mul(a, b));
    MulAdd |s, a, b, c| s.mad(a, b, c);
}

/// The function `U` of what `I` makes of the operands.
struct Of<U, I>(PhantomData<(U, I)>);
impl<U: Part, I: Part> Map for Of<U, I> {
    #[inline(always)]
    fn call<S: Simd>(s: S, a: S::F, b: S::F, c: S::F) -> S::F {
        let x = I::call(s, a, b, c);
        U::call(s, x, x, x)
    }
}

/// `T` of what `F` makes of `a` and `b`, and of `c`.
struct Steps<F, T>(PhantomData<(F, T)>);
impl<F: Part, T: Part> Map for Steps<F, T> {
    #[inline(always)]
    fn call<S: Simd>(s: S, a: S::F, b: S::F, c: S::F) -> S::F {
        T::call(s, F::call(s, a, b, c), c, c)
    }
}

fn function<U: Part>(isa: Isa, inner: Inner, scalars: Scalars) -> Option<TileFn> {
    let commutes = |f: fn(Isa, Scalars) -> Option<TileFn>| if scalars.a { None } else { f(isa, scalars) };
    match inner {
        Inner::Neg => (scalars == Scalars::NONE).then(|| pick_map::<Of<U, Neg>, TILE, NONE, NONE>(isa)),
        Inner::Add => commutes(sides::<Of<U, Add>>),
        Inner::Sub => sides::<Of<U, Sub>>(isa, scalars),
        Inner::Mul => commutes(sides::<Of<U, Mul>>),
        Inner::NegMul => commutes(sides::<Of<U, NegMul>>),
        Inner::MulAdd => factors::<Of<U, MulAdd>>(isa, scalars),
    }
}

pub(super) fn of(isa: Isa, op: Unary, inner: Inner, scalars: Scalars) -> Option<TileFn> {
    match op {
        Unary::Exp => function::<Exp>(isa, inner, scalars),
        Unary::Tanh => function::<Tanh>(isa, inner, scalars),
        Unary::Recip => function::<Recip>(isa, inner, scalars),
        _ => None,
    }
}

pub(super) fn steps(isa: Isa, first: First, then: Then, scalars: Scalars) -> Option<TileFn> {
    match (first, then) {
        (First::Add, Then::Add) => factors::<Steps<Add, Add>>(isa, scalars),
        (First::Add, Then::Sub) => factors::<Steps<Add, Sub>>(isa, scalars),
        (First::Add, Then::From) => factors::<Steps<Add, From>>(isa, scalars),
        (First::Add, Then::Mul) => factors::<Steps<Add, Mul>>(isa, scalars),
        (First::Sub, Then::Add) => factors::<Steps<Sub, Add>>(isa, scalars),
        (First::Sub, Then::Sub) => factors::<Steps<Sub, Sub>>(isa, scalars),
        (First::Sub, Then::From) => factors::<Steps<Sub, From>>(isa, scalars),
        (First::Sub, Then::Mul) => factors::<Steps<Sub, Mul>>(isa, scalars),
        (First::Mul, Then::Mul) => factors::<Steps<Mul, Mul>>(isa, scalars),
        (First::Add, Then::Div) => factors::<Steps<Add, Div>>(isa, scalars),
        (First::Sub, Then::Div) => factors::<Steps<Sub, Div>>(isa, scalars),
        (First::Mul, Then::Div) => factors::<Steps<Mul, Div>>(isa, scalars),
        (First::Mul, _) => None,
    }
}

pub(super) fn neg_mul(isa: Isa, scalars: Scalars) -> Option<TileFn> {
    if scalars.a { None } else { sides::<Of<Same, NegMul>>(isa, scalars) }
}

pub(super) fn add_flag(isa: Isa) -> TileFn {
    pick_add_flag(isa)
}

macro_rules! tests {
    ($($name:ident |$s:ident, $x:ident, $c:ident| $e:expr;)*) => {$(
        struct $name<F>(PhantomData<F>);
        impl<F: Part> Test for $name<F> {
            #[inline(always)]
            fn call<S: Simd>($s: S, a: S::F, b: S::F, $c: S::F) -> S::M {
                let $x = F::call($s, a, b, b);
                $e
            }
        }
    )*};
}
tests! {
    Eq |s, x, c| s.eq(x, c);
    Ne |s, x, c| s.not_m(s.eq(x, c));
    Lt |s, x, c| s.lt(x, c);
    Le |s, x, c| s.le(x, c);
    Gt |s, x, c| s.lt(c, x);
    Ge |s, x, c| s.le(c, x);
}

fn test<K: Test>(isa: Isa, scalars: Scalars) -> Option<TileFn> {
    match (scalars.a, scalars.b, scalars.c) {
        (false, false, false) => Some(pick_test::<K, TILE, TILE>(isa)),
        (false, false, true) => Some(pick_test::<K, TILE, ONE>(isa)),
        (false, true, false) => Some(pick_test::<K, ONE, TILE>(isa)),
        (false, true, true) => Some(pick_test::<K, ONE, ONE>(isa)),
        _ => None,
    }
}

fn test_of<F: Part>(isa: Isa, op: Compare, scalars: Scalars) -> Option<TileFn> {
    match op {
        Compare::Eq => test::<Eq<F>>(isa, scalars),
        Compare::Ne => test::<Ne<F>>(isa, scalars),
        Compare::Lt => test::<Lt<F>>(isa, scalars),
        Compare::Le => test::<Le<F>>(isa, scalars),
        Compare::Gt => test::<Gt<F>>(isa, scalars),
        Compare::Ge => test::<Ge<F>>(isa, scalars),
    }
}

pub(super) fn compare_of(isa: Isa, op: Compare, first: First, scalars: Scalars) -> Option<TileFn> {
    match first {
        First::Add => test_of::<Add>(isa, op, scalars),
        First::Sub => test_of::<Sub>(isa, op, scalars),
        First::Mul => test_of::<Mul>(isa, op, scalars),
    }
}

/// `c` where the test of `a` and `b` holds, else `a`.
struct Replace<T>(PhantomData<T>);
impl<T: Test> Map for Replace<T> {
    #[inline(always)]
    fn call<S: Simd>(s: S, a: S::F, b: S::F, c: S::F) -> S::F {
        s.select(T::call(s, a, a, b), c, a)
    }
}

/// `a` where the test of `a` and `b` holds, else `c`.
struct Keep<T>(PhantomData<T>);
impl<T: Test> Map for Keep<T> {
    #[inline(always)]
    fn call<S: Simd>(s: S, a: S::F, b: S::F, c: S::F) -> S::F {
        s.select(T::call(s, a, a, b), a, c)
    }
}

fn pick<T: Test>(isa: Isa, keep: bool, scalars: Scalars) -> Option<TileFn> {
    if keep { factors::<Keep<T>>(isa, scalars) } else { factors::<Replace<T>>(isa, scalars) }
}

pub(super) fn pick_by(isa: Isa, op: Compare, keep: bool, scalars: Scalars) -> Option<TileFn> {
    match op {
        Compare::Eq => pick::<Eq<Same>>(isa, keep, scalars),
        Compare::Ne => pick::<Ne<Same>>(isa, keep, scalars),
        Compare::Lt => pick::<Lt<Same>>(isa, keep, scalars),
        Compare::Le => pick::<Le<Same>>(isa, keep, scalars),
        Compare::Gt => pick::<Gt<Same>>(isa, keep, scalars),
        Compare::Ge => pick::<Ge<Same>>(isa, keep, scalars),
    }
}

pub(super) fn pick_by_magnitude(isa: Isa, op: Compare, keep: bool, scalars: Scalars) -> Option<TileFn> {
    match op {
        Compare::Le => pick::<Le<Abs>>(isa, keep, scalars),
        Compare::Gt => pick::<Gt<Abs>>(isa, keep, scalars),
        _ => None,
    }
}

/// `a`, or `b` where the first test holds; of that, `c` where the second holds.
struct Limit<T, U>(PhantomData<(T, U)>);
impl<T: Test, U: Test> Map for Limit<T, U> {
    #[inline(always)]
    fn call<S: Simd>(s: S, a: S::F, b: S::F, c: S::F) -> S::F {
        let x = s.select(T::call(s, a, a, b), b, a);
        s.select(U::call(s, x, x, c), c, x)
    }
}

pub(super) fn limit(isa: Isa, first: Compare, then: Compare, scalars: Scalars) -> Option<TileFn> {
    match (first, then) {
        (Compare::Lt, Compare::Gt) => factors::<Limit<Lt<Same>, Gt<Same>>>(isa, scalars),
        (Compare::Gt, Compare::Lt) => factors::<Limit<Gt<Same>, Lt<Same>>>(isa, scalars),
        (Compare::Le, Compare::Ge) => factors::<Limit<Le<Same>, Ge<Same>>>(isa, scalars),
        (Compare::Ge, Compare::Le) => factors::<Limit<Ge<Same>, Le<Same>>>(isa, scalars),
        _ => None,
    }
}

/// `a` where the test of it and `c` holds, else `a * b`.
struct OrScaled<T>(PhantomData<T>);
impl<T: Test> Map for OrScaled<T> {
    #[inline(always)]
    fn call<S: Simd>(s: S, a: S::F, b: S::F, c: S::F) -> S::F {
        s.select(T::call(s, a, a, c), a, s.mul(a, b))
    }
}

pub(super) fn pick_or_scaled(isa: Isa, op: Compare, scalars: Scalars) -> Option<TileFn> {
    match op {
        Compare::Eq | Compare::Ne => None,
        Compare::Lt => factors::<OrScaled<Lt<Same>>>(isa, scalars),
        Compare::Le => factors::<OrScaled<Le<Same>>>(isa, scalars),
        Compare::Gt => factors::<OrScaled<Gt<Same>>>(isa, scalars),
        Compare::Ge => factors::<OrScaled<Ge<Same>>>(isa, scalars),
    }
}

/// `-a` where `b` is below `c`, else `a`.
struct NegateBelow;
impl Map for NegateBelow {
    #[inline(always)]
    fn call<S: Simd>(s: S, a: S::F, b: S::F, c: S::F) -> S::F {
        s.select(s.lt(b, c), s.neg(a), a)
    }
}

pub(super) fn negate_below(isa: Isa, scalars: Scalars) -> Option<TileFn> {
    factors::<NegateBelow>(isa, scalars)
}

/// The sign, and 0 for NaN; of a zero that zero.
struct SignOrZero;
impl Map for SignOrZero {
    #[inline(always)]
    fn call<S: Simd>(s: S, a: S::F, _: S::F, _: S::F) -> S::F {
        let one = s.copysign(s.splat(1.0), a);
        // A zero is not below or above, but keeps its sign.
        let zero = s.float(s.and_i(s.bits(a), s.bits(s.copysign(s.splat(0.0), s.select(s.unord(a, a), s.splat(0.0), a)))));
        s.select(s.or_m(s.lt(a, s.splat(0.0)), s.lt(s.splat(0.0), a)), one, zero)
    }
}

pub(super) fn sign_or_zero(isa: Isa) -> TileFn {
    pick_map::<SignOrZero, TILE, NONE, NONE>(isa)
}

/// `a` where it is greater or NaN: where it is not at most `b`, unless `b` alone is NaN.
struct Greater;
impl Map for Greater {
    #[inline(always)]
    fn call<S: Simd>(s: S, a: S::F, b: S::F, _: S::F) -> S::F {
        s.select(s.or_m(s.lt(b, a), s.unord(a, a)), a, b)
    }
}

pub(super) fn greater(isa: Isa, scalars: Scalars) -> Option<TileFn> {
    if scalars.a { None } else { sides::<Greater>(isa, scalars) }
}

/// `a` from `-b` to `b`, and `c` for NaN.
struct Finite;
impl Map for Finite {
    #[inline(always)]
    fn call<S: Simd>(s: S, a: S::F, b: S::F, c: S::F) -> S::F {
        let low = s.neg(b);
        let x = s.select(s.lt(a, low), low, a);
        let x = s.select(s.lt(b, x), b, x);
        s.select(s.unord(x, x), c, x)
    }
}

pub(super) fn finite(isa: Isa, scalars: Scalars) -> Option<TileFn> {
    factors::<Finite>(isa, scalars)
}
