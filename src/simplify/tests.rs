use super::simplify;
use crate::base::{DType, Scalar};
use crate::trace::generate::{random_program, random_trace};
use crate::trace::interp::{HostTensor, interpret};
use crate::trace::{Op, Trace};
use proptest::prelude::*;

/// `text` becomes `want`, and `want` stays as it is.
#[track_caller]
fn check(text: &str, want: &str) {
    let got = becomes(text, want);
    assert_eq!(simplify(&got), got);
}

/// `text` becomes `want`.
#[track_caller]
fn becomes(text: &str, want: &str) -> Trace {
    let t: Trace = text.parse().unwrap();
    let lines = want.lines().map(str::trim).filter(|l| !l.is_empty()).map(|l| format!("{l}\n"));
    let want: String = lines.collect();
    let got = simplify(&t);
    assert_eq!(got.to_string(), want);
    got
}

/// `result` is the text of instructions after `%x = input 0 : TYPE` and `%y = input 1 : TYPE`, of which the last is returned; it
/// becomes `want`, likewise.
#[track_caller]
fn on(ty: &str, text: &str, want: &str) {
    let frame = |lines: &str| {
        let body: Vec<&str> = lines.split(';').map(str::trim).filter(|l| !l.is_empty()).collect();
        let last = body.last().map_or("%x", |l| l.split(' ').next().unwrap_or("%x"));
        format!("%x = input 0 : {ty}\n%y = input 1 : {ty}\n{}\nreturn {last}", body.join("\n"))
    };
    let want: Trace = match want {
        "%x" | "%y" => format!("%x = input 0 : {ty}\n%y = input 1 : {ty}\nreturn {want}").parse().unwrap(),
        want => frame(want).parse().unwrap(),
    };
    let t: Trace = frame(text).parse().unwrap();
    assert_eq!(simplify(&t).to_string(), want.to_string(), "{t}");
}

#[test]
fn constants_fold() {
    check(
        "%0 = const 2.0 : f32[]
        %1 = const 3.0 : f32[]
        %2 = mul %0 %1 : f32[]
        %3 = broadcast %2 : f32[4]
        %4 = exp2 %3 : f32[4]
        %5 = cast %4 : i32[4]
        %6 = const 64 : i32[]
        %7 = broadcast %6 : i32[4]
        %8 = eq %5 %7 : bool[4]
        return %8, %5",
        "%0 = const 64 : i32[]
        %1 = broadcast %0 : i32[4]
        %2 = const true : bool[]
        %3 = broadcast %2 : bool[4]
        return %3, %1",
    );
    // A wrapped integer, a NaN, an overflow of the dtype.
    check(
        "%0 = const 200 : u8[]
        %1 = add %0 %0 : u8[]
        %2 = const -1.0 : f32[]
        %3 = sqrt %2 : f32[]
        %4 = const 300.0 : f16[]
        %5 = mul %4 %4 : f16[]
        return %1, %3, %5",
        "%0 = const 144 : u8[]
        %1 = const nan : f32[]
        %2 = const inf : f16[]
        return %0, %1, %2",
    );
}

#[test]
fn identities() {
    let c = |d: &str, op: &str, c: &str| format!("%c = const {c} : {d}[]; %b = broadcast %c : {d}[3]; %r = {op} %x %b : {d}[3]");
    for (d, op, value) in [
        ("f32", "mul", "1.0"),
        ("f32", "div", "1.0"),
        ("f32", "sub", "0.0"),
        ("f32", "add", "-0.0"),
        ("bf16", "pow", "1.0"),
        ("i32", "add", "0"),
        ("i32", "sub", "0"),
        ("i32", "mul", "1"),
        ("i32", "div", "1"),
        ("u8", "and", "255"),
        ("i64", "and", "-1"),
        ("i64", "or", "0"),
        ("u32", "xor", "0"),
        ("u32", "shl", "0"),
        ("i32", "shr", "0"),
        ("bool", "and", "true"),
        ("bool", "or", "false"),
        ("bool", "xor", "false"),
        ("bool", "min", "true"),
    ] {
        on(&format!("{d}[3]"), &c(d, op, value), "%x");
    }
    // Not exact, or not true of NaN, infinity or -0: these stay.
    for (d, op, value) in [
        ("f32", "add", "0.0"),
        ("f32", "sub", "-0.0"),
        ("f32", "mul", "0.0"),
        ("f32", "max", "-inf"),
        ("f32", "div", "3.0"),
        ("f32", "rem", "1.0"),
        ("f16", "div", "32768.0"),
        ("f32", "pow", "3.0"),
        ("f32", "pow", "0.5"),
    ] {
        let text = c(d, op, value);
        on(&format!("{d}[3]"), &text, &text);
    }
    on("i32[3]", &c("i32", "mul", "0"), "%c = const 0 : i32[]; %b = broadcast %c : i32[3]");
    on("f32[3]", &c("f32", "mul", "-1.0"), "%r = neg %x : f32[3]");
    on("f32[3]", &c("f32", "div", "8.0"), &c("f32", "mul", "0.125"));
    on("f32[3]", &c("f32", "pow", "2.0"), "%r = mul %x %x : f32[3]");
    on("f32[3]", &c("f32", "pow", "-1.0"), "%r = recip %x : f32[3]");
    on("f32[3]", &c("f32", "pow", "0.0"), "%c = const 1.0 : f32[]; %b = broadcast %c : f32[3]");
    on("bool[3]", &c("bool", "xor", "true"), "%r = not %x : bool[3]");
    on("i64[3]", &format!("{}; %s = add %r %b : i64[3]", c("i64", "add", "5")), &c("i64", "add", "10"));
    let f = "f32[3]";
    on(f, "%a = neg %x : f32[3]; %b = neg %a : f32[3]", "%x");
    on(f, "%a = neg %x : f32[3]; %b = abs %a : f32[3]", "%b = abs %x : f32[3]");
    on(f, "%a = neg %y : f32[3]; %b = add %x %a : f32[3]", "%b = sub %x %y : f32[3]");
    on(f, "%a = neg %x : f32[3]; %b = add %a %y : f32[3]", "%b = sub %y %x : f32[3]");
    on(f, "%a = neg %y : f32[3]; %b = sub %x %a : f32[3]", "%b = add %x %y : f32[3]");
    on(f, "%a = max %x %x : f32[3]", "%x");
    on(f, "%a = floor %x : f32[3]; %b = round %a : f32[3]", "%a = floor %x : f32[3]");
    on(f, "%a = sub %x %x : f32[3]", "%a = sub %x %x : f32[3]");
    on(f, "%a = div %x %x : f32[3]", "%a = div %x %x : f32[3]");
    on(f, "%a = eq %x %x : bool[3]", "%a = eq %x %x : bool[3]");
    on(f, "%a = eq %x %y : bool[3]; %b = not %a : bool[3]", "%b = ne %x %y : bool[3]");
    on(f, "%a = lt %x %y : bool[3]; %b = not %a : bool[3]", "%a = lt %x %y : bool[3]; %b = not %a : bool[3]");
    let i = "u8[3]";
    on(i, "%a = neg %x : u8[3]; %b = abs %a : u8[3]", "%a = neg %x : u8[3]; %b = abs %a : u8[3]");
    on(i, "%a = lt %x %y : bool[3]; %b = not %a : bool[3]", "%b = ge %x %y : bool[3]");
    on(i, "%a = xor %x %x : u8[3]", "%c = const 0 : u8[]; %a = broadcast %c : u8[3]");
    on(i, "%a = le %x %x : bool[3]", "%c = const true : bool[]; %a = broadcast %c : bool[3]");
}

#[test]
fn selects() {
    on("f32[3]", "%m = lt %x %y : bool[3]; %s = select %m %x %x : f32[3]", "%x");
    on("f32[3]", "%m = const false : bool[]; %b = broadcast %m : bool[3]; %s = select %b %x %y : f32[3]", "%y");
    on(
        "f32[3]",
        "%m = lt %x %y : bool[3]; %n = not %m : bool[3]; %s = select %n %x %y : f32[3]",
        "%m = lt %x %y : bool[3]; %s = select %m %y %x : f32[3]",
    );
    let tf = "%t = const true : bool[]; %f = const false : bool[]; %b = broadcast %t : bool[3]; %c = broadcast %f : bool[3]";
    on("bool[3]", &format!("{tf}; %s = select %x %b %c : bool[3]"), "%x");
    on("bool[3]", &format!("{tf}; %s = select %x %c %b : bool[3]"), "%s = not %x : bool[3]");
}

#[test]
fn casts() {
    let chain =
        |a: &str, b: &str, c: &str| format!("%a = cast %x : {b}[3]; %b = cast %a : {c}[3]; %k = cast %x : {a}[3]; %r = abs %b : {c}[3]");
    let direct = |c: &str| format!("%b = cast %x : {c}[3]; %r = abs %b : {c}[3]");
    for (a, b, c) in [
        ("f16", "f32", "bf16"),
        ("u8", "f32", "f16"),
        ("i32", "i64", "u8"),
        ("u32", "f64", "f32"),
        ("u32", "f64", "i64"),
        ("bool", "f16", "i32"),
    ] {
        on(&format!("{a}[3]"), &chain(a, b, c), &direct(c));
    }
    on("bf16[3]", "%a = cast %x : f32[3]; %b = cast %a : bf16[3]", "%x");
    on("f32[3]", "%a = cast %x : f32[3]", "%x");
    // Rounds, truncates or saturates in the middle.
    for (a, b, c) in [("f32", "f16", "f32"), ("f32", "i32", "f32"), ("i64", "f64", "f32"), ("u32", "f64", "i32"), ("i32", "f32", "f64")] {
        let kept = format!("%a = cast %x : {b}[3]; %b = cast %a : {c}[3]; %r = abs %b : {c}[3]");
        on(&format!("{a}[3]"), &chain(a, b, c), &kept);
    }
}

#[test]
fn scalar_arithmetic_stays_scalar() {
    check(
        "%0 = param 0 : f32[]
        %1 = param 1 : f32[]
        %2 = input 0 : f32[4, 3]
        %3 = broadcast %0 : f32[4, 3]
        %4 = broadcast %1 : f32[4, 3]
        %5 = mul %3 %4 : f32[4, 3]
        %6 = sqrt %5 : f32[4, 3]
        %7 = reshape %6 : f32[12]
        %8 = broadcast %7 : f32[2, 12]
        %9 = slice [0:1, 0:12] %8 : f32[1, 12]
        %10 = reshape %9 : f32[4, 3]
        %11 = mul %2 %10 : f32[4, 3]
        return %11",
        "%0 = param 0 : f32[]
        %1 = param 1 : f32[]
        %2 = input 0 : f32[4, 3]
        %3 = mul %0 %1 : f32[]
        %4 = sqrt %3 : f32[]
        %5 = broadcast %4 : f32[4, 3]
        %6 = mul %2 %5 : f32[4, 3]
        return %6",
    );
}

#[test]
fn reductions() {
    on("f32[3, 4]", "%a = reduce max axes=[0] %x : f32[4]; %b = reduce max axes=[0] %a : f32[]", "%b = reduce max axes=[0, 1] %x : f32[]");
    let sums = "%a = reduce sum axes=[0] %x : f32[4]; %b = reduce sum axes=[0] %a : f32[]";
    on("f32[3, 4]", sums, sums);
    on(
        "i32[3, 4, 2]",
        "%a = reduce sum axes=[1] %x : i32[3, 2]; %b = reduce sum axes=[1] %a : i32[3]",
        "%b = reduce sum axes=[1, 2] %x : i32[3]",
    );
    on("f32[1, 4]", "%a = reduce sum axes=[0] %x : f32[4]", "%a = reshape %x : f32[4]");
    on("f32[1, 4]", "%a = reduce argmin axes=[0] %x : i64[4]", "%c = const 0 : i64[]; %a = broadcast %c : i64[4]");
    on("f32[4]", "%a = reduce sum axes=[] %x : f32[4]", "%x");
    on(
        "f32[4]",
        "%c = const 1.0 : f32[]; %a = broadcast %c : f32[6, 2]; %b = reduce sum axes=[0] %a : f32[2]",
        "%c = const 6.0 : f32[]; %b = broadcast %c : f32[2]",
    );
}

#[test]
fn views_compose() {
    let x = "f32[4, 6]";
    on(x, "%a = reshape %x : f32[24]; %b = reshape %a : f32[3, 8]", "%b = reshape %x : f32[3, 8]");
    on(x, "%a = reshape %x : f32[24]; %b = reshape %a : f32[4, 6]", "%x");
    on(x, "%a = permute [1, 0] %x : f32[6, 4]; %b = permute [1, 0] %a : f32[4, 6]", "%x");
    on(
        "f32[2, 3, 4]",
        "%a = permute [1, 2, 0] %x : f32[3, 4, 2]; %b = permute [1, 0, 2] %a : f32[4, 3, 2]",
        "%b = permute [2, 1, 0] %x : f32[4, 3, 2]",
    );
    on("f32[2, 1, 4]", "%a = permute [1, 0, 2] %x : f32[1, 2, 4]", "%a = reshape %x : f32[1, 2, 4]");
    on(x, "%a = slice [0:4, 1:6:2] %x : f32[4, 3]; %b = slice [1:4:2, 1:3] %a : f32[2, 2]", "%b = slice [1:4:2, 3:6:2] %x : f32[2, 2]");
    on(x, "%a = slice [0:4:1, 0:6:1] %x : f32[4, 6]", "%x");
    on(x, "%a = flip axes=[0, 1] %x : f32[4, 6]; %b = flip axes=[1] %a : f32[4, 6]", "%b = flip axes=[0] %x : f32[4, 6]");
    on("f32[1, 6]", "%a = flip axes=[0] %x : f32[1, 6]", "%x");
    on("f32[6]", "%a = broadcast %x : f32[4, 6]; %b = broadcast %a : f32[2, 4, 6]", "%b = broadcast %x : f32[2, 4, 6]");
    on("f32[6]", "%a = reshape %x : f32[1, 6]; %b = broadcast %a : f32[4, 6]", "%b = broadcast %x : f32[4, 6]");
    on("f32[6]", "%a = broadcast %x : f32[1, 6]", "%a = reshape %x : f32[1, 6]");
    on("f32[6]", "%a = pad [0:0] value=1.0 %x : f32[6]", "%x");
    on("f32[6]", "%a = pad [1:0] value=1.0 %x : f32[7]; %b = pad [2:3] value=1.0 %a : f32[12]", "%b = pad [3:3] value=1.0 %x : f32[12]");
    let two = "%a = pad [1:0] value=1.0 %x : f32[7]; %b = pad [2:3] value=0.0 %a : f32[12]";
    on("f32[6]", two, two);
    on("f32[6]", "%a = pad [2:1] value=0.0 %x : f32[9]; %b = slice [2:8] %a : f32[6]", "%x");
    on("f32[6]", "%a = pad [2:1] value=0.0 %x : f32[9]; %b = slice [3:9:3] %a : f32[2]", "%b = slice [1:5:3] %x : f32[2]");
    on("f32[6]", "%a = concat axis=0 %x %y : f32[12]; %b = slice [6:12] %a : f32[6]", "%y");
    on("f32[6]", "%a = concat axis=0 %x : f32[6]", "%x");
    on("f32[6]", "%e = slice [3:3] %x : f32[0]; %a = concat axis=0 %e %x : f32[6]", "%x");
    on(
        x,
        "%c = const 2.0 : f32[]; %b = broadcast %c : f32[4, 6]; %p = pad [1:0, 0:0] value=2.0 %b : f32[5, 6]; %f = flip axes=[0] %p : f32[5, 6]",
        "%c = const 2.0 : f32[]; %b = broadcast %c : f32[5, 6]",
    );
}

#[test]
fn equal_instructions_become_one() {
    check(
        "%0 = input 0 : f32[3]
        %1 = input 1 : f32[3]
        %2 = add %0 %1 : f32[3]
        %3 = add %1 %0 : f32[3]
        %4 = sub %0 %1 : f32[3]
        %5 = sub %1 %0 : f32[3]
        %6 = mul %2 %3 : f32[3]
        %7 = const 1 : i64[]
        %8 = const 1 : i64[]
        %9 = random %7 %8 : u32[4]
        %10 = random %8 %7 : u32[4]
        %11 = xor %9 %10 : u32[4]
        return %6, %4, %5, %11",
        "%0 = input 0 : f32[3]
        %1 = input 1 : f32[3]
        %2 = add %0 %1 : f32[3]
        %3 = sub %0 %1 : f32[3]
        %4 = sub %1 %0 : f32[3]
        %5 = mul %2 %2 : f32[3]
        %6 = const 0 : u32[]
        %7 = broadcast %6 : u32[4]
        return %5, %3, %4, %7",
    );
}

#[test]
fn dead_code_goes_and_inputs_stay() {
    check(
        "%0 = input 0 : f32[3]
        %1 = param 0 : f32[]
        %2 = input 1 : f32[3]
        %3 = sin %0 : f32[3]
        %4 = param 1 : f32[]
        %5 = cos %2 : f32[3]
        return %5",
        "%0 = input 0 : f32[3]
        %1 = param 0 : f32[]
        %2 = input 1 : f32[3]
        %3 = param 1 : f32[]
        %4 = cos %2 : f32[3]
        return %4",
    );
}

#[test]
fn regions_are_inlined_and_what_a_checkpoint_repeats_stays_repeated() {
    let body = "{
          %0 = input 0 : f32[3]
          %1 = sin %0 : f32[3]
          %2 = sin %0 : f32[3]
          %3 = region custom_jvp %1 %2 {
            %0 = input 0 : f32[3]
            %1 = input 1 : f32[3]
            %2 = mul %0 %1 : f32[3]
            return %2
          } rule {
            %0 = input 0 : f32[3]
            %1 = input 1 : f32[3]
            %2 = input 2 : f32[3]
            %3 = input 3 : f32[3]
            return %3
          } : f32[3]
          %4 = output 0 %3 : f32[3]
          %5 = neg %4 : f32[3]
          return %5
        } : f32[3]";
    becomes(
        &format!(
            "%0 = input 0 : f32[3]
            %1 = sin %0 : f32[3]
            %2 = region checkpoint %0 {body}
            %3 = output 0 %2 : f32[3]
            %4 = region checkpoint %0 {body}
            %5 = output 0 %4 : f32[3]
            %6 = add %3 %5 : f32[3]
            return %6, %1"
        ),
        "%0 = input 0 : f32[3]
        %1 = sin %0 : f32[3]
        %2 = sin %0 : f32[3]
        %3 = mul %2 %2 : f32[3]
        %4 = neg %3 : f32[3]
        %5 = sin %0 : f32[3]
        %6 = mul %5 %5 : f32[3]
        %7 = sub %4 %6 : f32[3]
        return %7, %1",
    );
}

/// Equal bit for bit, any NaN for any NaN.
fn same_meaning(t: &Trace, inputs: &[HostTensor], params: &[Scalar]) {
    let s = simplify(t);
    crate::trace::verify::verify(&s).unwrap();
    assert!(s.insts.iter().all(|i| !matches!(i.op, Op::Region(_) | Op::Output(_))));
    assert_eq!(s.inputs.len(), t.inputs.len());
    let (before, after) = (interpret(t, inputs, params).unwrap(), interpret(&s, inputs, params).unwrap());
    for (n, (a, b)) in before.iter().zip(&after).enumerate() {
        assert!(a.same(b), "output {n}: {a:?} became {b:?}\n{t}\n{s}");
    }
    // A second time finds little: rules look only at what is already simple.
    assert!(simplify(&s).insts.len() <= s.insts.len());
}

/// Values of `d` on which an identity may fail.
fn awkward(d: DType) -> Vec<Scalar> {
    let floats = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -3.25, 1e-45, 1e-40, 6e-8, 7e4, 1e38, 1e300];
    let ints = [0, 1, -1, 2, 3, 7, 31, 32, 64, 127, 200, 255, i32::MAX as i64, i32::MIN as i64, u32::MAX as i64, i64::MAX, i64::MIN];
    if d.is_float() { floats.map(|x| Scalar::Float(x).cast(d)).to_vec() } else { ints.map(|x| Scalar::Int(x).cast(d)).to_vec() }
}

fn column(d: DType) -> HostTensor {
    let v = awkward(d);
    HostTensor::from_scalars(d, [v.len()].into(), v)
}

#[test]
fn every_op_with_every_awkward_constant_keeps_its_meaning() {
    use crate::trace::{Binary, Compare, Unary};
    for d in DType::ALL {
        let x = column(d);
        for c in awkward(d) {
            let mut t = Trace::new();
            let v = t.input(d, x.shape.clone());
            let k = t.constant(c, d, &x.shape);
            let mut all = vec![v];
            for &b in Binary::ALL.iter().filter(|b| b.accepts(d)) {
                all.extend([t.binary(b, v, k), t.binary(b, k, v)]);
                let (inner, other) = (t.binary(b, v, k), t.constant(Scalar::Int(3), d, &x.shape));
                all.push(t.binary(b, inner, other));
                if Unary::Neg.accepts(d) {
                    let n = t.neg(v);
                    all.extend([
                        t.binary(b, n, k),
                        t.binary(b, k, n),
                        t.binary(b, n, v),
                        t.binary(b, v, n),
                        t.binary(b, n, n),
                        t.binary(b, v, v),
                    ]);
                }
            }
            for &op in Compare::ALL {
                let (p, q) = (t.compare(op, v, k), t.compare(op, v, v));
                all.extend([t.compare(op, k, v), t.unary(Unary::Not, p), t.unary(Unary::Not, q), p, q]);
                all.extend([t.select(p, v, k), t.select(q, k, k)]);
            }
            t.outputs = all;
            same_meaning(&t, std::slice::from_ref(&x), &[]);
        }
        let mut t = Trace::new();
        let v = t.input(d, x.shape.clone());
        for &u in Unary::ALL.iter().filter(|u| u.accepts(d)) {
            let a = t.unary(u, v);
            for &w in Unary::ALL.iter().filter(|u| u.accepts(d)) {
                let b = t.unary(w, a);
                t.outputs.push(b);
            }
        }
        for m in DType::ALL {
            let a = t.cast(v, m);
            for e in DType::ALL {
                let b = t.cast(a, e);
                t.outputs.push(b);
            }
        }
        same_meaning(&t, &[x], &[]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn meaning_is_kept(seed: u64, size in 1usize..60) {
        let (t, inputs, params) = random_trace(seed, size);
        same_meaning(&t, &inputs, &params);
    }

    #[test]
    fn meaning_is_kept_for_special_values(seed: u64, size in 1usize..40, mut salt: u64) {
        let p = random_program(seed, size);
        let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1e-45, 1e30, -1.0, 0.5, 1.5];
        let mut spoil = |d: DType, s: Scalar| {
            salt = salt.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let wide = Scalar::Int((salt as i64) >> (salt >> 58));
            match d {
                _ if salt >> 33 & 1 == 0 => s,
                DType::Bool => s,
                d if d.is_float() => Scalar::Float(special[(salt >> 40) as usize % special.len()]).cast(d),
                d => wide.cast(d),
            }
        };
        let inputs: Vec<HostTensor> = p.inputs.iter().map(|x| {
            let v: Vec<Scalar> = x.scalars().map(|s| spoil(x.dtype, s)).collect();
            HostTensor::from_scalars(x.dtype, x.shape.clone(), v)
        }).collect();
        let params: Vec<Scalar> = p.trace.params.iter().zip(&p.params).map(|(&v, &s)| spoil(p.trace.dtype(v), s)).collect();
        same_meaning(&p.trace, &inputs, &params);
    }
}

#[test]
fn long_traces_are_simplified_in_linear_time_and_without_recursion() {
    let mut t = Trace::new();
    let x = t.input(DType::F32, [8].into());
    let mut v = x;
    for i in 0..50_000 {
        v = match i % 5 {
            0 => t.neg(v),
            1 => t.binary_const(crate::trace::Binary::Add, v, 1.0),
            2 => t.reshape(v, &[2, 4].into()),
            3 => t.reshape(v, &[8].into()),
            _ => t.mul(v, x),
        };
    }
    t.outputs.push(v);
    let s = simplify(&t);
    assert!(s.insts.len() < t.insts.len() && s.insts.len() > 20_000);
}
