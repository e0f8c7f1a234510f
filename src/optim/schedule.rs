//! Learning rates over time.

use std::f64::consts::PI;

/// A learning rate for every step, counted from 0. Numbers only: give them to an optimiser with its `set_lr`.
///
/// ```
/// use lazuli::optim::Schedule;
/// let lr = Schedule::cosine(1e-3, 100).warmup(10);
/// assert_eq!(lr.at(4), 0.5e-3);
/// assert_eq!(lr.at(10), 1e-3);
/// assert!(lr.at(110) < 1e-12);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    shape: Shape,
    warmup: usize,
    floor: f64,
}

#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Constant(f64),
    Step { start: f64, every: usize, factor: f64 },
    Cosine { start: f64, steps: usize },
    OneCycle { peak: f64, steps: usize, rise: f64, start: f64, end: f64 },
}

impl Schedule {
    fn new(shape: Shape) -> Schedule {
        Schedule { shape, warmup: 0, floor: 0.0 }
    }

    /// Always `lr`.
    pub fn constant(lr: f64) -> Schedule {
        Schedule::new(Shape::Constant(lr))
    }

    /// `start`, multiplied by `factor` after every `every` steps (PyTorch's `StepLR`).
    pub fn step(start: f64, every: usize, factor: f64) -> Schedule {
        Schedule::new(Shape::Step { start, every: every.max(1), factor })
    }

    /// From `start` down half a cosine to the [`floor`](Schedule::floor) at `steps`, and there it stays (Loshchilov and Hutter,
    /// "SGDR", 2017).
    pub fn cosine(start: f64, steps: usize) -> Schedule {
        Schedule::new(Shape::Cosine { start, steps })
    }

    /// Up from `peak / 25` over the first 30 % of `steps`, then down to `peak / 250000`, both along a cosine (Smith and Topin,
    /// "Super-convergence", 2018; constants as PyTorch's `OneCycleLR`).
    pub fn one_cycle(peak: f64, steps: usize) -> Schedule {
        Schedule::new(Shape::OneCycle { peak, steps, rise: 0.3, start: peak / 25.0, end: peak / 25.0 / 1e4 })
    }

    /// Puts `steps` steps in front that climb linearly to where the schedule starts.
    pub fn warmup(mut self, steps: usize) -> Schedule {
        self.warmup = steps;
        self
    }

    /// The rate never falls below `lr`, except in a warm-up. A cosine ends there.
    pub fn floor(mut self, lr: f64) -> Schedule {
        self.floor = lr;
        self
    }

    /// The learning rate of step `step`.
    pub fn at(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.main(0) * (step + 1) as f64 / self.warmup as f64;
        }
        self.main(step - self.warmup)
    }

    fn main(&self, step: usize) -> f64 {
        /// From `a` to `b` along half a cosine as `x` goes from 0 to 1.
        fn arc(a: f64, b: f64, x: f64) -> f64 {
            b + (a - b) * 0.5 * (1.0 + (PI * x).cos())
        }
        let lr = match self.shape {
            Shape::Constant(lr) => lr,
            Shape::Step { start, every, factor } => start * factor.powf((step / every) as f64),
            Shape::Cosine { start, steps } if step < steps => arc(start, self.floor, step as f64 / steps as f64),
            Shape::Cosine { .. } => self.floor,
            Shape::OneCycle { peak, steps, rise, start, end } => {
                let top = rise * steps as f64 - 1.0;
                let last = steps as f64 - 1.0;
                let at = step as f64;
                if at >= last {
                    end
                } else if at <= top {
                    arc(start, peak, at / top)
                } else {
                    arc(peak, end, (at - top.max(0.0)) / (last - top.max(0.0)))
                }
            }
        };
        lr.max(self.floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() <= 1e-9 * b.abs().max(1e-9), "{a} is not {b}");
    }

    #[test]
    fn values() {
        close(Schedule::constant(0.1).at(1_000_000), 0.1);
        let s = Schedule::step(0.1, 30, 0.1);
        for (at, want) in [(0, 0.1), (29, 0.1), (30, 0.01), (60, 0.001)] {
            close(s.at(at), want);
        }
        let c = Schedule::cosine(1.0, 10).floor(0.1);
        for (at, want) in [(0, 1.0), (5, 0.55), (10, 0.1), (99, 0.1)] {
            close(c.at(at), want);
        }
        let w = Schedule::constant(1.0).warmup(4);
        for (at, want) in [(0, 0.25), (3, 1.0), (4, 1.0)] {
            close(w.at(at), want);
        }
    }

    /// `torch.optim.lr_scheduler.OneCycleLR(max_lr=0.1, total_steps=10)`: climbs over steps 0..=2, falls over 2..=9.
    #[test]
    fn one_cycle_as_pytorch() {
        let s = Schedule::one_cycle(0.1, 10);
        close(s.at(0), 0.004);
        close(s.at(1), 0.052);
        close(s.at(2), 0.1);
        close(s.at(9), 4e-7);
        close(s.at(100), 4e-7);
        let middle = 4e-7 + (0.1 - 4e-7) * 0.5 * (1.0 + (PI * 3.0 / 7.0).cos());
        close(s.at(5), middle);
        for steps in 0..8 {
            assert!((0..10).all(|i| Schedule::one_cycle(0.1, steps).at(i).is_finite()), "{steps} steps");
        }
    }
}
