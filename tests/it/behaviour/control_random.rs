//! Random loops against the same loops run by Rust: values, derivatives, batches.

use crate::rng::Rng;
use lazuli::prelude::*;

/// What a step does to a state of a vector, a matrix and a number.
#[derive(Clone, Copy, Debug)]
enum Step {
    Tanh,
    Product,
    RowSum,
    Mix,
    Roll,
    Exchange,
    Number,
    Softmax,
    Scatter,
    Branch,
    Inner,
    Stay,
}

const STEPS: [Step; 12] = [
    Step::Tanh,
    Step::Product,
    Step::RowSum,
    Step::Mix,
    Step::Roll,
    Step::Exchange,
    Step::Number,
    Step::Softmax,
    Step::Scatter,
    Step::Branch,
    Step::Inner,
    Step::Stay,
];

type State = (Tensor, Tensor, Tensor);

/// One step; `i` is the number of the iteration, `row` a row of what is gone through, `w` comes from outside.
fn step(s: Step, (v, m, x): State, row: &Tensor, w: &Tensor, i: &Tensor, loops: bool) -> State {
    match s {
        Step::Tanh => ((&v * 0.7 + row).tanh(), m, x),
        Step::Product => (v, (m.matmul(w) * 0.5).tanh(), x),
        Step::RowSum => (m.sum(0) * 0.3 + &v * 0.1, m, x),
        Step::Mix => (v.clone(), &m * 0.5 + &v * &x, x * 0.9),
        Step::Roll => (v.roll(&[1], 0), m.flip(1), x),
        Step::Exchange => (m.select(0, 0), m.slice_update(s![0, ..], &v), x),
        Step::Number => (v.clone(), m, (&x * 0.5 + v.mean(..)).sin() + i.cast(DType::F32) * 0.01),
        Step::Softmax => (v.softmax(0), m.softmax(-1), x),
        Step::Scatter => {
            let at = (i % 3).reshape([1]);
            (v.index_add(0, &at, &x.reshape([1])), m, x)
        }
        Step::Branch => {
            let go = x.gt(0.2);
            if loops {
                let w = w.clone();
                cond(
                    &go,
                    move |(v, m, x): &State| (v.exp() * 0.3, m.clone(), x * 0.5),
                    move |(v, m, x): &State| (v.clone(), m.matmul(&w), x + 0.3),
                    &(v, m, x),
                )
            } else {
                let pick = |a: Tensor, b: Tensor| Tensor::where_(&go, &a, &b);
                (pick(v.exp() * 0.3, v.clone()), pick(m.clone(), m.matmul(w)), pick(&x * 0.5, &x + 0.3))
            }
        }
        Step::Inner => {
            let body = |v: Tensor, k: usize| (v * 0.8 + row * (k as f32)).sin();
            let v = if loops {
                let weights = Tensor::from_vec(vec![0f32, 1.0], [2]);
                scan(v, &weights, |v, k: Tensor| ((v * 0.8 + row * k).sin(), ())).0
            } else {
                body(body(v, 0), 1)
            };
            (v, m, x)
        }
        Step::Stay => (v, m, x),
    }
}

struct Case {
    steps: Vec<Step>,
    n: usize,
    kind: usize,
}

impl Case {
    /// A number that depends on all that the loop gives, and the loop's rows.
    fn run(&self, at: &(State, Tensor, Tensor), loops: bool) -> Tensor {
        let (state, rows, w) = at;
        let all = |s: State, row: &Tensor, i: &Tensor| self.steps.iter().fold(s, |s, &k| step(k, s, row, w, i, loops));
        let (n, row0) = (self.n, rows.select(0, 0));
        let index = |i: usize| Tensor::from_vec(vec![i as i64], []);
        let weigh = |s: &State, ys: &Tensor| (&s.0 * 1.5).sum(..) + s.1.square().sum(..) + &s.2 + (ys * ys).sum(..);
        let nothing = Tensor::zeros([1]);
        if !loops {
            let (mut s, mut ys) = (state.clone(), Vec::new());
            for i in 0..n {
                let at = if self.kind == 3 { n - 1 - i } else { i };
                let row = if self.kind < 2 { row0.clone() } else { rows.select(0, at as isize) };
                s = all(s, &row, &index(if self.kind >= 2 { 1 } else { i }));
                ys.push(s.0.sum(..) * &s.2);
            }
            let ys = if self.kind < 2 { nothing } else { Tensor::stack(&ys, 0) };
            return weigh(&s, &ys);
        }
        match self.kind {
            0 => weigh(&fori_loop(0..n, state.clone(), |i, s| all(s, &row0, i)), &nothing),
            1 => {
                let (_, s) = while_loop((index(0), state.clone()), |(i, _)| i.lt(n), |(i, s)| (&i + 1, all(s, &row0, &i)), n + 40);
                weigh(&s, &nothing)
            }
            k => {
                let rows = rows.slice(s![0..n, ..]);
                let f = |s: State, row: Tensor| {
                    let s = all(s, &row, &index(1));
                    let y = s.0.sum(..) * &s.2;
                    (s, y)
                };
                let (s, ys) = if k == 2 { scan(state.clone(), &rows, f) } else { scan_reversed(state.clone(), &rows, f) };
                weigh(&s, &ys)
            }
        }
    }
}

fn values(t: &impl Tree) -> Vec<f32> {
    lazuli::function::tree::leaves(t).iter().flat_map(|t| t.to_vec::<f32>().unwrap()).collect()
}

#[track_caller]
fn same(what: &str, a: &impl Tree, b: &impl Tree) {
    let (a, b) = (values(a), values(b));
    assert_eq!(a.len(), b.len(), "{what}");
    let scale = b.iter().fold(1f32, |m, x| m.max(x.abs()));
    for (i, (x, y)) in a.iter().zip(&b).enumerate() {
        assert!((x - y).abs() <= 2e-4 * scale, "{what}: element {i} is {x}, expected {y}");
    }
}

#[test]
fn random_loops_are_what_rust_would_run() {
    for seed in 0..48u64 {
        let mut r = Rng(seed * 77 + 5);
        let t = |r: &mut Rng, shape: &[usize]| Tensor::from_vec(r.floats(shape.iter().product(), -0.9, 0.9), shape);
        let steps = (0..1 + r.below(4)).map(|_| STEPS[r.below(STEPS.len())]).collect();
        let case = Case { steps, n: 1 + r.below(4), kind: r.below(4) };
        let at = ((t(&mut r, &[3]), t(&mut r, &[2, 3]), t(&mut r, &[])), t(&mut r, &[4, 3]), t(&mut r, &[3, 3]));
        let what = format!("seed {seed}: {:?}, {} iterations, kind {}", case.steps, case.n, case.kind);
        let (f, g) = (|x: &(State, Tensor, Tensor)| case.run(x, true), |x: &(State, Tensor, Tensor)| case.run(x, false));
        same(&format!("{what}: value"), &f(&at), &g(&at));
        let (df, dg) = (grad(f, &at), grad(g, &at));
        same(&format!("{what}: gradient"), &df, &dg);
        let (a, b) = (jvp(f, &at, &dg), jvp(g, &at, &dg));
        same(&format!("{what}: forward mode"), &a.1, &b.1);
        if seed % 3 == 0 {
            // The gradient of the gradient's square, forwards and backwards.
            let h = |d: &(State, Tensor, Tensor)| {
                lazuli::function::tree::leaves(d).iter().map(|t| t.square().sum(..)).fold(Tensor::zeros([]), |a, b| a + b)
            };
            let (a, b) = (grad(|x: &(State, Tensor, Tensor)| h(&grad(f, x)), &at), grad(|x: &(State, Tensor, Tensor)| h(&grad(g, x)), &at));
            same(&format!("{what}: second order"), &a, &b);
            let (a, b) =
                (jvp(|x: &(State, Tensor, Tensor)| grad(f, x), &at, &dg).1, jvp(|x: &(State, Tensor, Tensor)| grad(g, x), &at, &dg).1);
            same(&format!("{what}: forward over reverse"), &a, &b);
        }
        let many = lazuli::function::tree::map_tensors(&at, |t, _| Tensor::stack(&[t, &(t * 0.5), &(t * -0.7)], 0));
        let parts: Vec<_> = [1.0f32, 0.5, -0.7].iter().map(|&k| lazuli::function::tree::map_tensors(&at, |t, _| t * k)).collect();
        let each = Tensor::stack(&parts.iter().map(g).collect::<Vec<_>>(), 0);
        same(&format!("{what}: batch"), &vmap(f, 0)(&many), &each);
        let slopes = vmap(|x: &(State, Tensor, Tensor)| grad(f, x).1, 0)(&many);
        same(&format!("{what}: gradients of a batch"), &slopes, &Tensor::stack(&parts.iter().map(|p| grad(g, p).1).collect::<Vec<_>>(), 0));
        let j = jit(move |x: (State, Tensor, Tensor)| case.run(&x, true));
        same(&format!("{what}: jit"), &j(at.clone()).unwrap(), &j(at).unwrap());
    }
}
