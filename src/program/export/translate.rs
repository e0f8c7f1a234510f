//! A kernel in another shading language, and how its bindings are named there.

use super::Target;
use super::json::Json;
use crate::Result;
use crate::base::Error;
use crate::base::error::err;
use naga::back::{glsl, hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, GlobalVariable, Handle, Module, ResourceBinding, ShaderStage, StorageAccess};
use std::collections::BTreeMap;

/// A kernel for a target.
pub(super) struct Kernel {
    pub source: Vec<u8>,
    pub entry: String,
    pub workgroup: [u32; 3],
    pub bindings: Vec<Binding>,
    /// What else the target's host has to know.
    pub besides: Vec<(&'static str, Json)>,
}

/// A buffer that a kernel takes.
pub(super) struct Binding {
    pub number: u32,
    pub access: &'static str,
    /// Else the kernel declares it only; some languages leave it out then.
    pub used: bool,
    /// What it is called in that language, where that is not its number.
    pub place: Option<(&'static str, Json)>,
}

/// A binding as it stands in the module.
struct Declared {
    var: Handle<GlobalVariable>,
    at: ResourceBinding,
    number: u32,
    space: AddressSpace,
    /// Its length is not in the source.
    open: bool,
    used: bool,
}

/// Indices beyond an array's end stay within, as WGSL promises.
const CHECKED: BoundsCheckPolicies = BoundsCheckPolicies {
    index: BoundsCheckPolicy::Restrict,
    buffer: BoundsCheckPolicy::Restrict,
    image_load: BoundsCheckPolicy::Restrict,
    binding_array: BoundsCheckPolicy::Restrict,
};

/// The kernel `text`, WGSL with an entry point `main`, for that target.
///
/// # Errors
/// `Internal` if it is not valid, or the language has no way to say it.
pub(super) fn translate(text: &str, target: Target) -> Result<Kernel> {
    let refused = |e: String| err!(Internal, "a kernel is not valid: {e}");
    let module = naga::front::wgsl::parse_str(text).map_err(|e| refused(e.emit_to_string(text)))?;
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::empty());
    let info = validator.validate(&module).map_err(|e| refused(e.emit_to_string(text)))?;
    let uses = info.get_entry_point(0);
    let declared: Vec<Declared> = module
        .global_variables
        .iter()
        .filter_map(|(var, v)| {
            let at = v.binding?;
            let open = module.types[v.ty].inner.is_dynamically_sized(&module.types);
            Some(Declared { var, at, number: at.binding, space: v.space, open, used: !uses[var].is_empty() })
        })
        .collect();
    let mut written = match target {
        Target::Wgsl => Written::plain(text.as_bytes().to_vec()),
        Target::Spirv => spirv(&module, &info)?,
        Target::Msl => metal(&module, &info, &declared)?,
        Target::Hlsl => direct3d(&module, &info, &declared)?,
        Target::Glsl => opengl(&module, &info, &declared)?,
    };
    let bindings = declared
        .iter()
        .map(|d| Binding { number: d.number, access: access(d.space), used: d.used, place: written.places.remove(&d.number) })
        .collect();
    let workgroup = module.entry_points[0].workgroup_size;
    Ok(Kernel { source: written.source, entry: written.entry, workgroup, bindings, besides: written.besides })
}

fn access(space: AddressSpace) -> &'static str {
    match space {
        AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => "read_write",
        AddressSpace::Storage { .. } => "read",
        _ => "uniform",
    }
}

/// What a target's writer gives back.
struct Written {
    source: Vec<u8>,
    entry: String,
    /// By the binding's number: what it is called.
    places: BTreeMap<u32, (&'static str, Json)>,
    besides: Vec<(&'static str, Json)>,
}

impl Written {
    /// Where bindings keep their numbers.
    fn plain(source: Vec<u8>) -> Written {
        Written { source, entry: ENTRY.to_string(), places: BTreeMap::new(), besides: Vec::new() }
    }
}

const ENTRY: &str = "main";

fn failed(language: &str, e: impl std::fmt::Display) -> Error {
    err!(Internal, "a kernel cannot be written as {language}: {e}")
}

fn spirv(module: &Module, info: &ModuleInfo) -> Result<Written> {
    let options = spv::Options {
        // What Vulkan 1.1 takes.
        lang_version: (1, 3),
        flags: spv::WriterFlags::empty(),
        // Kernels mind their arrays' ends themselves, and checks of signed indices are what other readers of SPIR-V stumble over.
        bounds_check_policies: BoundsCheckPolicies::default(),
        // Every template writes workgroup memory before it reads it, and every loop ends; here and below.
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        ..Default::default()
    };
    let entry = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: ENTRY.to_string() };
    let words = spv::write_vec(module, info, &options, Some(&entry)).map_err(|e| failed("SPIR-V", e))?;
    Ok(Written::plain(words.into_iter().flat_map(u32::to_le_bytes).collect()))
}

/// Buffer slots are the bindings' numbers; one more slot takes the sizes of arrays.
fn metal(module: &Module, info: &ModuleInfo, declared: &[Declared]) -> Result<Written> {
    let slot = |n: u32| u8::try_from(n).map_err(|_| failed("MSL", format!("it takes {n} buffers")));
    let sizes = declared.iter().map(|d| d.number + 1).max().unwrap_or(0);
    let mut resources = msl::EntryPointResources { sizes_buffer: Some(slot(sizes)?), ..Default::default() };
    for d in declared {
        let mutable = access(d.space) == "read_write";
        resources.resources.insert(d.at, msl::BindTarget { buffer: Some(slot(d.number)?), mutable, ..Default::default() });
    }
    let options = msl::Options {
        lang_version: (2, 1),
        per_entry_point_map: [(ENTRY.to_string(), resources)].into(),
        fake_missing_bindings: false,
        bounds_check_policies: CHECKED,
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: false,
        ..Default::default()
    };
    let (text, names) = msl::write_string(module, info, &options, &Default::default()).map_err(|e| failed("MSL", e))?;
    let measured: Vec<u32> = declared.iter().filter(|d| d.open).map(|d| d.number).collect();
    let besides = if measured.is_empty() {
        Vec::new()
    } else {
        vec![("array_bytes", Json::Object(vec![("buffer", sizes.into()), ("of", measured.into_iter().collect())]))]
    };
    Ok(Written {
        source: text.into_bytes(),
        entry: entry_name("MSL", names.entry_point_names)?,
        places: declared.iter().map(|d| (d.number, ("buffer", d.number.into()))).collect(),
        besides,
    })
}

/// Registers are numbered as the bindings are, in space 0; one more holds the numbers of workgroups, which the language cannot ask for.
fn direct3d(module: &Module, info: &ModuleInfo, declared: &[Declared]) -> Result<Written> {
    let target = |register| hlsl::BindTarget { register, restrict_indexing: true, ..Default::default() };
    let groups = declared.iter().map(|d| d.number + 1).max().unwrap_or(0);
    let options = hlsl::Options {
        shader_model: hlsl::ShaderModel::V5_1,
        binding_map: declared.iter().map(|d| (d.at, target(d.number))).collect(),
        fake_missing_bindings: false,
        special_constants_binding: Some(target(groups)),
        zero_initialize_workgroup_memory: false,
        restrict_indexing: true,
        force_loop_bounding: false,
        ..Default::default()
    };
    let mut text = String::new();
    let pipeline = hlsl::PipelineOptions { entry_point: None };
    let mut writer = hlsl::Writer::new(&mut text, &options, &pipeline);
    let names = writer.write(module, info, None).map_err(|e| failed("HLSL", e))?.entry_point_names;
    let register = |d: &Declared| {
        let class = match access(d.space) {
            "read_write" => 'u',
            "read" => 't',
            _ => 'b',
        };
        format!("{class}{}", d.number)
    };
    Ok(Written {
        source: text.into_bytes(),
        entry: entry_name("HLSL", names)?,
        places: declared.iter().map(|d| (d.number, ("register", register(d).into()))).collect(),
        besides: vec![("group_counts", format!("b{groups}").into())],
    })
}

/// Bindings keep their numbers; blocks have names by which a program can ask for them.
fn opengl(module: &Module, info: &ModuleInfo, declared: &[Declared]) -> Result<Written> {
    let mut options = glsl::Options {
        version: glsl::Version::Desktop(430),
        writer_flags: glsl::WriterFlags::empty(),
        zero_initialize_workgroup_memory: false,
        ..Default::default()
    };
    for d in declared {
        let n = u8::try_from(d.number).map_err(|_| failed("GLSL", format!("it takes {} buffers", d.number)))?;
        options.binding_map.insert(d.at, n);
    }
    let pipeline = glsl::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: ENTRY.to_string(), multiview: None };
    let mut text = String::new();
    let mut writer = glsl::Writer::new(&mut text, module, info, &options, &pipeline, CHECKED).map_err(|e| failed("GLSL", e))?;
    let names = writer.write().map_err(|e| failed("GLSL", e))?.uniforms;
    let places = declared.iter().filter_map(|d| Some((d.number, ("block", names.get(&d.var)?.as_str().into())))).collect();
    Ok(Written { places, ..Written::plain(text.into_bytes()) })
}

/// What the entry point is called, where `main` is taken.
fn entry_name<E: std::fmt::Display>(language: &str, names: Vec<std::result::Result<String, E>>) -> Result<String> {
    let first = names.into_iter().next().ok_or_else(|| failed(language, "it has no entry point"))?;
    first.map_err(|e| failed(language, e))
}
