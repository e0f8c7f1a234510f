//! Formulas over many elements, and many operations over few.

use super::data::randn;
use super::{Case, MIB, Produced, Rate, Step};
use crate::base::Result;

const N: usize = 16 << 20;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("ew_chain", "tanh(x*2+1)*x + 0.5, x of 16Mi", 0.0, 128.0 * MIB, || chain(N)),
        Case::new("ew_sum", "sum(exp(-x*x)), x of 16Mi", 0.0, 64.0 * MIB, || {
            let x = randn([N], 0, 1.0);
            Ok(Box::new(move || Produced::of([((-&x) * &x).exp().sum(..)])))
        }),
        Case::new("sgd_triad", "w - 0.01*g, 16Mi each", 0.0, 192.0 * MIB, || {
            let (w, g) = (randn([N], 0, 1.0), randn([N], 1, 1.0));
            Ok(Box::new(move || Produced::of([&w - &g * 0.01])))
        }),
        Case::new("op_overhead", "1000 chained ops on 16 elements, recorded anew, one evaluation", 0.0, 0.0, || {
            let x = randn([16], 0, 1.0);
            Ok(Box::new(move || {
                let mut y = x.clone();
                for _ in 0..500 {
                    y *= 1.0001;
                    y += 0.0001;
                }
                Produced::of([y])
            }))
        })
        .rate(Rate::Micros("us_per_op", 1000.0)),
        Case::new("call_overhead", "x*1.0001 + 0.0001 on 16 elements, 1000 evaluations one after another", 0.0, 0.0, || {
            let x = randn([16], 0, 1.0);
            Ok(Box::new(move || {
                let mut y = x.clone();
                for _ in 0..1000 {
                    y = y * 1.0001 + 0.0001;
                    y.eval()?;
                }
                Produced::of([y])
            }))
        })
        .rate(Rate::Micros("us_per_call", 1000.0)),
    ]
}

/// `ew_chain` over `n` elements.
pub fn chain(n: usize) -> Result<Step> {
    let x = randn([n], 0, 1.0);
    Ok(Box::new(move || Produced::of([(&x * 2.0 + 1.0).tanh() * &x + 0.5])))
}
