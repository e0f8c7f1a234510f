//! Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011): random bits from a key and a counter.
//!
//! Element i of a stream is word i % 4 of block i / 4, on every device.

use super::drive::{give, pick};
use super::{Isa, isa};

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// The block of four words at `counter`, of the stream with this key.
pub fn philox(key: u64, counter: u64) -> [u32; 4] {
    blocks::<1>(key, counter).map(|[x]| x)
}

/// `N` successive blocks: their first words, their second words, ...
#[inline(always)]
#[allow(clippy::needless_range_loop)]
fn blocks<const N: usize>(key: u64, counter: u64) -> [[u32; N]; 4] {
    let mut k = [key as u32, (key >> 32) as u32];
    let mut x = [[0u32; N]; 4];
    for j in 0..N {
        let c = counter.wrapping_add(j as u64);
        x[0][j] = c as u32;
        x[1][j] = (c >> 32) as u32;
    }
    for _ in 0..ROUNDS {
        for j in 0..N {
            let p = MULTIPLIERS[0] as u64 * x[0][j] as u64;
            let q = MULTIPLIERS[1] as u64 * x[2][j] as u64;
            let (x1, x3) = (x[1][j], x[3][j]);
            x[0][j] = (q >> 32) as u32 ^ x1 ^ k[0];
            x[1][j] = q as u32;
            x[2][j] = (p >> 32) as u32 ^ x3 ^ k[1];
            x[3][j] = p as u32;
        }
        k = [k[0].wrapping_add(KEY_STEPS[0]), k[1].wrapping_add(KEY_STEPS[1])];
    }
    x
}

/// Blocks made at a time.
const AT_ONCE: usize = 8;
/// Their elements.
const WORDS: usize = 4 * AT_ONCE;

#[inline(always)]
unsafe fn fill(dst: *mut u32, key: u64, mut counter: u64, mut skip: usize, n: usize) {
    let mut done = 0;
    while done < n {
        let x = blocks::<AT_ONCE>(key, counter);
        let mut words = [0u32; WORDS];
        for j in 0..AT_ONCE {
            for w in 0..4 {
                words[4 * j + w] = x[w][j];
            }
        }
        let m = (WORDS - skip).min(n - done);
        // SAFETY: dst has m <= n - done elements left, and words as many from `skip` on.
        unsafe {
            if m == WORDS {
                give(dst.add(done), &words, m);
            } else {
                std::ptr::copy_nonoverlapping(words.as_ptr().add(skip), dst.add(done), m);
            }
        }
        done += m;
        counter = counter.wrapping_add(AT_ONCE as u64);
        skip = 0;
    }
}

pick! {
    pick_fill [] [] (dst: *mut u32, key: u64, counter: u64, skip: usize, n: usize),
    fill(dst, key, counter, skip, n),
    fill(dst, key, counter, skip, n),
    fill(dst, key, counter, skip, n)
}

/// Writes `n` elements of the stream with this key, from word `element % 4` of block `counter + element / 4` on. Counter and element
/// come apart because four times a counter need not fit 64 bits.
///
/// # Safety
/// `dst` is valid for writing `n` elements, and aligned.
pub unsafe fn philox_fill(dst: *mut u32, key: u64, counter: u64, element: u64, n: usize) {
    // SAFETY: the caller's promise; the processor has what `isa` says.
    unsafe { pick_fill(isa())(dst, key, counter.wrapping_add(element / 4), (element % 4) as usize, n) }
}
