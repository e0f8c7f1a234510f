//! What the terminal shows. Where the output is no terminal nothing is drawn over, so that logs stay readable.

use lazuli::data::Dataset;
use lazuli::{Result, Stats};
use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

/// Prints a line. If whoever read the output has gone (`| head`), so does the program.
pub fn line(text: std::fmt::Arguments<'_>) {
    if writeln!(stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// [`line`], as `println!`.
macro_rules! say {
    () => { $crate::show::line(format_args!("")) };
    ($($t:tt)*) => { $crate::show::line(format_args!($($t)*)) };
}
pub(crate) use say;

/// The line of the epoch under way, then the epoch's row.
pub struct Progress {
    epoch: u64,
    batches: usize,
    done: usize,
    start: Instant,
    drawn: Option<Instant>,
    live: bool,
}

impl Progress {
    pub fn new(epoch: u64, batches: usize) -> Progress {
        if epoch == 1 {
            say!("epoch   train loss   test accuracy     images/s");
        }
        Progress { epoch, batches, done: 0, start: Instant::now(), drawn: None, live: stdout().is_terminal() }
    }

    /// After every batch.
    pub fn show(&mut self, images: usize, loss: f64) {
        self.done += 1;
        let recent = self.drawn.is_some_and(|t| t.elapsed() < Duration::from_millis(50));
        if !self.live || recent && self.done < self.batches {
            return;
        }
        self.drawn = Some(Instant::now());
        const WIDTH: usize = 30;
        let filled = self.done * WIDTH / self.batches;
        let bar = "━".repeat(filled) + &"─".repeat(WIDTH - filled);
        let speed = images as f64 / self.start.elapsed().as_secs_f64();
        print!("\r{:5}   {loss:10.4}   {bar} {:3} %  {speed:.0} images/s ", self.epoch, 100 * self.done / self.batches);
        // A terminal that went away is noticed by the next line.
        let _ = stdout().flush();
    }

    /// After the epoch and its test.
    pub fn finish(self, loss: f64, accuracy: f64, speed: f64) {
        if self.live {
            print!("\r\x1b[K");
        }
        say!("{:5}   {loss:10.4}   {:11.2} %   {:>10}", self.epoch, 100.0 * accuracy, grouped(speed));
    }
}

/// Counts what the engine did.
pub struct Report {
    steps: u64,
    last: Option<(u64, u64)>,
    start: Instant,
}

impl Report {
    pub fn new() -> Report {
        Report { steps: 0, last: None, start: Instant::now() }
    }

    /// The engine's counters before and after one step.
    pub fn step(&mut self, before: &Stats, after: &Stats) {
        self.steps += 1;
        self.last = Some((after.launches - before.launches, after.compiles - before.compiles));
    }

    pub fn print(&self) {
        let now = lazuli::stats();
        say!("steps   {} in {:.1} s, tests included", self.steps, self.start.elapsed().as_secs_f64());
        if let Some((kernels, compiles)) = self.last {
            say!("engine  {kernels} kernels per step; {} compiled in all, {compiles} of them in the last step", now.compiles);
        }
        say!("plans   {} reused, {} made", now.plan_hits, now.plan_misses);
        say!("memory  {:.1} MB at the peak", now.bytes_peak as f64 / 1e6);
    }
}

/// `12345.6` as `12,346`.
fn grouped(x: f64) -> String {
    let digits = format!("{x:.0}");
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// How often each class was taken for which.
pub fn confusion(guess: &[i64], truth: &[i64], classes: usize) {
    let mut table = vec![vec![0; classes]; classes];
    for (&g, &t) in guess.iter().zip(truth) {
        table[t as usize][g as usize] += 1;
    }
    say!("\nrows: what it is; columns: what it was read as (. is 0)");
    let head: String = (0..classes).map(|c| format!("{c:5}")).collect();
    say!("     {head}   right");
    for (t, row) in table.iter().enumerate() {
        let cells: String = row.iter().map(|&n| if n == 0 { "    .".into() } else { format!("{n:5}") }).collect();
        let all: usize = row.iter().sum();
        say!("{t:5}{cells}   {:3.0} %", 100.0 * row[t] as f64 / all.max(1) as f64);
    }
}

/// Draws the first few images that were misread, side by side.
pub fn misread(data: &Dataset, guess: &[i64], truth: &[i64]) -> Result<()> {
    let wrong: Vec<usize> = (0..truth.len()).filter(|&i| guess[i] != truth[i]).take(3).collect();
    if wrong.is_empty() {
        say!("\nall test images were read correctly");
        return Ok(());
    }
    let images = data.get(&wrong)?.0;
    let (height, width) = (images.shape()[1], images.shape()[2]);
    let pixels: Vec<f32> = images.to_vec()?;
    let captions: String = wrong.iter().map(|&i| format!("{:width$}  ", format!("a {} read as {}", truth[i], guess[i]))).collect();
    say!("\n{}", captions.trim_end());
    // Two rows of pixels to a line of text, which is about twice as high as wide.
    for row in (0..height).step_by(2) {
        let mut line = String::new();
        for image in pixels.chunks_exact(height * width) {
            let dark = |r: usize, c: usize| r < height && image[r * width + c] > 0.4;
            line.extend((0..width).map(|c| match (dark(row, c), dark(row + 1, c)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            }));
            line.push_str("  ");
        }
        say!("{}", line.trim_end());
    }
    Ok(())
}
