//! Decompositions of small matrices: values and gradients against PyTorch's, second derivatives against differences, batches, slips.

use lazuli::ErrorKind;
use lazuli::prelude::*;

type Matrices = Vec<Tensor>;
type Function = Box<dyn Fn(&[Tensor]) -> Matrices + Send + Sync>;

fn numbers(t: &Tensor) -> Vec<f64> {
    t.cast(DType::F64).to_vec::<f64>().unwrap()
}

#[track_caller]
fn agree(what: &str, got: &Tensor, want: &[f64], tolerance: f64) {
    let got = numbers(got);
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (x, y)) in got.iter().zip(want).enumerate() {
        assert!((x - y).abs() <= tolerance * (1.0 + y.abs()), "{what} at {i}: {x}, expected {y}\n{got:?}");
    }
}

/// Matrices without a pattern, as the fixtures were made from.
fn matrices(batch: usize, n: usize, shift: f64) -> Tensor {
    let v: Vec<f64> = (0..batch * n * n).map(|i| ((i * i) as f64 * 0.7 + shift).sin()).collect();
    Tensor::from_vec(v, [batch, n, n])
}

fn weighted(outs: &[Tensor]) -> Tensor {
    let sum = |t: &Tensor| {
        let v: Vec<f64> = (0..t.numel()).map(|i| (i as f64 * 1.3).cos()).collect();
        (t * Tensor::from_vec(v, t.shape()).cast(t.dtype())).sum(..)
    };
    outs.iter().map(sum).reduce(|a, b| a + b).unwrap()
}

fn a() -> Tensor {
    matrices(2, 3, 0.5)
}

fn b() -> Tensor {
    matrices(2, 3, 1.5).narrow(-1, 0, 2)
}

fn eye() -> Tensor {
    Tensor::eye(3).cast(DType::F64)
}

fn positive() -> Tensor {
    a().matmul(&a().mt()) + eye() * 0.5
}

/// Name, function, arguments, PyTorch's values, and its gradients of the weighted sum.
type Case = (&'static str, Function, Matrices, Vec<&'static [f64]>, Vec<&'static [f64]>);

fn cases() -> Vec<Case> {
    let one = |f: fn(&Tensor) -> Tensor| -> Function { Box::new(move |x| vec![f(&x[0])]) };
    let t = a() + eye() * 2.0;
    vec![
        ("inverse", one(|x| x.inverse()), vec![a()], vec![&INV], vec![&INV_GRAD]),
        ("det", one(|x| x.det()), vec![a()], vec![&[-1.307_957_225_48, -1.587_633_036_11]], vec![&DET_GRAD]),
        (
            "slogdet",
            Box::new(|x| Vec::from(<[Tensor; 2]>::from(x[0].slogdet()))),
            vec![a()],
            vec![&[-1.0, -1.0], &[0.268_466_550_271, 0.462_244_250_549]],
            vec![&SLOGDET_GRAD],
        ),
        ("solve", Box::new(|x| vec![x[0].solve(&x[1])]), vec![a(), b()], vec![&SOLVE], vec![&SOLVE_GRAD0, &SOLVE_GRAD1]),
        ("cholesky", one(|x| x.cholesky(false)), vec![positive()], vec![&CHOL], vec![&CHOL_GRAD]),
        ("cholesky upper", one(|x| x.cholesky(true)), vec![positive()], vec![&CHOLU], vec![&CHOLU_GRAD]),
        (
            "triangular upper",
            Box::new(|x| vec![x[0].solve_triangular(&x[1], true, true, false)]),
            vec![t.clone(), b()],
            vec![&TRI_UP],
            vec![&TRI_UP_GRAD0, &TRI_UP_GRAD1],
        ),
        (
            "triangular lower, unit, right",
            Box::new(|x| vec![x[0].solve_triangular(&x[1], false, false, true)]),
            vec![t, b().mt()],
            vec![&TRI_LO],
            vec![&TRI_LO_GRAD0, &TRI_LO_GRAD1],
        ),
        ("qr tall", qr(), vec![b()], vec![&QR_TALL0, &QR_TALL1], vec![&QR_TALL_GRAD]),
        ("qr square", qr(), vec![a()], vec![&QR_SQ0, &QR_SQ1], vec![&QR_SQ_GRAD]),
        ("qr wide", qr(), vec![b().mt()], vec![&QR_WIDE0, &QR_WIDE1], vec![&QR_WIDE_GRAD]),
    ]
}

fn qr() -> Function {
    Box::new(|x| Vec::from(<[Tensor; 2]>::from(x[0].qr())))
}

#[test]
fn values_and_gradients_as_pytorch() {
    crate::devices::needs_f64!("values_and_gradients_as_pytorch");
    for (name, f, args, values, slopes) in cases() {
        for (got, want) in f(&args).iter().zip(&values) {
            agree(name, got, want, 1e-10);
        }
        let g = grad(|x: &Matrices| weighted(&f(x)), &args);
        for (got, want) in g.iter().zip(&slopes) {
            agree(name, got, want, 1e-9);
        }
        // In single precision.
        let small: Matrices = args.iter().map(|t| t.cast(DType::F32)).collect();
        for (got, want) in f(&small).iter().zip(&values) {
            assert_eq!(got.dtype(), DType::F32);
            agree(name, got, want, 1e-5);
        }
    }
}

#[test]
fn second_derivatives_and_forward_mode() {
    crate::devices::needs_f64!("second_derivatives_and_forward_mode");
    let h = 1e-5;
    for (name, f, args, _, _) in cases() {
        let loss = |x: &Matrices| weighted(&f(x)).sin();
        let toward: Matrices = args.iter().map(|t| (t * 3.0).cos()).collect();
        // A symmetric argument moves within the symmetric ones.
        let toward: Matrices = if name.starts_with("chol") { toward.iter().map(|t| t + t.mt()).collect() } else { toward };
        let moved = |by: f64| -> Matrices { args.iter().zip(&toward).map(|(x, d)| x + d * by).collect() };
        let ends = [moved(h), moved(-h)];
        let slope = (loss(&ends[0]) - loss(&ends[1])) / (2.0 * h);
        agree(name, &jvp(loss, &args, &toward).1, &numbers(&slope), 1e-7);
        let g = |x: &Matrices| grad(loss, x);
        let (over, ends) = (hvp(loss, &args, &toward), ends.map(|x| g(&x)));
        for i in 0..args.len() {
            let difference = (&ends[0][i] - &ends[1][i]) / (2.0 * h);
            agree(name, &over[i], &numbers(&difference), 1e-6);
        }
        // Reverse over reverse.
        let dot = |x: &Matrices| g(x).iter().zip(&toward).map(|(a, b)| (a * b).sum(..)).reduce(|a, b| a + b).unwrap();
        for (got, want) in grad(dot, &args).iter().zip(&over) {
            agree(name, got, &numbers(want), 1e-9);
        }
    }
}

#[test]
fn a_third_derivative() {
    crate::devices::needs_f64!("a_third_derivative");
    // 1 / x three times: -6 / x^4. Of a 1 by 1 matrix, so that nothing hides.
    let f = |x: &Tensor| x.reshape([1, 1]).inverse().sum(..);
    let third = grad(|x: &Tensor| grad(|x: &Tensor| grad(f, x), x), &Tensor::from_vec(vec![2f64], []));
    agree("inverse", &third, &[-6.0 / 16.0], 1e-12);
}

#[test]
fn batches_by_vmap_and_jit() {
    crate::devices::needs_f64!("batches_by_vmap_and_jit");
    for (name, f, args, values, _) in cases() {
        let each = vmap(|x: &Matrices| f(x), 0)(&args);
        let recorded = jit(|x: Matrices| f(&x))(args.clone()).unwrap();
        for ((a, b), want) in each.iter().zip(&recorded).zip(&values) {
            agree(name, a, want, 1e-10);
            agree(name, b, want, 1e-10);
        }
        let loss = |x: &Matrices| weighted(&f(x)).sin();
        let slopes = vmap(|x: &Matrices| grad(loss, x), 0)(&args);
        for i in 0..2 {
            let one: Matrices = args.iter().map(|t| t.select(0, i)).collect();
            for (got, want) in slopes.iter().zip(grad(loss, &one)) {
                agree(name, &got.select(0, i), &numbers(&want), 1e-10);
            }
        }
    }
}

#[test]
fn larger_matrices_and_pivots() {
    crate::devices::needs_f64!("larger_matrices_and_pivots");
    let n = 40;
    let m = matrices(1, n, 0.3).select(0, 0);
    let near = |t: Tensor, want: &Tensor| agree("large", &t, &numbers(want), 1e-9);
    let one = Tensor::eye(n).cast(DType::F64);
    near(m.matmul(&m.inverse()), &one);
    let (q, r) = m.qr();
    near(q.matmul(&r), &m);
    near(q.mt().matmul(&q), &one);
    let p = m.matmul(&m.mt()) + &one;
    let l = p.cholesky(false);
    near(l.matmul(&l.mt()), &p);
    let (sign, log) = m.slogdet();
    near(sign * log.exp() / m.det(), &Tensor::ones([]));
    // Zeros on the diagonal need another row; two exchanges keep the sign.
    let turn = tensor![[0., 2., 0.], [0., 0., 3.], [4., 0., 0.]];
    agree("pivots", &turn.det(), &[24.0], 1e-6);
    agree("pivots", &turn.inverse(), &[0.0, 0.0, 0.25, 0.5, 0.0, 0.0, 0.0, 1.0 / 3.0, 0.0], 1e-6);
    agree("pivots", &turn.solve(&tensor![2., 6., 4.]), &[1.0, 1.0, 2.0], 1e-6);
    // A vector for each matrix, and one for all.
    let (x, v) = (a(), b().select(-1, 0));
    agree("vectors", &x.solve(&v), &numbers(&x.solve(&v.unsqueeze(-1)).squeeze_axis(-1)), 1e-12);
    let shared = x.solve(&v.select(0, 0));
    agree("a vector", &x.matmul(&shared.unsqueeze(-1)), &numbers(&v.select(0, 0).repeat(&[2])), 1e-10);
}

#[test]
fn without_an_answer() {
    let singular = tensor![[1., 2.], [2., 4.]];
    let read = |t: &Tensor| t.to_vec::<f32>().unwrap();
    assert_eq!(read(&singular.det()), [0.0]);
    let (sign, log) = singular.slogdet();
    assert_eq!((read(&sign), read(&log)), (vec![0.0], vec![f32::NEG_INFINITY]));
    assert!(read(&singular.inverse()).iter().any(|x| !x.is_finite()));
    assert!(read(&tensor![[1., 2.], [2., 1.]].cholesky(false)).iter().any(|x| x.is_nan()));
    assert_eq!(read(&Tensor::zeros([3, 3]).det()), [0.0]);
    // Nothing at all.
    assert_eq!(read(&Tensor::zeros([2, 0, 0]).det()), [1.0, 1.0]);
    assert_eq!(Tensor::zeros([2, 0, 0]).inverse().shape()[..], [2, 0, 0]);
    assert_eq!(Tensor::zeros([0, 2, 2]).det().shape()[..], [0]);
    let (q, r) = Tensor::zeros([0, 2, 3]).qr();
    assert_eq!((&q.shape()[..], &r.shape()[..]), (&[0, 2, 2][..], &[0, 2, 3][..]));
}

#[test]
fn slips_are_named() {
    let fails = |f: &dyn Fn(), kind: ErrorKind, says: &str| {
        let e = lazuli::catch(f).unwrap_err();
        assert!(e.kind() == kind && e.to_string().contains(says), "{e}");
    };
    let (x, wide) = (Tensor::ones([3, 3]), Tensor::ones([2, 3]));
    fails(&|| _ = wide.inverse(), ErrorKind::Shape, "inverse: the matrices of shape [2, 3] are not square");
    fails(&|| _ = wide.det(), ErrorKind::Shape, "det: the matrices");
    fails(&|| _ = wide.cholesky(true), ErrorKind::Shape, "cholesky: the matrices");
    fails(&|| _ = Tensor::ones([3]).slogdet(), ErrorKind::Shape, "slogdet: shape [3] is no matrix");
    fails(&|| _ = Tensor::ones([3]).qr(), ErrorKind::Shape, "qr: shape [3] is no matrix");
    fails(&|| _ = x.cast(DType::F16).det(), ErrorKind::DType, "det: f16 [3, 3]");
    fails(&|| _ = x.cast(DType::I64).qr(), ErrorKind::DType, "qr: i64 [3, 3]");
    fails(&|| _ = x.solve(&wide), ErrorKind::Shape, "solve: matrices of shape [3, 3] against");
    fails(&|| _ = x.solve(&x.cast(DType::F64)), ErrorKind::DType, "dtypes differ");
    fails(&|| _ = x.solve_triangular(&wide, true, true, false), ErrorKind::Shape, "expected 3 rows");
    fails(&|| _ = x.solve_triangular(&wide.mt(), true, false, false), ErrorKind::Shape, "expected 3 columns");
}

// PyTorch's.
#[rustfmt::skip]
const INV: [f64; 18] = [0.701880292844, 0.660931424339, 0.627045808873, 0.674253100732, -0.419671579851, -0.215678468845, -0.222322511184, -0.470902942871, 0.631402411483, 0.528054249988, 0.473922395461, 0.440151741009, 0.685362251435, -0.561056849383, -0.0318108229708, -0.0171326257599, -0.717360975646, 0.639927447448];
#[rustfmt::skip]
const INV_GRAD: [f64; 18] = [-0.726777302444, 0.203857404245, 0.266188883966, -0.495282302949, -0.60851166808, 0.859415985626, 0.468603444738, -1.01217598034, 0.627302337808, -0.133622868092, 0.387365257104, -0.144928897399, -0.666679650358, 0.311500399635, 0.531818179826, -0.196054448641, -0.491735769783, 0.607944948077];
#[rustfmt::skip]
const DET_GRAD: [f64; 18] = [-0.918029400451, -0.881894214908, 0.29078833489, -0.864470032013, 0.548912475197, 0.615920906629, -0.820149096425, 0.282098211708, -0.825847346287, -0.224259347517, -0.291066479104, 0.00727605444755, -0.201270091439, 0.23827522071, 0.304656016568, -0.186928032962, 0.01350973769, -0.271770773224];
#[rustfmt::skip]
const SLOGDET_GRAD: [f64; 18] = [0.701880292844, 0.674253100732, -0.222322511184, 0.660931424339, -0.419671579851, -0.470902942871, 0.627045808873, -0.215678468845, 0.631402411483, 0.141253893322, 0.183333599442, -0.00458295732203, 0.126773685645, -0.150082050002, -0.191893220686, 0.117740075137, -0.00850935788226, 0.171179842597];
#[rustfmt::skip]
const SOLVE: [f64; 12] = [1.98713263419, 0.0619716208822, 0.0378267050649, 0.693375907533, -0.0605841295277, -0.840163528592, 1.40451453996, 0.11611695838, 0.10318538588, 0.273731064849, -0.119164064548, -0.942767035416];
#[rustfmt::skip]
const SOLVE_GRAD0: [f64; 18] = [-0.0075077948063, 0.35898742677, -0.434690655174, -1.59087892199, -0.0452168207345, 0.0665876109397, -2.25941915135, -0.694312401245, 0.857636031912, 0.528074398801, 0.0530725090811, -0.0950252546003, 0.517154982558, 0.222623671162, -0.693363824001, -0.811145634237, 0.0840091663655, -0.436337577215];
#[rustfmt::skip]
const SOLVE_GRAD1: [f64; 12] = [0.0199585910077, -0.518827364201, 0.799917401923, 0.0215735518543, 1.10768081925, 0.940921769132, -0.371532990656, -0.0538328891587, -0.310652166301, -0.696190283015, 0.622294045748, -0.541483363199];
#[rustfmt::skip]
const CHOL: [f64; 18] = [1.27413869294, 0.0, 0.0, -0.278496305785, 1.34580408619, 0.0, -0.0933240011207, -0.226328531059, 1.31291071019, 1.40318087391, 0.0, 0.0, 0.0489744561771, 1.24003230409, 0.0, -0.327048352644, 0.317491586669, 1.49806602913];
#[rustfmt::skip]
const CHOL_GRAD: [f64; 18] = [0.323334474971, -0.289509947886, -0.0792891819212, -0.289509947886, 0.108809156711, -0.388031184239, -0.0792891819212, -0.388031184239, -0.213641435428, 0.292082608163, -0.364659576016, 0.208493805495, -0.364659576016, -0.132587215834, -0.0644795076407, 0.208493805495, -0.0644795076407, -0.331788289567];
#[rustfmt::skip]
const CHOLU: [f64; 18] = [1.27413869294, -0.278496305785, -0.0933240011207, 0.0, 1.34580408619, -0.226328531059, 0.0, 0.0, 1.31291071019, 1.40318087391, 0.0489744561771, -0.327048352644, 0.0, 1.24003230409, 0.317491586669, 0.0, 0.0, 1.49806602913];
#[rustfmt::skip]
const CHOLU_GRAD: [f64; 18] = [0.411000399932, 0.178978938991, -0.280457981216, 0.178978938991, 0.229041271579, 0.326897997356, -0.280457981216, 0.326897997356, -0.213641435428, 0.181071268665, 0.42682673777, -0.14927095814, 0.42682673777, -0.253059435222, 0.40605089398, -0.14927095814, 0.40605089398, -0.331788289567];
#[rustfmt::skip]
const TRI_UP: [f64; 12] = [0.0437227579451, 0.338059635151, 1.01093786046, -0.0858385110733, 0.336908945658, -0.318915571856, 0.130869402979, 0.154279394705, 0.785024852948, 0.164137856198, 0.314637111787, -0.334320075996];
#[rustfmt::skip]
const TRI_UP_GRAD0: [f64; 18] = [-0.0541066114972, -0.398469784196, -0.101474877886, 0.0, 0.949371698978, 0.122583934254, 0.0, 0.0, 0.0773727318013, 0.0533920351302, 0.0434343599452, -0.128084102369, 0.0, 0.200755673683, 0.35747519898, 0.0, 0.0, -0.0690301682257];
#[rustfmt::skip]
const TRI_UP_GRAD1: [f64; 12] = [0.403319230374, 0.107887421687, -0.995784889592, -0.667590176803, -0.0726660573416, 0.165846047371, 0.0207023479237, -0.363634684662, -0.400491869839, 0.692347275495, 0.238636754127, 0.0181078292739];
#[rustfmt::skip]
const TRI_LO: [f64; 12] = [-0.151859034891, 1.23865344092, 0.999993742857, 1.36359206654, -0.0940544388436, -0.946586846285, -0.817279435693, 1.53333482283, 0.939519731713, 1.60627758782, -0.180224410197, -0.998293895856];
#[rustfmt::skip]
const TRI_LO_GRAD0: [f64; 18] = [0.0, 0.0, 0.0, -1.30693059643, 0.0, 0.0, -1.68715171331, 1.00963875041, 0.0, 0.0, 0.0, 0.0, 0.0339809429508, 0.0, 0.0, 0.595799289605, 1.38195776417, 0.0];
#[rustfmt::skip]
const TRI_LO_GRAD1: [f64; 12] = [1.0, -0.226614522514, -1.4486237095, -0.7259323042, 0.827209514828, 1.56526975313, 0.0539554205626, -0.985244478076, -1.18375276329, 0.647596338654, 0.457080964179, -0.408488979661];
#[rustfmt::skip]
const QR_TALL0: [f64; 12] = [-0.576666419058, 0.64766284896, -0.577272490574, 0.108303074875, -0.57811098654, -0.754190478625, -0.591734374975, -0.498190000452, -0.582031753386, -0.279916420939, -0.557753948909, 0.820642139266];
#[rustfmt::skip]
const QR_TALL1: [f64; 8] = [-1.7297608351, 0.00408833716443, 0.0, 1.25196931069, -1.68446988775, -0.0864615447697, 0.0, -1.27524302471];
#[rustfmt::skip]
const QR_TALL_GRAD: [f64; 12] = [-1.27492809964, -0.216765029265, -0.00562144322962, -0.89556678628, -0.452416023535, 0.647779340799, -0.737090341419, 0.448495422892, -0.0984422725575, -0.970780685788, 0.0447178361212, -1.21371189051];
#[rustfmt::skip]
const QR_SQ0: [f64; 18] = [-0.548960228761, 0.790476822028, -0.271641420029, -0.565778325169, -0.590634586246, -0.575365685715, -0.615254056474, -0.162164050781, 0.771469550032, -0.497573855008, 0.867238565251, -0.0178193645862, -0.570780840806, -0.342813313948, -0.746115449209, -0.65316880711, -0.361076588443, 0.665578099622];
#[rustfmt::skip]
const QR_SQ1: [f64; 18] = [-0.873333829095, 0.0671910407171, -0.0841651495857, 0.0, 1.22574662286, 0.161866825611, 0.0, 0.0, 1.22183497561, -1.21840493279, 0.208441908587, -0.172293041148, 0.0, 1.25282437213, -0.501968176876, 0.0, 0.0, 1.04008368804];
#[rustfmt::skip]
const QR_SQ_GRAD: [f64; 18] = [-2.09401386173, -0.0809574341256, 1.39475428919, -0.520773170071, -1.07295205011, 0.230773747432, 0.72193347747, 0.624126883502, -0.0639453965256, -1.77008688655, -0.77784561212, 0.78900538012, 0.560323973834, -0.627617466043, 0.56123117296, -0.132690922743, -0.248295869136, -0.843295036293];
#[rustfmt::skip]
const QR_WIDE0: [f64; 8] = [-0.776863679749, -0.629668820164, -0.629668820164, 0.776863679749, -0.823577241475, -0.567204131971, -0.567204131971, 0.823577241475];
#[rustfmt::skip]
const QR_WIDE1: [f64; 12] = [-1.28400260252, -0.859624120005, -0.180822596118, 0.0, -0.525248476207, -1.36503382084, -1.2102796022, -1.03846108737, -0.207530646304, 0.0, -0.22066490268, -1.35507160683];
#[rustfmt::skip]
const QR_WIDE_GRAD: [f64; 12] = [-0.745539811167, -0.502820463979, 0.0507589719982, -0.668315129193, 0.195537913475, 1.29823158687, 0.85699549073, 0.265814378787, 0.553965845477, -1.33947790566, 1.28490412574, 0.184678828368];
