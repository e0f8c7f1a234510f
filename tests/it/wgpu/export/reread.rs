//! What was written, read again: the manifest by itself, the sources by their languages' parsers where there is one.

use super::{Case, Target, int, list, manifest, text};
use lazuli::wgpu::naga;
use naga::valid::{Capabilities, ValidationFlags, Validator};
use serde_json::Value;
use std::path::Path;

/// Everything refers to what there is, and the sources declare what the manifest says.
pub fn check(case: &Case, target: Target, dir: &Path) {
    let what = format!("{} as {target:?}", case.name);
    let m = manifest(dir);
    assert_eq!((text(&m["format"]), int(&m["version"])), ("lazuli-kernels", 1), "{what}");
    let buffers = list(&m["buffers"]);
    values(&what, &m, buffers);
    weights(&what, &m, dir);
    let mut seen = Vec::new();
    for k in list(&m["kernels"]) {
        assert!(!seen.contains(&text(&k["file"])), "{what}: one file for two kernels");
        seen.push(text(&k["file"]));
        let source = std::fs::read(dir.join(text(&k["file"]))).unwrap_or_else(|e| panic!("{what}: {}: {e}", k["file"]));
        kernel(&format!("{what}: {}", k["file"]), target, k, &source);
    }
    let found = std::fs::read_dir(dir.join("kernels")).expect("kernels").count();
    assert_eq!(found, seen.len(), "{what}: files of no kernel");
    for s in list(&m["steps"]) {
        step(&format!("{what}: {s}"), s, list(&m["kernels"]), buffers);
    }
}

/// Names, roles, and room for every element.
fn values(what: &str, m: &Value, buffers: &[Value]) {
    for (kind, roles) in [("arguments", &["argument"][..]), ("weights", &["weight"]), ("results", &["result", "argument", "weight"])] {
        for v in list(&m[kind]) {
            let b = &buffers[int(&v["buffer"])];
            assert!(roles.contains(&text(&b["role"])), "{what}: {v} in {b}");
            let size = match text(&v["dtype"]) {
                "bool" | "u8" => 1,
                "f16" | "bf16" => 2,
                "f32" | "i32" | "u32" => 4,
                "i64" => 8,
                other => panic!("{what}: no such type: {other}"),
            };
            let bytes = list(&v["shape"]).iter().map(int).product::<usize>() * size;
            assert!(bytes <= int(&b["bytes"]) && int(&b["bytes"]).is_multiple_of(4), "{what}: {v} in {b}");
        }
    }
}

fn weights(what: &str, m: &Value, dir: &Path) {
    let wanted = list(&m["weights"]);
    let Some(file) = m.get("weights_file") else {
        assert!(wanted.is_empty(), "{what}: weights without a file");
        return;
    };
    let bytes = std::fs::read(dir.join(text(file))).expect("weights");
    let found = ::safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    assert_eq!(found.len(), wanted.len(), "{what}");
    for w in wanted {
        let t = found.tensor(text(&w["name"])).unwrap_or_else(|e| panic!("{what}: {w}: {e}"));
        assert_eq!(t.shape(), list(&w["shape"]).iter().map(int).collect::<Vec<_>>(), "{what}: {w}");
    }
}

/// Ranges within their buffers, where every device can bind them.
fn step(what: &str, s: &Value, kernels: &[Value], buffers: &[Value]) {
    let within = |at: &Value, bytes: usize| {
        assert!(int(&at["offset"]) + bytes <= int(&buffers[int(&at["buffer"])]["bytes"]), "{what}: beyond its buffer");
    };
    if let Some(bytes) = s.get("copy") {
        within(&s["from"], int(bytes));
        within(&s["to"], int(bytes));
        assert!([int(bytes), int(&s["from"]["offset"]), int(&s["to"]["offset"])].iter().all(|n| n.is_multiple_of(4)), "{what}");
        return;
    }
    let k = &kernels[int(&s["kernel"])];
    let given = list(&s["bindings"]);
    assert_eq!(given.len(), list(&k["bindings"]).len(), "{what}");
    for (n, (b, declared)) in given.iter().zip(list(&k["bindings"])).enumerate() {
        assert_eq!(int(&declared["binding"]), n, "{what}");
        within(b, int(&b["bytes"]));
        assert!(int(&b["offset"]).is_multiple_of(256), "{what}: an offset that no device can bind");
        let role = text(&buffers[int(&b["buffer"])]["role"]);
        assert_eq!(role == "parameters", n == 0, "{what}");
    }
    assert_eq!(list(&s["numbers"]).len() * 4, int(&given[0]["bytes"]), "{what}");
    assert!(list(&s["numbers"]).iter().all(|w| w.as_u64().is_some_and(|w| w <= u32::MAX as u64)), "{what}");
    assert!(list(&s["groups"]).len() == 3 && list(&s["groups"]).iter().all(|g| (1..=65535).contains(&int(g))), "{what}");
    if let Some(at) = s.get("indirect") {
        within(at, 12);
        assert!(buffers[int(&at["buffer"])]["indirect"].as_bool() == Some(true), "{what}");
    }
}

fn kernel(what: &str, target: Target, k: &Value, source: &[u8]) {
    let invocations: usize = list(&k["workgroup"]).iter().map(int).product();
    assert!((1..=256).contains(&invocations), "{what}");
    let text_of = || std::str::from_utf8(source).unwrap_or_else(|e| panic!("{what}: {e}"));
    match target {
        Target::Wgsl => module(what, k, &naga::front::wgsl::parse_str(text_of()).unwrap_or_else(|e| panic!("{what}: {e}"))),
        Target::Spirv => {
            let options = naga::front::spv::Options { adjust_coordinate_space: false, ..Default::default() };
            module(what, k, &naga::front::spv::parse_u8_slice(source, &options).unwrap_or_else(|e| panic!("{what}: {e}")));
        }
        Target::Msl => metal(what, k, text_of()),
        Target::Hlsl => direct3d(what, k, text_of()),
        Target::Glsl => opengl(what, k, text_of()),
        other => panic!("{what}: {other:?} is not tested"),
    }
}

fn used(k: &Value) -> impl Iterator<Item = &Value> {
    list(&k["bindings"]).iter().filter(|b| b["used"] == true)
}

/// A module is valid, and has that entry point and those bindings.
fn module(what: &str, k: &Value, m: &naga::Module) {
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::empty());
    validator.validate(m).unwrap_or_else(|e| panic!("{what}: {e:?}"));
    let entry = m.entry_points.iter().find(|e| e.name == text(&k["entry"])).unwrap_or_else(|| panic!("{what}: no {}", k["entry"]));
    assert_eq!(entry.workgroup_size.map(|n| n as usize).to_vec(), list(&k["workgroup"]).iter().map(int).collect::<Vec<_>>(), "{what}");
    for b in used(k) {
        let found =
            m.global_variables.iter().find(|(_, v)| v.binding.is_some_and(|at| at.group == 0 && at.binding as usize == int(&b["binding"])));
        let (_, v) = found.unwrap_or_else(|| panic!("{what}: no {b}"));
        let access = match v.space {
            naga::AddressSpace::Uniform => "uniform",
            naga::AddressSpace::Storage { access } if access.contains(naga::StorageAccess::STORE) => "read_write",
            _ => "read",
        };
        assert_eq!(access, text(&b["access"]), "{what}: {b}");
    }
}

fn metal(what: &str, k: &Value, source: &str) {
    assert!(source.contains(&format!("kernel void {}(", text(&k["entry"]))), "{what}: no {}\n{source}", k["entry"]);
    for b in used(k) {
        assert!(source.contains(&format!("[[buffer({})]]", int(&b["buffer"]))), "{what}: no {b}\n{source}");
    }
    let sizes = list(&k["array_bytes"]["of"]);
    let declared =
        source.split_once("struct _mslBufferSizes {").and_then(|s| s.1.split_once('}')).map_or(0, |s| s.0.matches("uint ").count());
    assert_eq!(sizes.len(), declared, "{what}\n{source}");
    assert!(source.contains(&format!("_buffer_sizes [[buffer({})]]", int(&k["array_bytes"]["buffer"]))), "{what}\n{source}");
}

fn direct3d(what: &str, k: &Value, source: &str) {
    assert!(source.contains(&format!("void {}(", text(&k["entry"]))), "{what}: no {}\n{source}", k["entry"]);
    let size: Vec<String> = list(&k["workgroup"]).iter().map(|n| n.to_string()).collect();
    assert!(source.contains(&format!("[numthreads({})]", size.join(", "))), "{what}\n{source}");
    for r in used(k).map(|b| &b["register"]).chain([&k["group_counts"]]) {
        assert!(source.contains(&format!("register({})", text(r))), "{what}: no {r}\n{source}");
    }
}

/// naga's parser takes no GLSL before 4.40, and knows neither that barrier nor atomic functions: what it knows has to parse.
fn opengl(what: &str, k: &Value, source: &str) {
    assert!(source.starts_with("#version 430 core\n") && source.contains("void main()"), "{what}\n{source}");
    let known = source.replacen("430", "450", 1).replace("memoryBarrierShared();", "");
    let options = naga::front::glsl::Options::from(naga::ShaderStage::Compute);
    let parsed = naga::front::glsl::Frontend::default().parse(&options, &known);
    if let (Err(e), false) = (parsed, source.contains("atomic")) {
        panic!("{what}: {}", e.emit_to_string(&known));
    }
    for b in used(k) {
        let block = text(&b["block"]);
        let line = source.lines().find(|l| l.contains(&format!(" {block} "))).unwrap_or_else(|| panic!("{what}: no {b}\n{source}"));
        assert!(line.contains(&format!("binding = {})", int(&b["binding"]))), "{what}: {line}");
        let kind = if text(&b["access"]) == "uniform" { "uniform" } else { "buffer" };
        assert!(line.contains(&format!(" {kind} ")), "{what}: {line}");
    }
}
