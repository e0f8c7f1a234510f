use super::*;
use crate::trace::{Op, RegionKind};
use std::collections::HashSet;

fn names(t: &Trace, seen: &mut HashSet<String>) {
    for inst in &t.insts {
        seen.insert(inst.dtype.name().into());
        let name = match &inst.op {
            Op::Region(r) => {
                names(&r.body, seen);
                r.kind.name().into()
            }
            Op::Reduce(k, _) => format!("reduce {}", k.name()),
            Op::Cumulative { kind, .. } => format!("cumulative {}", kind.name()),
            Op::Scatter(m, _) => format!("scatter {}", m.name()),
            op => op.name().into(),
        };
        seen.insert(name);
        if inst.shape.numel() == 0 {
            seen.insert("no elements".into());
        }
    }
}

#[test]
fn programs_are_valid_stable_and_cover_every_op() {
    let mut seen = HashSet::new();
    let mut ops = 0;
    for seed in 0..400 {
        let p = random_program(seed, 5 + seed as usize % 40);
        let out = p.expected();
        p.check(&out).unwrap();
        assert!(out.iter().flat_map(|t| t.scalars()).all(|s| s.as_f64().is_finite()));
        assert_eq!(p.trace.to_string().parse::<Trace>().unwrap(), p.trace);
        names(&p.trace, &mut seen);
        ops += p.trace.insts.len();
    }
    assert!(ops > 400 * 20, "{ops}");
    let mut want: Vec<String> = Vec::new();
    want.extend(crate::trace::Unary::ALL.iter().map(|x| x.name().into()));
    want.extend(crate::trace::Binary::ALL.iter().map(|x| x.name().into()));
    want.extend(crate::trace::Compare::ALL.iter().map(|x| x.name().into()));
    want.extend(crate::trace::Reduce::ALL.iter().map(|x| format!("reduce {}", x.name())));
    want.extend(["sum", "prod", "max", "min"].map(|x| format!("cumulative {x}")));
    want.extend(crate::trace::ScatterMode::ALL.iter().map(|x| format!("scatter {}", x.name())));
    want.extend(DType::ALL.iter().map(|x| x.name().into()));
    let others = "input param const select cast reshape permute broadcast slice pad flip concat iota gather dot conv random argsort output";
    want.extend(others.split(' ').map(String::from));
    let empty = std::sync::Arc::new(Trace::new());
    want.extend([RegionKind::Checkpoint(0), RegionKind::CustomJvp(empty.clone()), RegionKind::CustomVjp(empty)].map(|k| k.name().into()));
    want.push("no elements".into());
    let missing: Vec<_> = want.into_iter().filter(|n| !seen.contains(n)).collect();
    assert!(missing.is_empty(), "never generated: {missing:?}");
}

#[test]
fn a_seed_is_a_program() {
    let (a, b) = (random_program(7, 30), random_program(7, 30));
    assert_eq!(a.trace, b.trace);
    assert!(a.inputs.iter().zip(&b.inputs).all(|(x, y)| x.same(y)));
    assert_ne!(a.trace, random_program(8, 30).trace);
}

#[test]
fn a_wrong_result_is_told() {
    let p = (0..).map(|s| random_program(s, 20)).find(|p| p.expected()[0].numel() > 0).unwrap();
    let mut out = p.expected();
    let d = out[0].dtype;
    let wrong: Vec<Scalar> = out[0]
        .scalars()
        .map(|s| if d == DType::Bool { Scalar::Bool(!s.as_bool()) } else { Scalar::Float(s.as_f64() * 2.0 + 3.0) })
        .collect();
    out[0] = HostTensor::from_scalars(d, out[0].shape.clone(), wrong);
    assert!(p.check(&out).unwrap_err().message().contains("output 0"));
}
