//! The picture: four panels of orbits and one of the masses, drawn with smooth lines and written as a PNG.

use crate::png;
use lazuli::Result;
use std::path::Path;

/// What there is to show.
pub struct Run<'a> {
    pub nights: usize,
    pub steps: usize,
    /// `[nights, steps, 3, 2]`.
    pub seen: &'a [f32],
    pub guessed: &'a [f32],
    pub fitted: &'a [f32],
    /// The masses after each iteration.
    pub history: &'a [Vec<f32>],
    pub truth: &'a [f32],
}

type Rgb = [f32; 3];

/// One for each body.
const COLOURS: [Rgb; 3] = [[1.0, 0.78, 0.30], [0.35, 0.72, 1.0], [1.0, 0.42, 0.55]];
const BACKGROUND: Rgb = [0.035, 0.045, 0.075];
const PANEL: Rgb = [0.065, 0.08, 0.125];
const FRAME: Rgb = [0.16, 0.19, 0.27];
const GREY: Rgb = [0.62, 0.66, 0.75];

const SIDE: usize = 420;
const GAP: usize = 18;
const WIDE: usize = 520;

struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Rgb>,
}

/// A part of the canvas with axes of its own: x from `x.0` to `x.1`, y upwards.
struct Panel {
    left: f32,
    top: f32,
    width: f32,
    height: f32,
    x: (f32, f32),
    y: (f32, f32),
}

impl Panel {
    fn at(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        [self.left + (x - self.x.0) / (self.x.1 - self.x.0) * self.width, self.top + (self.y.1 - y) / (self.y.1 - self.y.0) * self.height]
    }
}

impl Canvas {
    /// Mixes `colour` in where `cover` (of the position of a pixel's middle) says so, inside of a box.
    fn paint(&mut self, from: [f32; 2], to: [f32; 2], colour: Rgb, cover: impl Fn(f32, f32) -> f32) {
        let clip = |v: f32, n: usize| v.clamp(0.0, n as f32) as usize;
        for j in clip(from[1].floor(), self.height)..clip(to[1].ceil(), self.height) {
            for i in clip(from[0].floor(), self.width)..clip(to[0].ceil(), self.width) {
                let c = cover(i as f32 + 0.5, j as f32 + 0.5).clamp(0.0, 1.0);
                let pixel = &mut self.pixels[j * self.width + i];
                for (p, q) in pixel.iter_mut().zip(colour) {
                    *p += (q - *p) * c;
                }
            }
        }
    }

    /// A line through points. Each pixel is covered once, however many segments come near it.
    fn line(&mut self, panel: &Panel, points: &[[f32; 2]], radius: f32, colour: Rgb, opacity: f32) {
        let points: Vec<[f32; 2]> = points.iter().map(|&p| panel.at(p)).collect();
        let mut cover = vec![0f32; self.width * self.height];
        for pair in points.windows(2) {
            let ([ax, ay], [bx, by]) = (pair[0], pair[1]);
            let (dx, dy) = (bx - ax, by - ay);
            let r = radius + 1.0;
            let clip = |v: f32, n: usize| v.clamp(0.0, n as f32) as usize;
            for j in clip((ay.min(by) - r).floor(), self.height)..clip((ay.max(by) + r).ceil(), self.height) {
                for i in clip((ax.min(bx) - r).floor(), self.width)..clip((ax.max(bx) + r).ceil(), self.width) {
                    let (x, y) = (i as f32 + 0.5 - ax, j as f32 + 0.5 - ay);
                    let t = ((x * dx + y * dy) / (dx * dx + dy * dy).max(1e-12)).clamp(0.0, 1.0);
                    let c = (radius + 0.5 - (x - t * dx).hypot(y - t * dy)).clamp(0.0, 1.0);
                    let old = &mut cover[j * self.width + i];
                    *old = old.max(c);
                }
            }
        }
        let (x0, y0) = (panel.left, panel.top);
        let width = self.width;
        self.paint([x0, y0], [x0 + panel.width, y0 + panel.height], colour, |x, y| opacity * cover[y as usize * width + x as usize]);
    }

    fn dot(&mut self, panel: &Panel, at: [f32; 2], radius: f32, colour: Rgb, opacity: f32) {
        let [x, y] = panel.at(at);
        let r = radius + 1.0;
        self.paint([x - r, y - r], [x + r, y + r], colour, |i, j| opacity * (radius + 0.5 - (i - x).hypot(j - y)));
    }

    /// A soft light.
    fn glow(&mut self, panel: &Panel, at: [f32; 2], radius: f32, colour: Rgb) {
        let [x, y] = panel.at(at);
        self.paint([x - radius, y - radius], [x + radius, y + radius], colour, |i, j| {
            0.4 * (1.0 - (i - x).hypot(j - y) / radius).max(0.0).powi(2)
        });
    }

    fn frame(&mut self, panel: &Panel) {
        let (l, t, r, b) = (panel.left, panel.top, panel.left + panel.width, panel.top + panel.height);
        self.paint([l - 1.0, t - 1.0], [r + 1.0, b + 1.0], FRAME, |_, _| 1.0);
        self.paint([l, t], [r, b], PANEL, |_, _| 1.0);
    }
}

/// Draws and writes the picture.
pub fn write(path: &Path, run: &Run) -> Result<()> {
    let (width, height) = (GAP * 4 + SIDE * 2 + WIDE, GAP * 3 + SIDE * 2);
    let mut canvas = Canvas { width, height, pixels: vec![BACKGROUND; width * height] };
    let reach = run.seen.iter().fold(0f32, |m, x| m.max(x.abs())) * 1.06;
    let track = |data: &[f32], night: usize, body: usize| -> Vec<[f32; 2]> {
        (0..run.steps).map(|t| ((night * run.steps + t) * COLOURS.len() + body) * 2).map(|i| [data[i], data[i + 1]]).collect()
    };
    for night in 0..run.nights {
        let place = |n: usize| (GAP + n * (GAP + SIDE)) as f32;
        let panel = Panel {
            left: place(night % 2),
            top: place(night / 2),
            width: SIDE as f32,
            height: SIDE as f32,
            x: (-reach, reach),
            y: (-reach, reach),
        };
        canvas.frame(&panel);
        for (body, &colour) in COLOURS.iter().enumerate() {
            canvas.line(&panel, &track(run.guessed, night, body), 0.5, colour, 0.35);
        }
        for body in 0..COLOURS.len() {
            for p in track(run.seen, night, body).iter().step_by(12) {
                canvas.dot(&panel, *p, 2.6, GREY, 0.75);
            }
        }
        for (body, &colour) in COLOURS.iter().enumerate() {
            let fit = track(run.fitted, night, body);
            canvas.line(&panel, &fit, 1.0, colour, 1.0);
            let (end, size) = (fit[run.steps - 1], 4.0 + 3.5 * run.truth[body].cbrt());
            canvas.glow(&panel, end, size * 4.0, colour);
            canvas.dot(&panel, end, size, colour, 1.0);
        }
    }
    let top = run.truth.iter().chain(run.history.iter().flatten()).fold(0f32, |m, &x| m.max(x)) * 1.1;
    let panel = Panel {
        left: (GAP * 3 + SIDE * 2) as f32,
        top: GAP as f32,
        width: WIDE as f32,
        height: (height - 2 * GAP) as f32,
        x: (-0.02 * run.history.len() as f32, run.history.len() as f32 * 1.02),
        y: (0.0, top),
    };
    canvas.frame(&panel);
    let end = run.history.len() as f32;
    for unit in 1..top.ceil() as usize {
        canvas.line(&panel, &[[panel.x.0, unit as f32], [panel.x.1, unit as f32]], 0.1, FRAME, 1.0);
    }
    for (body, &colour) in COLOURS.iter().enumerate() {
        for dash in 0..40 {
            let x = |n: f32| end * n / 40.0;
            let y = run.truth[body];
            canvas.line(&panel, &[[x(dash as f32), y], [x(dash as f32 + 0.5), y]], 0.5, GREY, 0.8);
        }
        let way: Vec<[f32; 2]> = run.history.iter().enumerate().map(|(i, m)| [i as f32, m[body]]).collect();
        canvas.line(&panel, &way, 1.4, colour, 1.0);
        let last = way[way.len() - 1];
        canvas.glow(&panel, last, 24.0, colour);
        canvas.dot(&panel, last, 5.0, colour, 1.0);
    }
    let rgb: Vec<u8> = canvas.pixels.iter().flatten().map(|c| (c.clamp(0.0, 1.0) * 255.0).round() as u8).collect();
    png::write(path, canvas.width, &rgb)
}
