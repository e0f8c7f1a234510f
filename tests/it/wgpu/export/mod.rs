//! Programs exported as kernels: what is written reads back, and runs as the engine does for whoever knows the files only.

#[path = "../../../../examples/common/npy.rs"]
mod npy;
mod programs;
mod refusals;
mod replayer;
mod reread;

use lazuli::prelude::*;
use lazuli::{Program, Target};
use programs::Case;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

const RUNNER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/export/run.py");

const TARGETS: [Target; 5] = [Target::Wgsl, Target::Spirv, Target::Msl, Target::Hlsl, Target::Glsl];

/// A folder that goes when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("lazuli-export-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a folder");
        Folder(path)
    }

    /// The program in it.
    fn export(&self, p: &Program, target: Target) -> PathBuf {
        let dir = self.0.join(format!("{target:?}"));
        p.export_kernels(&dir, target).unwrap_or_else(|e| panic!("{target:?}: {e}"));
        dir
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn manifest(dir: &Path) -> Value {
    let text = std::fs::read_to_string(dir.join("manifest.json")).expect("a manifest");
    serde_json::from_str(&text).expect("the manifest is JSON")
}

fn list(v: &Value) -> &[Value] {
    v.as_array().unwrap_or_else(|| panic!("a list, not {v}"))
}

fn int(v: &Value) -> usize {
    v.as_u64().unwrap_or_else(|| panic!("a number, not {v}")) as usize
}

fn text(v: &Value) -> &str {
    v.as_str().unwrap_or_else(|| panic!("a text, not {v}"))
}

/// Both as numbers; halves are compared by value.
fn numbers(t: &Tensor) -> Vec<f64> {
    match t.dtype() {
        DType::I64 => t.to_vec::<i64>().expect("values").into_iter().map(|x| x as f64).collect(),
        _ => t.cast(DType::F64).to_vec::<f64>().expect("values"),
    }
}

fn close(case: &str, got: &[Tensor], want: &[Tensor]) {
    assert_eq!(got.len(), want.len(), "{case}");
    for (n, (g, w)) in got.iter().zip(want).enumerate() {
        assert_eq!((g.dtype(), g.shape()), (w.dtype(), w.shape()), "{case}: result {n}");
        for (at, (a, b)) in numbers(g).into_iter().zip(numbers(w)).enumerate() {
            let near = (a - b).abs() <= 1e-5 + 1e-4 * b.abs();
            assert!(near || a == b || a.is_nan() && b.is_nan(), "{case}: result {n} at {at}: {a}, not {b}");
        }
    }
}

#[test]
fn every_target_of_every_program_is_written_and_reads_back() {
    let folder = Folder::new();
    for case in programs::all() {
        for target in TARGETS {
            let dir = folder.export(&case.program, target);
            reread::check(&case, target, &dir);
        }
    }
}

#[test]
fn a_replayer_that_knows_the_manifest_only_computes_what_the_engine_does() {
    let Some(replayer) = replayer::Replayer::open() else { return };
    let folder = Folder::new();
    for case in programs::all() {
        let dir = folder.export(&case.program, Target::Wgsl);
        let got = replayer.run(&dir, &case.arguments);
        close(case.name, &got, &case.program.run(&case.arguments).expect("the engine runs it"));
    }
}

#[test]
fn a_replayer_draws_both_ways_of_a_branch() {
    let Some(replayer) = replayer::Replayer::open() else { return };
    let (folder, case) = (Folder::new(), programs::branch());
    let dir = folder.export(&case.program, Target::Wgsl);
    assert!(list(&manifest(&dir)["steps"]).iter().any(|s| s.get("indirect").is_some()), "a branch is launched by what a buffer says");
    for sign in [1.0, -1.0] {
        let x = &case.arguments[0] * sign;
        close(case.name, &replayer.run(&dir, std::slice::from_ref(&x)), &case.program.run(&[&x]).expect("the engine runs it"));
    }
}

#[test]
fn the_runner_outside_computes_what_the_engine_does() {
    let Ok(python) = std::env::var("LAZULI_RUNNER_PYTHON") else {
        println!("skipped: LAZULI_RUNNER_PYTHON names no python with the packages wgpu and numpy");
        return;
    };
    let folder = Folder::new();
    let cases = programs::all().into_iter().chain([programs::trained()]);
    for (case, target) in cases.flat_map(|c| [(c.clone(), Target::Wgsl), (c, Target::Spirv)]) {
        let dir = folder.export(&case.program, target);
        let path = |name: &str| folder.0.join(format!("{name}.npy"));
        let mut command = Command::new(&python);
        command.arg(RUNNER).arg(&dir).args(["--tolerance", "1e-4"]);
        for ((name, _), t) in case.program.inputs().into_iter().zip(&case.arguments) {
            npy::write(&path(name), t).expect("an argument in a file");
            command.arg("--input").arg(format!("{name}={}", path(name).display()));
        }
        for (n, t) in case.program.run(&case.arguments).expect("the engine runs it").iter().enumerate() {
            let file = path(&format!("expected{n}"));
            npy::write(&file, t).expect("a result in a file");
            command.arg("--expect").arg(file);
        }
        let out = command.output().expect("python starts");
        let said = [out.stdout, out.stderr].map(|b| String::from_utf8_lossy(&b).into_owned()).concat();
        assert!(out.status.success(), "{} as {target:?}: {said}", case.name);
    }
    // It notices what is wrong.
    let (case, wrong) = (programs::trained(), folder.0.join("wrong.npy"));
    let scores = &case.program.run(&case.arguments).expect("the engine runs it")[0];
    npy::write(&wrong, &(scores + 1e-3)).expect("a result in a file");
    let run = |tolerance: &str| {
        let mut command = Command::new(&python);
        command.arg(RUNNER).arg(folder.0.join("Wgsl")).arg("--input").arg(format!("x0={}", folder.0.join("x0.npy").display()));
        command.arg("--expect").arg(&wrong).args(["--tolerance", tolerance]).status().expect("python starts").success()
    };
    assert!(run("1e-2") && !run("1e-4"), "what is 0.001 off is right within 0.01 and wrong within 0.0001");
}
