//! The loops: from a function of one vector (or one element) to a [`TileFn`] for every instruction set.
//!
//! [`Map`] is for f32 in explicit vectors, [`Zip`] for every other type, whose small loops over fixed-size arrays the compiler vectorises.
//! Both are compiled once per instruction set by the wrappers at the end.

use super::simd::{Plain, Simd};
use super::{Isa, TileFn};
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};

/// What an operand of a kernel is: nothing, a tile, or one element used for all.
pub(super) const NONE: u8 = 0;
/// A tile of n elements.
pub(super) const TILE: u8 = 1;
/// One element.
pub(super) const ONE: u8 = 2;

/// A function of up to three f32 vectors.
pub(super) trait Map {
    fn call<S: Simd>(s: S, a: S::F, b: S::F, c: S::F) -> S::F;

    /// Whether some arguments are beyond `call` and need `exact`.
    const HAS_HARD: bool = false;
    /// Which lanes those are.
    #[inline(always)]
    fn hard<S: Simd>(s: S, a: S::F, _b: S::F) -> S::M {
        s.unord(a, a)
    }
    /// The result of one such lane.
    fn exact(a: f32, _b: f32) -> f32 {
        a
    }
}

/// A test of up to three f32 vectors.
pub(super) trait Test {
    fn call<S: Simd>(s: S, a: S::F, b: S::F, c: S::F) -> S::M;
}

/// A function of up to three elements of any type.
pub(super) trait Zip {
    type A: Copy + Default;
    type B: Copy + Default;
    type C: Copy + Default;
    type R: Copy + Default;
    fn call(a: Self::A, b: Self::B, c: Self::C) -> Self::R;
}

/// Lanes of the widest vector.
const MAX_LANES: usize = 16;
/// Elements that plain code handles at once: enough for the compiler to make vectors of, few enough that a short tile wastes little.
const CHUNK: usize = 16;

#[inline(always)]
unsafe fn map<S: Simd, K: Map, const A: u8, const B: u8, const C: u8>(
    s: S,
    dst: *mut u8,
    a: *const u8,
    b: *const u8,
    c: *const u8,
    n: usize,
) {
    let (dst, a, b, c) = (dst.cast::<f32>(), a.cast::<f32>(), b.cast::<f32>(), c.cast::<f32>());
    let one = |kind, p: *const f32| {
        // SAFETY: an operand of this kind points to one element.
        s.splat(if kind == ONE { unsafe { *p } } else { 0.0 })
    };
    if n == 1 {
        // What is the same for a whole row: masked access would cost more than the rest.
        let get = |kind, p: *const f32| {
            // SAFETY: an operand has one element.
            s.splat(if kind == NONE { 0.0 } else { unsafe { *p } })
        };
        let (x, y, z) = (get(A, a), get(B, b), get(C, c));
        let mut r = K::call(s, x, y, z);
        if K::HAS_HARD && s.any(K::hard(s, x, y)) {
            r = patch::<S, K>(s, x, y, r);
        }
        // SAFETY: dst has one element.
        unsafe { *dst = s.first(r) };
        return;
    }
    let (a1, b1, c1) = (one(A, a), one(B, b), one(C, c));
    let whole = n - n % S::LANES;
    let mut i = 0;
    while i < whole {
        let get = |kind, p: *const f32, one| {
            // SAFETY: a tile has n elements, and i + LANES <= whole <= n.
            if kind == TILE { unsafe { s.load(p.add(i)) } } else { one }
        };
        let (x, y, z) = (get(A, a, a1), get(B, b, b1), get(C, c, c1));
        let mut r = K::call(s, x, y, z);
        if K::HAS_HARD && s.any(K::hard(s, x, y)) {
            r = patch::<S, K>(s, x, y, r);
        }
        // SAFETY: as above, for dst.
        unsafe { s.store(dst.add(i), r) };
        i += S::LANES;
    }
    if i < n {
        let get = |kind, p: *const f32, one| {
            // SAFETY: a tile has n - i elements left, fewer than LANES.
            if kind == TILE { unsafe { s.load_first(p.add(i), n - i) } } else { one }
        };
        let (x, y, z) = (get(A, a, a1), get(B, b, b1), get(C, c, c1));
        let mut r = K::call(s, x, y, z);
        if K::HAS_HARD && s.any(K::hard(s, x, y)) {
            r = patch::<S, K>(s, x, y, r);
        }
        // SAFETY: as above, for dst.
        unsafe { s.store_first(dst.add(i), n - i, r) };
    }
}

/// `r` with the hard lanes computed one by one.
#[inline(always)]
fn patch<S: Simd, K: Map>(s: S, x: S::F, y: S::F, r: S::F) -> S::F {
    let (mut xs, mut ys, mut rs, mut hard) = ([0.0; MAX_LANES], [0.0; MAX_LANES], [0.0; MAX_LANES], [0; MAX_LANES]);
    // SAFETY: the arrays have room for the widest vector.
    unsafe {
        s.store(xs.as_mut_ptr(), x);
        s.store(ys.as_mut_ptr(), y);
        s.store(rs.as_mut_ptr(), r);
        s.store_mask(hard.as_mut_ptr(), K::hard(s, x, y));
    }
    patch_lanes(&xs[..S::LANES], &ys, &mut rs, &hard, K::exact);
    // SAFETY: as above.
    unsafe { s.load(rs.as_ptr()) }
}

#[cold]
#[inline(never)]
fn patch_lanes(xs: &[f32], ys: &[f32], rs: &mut [f32], hard: &[u8], exact: fn(f32, f32) -> f32) {
    for (i, &x) in xs.iter().enumerate() {
        if hard[i] != 0 {
            rs[i] = exact(x, ys[i]);
        }
    }
}

/// [`map`] in chunks of arrays: through pointers alone the compiler could not know that dst overlaps no operand.
#[inline(always)]
unsafe fn map_plain<K: Map, const A: u8, const B: u8, const C: u8>(dst: *mut u8, a: *const u8, b: *const u8, c: *const u8, n: usize) {
    let f = |x: &[f32; CHUNK], y: &[f32; CHUNK], z: &[f32; CHUNK]| {
        let mut r = [0.0f32; CHUNK];
        for j in 0..CHUNK {
            r[j] = K::call(Plain, x[j], y[j], z[j]);
        }
        if K::HAS_HARD {
            let mut hard = [0u8; CHUNK];
            let mut any = 0;
            for j in 0..CHUNK {
                hard[j] = K::hard(Plain, x[j], y[j]) as u8;
                any |= hard[j];
            }
            if any != 0 {
                patch_lanes(x, y, &mut r, &hard, K::exact);
            }
        }
        r
    };
    // SAFETY: the caller's promise.
    unsafe { chunks::<f32, f32, f32, f32, A, B, C>(dst.cast(), a.cast(), b.cast(), c.cast(), n, f) }
}

/// Calls `f` on chunks of the operands and stores what it gives. The rest of a tile goes through buffers, so that `f` is compiled once.
#[inline(always)]
unsafe fn chunks<T: Copy + Default, U: Copy + Default, V: Copy + Default, R: Copy + Default, const A: u8, const B: u8, const C: u8>(
    mut dst: *mut R,
    mut a: *const T,
    mut b: *const U,
    mut c: *const V,
    mut n: usize,
    f: impl Fn(&[T; CHUNK], &[U; CHUNK], &[V; CHUNK]) -> [R; CHUNK],
) {
    let (mut x, mut y, mut z, mut r) = ([T::default(); CHUNK], [U::default(); CHUNK], [V::default(); CHUNK], [R::default(); CHUNK]);
    // SAFETY: an operand of this kind points to one element.
    let (a1, b1, c1) = unsafe {
        (if A == ONE { *a } else { T::default() }, if B == ONE { *b } else { U::default() }, if C == ONE { *c } else { V::default() })
    };
    let out = dst;
    let done = n - n % CHUNK;
    while n > 0 {
        if n < CHUNK {
            // SAFETY: tiles have n elements left.
            unsafe {
                if A == TILE {
                    take(&mut x, a, n);
                    a = x.as_ptr();
                }
                if B == TILE {
                    take(&mut y, b, n);
                    b = y.as_ptr();
                }
                if C == TILE {
                    take(&mut z, c, n);
                    c = z.as_ptr();
                }
            }
            dst = r.as_mut_ptr();
        }
        // SAFETY: every tile, or the buffer in its place, has CHUNK elements.
        unsafe {
            let x = if A == TILE { a.cast::<[T; CHUNK]>().read_unaligned() } else { [a1; CHUNK] };
            let y = if B == TILE { b.cast::<[U; CHUNK]>().read_unaligned() } else { [b1; CHUNK] };
            let z = if C == TILE { c.cast::<[V; CHUNK]>().read_unaligned() } else { [c1; CHUNK] };
            dst.cast::<[R; CHUNK]>().write_unaligned(f(&x, &y, &z));
        }
        if n < CHUNK {
            // SAFETY: dst has n elements left.
            unsafe { give(out.add(done), &r, n) };
            return;
        }
        n -= CHUNK;
        a = if A == TILE { a.wrapping_add(CHUNK) } else { a };
        b = if B == TILE { b.wrapping_add(CHUNK) } else { b };
        c = if C == TILE { c.wrapping_add(CHUNK) } else { c };
        dst = dst.wrapping_add(CHUNK);
    }
}

/// The first `m <= N` elements of `x` from `p`.
/// # Safety
/// `p` is valid for reading `m` elements.
#[inline(always)]
pub(super) unsafe fn take<T: Copy, const N: usize>(x: &mut [T; N], p: *const T, m: usize) {
    if m == N {
        // SAFETY: the caller's promise.
        *x = unsafe { p.cast::<[T; N]>().read_unaligned() };
    } else {
        for (j, x) in x.iter_mut().enumerate().take(m) {
            // SAFETY: j < m.
            *x = unsafe { *p.add(j) };
        }
    }
}

/// The first `m <= N` elements of `x` to `p`.
/// # Safety
/// `p` is valid for writing `m` elements.
#[inline(always)]
pub(super) unsafe fn give<T: Copy, const N: usize>(p: *mut T, x: &[T; N], m: usize) {
    if m == N {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[T; N]>().write_unaligned(*x) };
    } else {
        for (j, x) in x.iter().enumerate().take(m) {
            // SAFETY: j < m.
            unsafe { *p.add(j) = *x };
        }
    }
}

#[inline(always)]
unsafe fn zip<K: Zip, const A: u8, const B: u8, const C: u8>(dst: *mut u8, a: *const u8, b: *const u8, c: *const u8, n: usize) {
    if n == 1 {
        // What is the same for a whole row: chunks by way of the stack would cost more than the rest.
        // SAFETY: the operands there are have one element, as has dst.
        unsafe {
            let x = if A == NONE { K::A::default() } else { *a.cast() };
            let y = if B == NONE { K::B::default() } else { *b.cast() };
            let z = if C == NONE { K::C::default() } else { *c.cast() };
            *dst.cast() = K::call(x, y, z);
        }
        return;
    }
    let f = |x: &[K::A; CHUNK], y: &[K::B; CHUNK], z: &[K::C; CHUNK]| {
        let mut r = [K::R::default(); CHUNK];
        for j in 0..CHUNK {
            r[j] = K::call(x[j], y[j], z[j]);
        }
        r
    };
    // SAFETY: the caller's promise.
    unsafe { chunks::<_, _, _, _, A, B, C>(dst.cast(), a.cast(), b.cast(), c.cast(), n, f) }
}

#[inline(always)]
unsafe fn test<S: Simd, K: Test, const B: u8, const C: u8>(s: S, dst: *mut u8, a: *const u8, b: *const u8, c: *const u8, n: usize) {
    let (a, b, c) = (a.cast::<f32>(), b.cast::<f32>(), c.cast::<f32>());
    let one = |kind, p: *const f32| {
        // SAFETY: such an operand points to one element.
        s.splat(if kind == ONE { unsafe { *p } } else { 0.0 })
    };
    let (b1, c1) = (one(B, b), one(C, c));
    let whole = n - n % S::LANES;
    let mut i = 0;
    while i < whole {
        // SAFETY: i + LANES <= whole <= n.
        unsafe {
            let y = if B == TILE { s.load(b.add(i)) } else { b1 };
            let z = if C == TILE { s.load(c.add(i)) } else { c1 };
            s.store_mask(dst.add(i), K::call(s, s.load(a.add(i)), y, z));
        }
        i += S::LANES;
    }
    if i < n {
        let mut r = [0u8; MAX_LANES];
        // SAFETY: tiles have n - i elements left, fewer than LANES; r has room for a vector.
        unsafe {
            let y = if B == TILE { s.load_first(b.add(i), n - i) } else { b1 };
            let z = if C == TILE { s.load_first(c.add(i), n - i) } else { c1 };
            s.store_mask(r.as_mut_ptr(), K::call(s, s.load_first(a.add(i), n - i), y, z));
            std::ptr::copy_nonoverlapping(r.as_ptr(), dst.add(i), n - i);
        }
    }
}

/// dst = a + (b ? 1 : 0).
#[inline(always)]
unsafe fn add_flag<S: Simd>(s: S, dst: *mut u8, a: *const u8, b: *const u8, n: usize) {
    let (dst, a) = (dst.cast::<f32>(), a.cast::<f32>());
    let count = |x, m| s.add(x, s.select(m, s.splat(1.0), s.splat(0.0)));
    let whole = n - n % S::LANES;
    let mut i = 0;
    while i < whole {
        // SAFETY: i + LANES <= whole <= n.
        unsafe { s.store(dst.add(i), count(s.load(a.add(i)), s.load_mask(b.add(i)))) };
        i += S::LANES;
    }
    if i < n {
        let mut m = [0u8; MAX_LANES];
        // SAFETY: tiles have n - i elements left, fewer than LANES; m has room for a vector.
        unsafe {
            std::ptr::copy_nonoverlapping(b.add(i), m.as_mut_ptr(), n - i);
            s.store_first(dst.add(i), n - i, count(s.load_first(a.add(i), n - i), s.load_mask(m.as_ptr())));
        }
    }
}

#[inline(always)]
unsafe fn select<S: Simd, const B: u8, const C: u8>(s: S, dst: *mut u8, a: *const u8, b: *const u8, c: *const u8, n: usize) {
    let (dst, b, c) = (dst.cast::<f32>(), b.cast::<f32>(), c.cast::<f32>());
    let one = |kind, p: *const f32| {
        // SAFETY: an operand of this kind points to one element.
        s.splat(if kind == ONE { unsafe { *p } } else { 0.0 })
    };
    let (b1, c1) = (one(B, b), one(C, c));
    let whole = n - n % S::LANES;
    let mut i = 0;
    while i < whole {
        // SAFETY: i + LANES <= whole <= n.
        unsafe {
            let x = if B == TILE { s.load(b.add(i)) } else { b1 };
            let y = if C == TILE { s.load(c.add(i)) } else { c1 };
            s.store(dst.add(i), s.select(s.load_mask(a.add(i)), x, y));
        }
        i += S::LANES;
    }
    if i < n {
        let mut m = [0u8; MAX_LANES];
        // SAFETY: tiles have n - i elements left, fewer than LANES; m has room for a vector.
        unsafe {
            std::ptr::copy_nonoverlapping(a.add(i), m.as_mut_ptr(), n - i);
            let x = if B == TILE { s.load_first(b.add(i), n - i) } else { b1 };
            let y = if C == TILE { s.load_first(c.add(i), n - i) } else { c1 };
            s.store_first(dst.add(i), n - i, s.select(s.load_mask(m.as_ptr()), x, y));
        }
    }
}

/// Makes a function `$name(isa)` that gives the wrapper of a loop for an instruction set. The features named here are those `isa()` asks for.
macro_rules! pick {
    ($(#[$doc:meta])* $name:ident [$($k:ident: $bound:ident)?] [$($g:ident: $t:ty),*] ($($arg:ident: $at:ty),*), $plain:expr, $avx2:expr, $avx512:expr) => {
        $(#[$doc])*
        pub(super) fn $name<$($k: $bound,)? $(const $g: $t),*>(isa: Isa) -> unsafe fn($($at),*) {
            unsafe fn plain<$($k: $bound,)? $(const $g: $t),*>($($arg: $at),*) {
                // SAFETY: the caller's promise.
                unsafe { $plain }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2")]
            unsafe fn avx2<$($k: $bound,)? $(const $g: $t),*>($($arg: $at),*) {
                // SAFETY: the caller's promise; this function is only called where the processor has its features.
                unsafe { $avx2 }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,avx512f,avx512bw,avx512dq,avx512vl")]
            unsafe fn avx512<$($k: $bound,)? $(const $g: $t),*>($($arg: $at),*) {
                // SAFETY: as above.
                unsafe { $avx512 }
            }
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => avx512::<$($k,)? $($g),*>,
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => avx2::<$($k,)? $($g),*>,
                _ => plain::<$($k,)? $($g),*>,
            }
        }
    };
}
pub(super) use pick;

pick! {
    /// The kernel of an f32 function with these kinds of operands.
    pick_map [K: Map] [A: u8, B: u8, C: u8] (dst: *mut u8, a: *const u8, b: *const u8, c: *const u8, n: usize),
    map_plain::<K, A, B, C>(dst, a, b, c, n),
    map::<Avx2, K, A, B, C>(Avx2::new(), dst, a, b, c, n),
    map::<Avx512, K, A, B, C>(Avx512::new(), dst, a, b, c, n)
}

pick! {
    /// The kernel of an f32 test.
    pick_test [K: Test] [B: u8, C: u8] (dst: *mut u8, a: *const u8, b: *const u8, c: *const u8, n: usize),
    test::<Plain, K, B, C>(Plain, dst, a, b, c, n),
    test::<Avx2, K, B, C>(Avx2::new(), dst, a, b, c, n),
    test::<Avx512, K, B, C>(Avx512::new(), dst, a, b, c, n)
}

pick! {
    /// The kernel that counts flags in f32.
    pick_add_flag [] [] (dst: *mut u8, a: *const u8, b: *const u8, _c: *const u8, n: usize),
    add_flag(Plain, dst, a, b, n),
    add_flag(Avx2::new(), dst, a, b, n),
    add_flag(Avx512::new(), dst, a, b, n)
}

pick! {
    /// The kernel of f32 selection.
    pick_select [] [B: u8, C: u8] (dst: *mut u8, a: *const u8, b: *const u8, c: *const u8, n: usize),
    select::<Plain, B, C>(Plain, dst, a, b, c, n),
    select::<Avx2, B, C>(Avx2::new(), dst, a, b, c, n),
    select::<Avx512, B, C>(Avx512::new(), dst, a, b, c, n)
}

/// The kernel of an elementwise function with these kinds of operands. AVX-512 would gain these little: it uses the AVX2 code.
pub(super) fn pick_zip<K: Zip, const A: u8, const B: u8, const C: u8>(isa: Isa) -> TileFn {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2")]
    unsafe fn avx2<K: Zip, const A: u8, const B: u8, const C: u8>(dst: *mut u8, a: *const u8, b: *const u8, c: *const u8, n: usize) {
        // SAFETY: the caller's promise; this function is only called where the processor has its features.
        unsafe { zip::<K, A, B, C>(dst, a, b, c, n) }
    }
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::Avx512 => avx2::<K, A, B, C>,
        _ => plain_zip::<K, A, B, C>(),
    }
}

/// As [`pick_zip`], with no other code than the plain one: for what is made of calls or cannot be vectorised.
pub(super) fn plain_zip<K: Zip, const A: u8, const B: u8, const C: u8>() -> TileFn {
    unsafe fn plain<K: Zip, const A: u8, const B: u8, const C: u8>(dst: *mut u8, a: *const u8, b: *const u8, c: *const u8, n: usize) {
        // SAFETY: the caller's promise.
        unsafe { zip::<K, A, B, C>(dst, a, b, c, n) }
    }
    plain::<K, A, B, C>
}
