//! Rows, columns and moved data: what memory limits.

use super::data::{ids, randn};
use super::{Case, MIB, Produced};
use crate::{Result, Tensor, vjp};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("softmax", "over the last axis, 4096x1024", 0.0, 32.0 * MIB, || {
            let x = randn([4096, 1024], 0, 1.0);
            Ok(Box::new(move || Produced::of([x.softmax(-1)])))
        }),
        Case::new("layernorm_fwd", "4096x1024, last axis, gamma, beta, eps 1e-5", 0.0, 32.0 * MIB, || {
            let (x, g, b) = layer_norm_inputs()?;
            Ok(Box::new(move || Produced::of([layer_norm(&x, &g, &b)])))
        }),
        Case::new("layernorm_fwdbwd", "the same, then dx, dgamma, dbeta for a given dy", 0.0, 80.0 * MIB, || {
            let (at, dy) = (layer_norm_inputs()?, randn([4096, 1024], 3, 1.0));
            Ok(Box::new(move || {
                let (y, pull) = vjp(|(x, g, b): &(Tensor, Tensor, Tensor)| layer_norm(x, g, b), &at);
                let (dx, dg, db) = pull(&dy);
                Produced::of([y, dx, dg, db])
            }))
        }),
        Case::new("reduce_axis0", "sum of 8192x2048 over axis 0", 0.0, 64.0 * MIB, || {
            let x = randn([8192, 2048], 0, 1.0);
            Ok(Box::new(move || Produced::of([x.sum(0)])))
        }),
        Case::new("reduce_axis1", "sum of 8192x2048 over axis 1", 0.0, 64.0 * MIB, || {
            let x = randn([8192, 2048], 0, 1.0);
            Ok(Box::new(move || Produced::of([x.sum(1)])))
        }),
        Case::new("transpose_add", "x.T + y, 4096x4096", 0.0, 192.0 * MIB, || {
            let (x, y) = (randn([4096, 4096], 0, 1.0), randn([4096, 4096], 1, 1.0));
            Ok(Box::new(move || Produced::of([x.t() + &y])))
        }),
        Case::new("gather_fwd", "8192 rows of 50000x256 by uniform ids", 0.0, 16.0 * MIB, || {
            let (e, i) = (randn([50000, 256], 0, 1.0), ids(8192, 50000, 1));
            Ok(Box::new(move || Produced::of([e.index_select(0, &i)])))
        }),
        Case::new("gather_bwd", "dense gradient of the gather for a given dy", 0.0, 64.8 * MIB, || {
            let (e, i, dy) = (randn([50000, 256], 0, 1.0), ids(8192, 50000, 1), randn([8192, 256], 2, 1.0));
            Ok(Box::new(move || {
                let (_, pull) = vjp(|e: &Tensor| e.index_select(0, &i), &e);
                Produced::of([pull(&dy)])
            }))
        }),
    ]
}

fn layer_norm_inputs() -> Result<(Tensor, Tensor, Tensor)> {
    let gamma = randn([1024], 1, 0.1) + 1.0;
    gamma.eval()?;
    Ok((randn([4096, 1024], 0, 1.0), gamma, randn([1024], 2, 0.1)))
}

/// Layer norm over the last axis, eps 1e-5.
pub fn layer_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor) -> Tensor {
    x.layer_norm(gamma.shape(), Some(gamma), Some(beta), 1e-5)
}
