//! Programs that are not networks.

use super::data::{randn, uniform};
use super::{Case, Produced};
use crate::{Tensor, fori_loop};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("nbody", "4096 bodies, all pairs, one step of positions and velocities", 336e6, 0.0, || {
            let [px, py, pz, vx, vy, vz] = [0, 1, 2, 3, 4, 5].map(|seed| randn([4096], seed, 1.0));
            let m = uniform(4096, 9, 1.0 / 4096.0);
            Ok(Box::new(move || {
                let [dx, dy, dz] = [&px, &py, &pz].map(|p| p.unsqueeze(0) - p.unsqueeze(1));
                let r = (&dx * &dx + &dy * &dy + &dz * &dz + 1e-2).rsqrt();
                let w = &m * (&r * &r * &r);
                let step = |v: &Tensor, d: &Tensor| v + (d * &w).sum(1) * 0.01;
                let (vx, vy, vz) = (step(&vx, &dx), step(&vy, &dy), step(&vz, &dz));
                Produced::of([&px + &vx * 0.01, &py + &vy * 0.01, &pz + &vz * 0.01, vx, vy, vz])
            }))
        }),
        Case::new("mandelbrot", "1024x1024, 200 iterations, all run; the count of each point", 2100e6, 0.0, || {
            let (cx, cy) = plane();
            Ok(Box::new(move || {
                let zero = cx.zeros_like();
                let mut state = (zero.clone(), zero.clone(), zero);
                for _ in 0..200 {
                    state = point_step(state, &cx, &cy);
                }
                Produced::of([state.2])
            }))
        }),
        Case::new("mandelbrot_loop", "as mandelbrot, one `fori_loop` in the trace", 2100e6, 0.0, || {
            let (cx, cy) = plane();
            Ok(Box::new(move || {
                let zero = cx.zeros_like();
                let (_, _, count) = fori_loop(0..200, (zero.clone(), zero.clone(), zero), |_, s| point_step(s, &cx, &cy));
                Produced::of([count])
            }))
        }),
    ]
}

/// Real and imaginary part of each point.
fn plane() -> (Tensor, Tensor) {
    let grid = |lo: f32, hi: f32| (0..1024).map(move |i| lo + (hi - lo) * i as f32 / 1023.0);
    let cx = Tensor::from_vec((0..1024).flat_map(|_| grid(-2.0, 0.5)).collect(), [1024, 1024]);
    let cy = Tensor::from_vec(grid(-1.25, 1.25).flat_map(|y| std::iter::repeat_n(y, 1024)).collect(), [1024, 1024]);
    (cx, cy)
}

/// z becomes z^2 + c where it has not escaped, and is counted.
fn point_step((zx, zy, count): (Tensor, Tensor, Tensor), cx: &Tensor, cy: &Tensor) -> (Tensor, Tensor, Tensor) {
    let alive = (&zx * &zx + &zy * &zy).le(4.0);
    let x = Tensor::where_(&alive, &zx * &zx - &zy * &zy + cx, &zx);
    let y = Tensor::where_(&alive, &zx * 2.0 * &zy + cy, &zy);
    (x, y, count + &alive)
}
