//! Convolutions: stride, padding, both dilations and groups, in one to three spatial dimensions.

use super::*;
use crate::trace::{ConvSpec, Op};
use smallvec::SmallVec;

fn spec(n: usize) -> ConvSpec {
    let ones: SmallVec<[usize; 3]> = SmallVec::from_elem(1, n);
    let zeros: SmallVec<[isize; 3]> = SmallVec::from_elem(0, n);
    ConvSpec { stride: ones.clone(), lo: zeros.clone(), hi: zeros, lhs_dilation: ones.clone(), rhs_dilation: ones, groups: 1 }
}

fn check_conv(s: &ConvSpec, x: &[usize], w: &[usize], order: usize) {
    let p = [points(x, 1), points(w, 2)];
    let t = trace(&p, |t, v| vec![t.apply(Op::Conv(Box::new(s.clone())), &[v[0], v[1]])]);
    check_grads(&t, &p, &[], order).unwrap_or_else(|e| panic!("{s:?} {x:?} {w:?}: {e}"));
}

#[test]
fn every_configuration_in_one_dimension() {
    let mut seen = 0;
    for stride in 1..=3 {
        for (lo, hi) in [(0, 0), (1, 2), (2, 0), (-1, 0), (0, -2), (-1, 3), (4, 4)] {
            for (ld, rd) in [(1, 1), (2, 1), (1, 2), (3, 2)] {
                for (extent, window) in [(5, 2), (6, 3), (4, 1), (1, 1)] {
                    for groups in [1, 2] {
                        let s = ConvSpec {
                            stride: SmallVec::from_slice(&[stride]),
                            lo: SmallVec::from_slice(&[lo]),
                            hi: SmallVec::from_slice(&[hi]),
                            lhs_dilation: SmallVec::from_slice(&[ld]),
                            rhs_dilation: SmallVec::from_slice(&[rd]),
                            groups,
                        };
                        let (x, w) = ([2, 2 * groups, extent], [3 * groups, 2, window]);
                        if crate::trace::infer::conv_shape(&s, &Shape::from(x), &Shape::from(w)).is_ok() {
                            check_conv(&s, &x, &w, 1);
                            seen += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(seen > 300, "{seen}");
}

#[test]
fn two_and_three_dimensions_and_second_order() {
    check_conv(&spec(1), &[1, 1, 4], &[1, 1, 2], 2);
    let mut s = spec(2);
    s.stride = SmallVec::from_slice(&[2, 1]);
    (s.lo, s.hi) = (SmallVec::from_slice(&[1, 0]), SmallVec::from_slice(&[1, -1]));
    s.rhs_dilation = SmallVec::from_slice(&[1, 2]);
    s.groups = 2;
    check_conv(&s, &[2, 4, 4, 6], &[2, 2, 2, 2], 2);
    s.lhs_dilation = SmallVec::from_slice(&[2, 3]);
    check_conv(&s, &[1, 4, 3, 3], &[4, 2, 3, 2], 2);
    s.groups = 4;
    check_conv(&s, &[2, 4, 3, 3], &[4, 1, 3, 2], 2);
    let mut s = spec(3);
    s.stride = SmallVec::from_slice(&[1, 2, 3]);
    s.lo = SmallVec::from_slice(&[0, 1, 2]);
    check_conv(&s, &[1, 2, 2, 3, 4], &[2, 2, 1, 2, 3], 2);
    check_conv(&spec(0), &[3, 2], &[4, 2], 2);
}
