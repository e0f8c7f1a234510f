//! Slips and their messages: what is wrong, and where the user wrote it.

use super::{read, vector};
use lazuli::prelude::*;
use lazuli::{Error, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The slip in `f`, which must name this file and line `line`, and hold every text.
#[track_caller]
fn slip(f: impl Fn() -> Tensor, line: u32, kind: ErrorKind, texts: &[&str]) {
    let e = lazuli::catch(&f).unwrap_err();
    let place = format!("{}:{line}", file!());
    let text = e.to_string();
    assert_eq!(e.kind(), kind, "{text}");
    assert!(text.contains(&place), "{text:?} does not name {place}");
    for t in texts {
        assert!(text.contains(t), "{text:?} does not say {t:?}");
    }
    // Outside of `catch` it is a panic with the same message.
    let p = catch_unwind(AssertUnwindSafe(|| drop(f()))).unwrap_err();
    assert_eq!(p.downcast_ref::<String>().unwrap(), &text);
}

#[test]
fn wrong_shapes() {
    let (a, b) = (Tensor::zeros([2, 3]), Tensor::zeros([4, 5]));
    slip(|| &a + &b, line!(), ErrorKind::Shape, &["add", "[2, 3]", "[4, 5]"]);
    slip(|| a.matmul(&b), line!(), ErrorKind::Shape, &["matmul", "[2, 3]", "[4, 5]"]);
    slip(|| a.reshape([7]), line!(), ErrorKind::Shape, &["[2, 3]", "7"]);
    slip(|| a.reshape([-1, -1]), line!(), ErrorKind::Shape, &["-1"]);
    slip(|| a.broadcast_to([3, 3]), line!(), ErrorKind::Shape, &["[2, 3]", "[3, 3]"]);
    slip(|| Tensor::cat(&[&a, &b], 0), line!(), ErrorKind::Shape, &["cat", "[2, 3]", "[4, 5]"]);
    slip(|| Tensor::stack(&[&a, &b], 0), line!(), ErrorKind::Shape, &["stack"]);
    slip(|| Tensor::from_vec(vec![1f32; 5], [2, 3]), line!(), ErrorKind::Shape, &["5", "[2, 3]"]);
    slip(|| Tensor::where_(&a.gt(0.0), &a, &b), line!(), ErrorKind::Shape, &["where", "[4, 5]"]);
    slip(|| a.slice_update(s![0], &b), line!(), ErrorKind::Shape, &["[4, 5]"]);
}

#[test]
fn wrong_axes_and_indices() {
    let a = Tensor::zeros([2, 3]);
    slip(|| a.sum(2), line!(), ErrorKind::Index, &["sum", "axis 2"]);
    slip(|| a.softmax(-3), line!(), ErrorKind::Index, &["softmax", "-3"]);
    slip(|| a.sum([0, 0]), line!(), ErrorKind::Index, &["twice"]);
    slip(|| a.permute([0, 0]), line!(), ErrorKind::Index, &["permute"]);
    slip(|| a.select(0, 2), line!(), ErrorKind::Index, &["select", "2"]);
    slip(|| a.narrow(1, 2, 2), line!(), ErrorKind::Index, &["narrow"]);
    slip(|| a.slice(s![5]), line!(), ErrorKind::Index, &["5"]);
    slip(|| a.slice(s![0, 0, 0]), line!(), ErrorKind::Index, &["[2, 3]"]);
    slip(|| a.unsqueeze(4), line!(), ErrorKind::Index, &["unsqueeze"]);
    slip(|| Tensor::zeros([0]).max(..), line!(), ErrorKind::Shape, &["max"]);
    slip(|| Tensor::zeros([2, 0]).argmax(1), line!(), ErrorKind::Shape, &["argmax"]);
}

#[test]
fn wrong_dtypes() {
    let (a, i, m) = (Tensor::zeros([2]), Tensor::from_vec(vec![1i64, 0], [2]), Tensor::from_vec(vec![true, false], [2]));
    slip(|| i.mean(..), line!(), ErrorKind::DType, &["mean", "i64"]);
    slip(|| &m - &m, line!(), ErrorKind::DType, &["bool"]);
    slip(|| a.index_select(0, &a), line!(), ErrorKind::DType, &["index_select", "f32"]);
    slip(|| Tensor::where_(&a, &a, &a), line!(), ErrorKind::DType, &["where", "f32"]);
    slip(|| i.masked_fill(&m, 1.5), line!(), ErrorKind::DType, &["masked_fill"]);
    let e = a.to_vec::<i64>().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::DType);
    assert!(e.to_string().contains("f32") && e.to_string().contains("errors.rs"), "{e}");
    let e = Tensor::zeros([3]).item::<f32>().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Shape);
}

#[test]
fn a_gradient_that_cannot_be() {
    let x = vector(&[1.0, 2.0]);
    slip(|| grad(|x: &Tensor| x * 2.0, &x), line!(), ErrorKind::Gradient, &["[2]", "sum"]);
    let e = lazuli::catch(|| grad(|x: &Tensor| x.sum(..).cast(DType::I64), &x)).unwrap_err();
    assert!(matches!(e.kind(), ErrorKind::DType | ErrorKind::Gradient), "{e}");
    let other = vector(&[1.0]);
    let loss = x.sum(..);
    let e = lazuli::catch(|| loss.grad(&[&other])).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Gradient, "{e}");
    // A host read while a function is recorded.
    let e = std::sync::Mutex::new(None::<Error>);
    grad(
        |x: &Tensor| {
            *e.lock().unwrap() = x.sum(..).item::<f32>().err();
            x.sum(..)
        },
        &x,
    );
    let e = e.into_inner().unwrap().expect("a host read inside a gradient is an error");
    assert!(e.to_string().contains("inside a transform"), "{e}");
}

#[test]
fn poison_travels_and_the_first_slip_is_told() {
    let a = Tensor::zeros([2, 3]);
    let e = lazuli::catch(|| {
        let bad = a.matmul(&a);
        let worse = bad.reshape([99]).softmax(7) + 1.0;
        assert!(worse.to_vec::<f32>().is_err());
        worse
    })
    .unwrap_err();
    assert!(e.to_string().contains("matmul"), "{e}");
    // A poisoned tensor kept beyond `catch` gives its error when read.
    let mut kept = None;
    let _ = lazuli::catch(|| kept = Some(a.matmul(&a)));
    let kept = kept.unwrap();
    assert_eq!(kept.to_vec::<f32>().unwrap_err().kind(), ErrorKind::Shape);
    assert_eq!(kept.eval().unwrap_err().kind(), ErrorKind::Shape);
    assert!(kept.to_string().contains("matmul"), "{kept}");
    // Nested: the inner one keeps its slip to itself.
    let outer = lazuli::catch(|| {
        let inner = lazuli::catch(|| a.matmul(&a));
        assert!(inner.is_err());
        read(&(&a + 1.0))
    });
    assert_eq!(outer.unwrap(), [1.0; 6]);
}

#[test]
fn a_panic_inside_catch_is_the_users() {
    let p = catch_unwind(|| lazuli::catch(|| panic!("mine"))).unwrap_err();
    assert_eq!(p.downcast_ref::<&str>(), Some(&"mine"));
    // And the next slip panics again: nothing is left of that `catch`.
    assert!(catch_unwind(|| drop(Tensor::zeros([2]).reshape([3]))).is_err());
}

#[test]
fn errors_print_alike() {
    let e = lazuli::catch(|| Tensor::zeros([2]).reshape([3])).unwrap_err();
    assert_eq!(format!("{e}"), format!("{e:?}"));
    let site = e.site().expect("a slip has a place");
    assert!(site.file().ends_with("errors.rs"));
}

#[test]
fn a_shape_beyond_the_address_space() {
    let t = Tensor::ones([1]).broadcast_to([1 << 40, 1 << 20]);
    let e = (&t + 1.0).eval().unwrap_err();
    assert!(matches!(e.kind(), ErrorKind::Memory | ErrorKind::Shape), "{e}");
    assert_eq!(read(&Tensor::ones([2])), [1.0, 1.0]);
}
