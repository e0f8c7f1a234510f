use super::super::samples::*;
use super::*;
use proptest::prelude::*;

#[test]
fn samples_survive() {
    for text in ALL {
        let k: Kernel = text.parse().unwrap();
        let printed = k.to_string();
        assert_eq!(printed.parse::<Kernel>().unwrap(), k, "{printed}");
        // Printing is a fixed point, and apart from comments and spaces it is what was parsed.
        let bare = |s: &str| {
            s.lines()
                .map(|l| l.split('#').next().unwrap().split_whitespace().collect::<Vec<_>>().join(" "))
                .filter(|l| !l.is_empty())
                .collect::<Vec<_>>()
        };
        assert_eq!(bare(&printed), bare(text));
    }
}

#[test]
fn softmax_reads_well() {
    let want = "\
kernel row_reduction
axes 2, 3 row
args a0: read f32[6], a1: write f32[6]
n0 = i0
n1 = n0 * 3                                 # 3*i0
n2 = i1
n3 = n1 + n2                                # 3*i0 + i1
e0: f32 = load a0[n3]                       # 3*i0 + i1
e1: f32 = reduced r0.0
e2: f32 = sub e0, e1
e3: f32 = exp e2
e4: f32 = reduced r1.0
e5: f32 = div e3, e4
pass 0 row
  r0.0: f32 = max e0
pass 1 row
  r1.0: f32 = sum e3
pass 2 row
  a1[n3] = e5                               # 3*i0 + i1
";
    assert_eq!(SOFTMAX.parse::<Kernel>().unwrap().to_string(), want);
}

#[test]
fn every_function_and_number_survives() {
    let mut k: Kernel = "kernel pointwise".parse().unwrap();
    let mut push = |kind, dtype| k.exprs.push(Expr { kind, dtype });
    let (a, b) = (ExprId(0), ExprId(4_000_000_000));
    Unary::ALL.iter().for_each(|&op| push(ExprKind::Unary(op, a), DType::F32));
    Binary::ALL.iter().for_each(|&op| push(ExprKind::Binary(op, a, b), DType::I32));
    Compare::ALL.iter().for_each(|&op| push(ExprKind::Compare(op, b, a), DType::Bool));
    for x in [
        0.0,
        -0.0,
        1.5,
        1e300,
        -1e-300,
        5e-324,
        f64::MAX,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        -f64::NAN,
        f64::from_bits(0x7ff0_0000_0000_0001),
    ] {
        push(ExprKind::Const(Scalar::Float(x)), DType::F64);
    }
    [i64::MIN, -1, 0, i64::MAX].into_iter().for_each(|x| push(ExprKind::Const(Scalar::Int(x)), DType::I64));
    [true, false].into_iter().for_each(|x| push(ExprKind::Const(Scalar::Bool(x)), DType::Bool));
    let fill = Scalar::Float(-0.0);
    push(ExprKind::Load { arg: ArgId(9), index: IndexId(9), mask: SmallVec::new(), fill }, DType::BF16);
    push(ExprKind::InBounds(SmallVec::new()), DType::Bool);
    k.indices.extend([Index::Const(i64::MIN), Index::Mul(IndexId(7), -3), Index::Value(b, -5), Index::Axis(255)]);
    let printed = k.to_string();
    assert_eq!(printed.parse::<Kernel>().unwrap(), k, "{printed}");
}

#[test]
fn errors_name_the_line() {
    for (text, message) in [
        ("", "no kernel"),
        ("pointwise", "line 1: expected `kernel`"),
        ("kernel", "expected an archetype, found the end"),
        ("kernel blur", "expected an archetype, found `blur`"),
        ("kernel pointwise\nkernel pointwise", "line 2: a second kernel"),
        ("kernel pointwise\naxes 2\naxes 3", "line 3: given twice"),
        ("kernel pointwise\naxes 99999999999999999999", "expected a number"),
        ("kernel pointwise\n\nn1 = i0", "line 3: number 1 where 0 comes next"),
        ("kernel pointwise\nn0 = i256", "axis below 256"),
        ("kernel pointwise\nn0 = n1 - n2", "expected `+`"),
        ("kernel pointwise\ne0: f33 = const 1", "expected a dtype"),
        ("kernel pointwise\ne0: f32 = blur e1", "expected an operation, found `blur`"),
        ("kernel pointwise\ne0: f32 = const infinity", "expected a number"),
        ("kernel pointwise\ne0: f32 = load a0[n0] where 0 <= n1", "expected `<`"),
        ("kernel pointwise\na0[n0] = e0", "a part of a kernel"),
        ("kernel pointwise\npass 0 outer\n  r1.0: f32 = sum e0", "number 1 where 0"),
        ("kernel pointwise\nn0 = i0 i1", "expected the end of the line"),
        ("kernel pointwise\nn0 = é", "unexpected character"),
    ] {
        match text.parse::<Kernel>() {
            Ok(_) => panic!("accepted: {text}"),
            Err(e) => assert!(e.message().contains(message), "{text:?}: {e}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Cut, doubled or changed text parses or is refused; what parses prints, verifies or not, and survives.
    #[test]
    fn mangled_text_never_panics(which in 0..ALL.len(), at in 0usize..2000, with in "[ -~\n]{0,4}", drop in 0usize..6) {
        let text = ALL[which];
        let at = at % text.len();
        let end = (at + drop).min(text.len());
        let mangled = format!("{}{with}{}", &text[..at], &text[end..]);
        if let Ok(k) = mangled.parse::<Kernel>() {
            prop_assert_eq!(k.to_string().parse::<Kernel>().unwrap(), k.clone());
            let _ = super::super::verify::verify(&k);
        }
    }

    #[test]
    fn noise_never_panics(text in "\\PC{0,80}", tail in "[naeisr0-9+*/%<=.:,\\[\\] \n-]{0,80}") {
        let _ = text.parse::<Kernel>();
        let _ = format!("kernel pointwise\n{tail}").parse::<Kernel>();
    }
}
