"""Times the ops of `lazuli op-sweep` with PyTorch eager at the same sizes and puts the two beside each other.

    python benches/op_sweep.py --lazuli target/release/lazuli --rounds 3 [--ops 'sum*;mean'] [--json out.json]

The two are run in alternation, some ops at a time; of each op the least time of all rounds counts, since
other programs only ever add. Where PyTorch only makes a view, it is
asked for a copy, since ours writes its result.
"""
import argparse, json, subprocess, sys, time
import torch
import torch.nn.functional as F

REPORTED_ONLY = set("matmul mm bmm mv dot inner outer addmm addbmm baddbmm tensordot einsum linalg.multi_dot nn.functional.linear nn.functional.bilinear sort argsort topk median randperm".split())


def make(spec, seed):
    kind, sizes = spec.split(" ")
    shape = [int(n) for n in sizes.split("x")]
    g = torch.Generator().manual_seed(seed)
    if kind == "normal":
        return torch.randn(shape, generator=g)
    if kind == "unit":
        return torch.rand(shape, generator=g).clamp(1e-6, 1 - 1e-6)
    if kind == "above":
        return torch.rand(shape, generator=g) + 1
    if kind == "mask":
        return torch.randint(0, 2, shape, generator=g).bool()
    return torch.randint(0, int(kind.split(":")[1]), shape, generator=g)


def calls():
    t = {}
    for n in ("abs neg ceil floor round trunc sign square exp exp2 expm1 sin cos tan sinh cosh tanh asinh erf erfc sigmoid frac sinc deg2rad rad2deg nan_to_num isnan isinf isfinite "
              "signbit logical_not sqrt rsqrt reciprocal log log2 log10 log1p asin acos atan atanh acosh bitwise_not trace").split():
        t[n] = getattr(torch, n)
    for n in ("add sub mul div remainder floor_divide fmod pow float_power xlogy atan2 maximum minimum fmax fmin copysign heaviside hypot logaddexp logaddexp2 eq ne lt le gt ge logical_and "
              "logical_or logical_xor bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift isclose where matmul mm bmm mv dot inner outer").split():
        t[n] = getattr(torch, n)
    t["logit"] = lambda x: torch.logit(x, 1e-6)
    t["pow (square)"], t["pow (cube)"], t["pow (1.5)"] = (lambda x: x.pow(2)), (lambda x: x.pow(3)), (lambda x: x.pow(1.5))
    t["add (i64)"], t["mul (i64)"], t["sum (i64)"] = torch.add, torch.mul, torch.sum
    t["floor_divide (i64)"] = lambda x, y: torch.floor_divide(x, y + 1)
    t["remainder (i64)"] = lambda x, y: torch.remainder(x, y + 1)
    t["clamp"], t["clamp_min"] = (lambda x: x.clamp(-0.5, 0.5)), (lambda x: x.clamp_min(0.5))
    t["lerp"] = lambda x, y: torch.lerp(x, y, 0.3)
    t["addcmul"] = lambda x, y, z: torch.addcmul(x, y, z, value=2)
    t["addcdiv"] = lambda x, y, z: torch.addcdiv(x, y, z, value=2)
    t["add (row)"] = t["add (column)"] = torch.add
    t["add (transposed)"] = lambda x, y: x + y.t()
    for n in "sum mean prod nansum nanmean amax amin logsumexp any all count_nonzero argmax argmin".split():
        f = getattr(torch, n)
        t[n], t[n + " (axis 0)"], t[n + " (all)"] = (lambda x, f=f: f(x, 1)), (lambda x, f=f: f(x, 0)), (lambda x, f=f: f(x))
    for n in ("max", "min"):
        f = getattr(torch, n)
        t[n], t[n + " (axis 0)"] = (lambda x, f=f: f(x, 1).values), (lambda x, f=f: f(x, 0).values)
    for n in ("var", "std"):
        f = getattr(torch, n)
        t[n], t[n + " (axis 0)"], t[n + " (all)"] = (lambda x, f=f: f(x, dim=1)), (lambda x, f=f: f(x, dim=0)), (lambda x, f=f: f(x))
    vn = torch.linalg.vector_norm
    t["linalg.vector_norm"], t["linalg.vector_norm (axis 0)"], t["linalg.vector_norm (all)"] = (lambda x: vn(x, 2, 1)), (lambda x: vn(x, 2, 0)), (lambda x: vn(x))
    t["linalg.vector_norm (p 1)"], t["linalg.vector_norm (p 3)"] = (lambda x: vn(x, 1, 1)), (lambda x: vn(x, 3, 1))
    t["linalg.vector_norm (p inf)"] = lambda x: vn(x, float("inf"), 1)
    for n in ("cumsum", "cumprod", "logcumsumexp"):
        f = getattr(torch, n)
        t[n], t[n + " (axis 0)"] = (lambda x, f=f: f(x, 1)), (lambda x, f=f: f(x, 0))
    t["cummax"], t["cummin"], t["cummax (axis 0)"] = (lambda x: x.cummax(1).values), (lambda x: x.cummin(1).values), (lambda x: x.cummax(0).values)
    for n, f in (("softmax", torch.softmax), ("log_softmax", torch.log_softmax), ("nn.functional.softmin", lambda x, d: F.softmin(x, dim=d))):
        t[n], t[n + " (axis 0)"] = (lambda x, f=f: f(x, 1)), (lambda x, f=f: f(x, 0))
    t["median"] = lambda x: x.median(1).values
    copy = lambda f: lambda *x: f(*x).clone(memory_format=torch.contiguous_format)
    views = {
        "reshape": lambda x: x.reshape(512, 2048), "flatten": lambda x: x.flatten(0, 1), "permute": lambda x: x.permute(1, 0), "transpose": lambda x: x.transpose(0, 1),
        "movedim": lambda x: x.movedim(0, 1), "squeeze": lambda x: x.squeeze(), "unsqueeze": lambda x: x.unsqueeze(1), "expand": lambda x: x.expand(2, 1024, 1024),
        "broadcast_to": lambda x: x.broadcast_to(2, 1024, 1024), "split": lambda x: x.split(512, 1)[1], "chunk": lambda x: x.chunk(2, 0)[1], "narrow": lambda x: x.narrow(1, 3, 1000),
        "select": lambda x: x.select(1, 3), "diag": lambda x: x.diagonal(), "diagonal": lambda x: x.diagonal(1), "unfold": lambda x: x.unfold(1, 4, 2),
        "__getitem__ (slice)": lambda x: x[1::2, 3:1000], "__getitem__ (step)": lambda x: x[:, ::2], "meshgrid": lambda x, y: torch.meshgrid(x, y, indexing="ij")[1],
    }
    t.update({n: copy(f) for n, f in views.items()})
    t["cat"], t["cat (axis 1)"] = (lambda x: torch.cat([x, x], 0)), (lambda x: torch.cat([x, x], 1))
    t["stack"], t["stack (last axis)"] = (lambda x: torch.stack([x, x], 0)), (lambda x: torch.stack([x, x], 2))
    t["repeat"], t["tile"] = (lambda x: x.repeat(2, 2)), (lambda x: x.tile(2, 2))
    t["repeat_interleave"], t["repeat_interleave (axis 0)"] = (lambda x: x.repeat_interleave(3, 1)), (lambda x: x.repeat_interleave(3, 0))
    t["roll"], t["roll (axis 0)"] = (lambda x: x.roll(5, 1)), (lambda x: x.roll(5, 0))
    t["flip"], t["flip (axis 0)"] = (lambda x: x.flip(1)), (lambda x: x.flip(0))
    t["rot90"] = lambda x: torch.rot90(x).contiguous()
    t["diag_embed"] = t["diag (vector)"] = torch.diag
    t["tril"], t["triu"], t["diff"] = torch.tril, torch.triu, torch.diff
    t["constant_pad_nd"] = lambda x: F.pad(x, (1, 2))
    for m in ("reflect", "replicate", "circular"):
        t[f"nn.functional.pad ({m})"] = lambda x, m=m: F.pad(x, (2, 2, 2, 2), mode=m)
    t["__getitem__ (index)"] = lambda x, i: x[i]
    t["gather"], t["gather (axis 0)"] = (lambda x, i: x.gather(1, i)), (lambda x, i: x.gather(0, i))
    t["take_along_dim"] = lambda x, i: torch.take_along_dim(x, i, 1)
    t["scatter"], t["scatter_add"] = (lambda x, i, s: x.scatter(1, i, s)), (lambda x, i, s: x.scatter_add(1, i, s))
    t["scatter_add (axis 0)"] = lambda x, i, s: x.scatter_add(0, i, s)
    for m in ("sum", "mean", "amax", "amin", "prod"):
        t[f"scatter_reduce ({m})"] = lambda x, i, s, m=m: x.scatter_reduce(1, i, s, m)
    t["index_select"], t["index_select (axis 1)"] = (lambda x, i: x.index_select(0, i)), (lambda x, i: x.index_select(1, i))
    t["index_add"], t["index_add (axis 1)"] = (lambda x, i, s: x.index_add(0, i, s)), (lambda x, i, s: x.index_add(1, i, s))
    t["index_put"], t["index_put (accumulate)"] = (lambda x, i, s: x.index_put((i,), s)), (lambda x, i, s: x.index_put((i,), s, accumulate=True))
    t["index_copy"], t["index_fill"] = (lambda x, i, s: x.index_copy(0, i, s)), (lambda x, i: x.index_fill(0, i, 2))
    t["masked_fill"] = lambda x, m: x.masked_fill(m, 2)
    t["nn.functional.one_hot"] = lambda i: F.one_hot(i, 16)
    t["nn.functional.embedding"] = lambda w, i: F.embedding(i, w)
    for m in ("mean", "sum", "max"):
        t[f"nn.functional.embedding_bag ({m})"] = lambda w, i, m=m: F.embedding_bag(i, w, mode=m)
    t["sort"], t["argsort"], t["topk"] = (lambda x: x.sort(1).values), (lambda x: x.argsort(1)), (lambda x: x.topk(5, 1).values)
    t["addmm"] = lambda c, a, b: torch.addmm(c, a, b, beta=2, alpha=3)
    t["addbmm"] = lambda c, a, b: torch.addbmm(c, a, b, beta=2, alpha=3)
    t["baddbmm"] = lambda c, a, b: torch.baddbmm(c, a, b, beta=2, alpha=3)
    t["tensordot"] = lambda a, b: torch.tensordot(a, b, dims=([1, 2], [0, 1]))
    t["einsum"] = lambda a, b: torch.einsum("bij,bjk->bik", a, b)
    t["linalg.multi_dot"] = lambda *x: torch.linalg.multi_dot(x)
    n = "nn.functional."
    for f in "linear bilinear relu relu6 selu gelu silu mish hardsigmoid hardswish softplus softsign tanhshrink logsigmoid hardshrink softshrink prelu instance_norm".split():
        t[n + f] = getattr(F, f)
    for d in (1, 2, 3):
        t[f"{n}conv{d}d"] = lambda x, w, b, f=getattr(F, f"conv{d}d"): f(x, w, b, padding=1)
        if d < 3:
            t[f"{n}conv_transpose{d}d"] = lambda x, w, b, f=getattr(F, f"conv_transpose{d}d"): f(x, w, b, stride=2, padding=1, output_padding=1)
        for k in ("max", "avg"):
            f, a = getattr(F, f"{k}_pool{d}d"), getattr(F, f"adaptive_{k}_pool{d}d")
            t[f"{n}{k}_pool{d}d"] = lambda x, f=f: f(x, 2)
            t[f"{n}{k}_pool{d}d (3, stride 2)"] = lambda x, f=f: f(x, 3, stride=2, padding=1)
            t[f"{n}adaptive_{k}_pool{d}d"] = lambda x, a=a, d=d: a(x, {1: 100, 2: (7, 7), 3: (5, 5, 5)}[d])
    t[n + "conv2d (depthwise)"] = lambda x, w, b: F.conv2d(x, w, b, padding=1, groups=16)
    t[n + "max_pool2d (indices)"] = lambda x: F.max_pool2d(x, 2, return_indices=True)[1]
    t[n + "unfold"] = lambda x: F.unfold(x, 3)
    t[n + "fold"] = lambda x: F.fold(x, (34, 34), 3)
    t[n + "batch_norm (training)"] = lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True)
    t[n + "batch_norm"] = lambda x, w, b, m, v: F.batch_norm(x, m, v, w, b)
    t[n + "layer_norm"] = lambda x, w, b: F.layer_norm(x, (1024,), w, b)
    t[n + "rms_norm"] = lambda x, w: F.rms_norm(x, (1024,), w, 1e-6)
    t[n + "group_norm"] = lambda x, w, b: F.group_norm(x, 4, w, b)
    t[n + "instance_norm"] = lambda x, w, b: F.instance_norm(x, None, None, w, b)
    t[n + "local_response_norm"] = lambda x: F.local_response_norm(x, 5)
    t[n + "elu"], t[n + "celu"], t[n + "gelu (tanh)"] = F.elu, (lambda x: F.celu(x, 1.5)), (lambda x: F.gelu(x, approximate="tanh"))
    t[n + "glu"], t[n + "leaky_relu"], t[n + "hardtanh"] = (lambda x: F.glu(x, 1)), F.leaky_relu, F.hardtanh
    t[n + "threshold"] = lambda x: F.threshold(x, 0.5, 0)
    t[n + "cross_entropy"] = F.cross_entropy
    t[n + "cross_entropy (weights)"] = lambda x, y, w: F.cross_entropy(x, y, weight=w)
    t[n + "cross_entropy (smoothing)"] = lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1)
    for f in "nll_loss binary_cross_entropy binary_cross_entropy_with_logits mse_loss l1_loss smooth_l1_loss huber_loss poisson_nll_loss soft_margin_loss gaussian_nll_loss triplet_margin_loss normalize cosine_similarity".split():
        t[n + f] = getattr(F, f)
    t[n + "kl_div"] = lambda x, y: F.kl_div(x, y, reduction="mean")
    t[n + "hinge_embedding_loss"] = lambda x, y: F.hinge_embedding_loss(x, y.sign())
    t[n + "cosine_embedding_loss"] = lambda x, y, l: F.cosine_embedding_loss(x, y, l.floor())
    t[n + "scaled_dot_product_attention"] = F.scaled_dot_product_attention
    t[n + "scaled_dot_product_attention (causal)"] = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)
    for ours, m in (("Nearest", "nearest"), ("NearestExact", "nearest-exact"), ("Linear", "bilinear"), ("Cubic", "bicubic"), ("Area", "area")):
        t[f"{n}interpolate ({ours})"] = lambda x, m=m: F.interpolate(x, (100, 80), mode=m)
    for ours, m in (("Nearest", "nearest"), ("Linear", "bilinear"), ("Cubic", "bicubic")):
        t[f"{n}grid_sample ({ours})"] = lambda x, g, m=m: F.grid_sample(x, g, mode=m, align_corners=False)
    t[n + "pixel_shuffle"], t[n + "pixel_unshuffle"] = (lambda x: F.pixel_shuffle(x, 2)), (lambda x: F.pixel_unshuffle(x, 2))
    t[n + "dropout"] = F.dropout
    t["rand"], t["randn"], t["randint"] = (lambda: torch.rand(1024, 1024)), (lambda: torch.randn(1024, 1024)), (lambda: torch.randint(0, 10, (1024, 1024)))
    t["bernoulli"], t["randperm"], t["multinomial"] = torch.bernoulli, (lambda: torch.randperm(65536)), (lambda x: x.multinomial(4, True))
    t["arange"], t["linspace"] = (lambda: torch.arange(1 << 20)), (lambda: torch.linspace(0, 1, 1 << 20))
    t["full"], t["eye"] = (lambda: torch.full((1024, 1024), 1.5)), (lambda: torch.eye(1024))
    t["cast (f16)"], t["cast (bf16)"], t["cast (i64)"] = (lambda x: x.half()), (lambda x: x.bfloat16()), (lambda x: x.long())
    return t


def time_torch(f, inputs, warm, least):
    clock = time.perf_counter_ns
    start = clock()
    while True:
        f(*inputs)
        if clock() - start > warm * 1e9:
            break
    times, begin = [], clock()
    while len(times) < 5 or clock() - begin < least * 1e9:
        start = clock()
        f(*inputs)
        times.append(clock() - start)
    return min(times)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--lazuli", default="target/release/lazuli")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--ops", default="")
    p.add_argument("--slowest", type=int, default=20)
    p.add_argument("--quick", action="store_true")
    p.add_argument("--json")
    a = p.parse_args()
    torch.set_num_threads(2)
    torch.set_grad_enabled(False)
    tool = [a.lazuli, "op-sweep", "--json"] + (["--ops", a.ops] if a.ops else [])
    specs = [json.loads(l) for l in subprocess.run(tool + ["--list"], capture_output=True, text=True, check=True).stdout.splitlines()]
    peers = calls()
    missing = [s["op"] for s in specs if s["op"] not in peers]
    if missing:
        sys.exit(f"no call of PyTorch's for {missing}")
    ours, theirs, failed = {}, {}, {}
    for _ in range(a.rounds):
        for i in range(0, len(specs), 12):
            part = specs[i : i + 12]
            out = subprocess.run([a.lazuli, "op-sweep", "--json", "--ops", ";".join(s["op"] for s in part)] + (["--quick"] if a.quick else []), capture_output=True, text=True).stdout
            for r in map(json.loads, out.splitlines()):
                if r["ns"] is None:
                    failed[r["op"]] = r["error"]
                elif r["op"] not in ours or r["min_ns"] < ours[r["op"]]["min_ns"]:
                    ours[r["op"]] = r
            for s in part:
                inputs = [make(x, k) for k, x in enumerate(s["inputs"].split(", ")) if x]
                ns = time_torch(peers[s["op"]], inputs, *((0.01, 0.03) if a.quick else (0.03, 0.1)))
                theirs[s["op"]] = min(ns, theirs.get(s["op"], ns))
    rows = sorted(((ours[n]["min_ns"] / theirs[n], n) for n in ours), reverse=True)
    held = [(r, n) for r, n in rows if n not in REPORTED_ONLY]
    print(f"{'op':<56}{'ours us':>10}{'torch us':>10}{'ratio':>8}{'kernels':>9}")
    line = lambda r, n: print(f"{n:<56}{ours[n]['min_ns'] / 1e3:>10.1f}{theirs[n] / 1e3:>10.1f}{r:>8.2f}{ours[n]['launches']:>9.0f}")
    for r, n in held[: a.slowest]:
        line(r, n)
    print("reported only:")
    for r, n in rows:
        if n in REPORTED_ONLY:
            line(r, n)
    print(f"{sum(r <= 1.5 for r, _ in held)} of {len(held)} ops within 1.5 times PyTorch {torch.__version__}, {sum(r <= 1 for r, _ in held)} not slower")
    for n, e in failed.items():
        print(f"failed: {n}: {e}")
    if a.json:
        with open(a.json, "w") as f:
            json.dump([{"op": n, "ns": ours[n]["min_ns"], "torch_ns": theirs[n], "ratio": r, "launches": ours[n]["launches"]} for r, n in rows], f, indent=1)


main()
