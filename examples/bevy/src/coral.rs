//! The tensor program: a coral that grows on a torus.
//!
//! Two substances spread over the surface; one feeds the other (P. Gray and S. K. Scott, 1984; the patterns: J. E. Pearson, "Complex patterns
//! in a simple system", Science, 1993).

use lazuli::prelude::*;
use lazuli::{PadMode, fori_loop};
use std::f32::consts::TAU;

/// Cells along the ring and around its tube.
pub const SIZE: [usize; 2] = [384, 192];
/// Radii of the ring and of its tube.
pub const RADII: [f32; 2] = [1.0, 0.42];
/// How far the coral stands out.
const RELIEF: f32 = 0.05;
const SEEDS: usize = 15;
/// Rounds of the reaction in a frame.
const ROUNDS: usize = 20;

/// What the pointer does: at a place (0 to 1 along the ring and around the tube) coral is planted, or less than none taken away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Brush {
    pub at: [f32; 2],
    pub plants: f32,
}

pub struct Coral {
    /// The substance that is eaten, and the one that eats: [`SIZE`].
    pub food: Tensor,
    pub coral: Tensor,
}

/// The angles of the cells, along the ring `[n, 1]` and around the tube `[1, n]`.
fn angles([n, m]: [usize; 2]) -> [Tensor; 2] {
    [(n, SIZE[0], [n, 1]), (m, SIZE[1], [1, m])]
        .map(|(n, all, shape)| Tensor::arange(n as i64).cast(DType::F32).reshape(shape) * (TAU / all as f32))
}

/// What lies so many cells further.
fn beside(f: &Tensor, axis: isize, by: isize) -> Tensor {
    f.roll(&[-by], axis)
}

impl Coral {
    /// A few seeds.
    pub fn new(dev: &Device) -> Coral {
        // Sown on the processor: what is uploaded needs no program on the device.
        let sown = Device::cpu().scope(|| {
            let bare = Coral { food: Tensor::ones(SIZE), coral: Tensor::zeros(SIZE) };
            (0..SEEDS).fold(bare, |c, k| {
                let at = [(k as f32 * 0.618).fract(), k as f32 / SEEDS as f32];
                c.brushed(Brush { at, plants: 0.6 })
            })
        });
        Coral { food: sown.food.to_device(dev), coral: sown.coral.to_device(dev) }
    }

    fn brushed(&self, brush: Brush) -> Coral {
        let [along, around] = angles(SIZE);
        let [ring, tube] = RADII;
        let (a, b) = ((along - brush.at[0] * TAU).cos(), (around - brush.at[1] * TAU).cos());
        // The square of the distance.
        let far = (1.0 - a) * (2.0 * ring * ring) + (1.0 - b) * (2.0 * tube * tube);
        let near = (far * -160.0).exp() * brush.plants;
        Coral { food: self.food.clone(), coral: (&self.coral + near).clamp(0.0, 1.0) }
    }

    /// A frame later. The brush's numbers are parameters: every frame is the same program.
    pub fn grown(&self, brush: Brush) -> Coral {
        let [along, around] = angles(SIZE);
        let [ring, tube] = RADII;
        // The Laplacian of a torus, in cells around the tube: cells along the ring are longer outside than inside.
        let radius = around.cos() * tube + ring;
        let stretch = (tube * SIZE[0] as f32 / SIZE[1] as f32 / &radius).square();
        let slope = around.sin() / radius * (tube * TAU / SIZE[1] as f32 / 2.0);
        let spread = |f: &Tensor| {
            let sum = |axis| beside(f, axis, 1) + beside(f, axis, -1) - f * 2.0;
            sum(0) * &stretch + sum(1) - (beside(f, 1, 1) - beside(f, 1, -1)) * &slope
        };
        // Spots on one side of the ring, ridges on the other.
        let dies = along.cos() * 0.0026 + 0.0620;
        let Coral { food, coral } = self.brushed(brush);
        let (food, coral) = fori_loop(0..ROUNDS, (food, coral), |_, (food, coral): (Tensor, Tensor)| {
            let eaten = &food * &coral * &coral;
            let next = &food + spread(&food) * 0.13 - &eaten + (1.0 - &food) * 0.04;
            (next, &coral + spread(&coral) * 0.065 + eaten - &coral * (&dies + 0.04))
        });
        Coral { food, coral }
    }

    /// Height, 0 to about 1.
    fn height(&self) -> Tensor {
        let x = (&self.coral * 2.4).clamp(0.0, 1.0);
        &x * &x * (3.0 - &x * 2.0)
    }

    /// The surface, `[(n + 1) (m + 1), 8]`: place, normal, and place in the picture. The first row and column are there again as the last.
    pub fn surface(&self) -> Tensor {
        let [along, around] = angles(SIZE);
        let [ring, tube] = RADII;
        let tube = self.height() * RELIEF + tube;
        let from_axis = &tube * around.cos() + ring;
        let place = [&from_axis * along.cos(), tube * around.sin(), from_axis * along.sin()];
        let change = |axis| place.each_ref().map(|p| beside(p, axis, 1) - beside(p, axis, -1));
        let (a, b) = (change(1), change(0));
        let across = [0, 1, 2].map(|k| &a[(k + 1) % 3] * &b[(k + 2) % 3] - &a[(k + 2) % 3] * &b[(k + 1) % 3]);
        let length = (across[0].square() + across[1].square() + across[2].square()).sqrt();
        let [x, y, z] = place;
        let [p, q, r] = across.map(|n| n / &length);
        let closed = Tensor::stack(&[x, y, z, p, q, r], -1).pad_with(&[(0, 1), (0, 1), (0, 0)], PadMode::Circular);
        let [n, m] = SIZE.map(|n| n + 1);
        let uv = angles([n, m]).map(|a| (a / TAU).broadcast_to([n, m]));
        Tensor::cat(&[closed, Tensor::stack(&uv, -1)], -1).reshape([n * m, 8])
    }

    /// Its colours, `[m, n, 3]`, linear light: rows around the tube.
    pub fn colours(&self) -> Tensor {
        let height = self.height().transpose(0, 1);
        let food = self.food.transpose(0, 1).clamp(0.0, 1.0);
        let (flesh, tips) = ((&height * 1.6).clamp(0.0, 1.0), (&height * 2.0 - 1.0).clamp(0.0, 1.0));
        // Of water, flesh and tips, one channel each.
        let channels = [[0.01, 0.9, 1.0], [0.05, 0.10, 0.55], [0.11, 0.05, 0.25]].map(|[water, red, light]| {
            let below = &food * water;
            let coral = &below + (red - &below) * &flesh;
            &coral + (light - &coral) * &tips
        });
        Tensor::stack(&channels, -1)
    }
}
