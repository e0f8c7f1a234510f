//! What cannot be exported, and folders that are left as they were.

use super::Folder;
use lazuli::prelude::*;
use lazuli::{ErrorKind, Program, Spec, Target};

fn program(f: impl Fn(&[Tensor]) -> Tensor, dtype: DType) -> Program {
    Program::new(f, &[Spec::new(dtype, [8])]).expect("a program")
}

#[test]
fn what_the_host_would_have_to_decide_is_refused() {
    let folder = Folder::new();
    let dir = folder.0.join("kernels of it");
    let waits = |x: &[Tensor]| while_loop(x[0].clone(), |x: &Tensor| x.sum(..).lt(100.0), |x| x * 2.0 + 1.0, Some(50));
    let draws = |x: &[Tensor]| &x[0] + Tensor::rand([8]);
    let doubles = |x: &[Tensor]| &x[0] * 2.0;
    let cases = [
        (program(waits, DType::F32), ErrorKind::Argument, "while_loop"),
        (program(draws, DType::F32), ErrorKind::Argument, "random numbers"),
        (program(doubles, DType::F64), ErrorKind::DType, "f64"),
    ];
    for (p, kind, word) in cases {
        let e = p.export_kernels(&dir, Target::Wgsl).expect_err(word);
        assert_eq!(e.kind(), kind, "{e}");
        assert!(e.message().contains(word), "{e}");
        assert!(!dir.exists(), "{word}: something was written");
    }
}

#[test]
fn a_folder_is_replaced_only_if_it_is_an_export() {
    let folder = Folder::new();
    let p = program(|x| x[0].exp(), DType::F32);
    let q = program(|x| x[0].sort(0).0.cumsum(0), DType::F32);
    let files = |dir: &std::path::Path| std::fs::read_dir(dir.join("kernels")).expect("kernels").count();
    let dir = folder.0.join("a").join("b");
    std::fs::create_dir_all(&dir).expect("an empty folder");
    q.export_kernels(&dir, Target::Wgsl).expect("an empty folder is filled");
    assert!(files(&dir) > 1);
    p.export_kernels(&dir, Target::Hlsl).expect("an export is replaced");
    assert_eq!(files(&dir), 1);
    std::fs::write(dir.join("notes.txt"), "mine").expect("a file");
    let e = q.export_kernels(&dir, Target::Wgsl).expect_err("somebody's file is there");
    assert!(e.kind() == ErrorKind::Io && e.message().contains("notes.txt"), "{e}");
    assert_eq!(files(&dir), 1, "it is as it was");
    let e = p.export_kernels(dir.join("notes.txt"), Target::Wgsl).expect_err("it is a file");
    assert!(e.kind() == ErrorKind::Io && e.message().contains("notes.txt"), "{e}");
    let e = p.export_kernels(dir.join("notes.txt").join("x"), Target::Wgsl).expect_err("its parent is a file");
    assert!(e.kind() == ErrorKind::Io && e.message().contains("notes.txt"), "{e}");
    let left: Vec<_> = std::fs::read_dir(folder.0.join("a")).expect("the folder").map(|e| e.expect("an entry").file_name()).collect();
    assert_eq!(left, ["b"], "nothing is left beside it");
}
