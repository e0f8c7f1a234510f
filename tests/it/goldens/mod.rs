//! Values and gradients of Tensor operations against PyTorch's, from files in the form of `tests/data/goldens/README.md`.
//!
//! `LAZULI_GOLDENS=DIR cargo test --test it goldens -- --nocapture` reads another directory; `LAZULI_GOLDENS_OP=NAME` takes one op or one
//! case id. Every op is printed with passed / failed / unsupported, gradients apart. The test fails if a case fails, or if something is
//! unsupported that [`ops::known_gap`] does not name.
//!
//! [`case`] reads the files, [`args`] hands a case's arguments to the dispatchers of [`ops`], [`compare`] holds the tolerances.

mod args;
mod case;
mod compare;
mod ops;

use args::Args;
use case::{Case, Files};
use lazuli::trace::interp::HostTensor;
use lazuli::{DType, Device, Tensor};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// What one check of a case came to.
enum Outcome {
    Passed,
    Failed(String),
    Unsupported(String),
    /// Random: its properties hold.
    Random,
    /// A dtype that is refused with an error, as [`ops::refuses`] says.
    Refused,
    /// Not what PyTorch has, for a reason that [`ops::DIFFERENCES`] gives.
    Differs(String),
}

#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
    unsupported: usize,
    differs: usize,
    random: usize,
    refused: usize,
}

impl Count {
    fn add(&mut self, o: &Outcome) {
        *match o {
            Outcome::Passed => &mut self.passed,
            Outcome::Failed(_) => &mut self.failed,
            Outcome::Unsupported(_) => &mut self.unsupported,
            Outcome::Differs(_) => &mut self.differs,
            Outcome::Random => &mut self.random,
            Outcome::Refused => &mut self.refused,
        } += 1;
    }

    fn show(&self) -> String {
        let apart = [(self.differs, "differ, see below"), (self.random, "random"), (self.refused, "refused")];
        let apart: String = apart.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(" ({n} {what})")).collect();
        format!("{:>4} passed {:>3} failed {:>3} unsupported{apart}", self.passed, self.failed, self.unsupported)
    }
}

/// A failure that is known, as what it is. A known difference that passes is none, and fails, so that the list stays true.
fn known(o: Outcome, case: &Case, files: &Files, what: &str) -> Outcome {
    // A type that the device has not.
    if let Outcome::Failed(e) = &o
        && Device::current().kind() == "wgpu"
        && e.contains("the wgpu device has no f64")
    {
        return Outcome::Refused;
    }
    let o = match (ops::difference(case, files, what), o) {
        (Some(why), Outcome::Failed(_)) => Outcome::Differs(why.to_string()),
        // Another directory may have the same inputs with other cotangents.
        (Some(_), Outcome::Passed) if std::env::var_os("LAZULI_GOLDENS").is_none() && Device::current() == Device::cpu() => {
            Outcome::Failed("passes, though it is listed as a difference".into())
        }
        (_, o) => o,
    };
    match o {
        Outcome::Failed(e) => {
            let why = ops::rounding(case, files, what).or_else(|| flushed(case, files));
            why.map_or(Outcome::Failed(e), |why| Outcome::Differs(why.to_string()))
        }
        o => o,
    }
}

/// Why a check of a case with subnormal inputs may fail on this device, if that flushes them.
fn flushed(case: &Case, files: &Files) -> Option<&'static str> {
    static FLUSHES: LazyLock<bool> = LazyLock::new(|| {
        let small = Tensor::from_vec(vec![f32::MIN_POSITIVE / 4.0], [1]);
        (small * 2.0).to_vec::<f32>().is_ok_and(|v| v == [0.0])
    });
    let prefix = format!("{}/in", case.id);
    let small = |t: &HostTensor| t.dtype == DType::F32 && t.scalars().any(|s| (s.as_f64() as f32).is_subnormal());
    let any = files.host.iter().any(|(k, t)| k.starts_with(&prefix) && small(t));
    (any && *FLUSHES).then_some("this device takes subnormal numbers for zeros, as WGSL permits")
}

/// The outcome of a closure that may panic, poison or give an error.
fn guarded(case: &Case, files: &Files, f: impl FnOnce() -> Outcome) -> Outcome {
    match catch_unwind(AssertUnwindSafe(|| lazuli::catch(f))) {
        Ok(Ok(o)) => o,
        Ok(Err(e)) if e.kind() == lazuli::ErrorKind::DType && ops::refuses(case, files) => Outcome::Refused,
        Ok(Err(e)) => Outcome::Failed(format!("slip: {e}")),
        Err(p) => {
            let text = p.downcast_ref::<String>().cloned().or_else(|| p.downcast_ref::<&str>().map(|s| s.to_string()));
            Outcome::Failed(format!("panic: {}", text.unwrap_or_default()))
        }
    }
}

/// Runs the op of a case on the given tensors.
fn apply(case: &Case, files: &Files, tensors: &HashMap<String, Tensor>) -> Result<Vec<Tensor>, String> {
    let Some(op) = ops::find(&case.op) else { return Err("no such op here".into()) };
    let args = Args::new(case, files, tensors);
    let out = op(&args)?;
    args.all_read()?;
    Ok(out)
}

fn check_value(case: &Case, files: &Files, tensors: &HashMap<String, Tensor>) -> Outcome {
    let out = match apply(case, files, tensors) {
        Ok(out) => out,
        Err(why) => return Outcome::Unsupported(why),
    };
    if out.len() != case.outputs.len() {
        return Outcome::Failed(format!("{} outputs, expected {}", out.len(), case.outputs.len()));
    }
    if let Err(e) = lazuli::eval(&out) {
        return Outcome::Failed(format!("evaluation: {e}"));
    }
    if let Some(holds) = ops::random::property(case, &Args::new(case, files, tensors), &out) {
        let typed = out.iter().zip(&case.outputs).all(|(t, k)| *t.shape() == files.host[k].shape && t.dtype() == files.host[k].dtype);
        return match holds {
            Ok(()) if typed => Outcome::Random,
            Ok(()) => Outcome::Failed("a random result of another shape or dtype".into()),
            Err(e) => Outcome::Failed(e),
        };
    }
    for (i, key) in case.outputs.iter().enumerate() {
        if let Err(e) = compare::output(case, files, tensors, i, &out, &files.host[key]) {
            return Outcome::Failed(format!("output {i}: {e}"));
        }
    }
    Outcome::Passed
}

/// Gradients through a closure; where an index is a mask, whose values decide a shape, of what was recorded outside of one.
fn check_gradients(case: &Case, files: &Files, tensors: &HashMap<String, Tensor>) -> Outcome {
    let keys: Vec<&String> = case.grads.keys().collect();
    let loss_of = |out: Vec<Tensor>| {
        let terms = case.cotangents.iter().map(|(i, ct)| (&out[*i] * &tensors[ct]).sum(..));
        terms.reduce(|a, b| a + b).expect("a case with gradients has a cotangent")
    };
    let by_mask =
        matches!(case.op.as_str(), "__getitem__" | "index_put" | "masked_select") && tensors.values().any(|t| t.dtype() == DType::Bool);
    let gradients: Vec<Tensor> = if by_mask {
        let loss = match apply(case, files, tensors) {
            Ok(out) => loss_of(out),
            Err(why) => return Outcome::Unsupported(why),
        };
        keys.iter().map(|&k| loss.grad(&[&tensors[k]])[0].clone()).collect()
    } else {
        let at: Vec<Tensor> = keys.iter().map(|&k| tensors[k].clone()).collect();
        // The dispatcher runs inside the transform, so its verdict comes out through this.
        let unsupported = std::sync::Mutex::new(None);
        let gradients = lazuli::grad(
            |xs: &Vec<Tensor>| {
                let mut mine = tensors.clone();
                mine.extend(keys.iter().map(|k| (*k).clone()).zip(xs.iter().cloned()));
                match apply(case, files, &mine) {
                    Ok(out) => loss_of(out),
                    Err(why) => {
                        *unsupported.lock().expect("not poisoned") = Some(why);
                        Tensor::zeros([])
                    }
                }
            },
            &at,
        );
        if let Some(why) = unsupported.into_inner().expect("not poisoned") {
            return Outcome::Unsupported(why);
        }
        gradients
    };
    if let Ok(out) = apply(case, files, tensors)
        && ops::random::property(case, &Args::new(case, files, tensors), &out).is_some()
    {
        return match lazuli::eval(&gradients) {
            Ok(()) => Outcome::Random,
            Err(e) => Outcome::Failed(format!("evaluation of gradients: {e}")),
        };
    }
    if let Err(e) = lazuli::eval(&gradients) {
        return Outcome::Failed(format!("evaluation of gradients: {e}"));
    }
    for (key, got) in keys.iter().zip(&gradients) {
        if let Err(e) = compare::gradient(case, files, key, got) {
            return Outcome::Failed(format!("gradient of {key}: {e}"));
        }
    }
    Outcome::Passed
}

fn directory() -> PathBuf {
    match std::env::var_os("LAZULI_GOLDENS") {
        Some(d) => PathBuf::from(d),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/goldens"),
    }
}

#[test]
fn goldens() {
    run(&directory());
}

/// Cases of ops that the first directory has none of.
#[test]
fn more_goldens() {
    if std::env::var_os("LAZULI_GOLDENS_OP").is_some() {
        // One op or case of the other directory is asked for.
        return;
    }
    run(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/goldens2"));
}

fn run(dir: &Path) {
    let files = Files::load(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let only = std::env::var("LAZULI_GOLDENS_OP").ok();
    let cases: Vec<&Case> = files.cases.iter().filter(|c| only.as_ref().is_none_or(|o| c.op == *o || c.id == *o)).collect();
    assert!(!cases.is_empty(), "{}: no cases", dir.display());

    let mut order: Vec<&str> = Vec::new();
    let mut table: HashMap<&str, (Count, Count)> = HashMap::new();
    let mut failures: Vec<String> = Vec::new();
    let mut differences: Vec<String> = Vec::new();
    let mut gaps: BTreeMap<(String, String), usize> = BTreeMap::new();
    for case in cases {
        let tensors: HashMap<String, Tensor> = match files.tensors_of(case) {
            Ok(t) => t,
            Err(e) => panic!("{}: {e}", case.id),
        };
        let row = table.entry(&case.op).or_insert_with(|| {
            order.push(&case.op);
            Default::default()
        });
        let mut note = |what: &str, o: &Outcome| match o {
            Outcome::Passed | Outcome::Random | Outcome::Refused => {}
            Outcome::Failed(e) => failures.push(format!("{} {what}: {e}", case.id)),
            Outcome::Differs(why) => differences.push(format!("{} {what}: {why}", case.id)),
            Outcome::Unsupported(why) => *gaps.entry((case.op.clone(), why.clone())).or_default() += 1,
        };
        let value = known(guarded(case, &files, || check_value(case, &files, &tensors)), case, &files, "value");
        row.0.add(&value);
        note("value", &value);
        if !case.grads.is_empty() {
            let gradient = known(guarded(case, &files, || check_gradients(case, &files, &tensors)), case, &files, "gradient");
            row.1.add(&gradient);
            note("gradient", &gradient);
        }
    }

    let mut report = String::new();
    let mut total: (Count, Count) = Default::default();
    for op in order {
        let (v, g) = &table[op];
        let _ = writeln!(report, "{op:<50} values {}   gradients {}", v.show(), g.show());
        for (t, c) in [(&mut total.0, v), (&mut total.1, g)] {
            t.passed += c.passed;
            t.failed += c.failed;
            t.unsupported += c.unsupported;
            t.differs += c.differs;
            t.random += c.random;
            t.refused += c.refused;
        }
    }
    let _ = writeln!(report, "{:<50} values {}   gradients {}", "total", total.0.show(), total.1.show());
    for ((op, why), n) in &gaps {
        let _ = writeln!(report, "unsupported: {op}: {why} ({n} checks)");
    }
    for d in &differences {
        let _ = writeln!(report, "differs: {d}");
    }
    for f in &failures {
        let _ = writeln!(report, "failed: {f}");
    }
    println!("{report}");
    let missing: Vec<_> = gaps.keys().filter(|(op, why)| ops::find(op).is_some() && !ops::known_gap(op, why)).collect();
    assert!(missing.is_empty(), "unsupported, though its op is on the list: {missing:?}");
    assert!(failures.is_empty(), "{} checks failed, the first: {}", failures.len(), failures[0]);
}

/// The page of the documentation that lists ops names every one that is dispatched.
#[test]
fn every_op_is_on_the_page_of_ops() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tensor/ops.md");
    let page = std::fs::read_to_string(&path).expect("the page");
    let missing: Vec<&str> = ops::names().filter(|n| !page.contains(&format!("| `{n}` |"))).collect();
    assert!(missing.is_empty(), "not on {}: {missing:?}", path.display());
}
