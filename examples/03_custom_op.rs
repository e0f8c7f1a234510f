//! An operation of one's own with a derivative of one's own.
//!
//! log(1 + e^x) has the derivative e^x / (1 + e^x), which for a large x is infinity / infinity as written: the derivative that follows
//! from the formula is NaN there. `custom_vjp` puts the form that holds everywhere, 1 / (1 + e^-x), in its place.
use lazuli::prelude::*;

fn naive(x: &Tensor) -> Tensor {
    (x.exp() + 1.0).log()
}

fn main() -> Result<()> {
    Device::from_args()?.set_default();
    // The value, and the pull-back: from x, y = f(x) and the derivative with respect to y to the one with respect to x.
    let stable =
        custom_vjp(|x: &Tensor| x.relu() + (-x.abs()).exp().log1p(), |x: &Tensor, _y: &Tensor, dy: &Tensor| dy / ((-x).exp() + 1.0));
    let x = tensor![-100., -1., 0., 1., 100.];
    println!("x              {x}");
    println!("naive   value  {}", naive(&x));
    println!("        slope  {}", grad(|x: &Tensor| naive(x).sum(..), &x));
    println!("stable  value  {}", stable(&x));
    let slope = grad(|x: &Tensor| stable(x).sum(..), &x);
    println!("        slope  {slope}");

    // Checked against central differences.
    let h = 1e-2;
    let numeric = (stable(&(&x + h)) - stable(&(&x - h))) / (2.0 * h);
    let error: f32 = (slope - numeric).abs().max(..).item()?;
    println!("largest difference from central differences: {error:.1e}");
    assert!(error < 1e-2);
    Ok(())
}
