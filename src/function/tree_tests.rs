use super::*;
use crate::function::Tree;

/// A tensor; which one does not matter, and none has a value.
fn t(_: f32) -> Tensor {
    Tensor::placeholder(DType::F32, Shape::from([1]), crate::base::DeviceId(0))
}

fn names<T: Tree>(tree: &T) -> Vec<String> {
    named_leaves(tree).into_iter().map(|(n, _)| n).collect()
}

fn same(a: &Tensor, b: &Tensor) -> bool {
    a.0.same(&b.0)
}

/// Visit and map agree: as many leaves in the same order with the same marks and names, and putting them back changes nothing.
fn check<T: Tree>(tree: &T, want: &[&str]) {
    assert_eq!(names(tree), want);
    let old = leaves(tree);
    struct Recorder {
        path: Vec<String>,
        seen: Vec<(String, Tensor, bool)>,
        fresh: Vec<Tensor>,
    }
    impl TreeMapper for Recorder {
        fn tensor(&mut self, tensor: &Tensor, frozen: bool) -> Tensor {
            self.seen.push((self.path.join("."), tensor.clone(), frozen));
            self.fresh.push(t(self.fresh.len() as f32));
            self.fresh.last().unwrap().clone()
        }
        fn enter(&mut self, name: &str) {
            self.path.push(name.into());
        }
        fn leave(&mut self) {
            self.path.pop().unwrap();
        }
    }
    let mut r = Recorder { path: vec![], seen: vec![], fresh: vec![] };
    let mapped = tree.map(&mut r);
    assert!(r.path.is_empty());
    assert_eq!(r.seen.iter().map(|s| s.0.as_str()).collect::<Vec<_>>(), want);
    assert!(r.seen.iter().zip(&old).all(|(s, o)| same(&s.1, o)));
    assert_eq!(r.seen.iter().map(|s| s.2).collect::<Vec<_>>(), frozen(tree));
    assert!(leaves(&mapped).iter().zip(&r.fresh).all(|(a, b)| same(a, b)));
    assert_eq!(structure(&mapped), structure(tree));
    let back = from_leaves(&mapped, old.clone());
    assert!(leaves(&back).iter().zip(&old).all(|(a, b)| same(a, b)));
}

#[derive(Tree, Clone)]
struct Linear {
    w: Tensor,
    b: Option<Tensor>,
    pub(crate) bias: bool,
}

fn linear(bias: bool) -> Linear {
    Linear { w: t(1.0), b: bias.then(|| t(2.0)), bias }
}

#[derive(Tree, Clone)]
struct Mlp {
    fc1: Linear,
    layers: Vec<Linear>,
}

#[test]
fn structs_and_containers() {
    let mlp = Mlp { fc1: linear(true), layers: vec![linear(false), linear(true)] };
    check(&mlp, &["fc1.w", "fc1.b", "layers.0.w", "layers.1.w", "layers.1.b"]);
    check(&t(1.0), &[""]);
    check(&(t(1.0), 3usize, [t(2.0), t(3.0)], "x".to_string(), ()), &["0", "2.0", "2.1"]);
    check(&(Box::new(t(1.0)), (t(2.0),), None::<Tensor>, 1f32, 2f64, 3i32, 4i64, PhantomData::<str>), &["0", "1.0"]);
    let pairs = || ["b", "a", "c"].map(|k| (k.to_string(), t(0.0)));
    check(&BTreeMap::from(pairs()), &["a", "b", "c"]);
    check(&HashMap::<_, _>::from(pairs()), &["a", "b", "c"]);
}

#[derive(Tree, Clone)]
struct Norm {
    scale: Tensor,
    #[tree(frozen)]
    running: (Tensor, Vec<Tensor>),
    #[tree(skip)]
    name: std::sync::Arc<std::path::PathBuf>,
    /// Frozen within frozen.
    #[tree(frozen)]
    inner: Option<Box<Norm>>,
}

#[test]
fn marks() {
    let norm = |inner| Norm { scale: t(1.0), running: (t(2.0), vec![t(3.0)]), name: Default::default(), inner };
    let n = norm(Some(Box::new(norm(None))));
    check(&n, &["scale", "running.0", "running.1.0", "inner.scale", "inner.running.0", "inner.running.1.0"]);
    assert_eq!(frozen(&n), [false, true, true, true, true, true]);
    assert!(std::sync::Arc::ptr_eq(&n.name, &map_tensors(&n, |t, _| t.clone()).name));
}

#[derive(Tree, Clone)]
struct Pair<A, B: Clone = f32>(A, #[tree(skip)] pub B, pub(crate) (A, i32))
where
    A: Clone;

#[derive(Tree)]
struct Unit;

#[derive(Tree)]
struct Empty {}

#[derive(Tree)]
struct Grid<T, F, const N: usize = 2>
where
    F: Fn(i32) -> i32 + Clone,
{
    cells: [Vec<T>; N],
    #[tree(skip)]
    f: F,
    r#type: BTreeMap<String, T>,
}

trait Module {
    type Params;
}
struct Dense;
impl Module for Dense {
    type Params = (Tensor, Tensor);
}

#[derive(Tree)]
struct Holder<M: Module> {
    params: M::Params,
    again: Vec<<M as Module>::Params>,
    of: PhantomData<M>,
}

#[derive(Tree)]
enum List<T> {
    Nil,
    Cons(T, Box<List<T>>),
}

#[test]
fn generics() {
    check(&Pair(t(1.0), std::cell::Cell::new(1), (t(2.0), 5)), &["0", "2.0"]);
    check(&Unit, &[]);
    check(&Empty {}, &[]);
    let g = Grid { cells: [vec![t(1.0)], vec![]], f: |x| x + 1, r#type: BTreeMap::from([("k".into(), t(2.0))]) };
    check(&g, &["cells.0.0", "type.k"]);
    assert_eq!((g.map(&mut Same).f)(1), 2);
    let h = Holder::<Dense> { params: (t(1.0), t(2.0)), again: vec![(t(3.0), t(4.0))], of: PhantomData };
    check(&h, &["params.0", "params.1", "again.0.0", "again.0.1"]);
    check(&List::Cons(t(1.0), Box::new(List::Cons(t(2.0), Box::new(List::Nil)))), &["0", "1.0"]);
}

struct Same;
impl TreeMapper for Same {
    fn tensor(&mut self, tensor: &Tensor, _: bool) -> Tensor {
        tensor.clone()
    }
}

#[derive(Tree, Clone)]
#[repr(u8)]
enum Layer {
    Linear(Linear) = 1 << 2,
    #[allow(dead_code)]
    Norm {
        scale: Tensor,
        #[tree(frozen)]
        mean: Tensor,
        eps: f64,
        r#fn: Activation,
    } = 2,
    Identity = 3,
}

#[derive(Tree, Clone, Copy)]
enum Activation {
    Relu,
    Gelu,
}

#[derive(Tree)]
enum Never {}

#[test]
fn enums_are_guarded_by_their_variant() {
    let norm = |f| Layer::Norm { scale: t(1.0), mean: t(2.0), eps: 1e-5, r#fn: f };
    check(&norm(Activation::Relu), &["scale", "mean"]);
    assert_eq!(frozen(&norm(Activation::Relu)), [false, true]);
    check(&Layer::Linear(linear(true)), &["0.w", "0.b"]);
    check(&Layer::Identity, &[]);
    check(&None::<Never>, &[]);
    assert_ne!(structure(&norm(Activation::Relu)), structure(&norm(Activation::Gelu)));
    assert_ne!(structure(&Layer::Identity), structure(&norm(Activation::Gelu)));
}

#[test]
fn structure_sees_everything_static_and_no_tensor() {
    assert_eq!(structure(&(t(1.0), 2)), structure(&(Tensor::placeholder(DType::I64, Shape::from([2, 3]), crate::base::DeviceId(0)), 2)));
    assert_ne!(structure(&(t(1.0), 2)), structure(&(t(1.0), 3)));
    assert_ne!(structure(&-0.0f32), structure(&0.0f32));
    assert_ne!(structure(&vec![t(1.0)]), structure(&vec![t(1.0), t(1.0)]));
    assert_ne!(structure(&Some(t(1.0))), structure(&None::<Tensor>));
    assert_ne!(structure(&vec!["ab", "c"]), structure(&vec!["a", "bc"]));
    let key = |k: &str| structure(&BTreeMap::from([(k.to_string(), t(1.0))]));
    assert_ne!(key("a"), key("b"));
    // Nesting that flattens to the same leaves.
    assert_ne!(structure(&vec![vec![1, 2], vec![]]), structure(&vec![vec![1], vec![2]]));
}

#[test]
#[should_panic(expected = "a tensor for every leaf")]
fn too_few_leaves() {
    from_leaves(&(t(1.0), t(2.0)), [t(3.0)]);
}

#[test]
#[should_panic(expected = "more tensors than")]
fn too_many_leaves() {
    from_leaves(&(t(1.0),), [t(3.0), t(4.0)]);
}

macro_rules! made_by_a_macro {
    ($v:vis $name:ident, $t:ty) => {
        #[derive(Tree)]
        $v struct $name($v $t, $v ($t, $t));
    };
}
made_by_a_macro!(pub(crate) Made, Tensor);
made_by_a_macro!(Private, Vec<Tensor>);

#[test]
fn macros_may_make_trees() {
    check(&Made(t(1.0), (t(2.0), t(3.0))), &["0", "1.0", "1.1"]);
    check(&Private(vec![t(1.0)], (vec![], vec![])), &["0.0"]);
}
