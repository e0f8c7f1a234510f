//! Emitted WGSL of a list of ops, kept in `tests/golden` so that a change shows as a difference. `LAZULI_BLESS=1` rewrites the files. Every
//! module is validated with the capabilities that every WebGPU device has, those in F64 with that besides. Needs no adapter.

use crate::op_tables::samples::{SAMPLES, Sample};
use lazuli::backend::wgpu::emit::{ArgUse, Module, Target, emit};
use lazuli::backend::wgpu::{LIMITS, validate};
use lazuli::fuse::fuse;
use lazuli::fuse::launch::FusedLaunch;
use lazuli::prelude::*;
use lazuli::trace::Trace;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Ops whose modules are kept.
const KEPT: [&str; 52] = [
    "exp",
    "log",
    "sin",
    "tanh",
    "erf",
    "pow",
    "remainder",
    "atan2",
    "floor_divide",
    "maximum",
    "isnan",
    "logical_and",
    "bitwise_left_shift",
    "where",
    "clamp",
    "sum",
    "mean",
    "prod",
    "amax",
    "any",
    "argmax",
    "var",
    "logsumexp",
    "cumsum",
    "softmax",
    "log_softmax",
    "permute",
    "cat",
    "roll",
    "tril",
    "nn.functional.pad",
    "gather",
    "scatter",
    "scatter_add",
    "index_select",
    "masked_fill",
    "sort",
    "argsort",
    "nn.functional.embedding",
    "nn.functional.one_hot",
    "matmul",
    "bmm",
    "mv",
    "nn.functional.linear",
    "nn.functional.conv2d",
    "nn.functional.max_pool2d",
    "nn.functional.layer_norm",
    "nn.functional.rms_norm",
    "nn.functional.gelu",
    "nn.functional.cross_entropy",
    "nn.functional.scaled_dot_product_attention",
    "nn.functional.dropout",
];

/// Those kept in F64 too, for devices that have it.
const DOUBLES: [&str; 4] = ["exp", "remainder", "softmax", "matmul"];

fn inputs(s: &Sample, dtype: DType) -> Vec<Tensor> {
    let make = |shape: &&[usize]| Tensor::from_vec(vec![1.5f32; shape.iter().product()], *shape).cast(dtype);
    let all: Vec<Tensor> = s.shapes.iter().map(make).collect();
    lazuli::eval(&all).expect("inputs");
    all
}

/// The kernels of a result, as modules, in order.
fn modules(t: &Tensor, target: &Target) -> Vec<Module> {
    let trace: Trace = lazuli::explain(&[t]).trace().parse().expect("a trace prints what parses");
    let fused = fuse(&trace, true, &LIMITS).expect("it fuses");
    let mut out = Vec::new();
    for l in &fused.launches {
        let FusedLaunch::Kernels(kernels) = l else { continue };
        for k in kernels {
            let uses: Vec<ArgUse> = (0..k.args.len()).map(|n| ArgUse::alone(n as u32)).collect();
            out.push(emit(&k.kernel, target, &uses, false).unwrap_or_else(|e| panic!("{e}\n{}", k.kernel)));
        }
    }
    out
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{}.wgsl", name.replace("nn.functional.", "")))
}

#[test]
fn modules_are_as_kept() {
    let bless = std::env::var_os("LAZULI_BLESS").is_some();
    let mut changed = Vec::new();
    let floor = Target::floor();
    let double = Target { double: true, ..Target::floor() };
    for (name, target) in KEPT.into_iter().map(|n| (n, &floor)).chain(DOUBLES.into_iter().map(|n| (n, &double))) {
        let s = SAMPLES.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("no sample is called {name}"));
        let dtype = match name {
            _ if target.double => DType::F64,
            _ if name.starts_with("bitwise") || name.ends_with("one_hot") => DType::I64,
            _ => DType::F32,
        };
        let mut text = String::new();
        for m in modules(&(s.call)(&inputs(s, dtype)), target) {
            if let Err(e) = validate(&m.text, target) {
                panic!("{name} of {dtype}: {e}\n{}", m.text);
            }
            let _ = write!(text, "// {} workgroups, {} bytes of workspace\n{}\n", m.groups, m.workspace, m.text);
        }
        assert!(!text.is_empty(), "{name} has no kernel");
        let path = file(&if target.double { format!("f64_{name}") } else { name.to_string() });
        if bless {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
            std::fs::write(&path, &text).expect("writable");
        } else if std::fs::read_to_string(&path).unwrap_or_default() != text {
            changed.push(name);
        }
    }
    assert!(changed.is_empty(), "modules of {changed:?} are not what tests/golden keeps (LAZULI_BLESS=1 rewrites them)");
}

/// Every op, in every dtype, for hardware and for processors: the validator accepts what is emitted.
#[test]
fn every_module_is_valid() {
    let large = Target { data_points: 0, ..Target::floor() };
    let software = Target { software: true, workgroup: 64, ..large.clone() };
    let targets = [Target::floor(), large, software.clone(), Target { long: true, subgroup: 8, ..software }];
    let doubles = targets.clone().map(|t| Target { double: true, ..t });
    let mut count = 0;
    for s in SAMPLES {
        for dtype in DType::ALL {
            let Ok(y) = lazuli::catch(|| (s.call)(&inputs(s, dtype))) else { continue };
            if lazuli::explain(&[&y]).kernels().is_empty() {
                continue;
            }
            // What a composition does in F64 is for devices that have it.
            for t in if lazuli::explain(&[&y]).trace().contains("f64") { &doubles } else { &targets } {
                for m in modules(&y, t) {
                    count += 1;
                    if let Err(e) = validate(&m.text, t) {
                        panic!("{} of {dtype}: {e}\n{}", s.name, m.text);
                    }
                }
            }
        }
    }
    assert!(count > 3000, "{count}");
}
