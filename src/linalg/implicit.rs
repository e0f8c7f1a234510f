//! Results with derivatives in closed form.

use crate::{Tree, custom_jvp, stop_gradient};

/// Orders of derivatives by the closed form; beyond, the loop itself is differentiated.
const ORDERS: usize = 2;

/// `run(x)`, whose tangent `rule(x, y, dx)` is given in terms of the result `y`. The loop in `run` is run once, whatever derivatives (up to
/// `ORDERS`) are taken: the result enters the rule as a value that knows its own derivative by the same rule.
#[track_caller]
pub(super) fn implicit<X, Y>(x: X, run: impl Fn(&X) -> Y + Send + Sync, rule: impl Fn(&X, &Y, &X) -> Y + Send + Sync) -> Y
where
    X: Tree + Clone,
    Y: Tree + Clone,
{
    let y = run(&stop_gradient(&x));
    attach(x, y, &run, &rule, ORDERS)
}

/// The value `y`, with the derivative that `rule` says.
#[track_caller]
fn attach<X: Tree + Clone, Y: Tree + Clone>(
    x: X,
    y: Y,
    run: &(dyn Fn(&X) -> Y + Send + Sync),
    rule: &(dyn Fn(&X, &Y, &X) -> Y + Send + Sync),
    orders: usize,
) -> Y {
    if orders == 0 {
        return run(&x);
    }
    let again = |(x, y): &(X, Y), (dx, _): &(X, Y)| rule(x, &attach(x.clone(), y.clone(), run, rule, orders - 1), dx);
    custom_jvp(|(_, y): &(X, Y)| y.clone(), again)(&(x, y))
}
