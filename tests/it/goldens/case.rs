//! Reading `index.json` and `goldens.safetensors`.

use lazuli::trace::interp::HostTensor;
use lazuli::{DType, Shape, Tensor};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// One argument of a PyTorch call.
#[derive(Clone, Debug)]
pub enum Arg {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    List(Vec<Arg>),
    /// A stored tensor, seen through view steps.
    Tensor(String, Vec<Step>),
    DType(DType),
    Slice([Option<i64>; 3]),
    Ellipsis,
}

/// A step from a stored tensor to a view of it.
#[derive(Clone, Debug)]
pub enum Step {
    Permute(Vec<usize>),
    Flip(Vec<usize>),
    Slice { dim: usize, start: usize, end: usize, step: usize },
}

/// One call with its expected results.
pub struct Case {
    pub id: String,
    pub op: String,
    pub class: String,
    pub tags: Vec<String>,
    pub args: Vec<Arg>,
    pub kwargs: BTreeMap<String, Arg>,
    pub outputs: Vec<String>,
    /// Output number to the key of its cotangent.
    pub cotangents: BTreeMap<usize, String>,
    /// Input key to the key of its gradient; `None`: no dependence.
    pub grads: BTreeMap<String, Option<String>>,
    pub f32_vs_f64: f64,
}

/// Everything read.
pub struct Files {
    pub cases: Vec<Case>,
    pub host: HashMap<String, HostTensor>,
}

impl Files {
    pub fn load(dir: &Path) -> Result<Files, String> {
        let bytes = std::fs::read(dir.join("index.json")).map_err(|e| format!("index.json: {e}"))?;
        let index: Value = serde_json::from_slice(&bytes).map_err(|e| format!("index.json: {e}"))?;
        if index["schema"].as_str() != Some("op-goldens/1") {
            return Err(format!("schema {} is not op-goldens/1", index["schema"]));
        }
        let file = index["tensor_file"].as_str().unwrap_or("goldens.safetensors");
        let bytes = std::fs::read(dir.join(file)).map_err(|e| format!("{file}: {e}"))?;
        let stored = safetensors::SafeTensors::deserialize(&bytes).map_err(|e| format!("{file}: {e}"))?;
        let mut host = HashMap::new();
        for (name, view) in stored.iter() {
            use safetensors::Dtype;
            let dtype = match view.dtype() {
                Dtype::F32 => DType::F32,
                Dtype::F64 => DType::F64,
                Dtype::F16 => DType::F16,
                Dtype::BF16 => DType::BF16,
                Dtype::I64 => DType::I64,
                Dtype::I32 => DType::I32,
                Dtype::U8 => DType::U8,
                Dtype::BOOL => DType::Bool,
                d => return Err(format!("{name}: dtype {d:?}")),
            };
            let t = HostTensor::from_bytes(dtype, Shape::new(view.shape()), view.data()).map_err(|e| format!("{name}: {e}"))?;
            host.insert(name.to_string(), t);
        }
        let cases = index["cases"].as_array().ok_or("no cases")?;
        let cases = cases.iter().map(|c| case(c).map_err(|e| format!("case {}: {e}", c["id"]))).collect::<Result<_, _>>()?;
        Ok(Files { cases, host })
    }

    /// The tensors a case mentions.
    pub fn tensors_of(&self, case: &Case) -> Result<HashMap<String, Tensor>, String> {
        let mut keys: BTreeSet<&String> = case.cotangents.values().collect();
        fn walk<'a>(a: &'a Arg, keys: &mut BTreeSet<&'a String>) {
            match a {
                Arg::Tensor(k, _) => {
                    keys.insert(k);
                }
                Arg::List(l) => l.iter().for_each(|x| walk(x, keys)),
                _ => {}
            }
        }
        case.args.iter().chain(case.kwargs.values()).for_each(|a| walk(a, &mut keys));
        let load = |k: &String| {
            let h = self.host.get(k).ok_or_else(|| format!("no tensor {k}"))?;
            let t = Tensor::from_bytes(&h.to_bytes(), h.dtype, &h.shape).map_err(|e| format!("{k}: {e}"))?;
            Ok((k.clone(), t))
        };
        keys.into_iter().map(load).collect()
    }
}

fn case(c: &Value) -> Result<Case, String> {
    let text = |k: &str| c[k].as_str().map(str::to_string).ok_or_else(|| format!("no {k}"));
    let map = |k: &str| c[k].as_object().cloned().unwrap_or_default();
    let key = |v: &Value| v.as_str().map(str::to_string).ok_or_else(|| format!("{v} is no tensor key"));
    let cotangents = map("cotangents");
    let cotangents = cotangents.iter().map(|(i, v)| Ok((i.parse().map_err(|e| format!("cotangent {i}: {e}"))?, key(v)?)));
    let grads = map("grads");
    let grads = grads.iter().map(|(k, v)| Ok((k.clone(), if v.is_null() { None } else { Some(key(v)?) })));
    Ok(Case {
        id: text("id")?,
        op: text("op")?,
        class: text("class")?,
        tags: c["tags"].as_array().map(|l| l.iter().filter_map(|t| t.as_str().map(str::to_string)).collect()).unwrap_or_default(),
        args: c["args"].as_array().ok_or("no args")?.iter().map(arg).collect::<Result<_, _>>()?,
        kwargs: map("kwargs").iter().map(|(k, v)| Ok((k.clone(), arg(v)?))).collect::<Result<_, String>>()?,
        outputs: c["outputs"].as_array().ok_or("no outputs")?.iter().map(key).collect::<Result<_, _>>()?,
        cotangents: cotangents.collect::<Result<_, String>>()?,
        grads: grads.collect::<Result<_, String>>()?,
        f32_vs_f64: c["f32_vs_f64"].as_f64().unwrap_or(0.0),
    })
}

fn arg(v: &Value) -> Result<Arg, String> {
    Ok(match v {
        Value::Null => Arg::None,
        Value::Bool(b) => Arg::Bool(*b),
        Value::Number(n) => match n.as_i64() {
            Some(i) => Arg::Int(i),
            None => Arg::Float(n.as_f64().ok_or_else(|| format!("number {n}"))?),
        },
        Value::String(s) => Arg::Str(s.clone()),
        Value::Array(l) => Arg::List(l.iter().map(arg).collect::<Result<_, _>>()?),
        Value::Object(o) => {
            if let Some(key) = o.get("t") {
                let steps = o.get("view").and_then(|s| s.as_array()).cloned().unwrap_or_default();
                let key = key.as_str().ok_or("a tensor key is a string")?;
                Arg::Tensor(key.to_string(), steps.iter().map(step).collect::<Result<_, _>>()?)
            } else if let Some(f) = o.get("f") {
                match f.as_str() {
                    Some("inf") => Arg::Float(f64::INFINITY),
                    Some("-inf") => Arg::Float(f64::NEG_INFINITY),
                    Some("nan") => Arg::Float(f64::NAN),
                    _ => return Err(format!("float {f}")),
                }
            } else if let Some(d) = o.get("dtype") {
                Arg::DType(d.as_str().and_then(DType::from_name).ok_or_else(|| format!("dtype {d}"))?)
            } else if let Some(s) = o.get("slice").and_then(|s| s.as_array()) {
                let part = |i: usize| s.get(i).and_then(|x| x.as_i64());
                Arg::Slice([part(0), part(1), part(2)])
            } else if o.contains_key("ellipsis") {
                Arg::Ellipsis
            } else {
                return Err(format!("argument {v}"));
            }
        }
    })
}

fn step(v: &Value) -> Result<Step, String> {
    let n = |k: &str| v[k].as_u64().map(|x| x as usize).ok_or_else(|| format!("view step {v}: no {k}"));
    let dims = || -> Result<Vec<usize>, String> {
        let l = v["dims"].as_array().ok_or_else(|| format!("view step {v}: no dims"))?;
        l.iter().map(|d| d.as_u64().map(|x| x as usize).ok_or_else(|| format!("view step {v}"))).collect()
    };
    Ok(match v["op"].as_str() {
        Some("permute") => Step::Permute(dims()?),
        Some("flip") => Step::Flip(dims()?),
        Some("slice") => Step::Slice { dim: n("dim")?, start: n("start")?, end: n("end")?, step: n("step")? },
        _ => return Err(format!("view step {v}")),
    })
}
