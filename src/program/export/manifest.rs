//! What is launched on which buffers, in words for whoever runs the kernels. `docs/export.md` describes the format.

use super::folder::WEIGHTS;
use super::json::Json;
use super::translate::Kernel;
use super::{Program, Target};
use crate::Result;
use crate::backend::wgpu::listing::{Listing, Memory, Part, Role, Step};
use crate::base::error::err;
use crate::plan::PlanResult;
use crate::program::Spec;

/// Of the format.
const VERSION: u32 = 1;

/// The manifest of a program: its plan as data, where its results are after a run, and its kernels with their files.
pub(super) fn manifest(p: &Program, target: Target, plan: &Listing, results: &[PlanResult], kernels: &[(String, Kernel)]) -> Result<Json> {
    let buffer = |role: Role| -> Result<Json> {
        let at = plan.buffers.iter().position(|b| b.role == role);
        at.map(Json::from).ok_or_else(|| err!(Internal, "a value of the program has no buffer"))
    };
    let value = |name: &str, s: &Spec, role: Role| -> Result<Json> {
        let shape = s.shape.iter().copied().collect();
        Ok(Json::Object(vec![("name", name.into()), ("dtype", s.dtype.name().into()), ("shape", shape), ("buffer", buffer(role)?)]))
    };
    let arguments = p.inputs().into_iter().enumerate().map(|(n, (name, s))| value(name, &s, Role::Input(n as u32)));
    let first = p.inputs.len() as u32;
    let weights = p.weights.iter().enumerate().map(|(n, (name, w))| value(name, &Spec::from(w), Role::Input(first + n as u32)));
    let results = p.outputs().into_iter().zip(results).map(|((name, s), r)| match *r {
        PlanResult::Output(n) => value(name, &s, Role::Output(n)),
        PlanResult::Leaf(n) => value(name, &s, Role::Input(n)),
    });
    let list = |values: &mut dyn Iterator<Item = Result<Json>>| values.collect::<Result<Vec<_>>>().map(Json::List);
    let mut fields = vec![
        ("format", "lazuli-kernels".into()),
        ("version", VERSION.into()),
        ("target", target.name().into()),
        ("arguments", list(&mut { arguments })?),
        ("results", list(&mut { results })?),
        ("weights", list(&mut { weights })?),
    ];
    if !p.weights.is_empty() {
        fields.push(("weights_file", WEIGHTS.into()));
    }
    fields.push(("buffers", plan.buffers.iter().map(|b| memory(b, first)).collect()));
    fields.push(("kernels", plan.kernels.iter().zip(kernels).map(|(s, (file, k))| kernel(&s.name, file, k)).collect()));
    fields.push(("steps", plan.steps.iter().map(step).collect()));
    Ok(Json::Object(fields))
}

/// A buffer; inputs before `first` are arguments.
fn memory(b: &Memory, first: u32) -> Json {
    let role = match b.role {
        Role::Input(n) if n < first => "argument",
        Role::Input(_) => "weight",
        Role::Output(_) => "result",
        Role::Temporary => "temporary",
        Role::Counting => "counting",
        Role::Parameters => "parameters",
    };
    Json::Object(vec![("role", role.into()), ("bytes", b.bytes.into()), ("indirect", b.indirect.into())])
}

fn kernel(name: &str, file: &str, k: &Kernel) -> Json {
    let bindings = k.bindings.iter().map(|b| {
        let mut fields = vec![("binding", b.number.into()), ("access", b.access.into()), ("used", b.used.into())];
        fields.extend(b.place.iter().map(|(key, place)| (*key, place.clone())));
        Json::Object(fields)
    });
    let mut fields = vec![
        ("name", name.into()),
        ("file", file.into()),
        ("entry", k.entry.as_str().into()),
        ("workgroup", k.workgroup.into_iter().collect()),
        ("bindings", bindings.collect()),
    ];
    fields.extend(k.besides.iter().map(|(key, v)| (*key, v.clone())));
    Json::Object(fields)
}

/// Where a range begins.
fn place(p: &Part) -> Json {
    Json::Object(vec![("buffer", p.buffer.into()), ("offset", p.offset.into())])
}

fn range(p: &Part) -> Json {
    Json::Object(vec![("buffer", p.buffer.into()), ("offset", p.offset.into()), ("bytes", p.bytes.into())])
}

fn step(s: &Step) -> Json {
    match s {
        Step::Copy { from, to } => Json::Object(vec![("copy", from.bytes.into()), ("from", place(from)), ("to", place(to))]),
        Step::Launch { kernel, groups, gate, parts, numbers } => {
            let mut fields = vec![("kernel", (*kernel).into()), ("groups", groups.iter().copied().collect())];
            fields.extend(gate.iter().map(|g| ("indirect", place(g))));
            fields.push(("bindings", parts.iter().map(range).collect()));
            fields.push(("numbers", numbers.iter().copied().collect()));
            Json::Object(fields)
        }
    }
}
