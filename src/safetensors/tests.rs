//! Round trips, files that lie, and what replacing a file promises.

use super::*;
use crate::data::Philox;
use crate::{DType, ErrorKind, Tensor, Tree};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A folder of a test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("lazuli-safetensors-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
    fn file(&self) -> PathBuf {
        self.0.join("w.safetensors")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn every_dtype() -> BTreeMap<String, Tensor> {
    let numbers = Tensor::from_vec(vec![0f32, 1., 2.5, 100.], [2, 2]);
    let mut map: BTreeMap<_, _> = DType::ALL.iter().map(|&d| (format!("x.{d}"), numbers.cast(d))).collect();
    map.insert("scalar".into(), Tensor::from_vec(vec![7i64], []));
    map.insert("none".into(), Tensor::from_vec(Vec::<f32>::new(), [0, 3]));
    map
}

fn same(a: &BTreeMap<String, Tensor>, b: &BTreeMap<String, Tensor>) {
    assert!(a.keys().eq(b.keys()));
    for (x, y) in a.values().zip(b.values()) {
        assert_eq!((x.dtype(), x.shape()), (y.dtype(), y.shape()));
        assert_eq!(x.to_bytes().unwrap(), y.to_bytes().unwrap());
    }
}

/// A file with this header and so many bytes of data.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let mut f = (header.len() as u64).to_le_bytes().to_vec();
    f.extend(header.as_bytes());
    f.extend(data);
    f
}

#[test]
fn every_dtype_there_and_back() {
    let folder = Folder::new("round");
    save_map(folder.file(), &every_dtype()).unwrap();
    same(&load(folder.file()).unwrap(), &every_dtype());
    // Over the old file, and nothing left beside it.
    save_map(folder.file(), &BTreeMap::new()).unwrap();
    assert!(load(folder.file()).unwrap().is_empty());
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1);
}

#[test]
fn types_without_counterpart() {
    let one = |dtype: &str, data: &[u8]| {
        parse(&file(&format!(r#"{{"a":{{"dtype":"{dtype}","shape":[1],"data_offsets":[0,{}]}}}}"#, data.len()), data))
    };
    let first = |r: crate::Result<BTreeMap<String, Tensor>>| r.unwrap()["a"].clone();
    assert_eq!(first(one("I8", &[0xff])).to_vec::<i32>().unwrap(), [-1]);
    assert_eq!(first(one("I16", &[0xfe, 0xff])).to_vec::<i32>().unwrap(), [-2]);
    assert_eq!(first(one("U16", &[0xfe, 0xff])).to_vec::<u32>().unwrap(), [0xfffe]);
    assert_eq!(first(one("U64", &5u64.to_le_bytes())).to_vec::<i64>().unwrap(), [5]);
    assert_eq!(one("U64", &u64::MAX.to_le_bytes()).err().unwrap().kind(), ErrorKind::DType);
    assert_eq!(one("F8_E4M3", &[0]).err().unwrap().kind(), ErrorKind::DType);
    assert_eq!(one("BOOL", &[2]).err().unwrap().kind(), ErrorKind::Format);
}

#[test]
fn hostile_headers() {
    let bad = |bytes: &[u8]| {
        let e = parse(bytes).err().unwrap();
        assert_eq!(e.kind(), ErrorKind::Format, "{e}");
    };
    bad(&[]);
    bad(b"PK\x03\x04");
    bad(&u64::MAX.to_le_bytes());
    bad(&file("{", &[]));
    bad(&file(r#"{"a":{"dtype":"F32","shape":[4294967295,4294967295,4294967295],"data_offsets":[0,4]}}"#, &[0; 4]));
    bad(&file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]}}"#, &[0; 8]));
    bad(&file(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, &[0; 4]));
    bad(&file(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &[0; 4]));
    bad(&file(&"[".repeat(100_000), &[]));
}

#[test]
fn random_damage_gives_errors() {
    let folder = Folder::new("fuzz");
    save_map(folder.file(), &every_dtype()).unwrap();
    let good = std::fs::read(folder.file()).unwrap();
    let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let mut rng = Philox::new(3, 0);
    for round in 0..3000 {
        let mut f = good.clone();
        match round % 3 {
            0 => f.truncate(rng.below(f.len() as u64) as usize),
            1 => (0..1 + rng.below(3)).for_each(|_| f[rng.below(header as u64) as usize] = rng.next_u32() as u8),
            _ => {
                let at = rng.below(header as u64) as usize;
                f[at] = b"0123456789,:[]{}\""[rng.below(17) as usize];
            }
        }
        if let Err(e) = parse(&f) {
            assert!(matches!(e.kind(), ErrorKind::Format | ErrorKind::DType), "{e}");
        }
    }
}

#[derive(Tree, Clone)]
struct Net {
    first: Tensor,
    rest: Vec<Tensor>,
    bias: Option<Tensor>,
}

#[test]
fn a_tree_there_and_back() {
    let folder = Folder::new("tree");
    let net = |x: f32| Net { first: Tensor::full([2], x), rest: vec![Tensor::full([1], x + 1.0), Tensor::full([], x + 2.0)], bias: None };
    save(folder.file(), &net(1.0)).unwrap();
    assert!(load(folder.file()).unwrap().keys().eq(["first", "rest.0", "rest.1"]));
    let back = load_into(folder.file(), &net(0.0)).unwrap();
    assert_eq!(back.first.to_vec::<f32>().unwrap(), [1.0; 2]);
    assert_eq!(back.rest[1].item::<f32>().unwrap(), 3.0);

    let other = Net { first: Tensor::zeros([3]), rest: vec![Tensor::zeros([1]).cast(DType::I64)], bias: Some(Tensor::zeros([1])) };
    let e = load_into(folder.file(), &other).err().unwrap();
    assert_eq!(e.kind(), ErrorKind::Format);
    for part in ["first is [2] instead of [3]", "rest.0 is f32 instead of i64", "bias is missing", "rest.1 is not in the model"] {
        assert!(e.message().contains(part), "{part}: {e}");
    }
    let half = Net { first: Tensor::zeros([2]).cast(DType::F16), ..net(0.0) };
    assert_eq!(load_into(folder.file(), &half).unwrap().first.dtype(), DType::F16);
}

#[test]
fn a_failed_save_keeps_the_old_file() {
    let folder = Folder::new("atomic");
    save_map(folder.file(), &every_dtype()).unwrap();
    let slip = crate::catch(|| assert_eq!(save(folder.file(), &Tensor::zeros([2]).reshape([3])).unwrap_err().kind(), ErrorKind::Shape));
    assert!(slip.is_err());
    same(&load(folder.file()).unwrap(), &every_dtype());
    let e = save_map(folder.0.join("no/such/folder.safetensors"), &every_dtype()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Io);
    assert!(e.message().contains("no/such"), "{e}");
    assert_eq!(load("/nowhere.safetensors").err().unwrap().kind(), ErrorKind::Io);
    assert_eq!(load(&folder.0).err().unwrap().kind(), ErrorKind::Io);
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1);
}
