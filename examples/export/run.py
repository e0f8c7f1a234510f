"""Runs what `Program::export_kernels` wrote, on any graphics processor, with the packages wgpu and numpy alone.

    python run.py DIR --input x0=x.npy --expect y.npy --tolerance 1e-4

Results are compared with the expected ones in the order in which the manifest names them (or by name: `--expect NAME=y.npy`),
and written with `--output NAME=FILE`. It takes exports as WGSL and as SPIR-V. The format is described in docs/export.md.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import wgpu

# BF16, which NumPy has not, is handled as its bits; its values are those of F32.
TYPES = {"f32": "<f4", "f16": "<f2", "bf16": "<u2", "i32": "<i4", "i64": "<i8", "u32": "<u4", "u8": "u1", "bool": "?"}


def encode(array, value):
    """The bytes of an array as an argument of that type and shape."""
    if list(array.shape) != value["shape"]:
        sys.exit(f"{value['name']}: the shape is {list(array.shape)}, the program takes {value['shape']}")
    if value["dtype"] == "bf16":
        bits = array.astype("<f4").view("<u4").astype(np.uint64)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()
    return array.astype(TYPES[value["dtype"]]).tobytes()


def decode(data, value):
    """The array that a result's bytes are."""
    count = int(np.prod(value["shape"], dtype=np.int64))
    array = np.frombuffer(data, TYPES[value["dtype"]], count).reshape(value["shape"])
    return (array.astype("<u4") << 16).view("<f4") if value["dtype"] == "bf16" else array


def weights(path):
    """The bytes of every tensor of a safetensors file, by name."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    ranges = {name: t["data_offsets"] for name, t in header.items() if name != "__metadata__"}
    return {name: data[start + a : start + b] for name, (a, b) in ranges.items()}


class Kernel:
    def __init__(self, device, folder, k, target):
        source = (folder / k["file"]).read_bytes()
        module = device.create_shader_module(code=source.decode() if target == "wgsl" else source)
        kinds = {"uniform": "uniform", "read": "read-only-storage", "read_write": "storage"}
        entries = [
            {"binding": b["binding"], "visibility": wgpu.ShaderStage.COMPUTE, "buffer": {"type": kinds[b["access"]]}}
            for b in k["bindings"]
        ]
        self.layout = device.create_bind_group_layout(entries=entries)
        layout = device.create_pipeline_layout(bind_group_layouts=[self.layout])
        self.pipeline = device.create_compute_pipeline(layout=layout, compute={"module": module, "entry_point": k["entry"]})


def run(folder, inputs):
    """The results, by name, of a program on the arrays `inputs`, by name."""
    m = json.loads((folder / "manifest.json").read_text())
    if m["format"] != "lazuli-kernels" or m["version"] != 1 or m["target"] not in ("wgsl", "spirv"):
        sys.exit(f"{folder}: {m['format']} {m['version']} for {m['target']} is not what this program runs")
    device = wgpu.gpu.request_adapter_sync(power_preference="high-performance").request_device_sync()
    usage = wgpu.BufferUsage.STORAGE | wgpu.BufferUsage.COPY_SRC | wgpu.BufferUsage.COPY_DST
    extra = {"parameters": wgpu.BufferUsage.UNIFORM}
    buffers = []
    for b in m["buffers"]:
        own = extra.get(b["role"], 0) | (wgpu.BufferUsage.INDIRECT if b["indirect"] else 0)
        buffers.append(device.create_buffer(size=b["bytes"], usage=usage | own))

    def write(buffer, offset, data):
        device.queue.write_buffer(buffers[buffer], offset, data + bytes(-len(data) % 4))

    for n, b in enumerate(m["buffers"]):
        if b["role"] == "counting":
            write(n, 0, np.arange(b["bytes"] // 8, dtype="<i8").tobytes())
    stored = weights(folder / m["weights_file"]) if "weights_file" in m else {}
    for w in m["weights"]:
        write(w["buffer"], 0, stored[w["name"]])
    for a in m["arguments"]:
        if a["name"] not in inputs:
            sys.exit(f"argument {a['name']} ({a['dtype']} {a['shape']}) is missing: --input {a['name']}=FILE.npy")
        write(a["buffer"], 0, encode(inputs[a["name"]], a))

    kernels = [Kernel(device, folder, k, m["target"]) for k in m["kernels"]]
    encoder = device.create_command_encoder()
    for s in m["steps"]:
        if "copy" in s:
            a, b = s["from"], s["to"]
            encoder.copy_buffer_to_buffer(buffers[a["buffer"]], a["offset"], buffers[b["buffer"]], b["offset"], s["copy"])
            continue
        k, parts = kernels[s["kernel"]], s["bindings"]
        write(parts[0]["buffer"], parts[0]["offset"], np.array(s["numbers"], "<u4").tobytes())
        bound = [{"buffer": buffers[p["buffer"]], "offset": p["offset"], "size": p["bytes"]} for p in parts]
        group = device.create_bind_group(layout=k.layout, entries=[{"binding": n, "resource": r} for n, r in enumerate(bound)])
        launch = encoder.begin_compute_pass()
        launch.set_pipeline(k.pipeline)
        launch.set_bind_group(0, group)
        if "indirect" in s:
            launch.dispatch_workgroups_indirect(buffers[s["indirect"]["buffer"]], s["indirect"]["offset"])
        else:
            launch.dispatch_workgroups(*s["groups"])
        launch.end()
    device.queue.submit([encoder.finish()])
    return {r["name"]: decode(device.queue.read_buffer(buffers[r["buffer"]]), r) for r in m["results"]}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("--input", action="append", default=[], metavar="NAME=FILE", help="an argument of the program")
    p.add_argument("--expect", action="append", default=[], metavar="[NAME=]FILE", help="what a result has to be")
    p.add_argument("--output", action="append", default=[], metavar="NAME=FILE", help="where to write a result")
    p.add_argument("--tolerance", type=float, default=1e-4, help="relative to 1 and to the expected value")
    args = p.parse_args()
    results = run(args.folder, {name: np.load(file) for name, file in (i.split("=", 1) for i in args.input)})
    for name, file in (o.split("=", 1) for o in args.output):
        np.save(file, results[name])
    right = True
    for n, e in enumerate(args.expect):
        name, file = e.split("=", 1) if "=" in e else (list(results)[n], e)
        want, got = np.load(file).astype("f8"), results[name].astype("f8")
        if want.shape != got.shape:
            sys.exit(f"{name}: the shape is {list(got.shape)}, expected {list(want.shape)}")
        worst = np.max(np.abs(got - want) / np.maximum(1, np.abs(want)), initial=0)
        right &= bool(worst <= args.tolerance)
        print(f"{name or 'result'} {list(got.shape)}: differs by at most {worst:.3g}, {'right' if worst <= args.tolerance else 'WRONG'}")
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
