//! Plans in files: what the next process need not do again.

use super::{is_alone, process};
use lazuli::prelude::*;
use lazuli::stats;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The process whose plans are kept: programs of several kinds, and what came of them.
const PROGRAMS: &str = concat!(module_path!(), "::programs");

fn data(shape: &[usize], seed: u64) -> Tensor {
    Tensor::from_vec(crate::rng::Rng(seed).floats(shape.iter().product(), -1.0, 1.0), shape)
}

/// Kernels of every kind, parameters, donated inputs, gradients, a branch, loops with and without a condition.
fn results() -> Vec<f32> {
    let mut out = Vec::new();
    let mut take = |t: Tensor| out.extend(t.cast(DType::F32).to_vec::<f32>().unwrap());
    let x = data(&[40, 24], 1);
    for factor in [1.5, 2.5] {
        take((0..6).fold(x.clone(), |y, k| (y * factor + k as f32).sin().softmax(1)));
    }
    let mut w = (data(&[24, 16], 2), data(&[16, 8], 3));
    for _ in 0..3 {
        let loss = |w: &(Tensor, Tensor)| -(x.matmul(&w.0).tanh().matmul(&w.1).log_softmax(1).cumsum(0) * 0.1).mean(..);
        let (value, gradients) = value_and_grad(loss, &w);
        w = (&w.0 - gradients.0 * 0.05, &w.1 - gradients.1 * 0.05);
        take(value);
    }
    take(w.0.sort(0).0.index_select(1, &Tensor::from_vec(vec![3i64, 1, 1], [3])));
    let spiral = |y: Tensor| (0..5).fold(y, |y, k| (&y * 0.9 + (k as f32 * &y).cos()).relu() + 0.1);
    take(cond(&x.sum(..).gt(0.0), |x: &Tensor| spiral(x.clone()) * 2.0, |x: &Tensor| spiral(x.clone()) - 1.0, &x));
    take(fori_loop(0..7, x.slice(s![0..3, ..]), |_, y| spiral(y)));
    take(while_loop(x.slice(s![3..5, ..]), |y| y.sum(..).lt(500.0), |y| &y * 1.3 + spiral(y).sigmoid(), None));
    out
}

#[test]
fn programs() {
    if !is_alone(PROGRAMS) {
        return;
    }
    let values = results();
    let sum = values.iter().fold(0u64, |h, v| h.rotate_left(5) ^ u64::from(v.to_bits()));
    assert!(values.iter().all(|v| v.is_finite()));
    let s = stats();
    println!("{} values {sum:016x}; {} made, {} read.", values.len(), s.plan_misses - s.plan_reads, s.plan_reads);
    let _ = Device::current().synchronize();
}

/// A folder that is gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let dir = std::env::temp_dir().join(format!("lazuli-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        Folder(dir)
    }

    fn files(&self) -> Vec<PathBuf> {
        let all = std::fs::read_dir(self.0.join("plans"));
        all.map(|all| all.map(|e| e.unwrap().path()).collect()).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The values of a process, and how many plans it made and read.
fn run(device: &str, dir: &Path) -> (String, usize, usize) {
    let text = process(PROGRAMS, &[("LAZULI_DEVICE", OsStr::new(device)), ("LAZULI_CACHE_DIR", dir.as_os_str())]);
    let line = text.lines().find_map(|l| l.split_once(" values ").map(|_| l)).expect("the process says what it did");
    let (values, plans) = line.split_once("; ").unwrap();
    let mut numbers = plans.split(' ').filter_map(|w| w.parse().ok());
    let values = values.trim_start_matches("test serial::restart::programs ... ").to_string();
    (values, numbers.next().unwrap(), numbers.next().unwrap())
}

/// On that device: a second process compiles nothing that the first has compiled, unless the files are spoiled.
pub fn restart(device: &str) {
    let dir = Folder::new(&format!("restart-{device}"));
    let (values, made, read) = run(device, &dir.0);
    assert_eq!(read, 0);
    let files = dir.files();
    assert!(files.len() > 5, "{files:?}");
    let again = |expected: (usize, usize)| assert_eq!(run(device, &dir.0), (values.clone(), expected.0, expected.1));
    // Programs of a few ops are not worth a file.
    again((made - files.len(), files.len()));
    for (n, file) in files.iter().enumerate() {
        let mut bytes = std::fs::read(file).unwrap();
        if n % 2 == 0 {
            bytes.truncate(bytes.len() * 2 / 3);
        } else {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
        }
        std::fs::write(file, bytes).unwrap();
    }
    again((made, 0));
    again((made - files.len(), files.len()));
    assert_eq!(dir.files().len(), files.len());
    // Nowhere to keep them: a file is in the way.
    std::fs::remove_dir_all(&dir.0).unwrap();
    std::fs::write(&dir.0, "in the way").unwrap();
    again((made, 0));
    std::fs::remove_file(&dir.0).unwrap();
    // Two at once.
    let both = std::thread::scope(|s| [0; 2].map(|_| s.spawn(|| run(device, &dir.0))).map(|t| t.join().unwrap()));
    assert!(both.iter().all(|b| b.0 == values), "{both:?}");
    again((made - files.len(), files.len()));
    // Set to nothing: no files.
    let none = run(device, Path::new(""));
    assert_eq!(none, (values.clone(), made, 0));
}

#[test]
fn a_second_process_compiles_nothing() {
    restart("cpu");
}
