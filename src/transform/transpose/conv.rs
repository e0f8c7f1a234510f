//! The transposes of a convolution, each again a convolution.
//!
//! Along one spatial axis `y[p] = sum_k z[p*s + k*r - lo] w[k]` with stride s, kernel spacing r, and z the input spread by
//! l (`z[i*l] = x[i]`, zero elsewhere). Tap k joins input i and output p iff `i*l = p*s + k*r - lo`.

use crate::base::Shape;
use crate::trace::{ConvSpec, Op, Trace, ValueId};

/// The cotangent of the input: `dx[i] = sum dy[p] w[k]` over the pairs with `p*s = i*l + lo - k*r`.
///
/// With the kernel flipped (`k = W-1-j`) that is `i*l + j*r - lo'`, `lo' = (W-1)*r - lo`: a convolution of dy spread by s,
/// with stride l. `hi'` makes its output as long as x, also when the stride left a remainder or the padding was negative.
pub(super) fn input(t: &mut Trace, spec: &ConvSpec, x: ValueId, w: ValueId, dy: ValueId) -> ValueId {
    let (xs, ws, ys) = (t.shape(x).clone(), t.shape(w).clone(), t.shape(dy).clone());
    if [&xs, &ws, &ys].iter().any(|s| s.numel() == 0) {
        return t.zeros_like(x);
    }
    let (n, g) = (spec.stride.len(), spec.groups);
    let mut back = spec.clone();
    (back.stride, back.lhs_dilation) = (spec.lhs_dilation.clone(), spec.stride.clone());
    for i in 0..n {
        back.lo[i] = ((ws[i + 2] - 1) * spec.rhs_dilation[i]) as isize - spec.lo[i];
        back.hi[i] = reach(xs[i + 2], spec.lhs_dilation[i]) - reach(ys[i + 2], spec.stride[i]) + spec.lo[i];
    }
    // [g*O', C', W..] to [g*C', O', W..]: input and output channels change places within each group.
    let (o, c) = (ws[0] / g, ws[1]);
    let window = &ws[2..];
    let with = |a: &[usize]| -> Shape { a.iter().chain(window).copied().collect() };
    let grouped = t.reshape(w, &with(&[g, o, c]));
    let perm: Vec<usize> = [0, 2, 1].into_iter().chain(3..3 + n).collect();
    let turned = t.permute(grouped, &perm);
    let kernel = t.reshape(turned, &with(&[g * c, o]));
    let axes: Vec<usize> = (2..2 + n).filter(|&a| ws[a] > 1).collect();
    let flipped = t.flip(kernel, &axes);
    t.apply(Op::Conv(Box::new(back)), &[dy, flipped])
}

/// The cotangent of the kernel: `dw[k] = sum z[k*r + p*s - lo] dy[p]`, a convolution with stride r whose kernel is dy
/// with spacing s. Batch and channels change places; `hi'` makes its output as long as w.
pub(super) fn kernel(t: &mut Trace, spec: &ConvSpec, x: ValueId, w: ValueId, dy: ValueId) -> ValueId {
    let (xs, ws, ys) = (t.shape(x).clone(), t.shape(w).clone(), t.shape(dy).clone());
    if [&xs, &ws, &ys].iter().any(|s| s.numel() == 0) {
        return t.zeros_like(w);
    }
    let (n, g) = (spec.stride.len(), spec.groups);
    let mut back = spec.clone();
    (back.stride, back.rhs_dilation) = (spec.rhs_dilation.clone(), spec.stride.clone());
    for i in 0..n {
        let (window, out) = (reach(ws[i + 2], spec.rhs_dilation[i]), reach(ys[i + 2], spec.stride[i]));
        back.hi[i] = window + out - reach(xs[i + 2], spec.lhs_dilation[i]) - spec.lo[i];
    }
    // Input [N, g*C', X..] to [C', g*N, X..], cotangent [N, O, P..] to [O, N, P..]: group j then sums over its own N.
    let (batch, c) = (xs[0], xs[1] / g);
    let with = |a: &[usize]| -> Shape { a.iter().chain(&xs[2..]).copied().collect() };
    let swap: Vec<usize> = [1, 0].into_iter().chain(2..2 + n).collect();
    let input = if g == 1 {
        t.permute(x, &swap)
    } else {
        let grouped = t.reshape(x, &with(&[batch, g, c]));
        let perm: Vec<usize> = [2, 1, 0].into_iter().chain(3..3 + n).collect();
        let turned = t.permute(grouped, &perm);
        t.reshape(turned, &with(&[c, g * batch]))
    };
    let taps = t.permute(dy, &swap);
    let dw = t.apply(Op::Conv(Box::new(back)), &[input, taps]);
    t.permute(dw, &swap)
}

/// The last position of `n` elements put `step` apart.
fn reach(n: usize, step: usize) -> isize {
    ((n - 1) * step) as isize
}
