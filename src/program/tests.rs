use super::{Program, Spec};
use crate::trace::generate::random_program;
use crate::trace::{Op, Trace};
use crate::{DType, ErrorKind, Tensor};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A program with weights, numbers, several arguments and results.
fn sample() -> Program {
    let w = Tensor::from_vec(vec![1f32, -2.0, 3.0, 0.5, f32::NAN, -0.0], [3, 2]);
    let table = Tensor::from_vec(vec![3i64, 1, 2], [3]);
    let half = 0.5;
    Program::new(
        |x: &[Tensor]| {
            let h = x[0].matmul(&w).tanh() * half;
            (vec![h.softmax(-1), x[1].index_select(0, &table)], h.sum(..))
        },
        &[Spec::new(DType::F32, [4, 3]), Spec::new(DType::F16, [5])],
    )
    .unwrap()
}

/// The trace with its params as inputs: a program has none.
fn without_params(t: &Trace) -> Trace {
    let mut out = Trace::new();
    for inst in &t.insts {
        let op = if matches!(inst.op, Op::Param(_) | Op::Input(_)) { Op::Input(out.inputs.len() as u32) } else { inst.op.clone() };
        out.push_typed(op, &inst.args, inst.dtype, inst.shape.clone(), inst.site);
    }
    out.outputs = t.outputs.clone();
    out
}

struct Folder(PathBuf);
impl Folder {
    fn new(name: &str) -> Folder {
        let p = std::env::temp_dir().join(format!("lazuli-program-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&p).unwrap();
        Folder(p)
    }
}
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn both_forms_give_the_program_back() {
    let folder = Folder::new("forms");
    let p = sample();
    assert_eq!(p.inputs(), [("x0", Spec::new(DType::F32, [4, 3])), ("x1", Spec::new(DType::F16, [5]))]);
    assert_eq!(p.outputs().iter().map(|o| o.0).collect::<Vec<_>>(), ["0.0", "0.1", "1"]);
    assert_eq!(p.weights().len(), 2);
    let args = [Tensor::ones([4, 3]), Tensor::arange(5).cast(DType::F16)];
    let want: Vec<Vec<u8>> = p.run(&args).unwrap().iter().map(|t| t.to_bytes().unwrap()).collect();
    for name in ["p.lzl", "p.txt", "p"] {
        let path = folder.0.join(name);
        p.save(&path).unwrap();
        let q = Program::load(&path).unwrap();
        assert_eq!(p, q, "{name}");
        let got: Vec<Vec<u8>> = q.run(&args).unwrap().iter().map(|t| t.to_bytes().unwrap()).collect();
        assert!(got == want, "{name}");
    }
    assert!(folder.0.join("p.txt.safetensors").exists() && !folder.0.join("p.lzl.safetensors").exists());
    assert_eq!(Program::parse(&p.to_string(), p.weights()).unwrap(), p);
    // Other weights beside the text.
    crate::safetensors::save_map(folder.0.join("p.txt.safetensors"), &p.weights().into_iter().map(|(n, w)| (n, w.zeros_like())).collect())
        .unwrap();
    let e = Program::load(folder.0.join("p.txt")).unwrap_err();
    assert!(e.kind() == ErrorKind::Format && e.message().contains("not those"), "{e}");
    std::fs::remove_file(folder.0.join("p.txt.safetensors")).unwrap();
    assert_eq!(Program::load(folder.0.join("p.txt")).unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn random_traces_round_trip() {
    for seed in 0..300 {
        let t = without_params(&random_program(seed, 5 + seed as usize % 60).trace);
        let p = Program::from_trace(t).unwrap();
        assert_eq!(p.to_string().parse::<Program>().unwrap(), p, "seed {seed}");
        assert_eq!(Program::from_bytes(&p.to_bytes().unwrap()).unwrap(), p, "seed {seed}");
    }
}

#[test]
fn names_of_every_sort() {
    let mut tree = BTreeMap::new();
    for name in ["", "a b", "ü\n%20", "body", "end 0"] {
        tree.insert(name.to_string(), Tensor::ones([2]));
    }
    let p = Program::of(|t: &BTreeMap<String, Tensor>| t.clone(), &tree).unwrap();
    assert_eq!(p.to_string().parse::<Program>().unwrap(), p);
    assert_eq!(p.inputs().iter().map(|i| i.0.to_string()).collect::<Vec<_>>(), tree.keys().cloned().collect::<Vec<_>>());
}

#[test]
fn cut_changed_foreign_and_newer_programs_are_refused() {
    let p = sample();
    let (text, bytes) = (p.to_string(), p.to_bytes().unwrap());
    let refused = |r: crate::Result<Program>, what: &str| {
        let e = r.unwrap_err();
        assert!(e.kind() == ErrorKind::Format && e.message().contains(what), "{e}, expected {what}");
    };
    let parse = |t: &str| Program::parse(t, p.weights());
    for n in 0..bytes.len() {
        assert_eq!(Program::from_bytes(&bytes[..n]).unwrap_err().kind(), ErrorKind::Format, "{n}");
    }
    for n in 0..text.len() {
        assert_eq!(parse(&text[..n]).unwrap_err().kind(), ErrorKind::Format, "{n}");
    }
    refused(parse(&text.replace("tanh", "sinh")), "changed");
    refused(parse(&text.replace("program 1", "program 2")), "newer version");
    refused(parse(&text.replace("program 1", "program x")), "no version");
    refused("%0 = const 1.0 : f32[]\nreturn %0\n".parse(), "not a program");
    refused(text.parse(), "wants a weight named w0");
    let mut newer = bytes.clone();
    newer[8] = 9;
    refused(Program::from_bytes(&newer), "newer version: form 9");
    refused(Program::from_bytes(b"\x7fELF............"), "not a program");
    refused(Program::from_bytes(&[&bytes[..], b"x"].concat()), "appended");
    // A length that would be huge.
    let mut huge = bytes.clone();
    huge[12..20].copy_from_slice(&u64::MAX.to_le_bytes());
    let end = huge.len() - 4;
    let sum = super::text::checksum(&huge[..end]);
    huge[end..].copy_from_slice(&sum.to_le_bytes());
    refused(Program::from_bytes(&huge), "cannot hold");
    // By hand, without a checksum; errors name the line of the file.
    let hand = "lazuli program 1\ninput x\noutput y\nbody\n%0 = input 0 : f32[2]\n%1 = neg %0 : f32[2]\nreturn %1\nend unchecked\n";
    assert_eq!(hand.parse::<Program>().unwrap().inputs()[0].0, "x");
    refused(hand.replace("neg", "frob").parse(), "line 6");
    refused(hand.replace("output y\n", "").parse(), "1 outputs");
    refused(hand.replace("input x\n", "").parse(), "1 inputs");
    refused(hand.replace("input x\n", "inputs x\n").parse(), "line 2");
    refused(hand.replace("input x", "input %zz").parse(), "no name");
    refused(hand.replace("input x", "draws 3").parse(), "1 inputs");
    refused(hand.replace("%0 = input 0 : f32[2]", "%p = param 0 : f32[]\n%0 = input 0 : f32[2]").parse(), "params");
}

#[test]
fn arguments_of_another_type_are_refused() {
    let p = sample();
    let half = Tensor::zeros([5]).cast(DType::F16);
    for (args, kind, text) in [
        (vec![], ErrorKind::Argument, "takes 2 arguments (x0, x1), got 0"),
        (vec![Tensor::zeros([3, 4]), half.clone()], ErrorKind::Shape, "argument x0 is f32 [3, 4], the program takes f32[4, 3]"),
        (vec![Tensor::zeros([4, 3]).cast(DType::F64), half], ErrorKind::DType, "argument x0 is f64 [4, 3], the program takes f32[4, 3]"),
    ] {
        let e = p.run(&args).unwrap_err();
        assert!(e.kind() == kind && e.message().contains(text), "{e}");
    }
    let spec = [Spec::new(DType::F32, [2])];
    let e = Program::new(|x: &[Tensor]| x[0].matmul(&x[0].reshape([3])), &spec).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Shape);
    let e = Program::new(|x: &[Tensor]| -> crate::Result<Tensor> { Ok(&x[0] * x[0].sum(..).item::<f32>()?) }, &spec).unwrap_err();
    assert!(e.message().contains("host read"), "{e}");
    assert_eq!(Program::new(|x: &[Tensor]| x[1].clone(), &[(DType::F32, [1usize]), (DType::F32, [2])]).unwrap().outputs()[0].1.shape[0], 2);
}

#[test]
fn programs_run_inside_transforms() {
    let w = Tensor::from_vec(vec![2f32, 3.0], [2]);
    let p = Program::new(|x: &[Tensor]| (&x[0] * &x[0] * &w).sum(..), &[Spec::new(DType::F32, [2])]).unwrap();
    let f = |x: &Tensor| p.run(&[x]).unwrap().remove(0);
    let x = Tensor::from_vec(vec![1f32, -1.0], [2]);
    assert_eq!(crate::grad(f, &x).to_vec::<f32>().unwrap(), [4.0, -6.0]);
    let all = crate::vmap(f, 0)(&Tensor::from_vec(vec![1f32, 0.0, 0.0, 1.0], [2, 2]));
    assert_eq!(all.to_vec::<f32>().unwrap(), [2.0, 3.0]);
}

#[test]
fn random_numbers_are_drawn_anew() {
    let p = Program::new(|x: &[Tensor]| &x[0] + Tensor::randn([8]), &[Spec::new(DType::F32, [8])]).unwrap();
    let q = Program::from_bytes(&p.to_bytes().unwrap()).unwrap();
    assert_eq!(q, p);
    assert!(p.to_string().contains("\ndraws "));
    let draw = || q.run(&[Tensor::zeros([8])]).unwrap()[0].to_vec::<f32>().unwrap();
    assert_ne!(draw(), draw());
}

/// Neither damage nor garbage may do more than give an error or another valid program.
fn survives(r: crate::Result<Program>) {
    match r {
        Ok(p) => assert_eq!(Program::parse(&p.to_string(), p.weights()).unwrap(), p),
        Err(e) => assert!(matches!(e.kind(), ErrorKind::Format | ErrorKind::DType), "{e}"),
    }
}

proptest! {
    #[test]
    fn damaged_bytes(seed in 0u64..40, flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), repair in any::<bool>()) {
        let p = if seed == 0 { sample() } else { Program::from_trace(without_params(&random_program(seed, 12).trace)).unwrap() };
        let mut bytes = p.to_bytes().unwrap();
        let whole = bytes.clone();
        for (at, with) in flips {
            let n = bytes.len();
            bytes[at.index(n)] ^= with;
        }
        if repair {
            // Past the checksum, to what lies behind it.
            let end = bytes.len() - 4;
            let sum = super::text::checksum(&bytes[..end]);
            bytes[end..].copy_from_slice(&sum.to_le_bytes());
            survives(Program::from_bytes(&bytes));
        } else if bytes != whole {
            prop_assert!(Program::from_bytes(&bytes).is_err());
        }
    }

    #[test]
    fn damaged_text(seed in 0u64..40, edits in prop::collection::vec((any::<prop::sample::Index>(), "[ -~\n]{0,3}"), 1..6), repair in any::<bool>()) {
        let p = Program::from_trace(without_params(&random_program(seed, 12).trace)).unwrap();
        let whole = p.to_string();
        let mut text = whole.clone();
        for (at, with) in edits {
            let i = at.index(text.len());
            text.replace_range(i..i + 1, &with);
            if text.is_empty() { break; }
        }
        if repair {
            let end = text.trim_end().rfind('\n').map_or(0, |i| i + 1);
            text.truncate(end);
            text.push_str("end unchecked\n");
            survives(text.parse());
        } else if text != whole && !text.contains("unchecked") {
            prop_assert!(text.parse::<Program>().is_err());
        }
    }

    #[test]
    fn garbage(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[ -~\n]{0,300}") {
        prop_assert!(Program::from_bytes(&bytes).is_err());
        let framed = [&super::file::MAGIC[..], &1u32.to_le_bytes(), &bytes].concat();
        prop_assert!(Program::from_bytes(&framed).is_err());
        prop_assert!(text.parse::<Program>().is_err());
        survives(format!("lazuli program 1\n{text}\nbody\n{text}\nend unchecked\n").parse());
    }
}
