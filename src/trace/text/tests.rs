use crate::base::{DType, ErrorKind, Scalar, Shape};
use crate::trace::{Op, PadSpec, Trace};
use proptest::prelude::*;
use smallvec::smallvec;

/// Every op, in the form that printing gives.
const ALL_OPS: &str = "\
%0 = input 0 : f32[4, 3]
%1 = param 0 : f32[]
%2 = const 2.0 : f32[]
%3 = broadcast %2 : f32[4, 3]
%4 = mul %0 %3 : f32[4, 3]
%5 = reduce sum axes=[1] %4 : f32[4]
%6 = reduce argmax axes=[0, 1] %4 : i64[]
%7 = gt %0 %3 : bool[4, 3]
%8 = select %7 %0 %4 : f32[4, 3]
%9 = erf %8 : f32[4, 3]
%10 = cast %9 : bf16[4, 3]
%11 = reshape %10 : bf16[2, 6]
%12 = permute [1, 0] %11 : bf16[6, 2]
%13 = slice [0:6:4, 1:2] %12 : bf16[2, 1]
%14 = pad [0:1, 2:0] value=-0.0 %13 : bf16[3, 3]
%15 = flip axes=[0] %14 : bf16[3, 3]
%16 = concat axis=0 %15 %14 %15 : bf16[9, 3]
%17 = iota axis=1 : i64[9, 3]
%18 = gather batch=1 %16 %17 : bf16[9, 3]
%19 = scatter add batch=1 %16 %17 %18 : bf16[9, 3]
%20 = dot %14 %15 : bf16[3, 3]
%21 = reshape %20 : bf16[1, 1, 9]
%22 = conv stride=[2] lo=[-1] hi=[3] lhs_dilation=[1] rhs_dilation=[1] groups=1 %21 %21 : bf16[1, 1, 2]
%23 = random %6 %6 : u32[7]
%24 = argsort descending %23 : i64[7]
%25 = argsort %23 : i64[7]
%26 = cumulative prod axis=0 reverse %23 : u32[7]
%27 = cumulative sum axis=0 %26 : u32[7]
%28 = const true : bool[]
%29 = region checkpoint %5 %28 {
  %0 = input 0 : f32[4]
  %1 = input 1 : bool[]
  %2 = region custom_vjp %0 {
    %0 = input 0 : f32[4]
    %1 = sin %0 : f32[4]
    return %1
  } rule {
    %0 = input 0 : f32[4]
    %1 = input 1 : f32[4]
    %2 = input 2 : f32[4]
    %3 = mul %0 %2 : f32[4]
    return %3
  } : f32[4]
  %3 = output 0 %2 : f32[4]
  return %3, %1
} : f32[4]
%30 = output 1 %29 : bool[]
%31 = region checkpoint saved=1 %5 {
  %0 = input 0 : f32[4]
  %1 = exp %0 : f32[4]
  %2 = sin %1 : f32[4]
  return %2, %1
} : f32[4]
%32 = output 0 %31 : f32[4]
return %30, %19, %32
";

#[test]
fn every_op_prints_as_it_is_read() {
    let t: Trace = ALL_OPS.parse().unwrap();
    assert_eq!(t.to_string(), ALL_OPS);
    assert_eq!(t.insts.len(), 33);
    assert_eq!("return\n".parse::<Trace>().unwrap(), Trace::new());
    assert_eq!(Trace::new().to_string(), "return\n");
}

#[test]
fn reading_is_lenient_about_layout_and_names() {
    let t: Trace = "
        // a comment, and a blank line

        %x=input 0:f32[2,2]   // types may be close
          %two = const 2 : f32[]
        %b = broadcast %two : f32[2, 2]
        %y = mul %x %b : f32[2, 2]
        return %y"
        .parse()
        .unwrap();
    assert_eq!(t.to_string().lines().last(), Some("return %3"));
}

#[test]
fn scalars_round_trip() {
    let mut t = Trace::new();
    let specials =
        [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -f64::NAN, 5e-324, 1e-45, 0.1, 1e300, f64::MAX, f64::MIN_POSITIVE];
    for d in DType::ALL {
        for x in specials.into_iter().map(Scalar::Float).chain([i64::MIN, i64::MAX, 255].map(Scalar::Int)) {
            let c = t.constant(x, d, &Shape::scalar());
            t.pad(c, PadSpec { lo: smallvec![], hi: smallvec![], value: x.cast(d) });
        }
    }
    let text = t.to_string();
    assert!(text.contains("const 0.1 : f32[]") && text.contains("const -inf : f16[]") && text.contains("const -0.0 : bf16[]"));
    let back: Trace = text.parse().unwrap();
    assert_eq!(back, t);
    // 0.1 in f16 is the nearest f16.
    let t: Trace = "%0 = const 0.1 : f16[]\nreturn %0".parse().unwrap();
    assert!(matches!(t.insts[0].op, Op::Const(c) if c.as_f64() == 0.0999755859375));
}

#[test]
fn errors_name_the_line() {
    for (text, line, message) in [
        ("", 1, "end of the text"),
        ("%0 = input 0 : f32[2]", 1, "expected an instruction"),
        ("%0 = input 0 : f32[2]\n\n%1 = frob %0 : f32[2]\nreturn", 3, "`frob` is no op"),
        ("%0 = input 0 : f33[2]\nreturn", 1, "no dtype"),
        ("%0 = input 1 : f32[2]\nreturn", 1, "not the next"),
        ("%0 = input 0 : f32[2]\n%1 = add %0 %2 : f32[2]\nreturn", 2, "%2 is not defined"),
        ("%0 = input 0 : f32[2]\n%1 = add %0 %0 : f32[3]\nreturn", 2, "%1 = add yields f32 [2], but its type says f32 [3]"),
        ("%0 = input 0 : f32[2]\n%0 = add %0 %0 : f32[2]\nreturn", 2, "defined twice"),
        ("%0 = input 0 : f32[2]\n%1 = reduce sum axes=[1] %0 : f32[2]\nreturn", 2, "axes [1] of shape [2]"),
        ("%0 = const 300 : u8[]\nreturn %0", 1, "no value of u8"),
        ("%0 = const nan_0 : f32[]\nreturn %0", 1, "no value of f32"),
        ("%0 = input 0 : f32[99999999999, 99999999999]\nreturn %0", 1, "too large"),
        ("%0 = input 0 : f32[18446744073709551616]\nreturn %0", 1, "expected an extent"),
        ("return\nreturn", 2, "expected the end of the text"),
        ("%0 = input 0 : f32[é]", 1, "unexpected character"),
        ("%0 = region checkpoint {\nreturn\n} : f32[]\nreturn", 3, "no outputs"),
    ] {
        let e = text.parse::<Trace>().unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Format);
        assert!(e.message().starts_with(&format!("line {line}: ")) && e.message().contains(message), "{text:?}: {e}");
    }
}

#[test]
fn nesting_is_bounded() {
    let deep = |n: usize| {
        let mut s = String::new();
        for _ in 0..n {
            s += "%0 = region checkpoint {\n";
        }
        s += "%c = const 1.0 : f32[]\nreturn %c\n";
        for _ in 0..n {
            s += "} : f32[]\n%1 = output 0 %0 : f32[]\nreturn %1\n";
        }
        s
    };
    let t: Trace = deep(32).parse().unwrap();
    assert_eq!(t.to_string().parse::<Trace>().unwrap(), t);
    assert!(deep(33).parse::<Trace>().unwrap_err().message().contains("nested"));
    assert!(deep(100_000).parse::<Trace>().unwrap_err().message().contains("nested"));
}

#[test]
fn damaged_text_is_an_error_or_another_trace() {
    for at in 0..ALL_OPS.len() {
        let _ = ALL_OPS[..at].parse::<Trace>();
        for put in ["", "9", "-", "99999999999999", "%", "[", "\n", "é"] {
            let text = format!("{}{put}{}", &ALL_OPS[..at], &ALL_OPS[at + 1..]);
            if let Ok(t) = text.parse::<Trace>() {
                assert_eq!(t.to_string().parse::<Trace>().unwrap(), t);
            }
        }
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(text in "[%=:,\\[\\]{} a-z0-9.\n-]{0,200}") {
        let _ = text.parse::<Trace>();
    }
}
