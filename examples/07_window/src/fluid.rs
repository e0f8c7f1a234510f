//! The tensor program: a fluid that carries dye, stirred by a pointer.
//!
//! J. Stam, "Stable fluids", SIGGRAPH 1999: what is at a place came from where the current leads back to; then pressure takes away what
//! flows together.

use lazuli::prelude::*;
use lazuli::{GridMode, GridPadding, fori_loop};

/// The pointer: where it is (0 to 1, from the upper left corner), how it moves (cells a second), the dye it gives off (RGB a second).
#[derive(Clone, Copy, Debug, Default)]
pub struct Stir {
    pub at: [f32; 2],
    pub push: [f32; 2],
    pub dye: [f32; 3],
}

impl Stir {
    /// One that goes its own way, while nobody holds the pointer.
    pub fn by_itself(time: f32) -> Stir {
        let angle = time * 0.9;
        let at = [0.5 + 0.30 * angle.cos(), 0.5 + 0.28 * (1.7 * angle).sin()];
        let push = [-200.0 * angle.sin(), 260.0 * (1.7 * angle).cos()];
        Stir { at, push, dye: colour(time * 0.13).map(|c| c * 9.0) }
    }
}

/// A bright colour by its place on the circle of hues, 0 to 1.
pub fn colour(hue: f32) -> [f32; 3] {
    [0.0, 1.0, 2.0].map(|k| (0.5 + 0.5 * (std::f32::consts::TAU * (hue + k / 3.0)).cos()).powi(2))
}

pub struct Fluid {
    size: [usize; 2],
    /// `[2, h, w]`: cells a second to the right and down.
    pub speed: Tensor,
    /// `[3, h, w]`.
    pub dye: Tensor,
}

/// Rounds of pressure: each carries it one cell further.
const ROUNDS: usize = 24;

impl Fluid {
    /// At rest, of so many rows and columns.
    pub fn new(dev: &Device, [h, w]: [usize; 2]) -> Fluid {
        dev.scope(|| Fluid { size: [h, w], speed: Tensor::zeros([2, h, w]), dye: Tensor::zeros([3, h, w]) })
    }

    /// The numbers of the rows and of the columns, as far as they go.
    fn places(&self) -> [Tensor; 2] {
        let [h, w] = self.size;
        [(h, [h, 1]), (w, [1, w])].map(|(n, shape)| Tensor::arange(n as i64).cast(DType::F32).reshape(shape))
    }

    /// `what` as the current carries it on.
    fn carried(&self, what: &Tensor, dt: f32) -> Tensor {
        let [h, w] = self.size;
        let [rows, columns] = self.places();
        let back = |place: Tensor, axis: isize, n: usize| (place - self.speed.select(0, axis) * dt + 0.5) * (2.0 / n as f32) - 1.0;
        let from = Tensor::stack(&[back(columns, 0, w), back(rows, 1, h)], -1).unsqueeze(0);
        what.unsqueeze(0).grid_sample(&from, GridMode::Linear, GridPadding::Border, false).reshape(what.shape())
    }

    /// One frame. The pointer's numbers are parameters: every frame is the same program.
    pub fn step(&mut self, stir: &Stir, dt: f32) {
        let [h, w] = self.size;
        let [rows, columns] = self.places();
        let (dx, dy) = (&columns - stir.at[0] * w as f32, &rows - stir.at[1] * h as f32);
        let near = ((&dx * &dx + &dy * &dy) * (-420.0 / (h * h) as f32)).exp();
        let given = |what: &Tensor, amounts: &[f32]| {
            let parts: Vec<Tensor> = amounts.iter().enumerate().map(|(k, &a)| what.select(0, k as isize) + &near * a).collect();
            Tensor::stack(&parts, 0)
        };
        self.speed = given(&self.speed, &stir.push.map(|v| v * dt * 5.0));
        self.dye = given(&self.dye, &stir.dye.map(|v| v * dt));

        // Nothing flows through the walls.
        let inside = |place: &Tensor, n: usize| place.gt(0.5).logical_and(&place.lt(n as f32 - 1.5)).cast(DType::F32);
        let open = inside(&rows, h) * inside(&columns, w);
        let speed = self.carried(&self.speed, dt) * &open;
        let (u, v) = (speed.select(0, 0), speed.select(0, 1));
        let beside = |t: &Tensor, axis: isize, by: isize| t.roll(&[by], axis);
        let flows_in = (beside(&u, 1, -1) - beside(&u, 1, 1) + beside(&v, 0, -1) - beside(&v, 0, 1)) * 0.5;
        let pressure = fori_loop(0..ROUNDS, flows_in.zeros_like(), |_, p: Tensor| {
            (beside(&p, 1, -1) + beside(&p, 1, 1) + beside(&p, 0, -1) + beside(&p, 0, 1) - &flows_in) * 0.25
        });
        let slope = |axis: isize| (beside(&pressure, axis, -1) - beside(&pressure, axis, 1)) * 0.5;
        self.speed = (speed - Tensor::stack(&[slope(1), slope(0)], 0)) * &open * (1.0 - 0.15 * dt);
        self.dye = self.carried(&self.dye, dt) * (1.0 - 0.35 * dt);
    }

    /// `[h, w, 3]`, linear light.
    pub fn picture(&self) -> Tensor {
        (1.0 - (&self.dye * -1.4).exp()).permute([1, 2, 0])
    }
}
