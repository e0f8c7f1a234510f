//! The maximum of small windows, with a derivative of its own.
//!
//! Forward, the elements of a window are strided slices that are compared one after the other. The derivative of that would spread every slice's
//! part over the input again, with gaps; so it is written down instead: each element's part of the gradient is found at the element, by comparing
//! its number within the window with the number of the winner. With windows that tile the input, that is one comparison an element.

use super::Tensor;
use super::compose::whole;
use super::pool::Window;
use crate::base::{DType, Scalar, Shape};
use crate::trace::graph::{Input, Inputs};
use crate::trace::{Binary, Compare, Op, Reduce, Region, RegionKind, Trace, ValueId};
use std::sync::Arc;

impl Tensor {
    /// The first largest of each undilated window of a padded float tensor; NaN if any is. Ties: the first has the gradient.
    #[track_caller]
    pub(super) fn window_max(&self, windows: &[Window]) -> Tensor {
        let out = windows.iter().fold(self.shape().clone(), |mut s, w| {
            s[w.axis] = w.out;
            s
        });
        let mut body = Trace::new();
        let x = body.input(self.dtype(), self.shape().clone());
        let (best, _) = winner(&mut body, x, windows, false);
        body.outputs = vec![best];
        let mut rule = Trace::new();
        let x = rule.input(self.dtype(), self.shape().clone());
        let d = rule.input(self.dtype(), self.shape().clone());
        let (_, number) = winner(&mut rule, x, windows, true);
        let tangent = of_winner(&mut rule, d, number, windows, &out);
        rule.outputs = vec![tangent];
        let region = Op::Region(Arc::new(Region { kind: RegionKind::CustomJvp(Arc::new(rule)), body: Arc::new(body) }));
        let inputs: Inputs = [Input::Node(self.0.clone())].into_iter().collect();
        let r = Tensor::record_inputs(region, inputs, self.dtype(), out.clone());
        Tensor::record_typed(Op::Output(0), &[&r], self.dtype(), out)
    }
}

/// An element's number within a window: its place between two window starts, row-major over the axes; then how many starts lie before it.
fn number(windows: &[Window], at: &[usize]) -> usize {
    let (mut inner, mut outer, mut cells) = (0, 0, 1);
    for (w, &k) in windows.iter().zip(at) {
        inner = inner * w.stride + k % w.stride;
        outer = outer * w.starts() + k / w.stride;
        cells *= w.stride;
    }
    inner + cells * outer
}

/// The largest of each window and, if asked for, its number.
fn winner(t: &mut Trace, x: ValueId, windows: &[Window], numbered: bool) -> (ValueId, ValueId) {
    let total: usize = windows.iter().map(|w| w.kernel).product();
    let (mut best, mut found) = (x, x);
    for tap in 0..total {
        let (mut spec, mut rest) = (whole(t.shape(x)), tap);
        let mut at = vec![0; windows.len()];
        for (w, at) in windows.iter().zip(&mut at).rev() {
            *at = rest % w.kernel;
            rest /= w.kernel;
            (spec.start[w.axis], spec.end[w.axis], spec.step[w.axis]) = (*at, *at + (w.out - 1) * w.stride + 1, w.stride);
        }
        let v = t.slice(x, spec);
        let this = |t: &mut Trace| t.constant(Scalar::Int(number(windows, &at) as i64), DType::I32, &t.shape(v).clone());
        if tap == 0 {
            best = v;
            if numbered {
                found = this(t);
            }
            continue;
        }
        let (greater, nan) = (t.compare(Compare::Gt, v, best), t.apply(Op::Compare(Compare::Ne), &[v, v]));
        let wins = t.binary(Binary::Or, greater, nan);
        best = t.select(wins, v, best);
        if numbered {
            let this = this(t);
            found = t.select(wins, this, found);
        }
    }
    (best, found)
}

/// The tangent of each window's winner: the sum of the tangents of all elements, where those that did not win are zero.
fn of_winner(t: &mut Trace, d: ValueId, number_: ValueId, windows: &[Window], out: &Shape) -> ValueId {
    let rank = out.rank();
    // As many whole strides as windows touch.
    let (mut spec, mut hi) = (whole(t.shape(d)), vec![0; rank]);
    for w in windows {
        let (have, want) = (t.shape(d)[w.axis], (w.out + w.starts() - 1) * w.stride);
        spec.end[w.axis] = have.min(want);
        hi[w.axis] = want - have.min(want);
    }
    let mut d = if spec.end[..] == t.shape(d)[..] { d } else { t.slice(d, spec) };
    if hi.iter().any(|&n| n > 0) {
        d = t.pad_zeros(d, &vec![0; rank], &hi);
    }
    // Every axis of windows becomes two: strides, and places between them.
    let of = |a: usize| windows.iter().find(|w| w.axis == a);
    let axes = |f: &dyn Fn(usize, Option<&Window>) -> [usize; 2]| -> Shape {
        (0..rank).flat_map(|a| if of(a).is_some() { f(a, of(a)).to_vec() } else { vec![f(a, None)[0]] }).collect()
    };
    let split = axes(&|a, w| w.map_or([t.shape(d)[a], 1], |w| [t.shape(d)[a] / w.stride, w.stride]));
    let full = axes(&|a, w| [out[a], w.map_or(1, |w| w.stride)]);
    let apart = axes(&|a, _| [out[a], 1]);
    let places = axes(&|_, w| [1, w.map_or(1, |w| w.stride)]);
    let first: Vec<usize> = (0..rank).map(|a| a + windows.iter().filter(|w| w.axis < a).count()).collect();
    let d = t.reshape(d, &split);
    let number_ = t.reshape(number_, &apart);
    let number_ = t.broadcast(number_, &full);
    let cells: usize = windows.iter().map(|w| w.stride).product();
    let place = t.iota(0, DType::I32, &Shape::from([cells]));
    let place = t.reshape(place, &places);
    let starts: usize = windows.iter().map(Window::starts).product();
    let mut total: Option<ValueId> = None;
    for s in 0..starts {
        let (mut spec, mut rest) = (whole(&split), s);
        let mut at = vec![0; windows.len()];
        for (w, at) in windows.iter().zip(&mut at).rev() {
            let k = rest % w.starts();
            rest /= w.starts();
            *at = k * w.stride;
            (spec.start[first[w.axis]], spec.end[first[w.axis]]) = (k, k + w.out);
        }
        let part = if starts == 1 { d } else { t.slice(d, spec) };
        let mut code = place;
        if s > 0 {
            let by = t.constant(Scalar::Int(number(windows, &at) as i64), DType::I32, &places);
            code = t.binary(Binary::Add, place, by);
        }
        let code = t.broadcast(code, &full);
        let won = t.compare(Compare::Eq, number_, code);
        let zeros = t.zeros_like(part);
        let part = t.select(won, part, zeros);
        let inner: Vec<usize> = windows.iter().map(|w| first[w.axis] + 1).collect();
        let sum = t.reduce(Reduce::Sum, part, &inner);
        total = Some(total.map_or(sum, |x| t.add(x, sum)));
    }
    total.unwrap_or(d)
}
