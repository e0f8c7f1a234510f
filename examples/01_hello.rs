//! Record, print, differentiate.
use lazuli::prelude::*;

fn main() -> Result<()> {
    Device::from_args()?.set_default(); // --device cpu, wgpu or best
    let x = tensor![[1., 2.], [3., 4.]];
    let f = |x: &Tensor| (x.tanh() * 2.0 + x).sum(..); // recorded, computed when needed
    println!("x = {x}\nf(x) = {}", f(&x));
    println!("df/dx = {}", grad(f, &x)); // one kernel, formed from f's and its derivative's operations
    let w = Tensor::randn([2, 3]);
    println!("softmax(x @ w) = {}", x.matmul(&w).softmax(-1));
    Ok(())
}
