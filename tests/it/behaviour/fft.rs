//! Fourier transforms: values against the defining sum in f64 and PyTorch's, derivatives, batches, slips.

use lazuli::fft::{self, Norm};
use lazuli::prelude::*;
use lazuli::{Complex, ErrorKind};
use std::f64::consts::PI;

fn numbers(t: &Tensor) -> Vec<f64> {
    t.cast(DType::F64).to_vec::<f64>().unwrap()
}

#[track_caller]
fn agree(got: &Tensor, want: &[f64], tolerance: f64) {
    let got = numbers(got);
    assert_eq!(got.len(), want.len());
    let scale = want.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    for (i, (x, y)) in got.iter().zip(want).enumerate() {
        assert!((x - y).abs() <= tolerance * scale, "at {i}: {x}, expected {y}");
    }
}

/// Numbers without a pattern, as the fixtures were made from.
fn wave(n: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * i) as f64 * 0.7 + 0.5).sin()).collect()
}

fn weights(t: &Tensor) -> Tensor {
    let v: Vec<f64> = (0..t.numel()).map(|i| (i as f64 * 1.3).cos()).collect();
    Tensor::from_vec(v, t.shape())
}

fn tensor(n: usize, shape: &[usize]) -> Tensor {
    Tensor::from_vec(wave(n), shape)
}

/// The sum as it is defined.
fn sum(re: &[f64], im: &[f64], sign: f64) -> (Vec<f64>, Vec<f64>) {
    let n = re.len();
    (0..n)
        .map(|k| {
            (0..n).fold((0.0, 0.0), |(a, b), j| {
                let t = sign * 2.0 * PI * ((j * k) % n) as f64 / n as f64;
                (a + re[j] * t.cos() - im[j] * t.sin(), b + re[j] * t.sin() + im[j] * t.cos())
            })
        })
        .unzip()
}

#[test]
fn every_kind_of_length() {
    crate::devices::needs_f64!("every_kind_of_length");
    // Tables, powers of two, odd factors, primes by a table and by a convolution, products of large primes.
    for n in [1, 2, 3, 5, 16, 63, 64, 65, 96, 127, 128, 211, 250, 487, 1024, 67 * 71, 2 * 211] {
        let all = wave(2 * n);
        let (re, im) = all.split_at(n);
        let z = Complex::new(&Tensor::from_slice(re, [n]), &Tensor::from_slice(im, [n]));
        let (want_re, want_im) = sum(re, im, -1.0);
        let y = fft::fft(&z, None, -1, Norm::Backward);
        agree(&y.re, &want_re, 1e-12);
        agree(&y.im, &want_im, 1e-12);
        let back = fft::ifft(&y, None, -1, Norm::Backward);
        agree(&back.re, re, 1e-12);
        agree(&back.im, im, 1e-12);
        // In f32, and of real numbers.
        let x = Tensor::from_slice(re, [n]);
        let (want_re, want_im) = sum(re, &vec![0.0; n], -1.0);
        let y = fft::fft(&x.cast(DType::F32), None, 0, Norm::Backward);
        assert_eq!(y.re.dtype(), DType::F32);
        agree(&y.re, &want_re, 1e-6);
        agree(&y.im, &want_im, 1e-6);
        let half = fft::rfft(&x, None, 0, Norm::Backward);
        agree(&half.re, &want_re[..n / 2 + 1], 1e-12);
        agree(&half.im, &want_im[..n / 2 + 1], 1e-12);
        agree(&fft::irfft(&half, n, 0, Norm::Backward), re, 1e-12);
    }
}

#[test]
fn norms_lengths_and_axes() {
    crate::devices::needs_f64!("norms_lengths_and_axes");
    let x = tensor(24, &[2, 4, 3]);
    for (axis, n) in [(0, 5), (1, 3), (1, 7), (-1, 2), (2, 4)] {
        for norm in [Norm::Backward, Norm::Ortho, Norm::Forward] {
            let y = fft::fft(&x, n, axis, norm);
            let inverse = fft::ifft(&x, n, axis, norm);
            let (root, full) = ((n as f64).sqrt(), n as f64);
            let (f, g) = match norm {
                Norm::Backward => (1.0, full),
                Norm::Ortho => (root, root),
                Norm::Forward => (full, 1.0),
            };
            // Lines along the axis.
            let line = |t: &Tensor| t.movedim(axis, -1).reshape([-1, t.movedim(axis, -1).shape()[2] as isize]);
            let (lines, re, im) = (line(&x), line(&y.re), line(&y.im));
            for i in 0..lines.shape()[0] {
                let mut v = numbers(&lines.select(0, i as isize));
                v.resize(n, 0.0);
                let (a, b) = sum(&v, &vec![0.0; n], -1.0);
                agree(&(re.select(0, i as isize) * f), &a, 1e-12);
                agree(&(im.select(0, i as isize) * f), &b, 1e-12);
                let (a, _) = sum(&v, &vec![0.0; n], 1.0);
                agree(&(line(&inverse.re).select(0, i as isize) * g), &a, 1e-12);
            }
        }
    }
}

/// The value of a function, and the gradient of its weighted sum, against PyTorch's.
#[track_caller]
fn as_torch(f: impl Fn(&Tensor) -> Tensor, x: &Tensor, value: &[f64], slope: &[f64]) {
    agree(&f(x), value, 1e-10);
    let loss = |x: &Tensor| {
        let y = f(x);
        (&y * weights(&y)).sum(..)
    };
    agree(&grad(loss, x), slope, 1e-10);
}

#[test]
fn two_dimensional_ones_as_pytorch() {
    crate::devices::needs_f64!("two_dimensional_ones_as_pytorch");
    let x = tensor(20, &[4, 5]);
    as_torch(|x| fft::rfft2(x, [3, 6], [-2, -1], Norm::Ortho).to_real(), &x, &RFFT2, &RFFT2_GRAD);
    let z = Tensor::from_vec(wave(18)[..16].to_vec(), [2, 4, 2]);
    as_torch(|z| fft::irfft2(Complex::from_real(z), [3, 5], [-2, -1], Norm::Backward), &z, &IRFFT2, &IRFFT2_GRAD);
    as_torch(|z| fft::fft2(Complex::from_real(z), [3, 3], [0, 1], Norm::Forward).to_real(), &z, &FFT2, &FFT2_GRAD);
    as_torch(|z| fft::ifft2(Complex::from_real(z), None, [0, 1], Norm::Backward).to_real(), &z, &IFFT2, &IFFT2_GRAD);
    let z = Tensor::from_vec(vec![3.0, 4.0, 0.0, -2.0], [2, 2]);
    as_torch(|z| Complex::from_real(z).abs(), &z, &[5.0, 2.0], &[0.6, 0.8, 0.0, -0.267_498_828_625]);
    as_torch(|z| Complex::from_real(z).angle(), &z, &[0.927_295_218_002, -PI / 2.0], &[-0.16, 0.12, 0.133_749_414_312, 0.0]);
}

#[test]
fn derivatives_of_linear_maps_are_themselves() {
    crate::devices::needs_f64!("derivatives_of_linear_maps_are_themselves");
    for n in [12, 90, 211] {
        let (x, dx) = (tensor(n, &[n]), weights(&tensor(n, &[n])));
        let f = |x: &Tensor| fft::rfft(x, None, -1, Norm::Ortho).to_real();
        agree(&jvp(f, &x, &dx).1, &numbers(&f(&dx)), 1e-12);
        // The power spectrum has the gradient 2 x, and a constant second derivative.
        let power = |x: &Tensor| {
            let y = fft::fft(x, None, -1, Norm::Ortho);
            (&y * &y.conj()).re.sum(..)
        };
        agree(&grad(power, &x), &numbers(&(&x * 2.0)), 1e-11);
        agree(&hvp(power, &x, &dx), &numbers(&(&dx * 2.0)), 1e-11);
    }
}

#[test]
fn a_batch_by_vmap_and_jit() {
    crate::devices::needs_f64!("a_batch_by_vmap_and_jit");
    let x = tensor(60, &[3, 20]);
    let f = |x: &Tensor| fft::irfft(fft::rfft(x, 24, -1, Norm::Backward).scale(2.0), 24, -1, Norm::Forward);
    let want = numbers(&f(&x));
    agree(&vmap(f, 0)(&x), &want, 1e-12);
    agree(&jit(|x: Tensor| f(&x))(x.clone()).unwrap(), &want, 1e-12);
    // A circular convolution is a product of transforms.
    let (a, b) = (tensor(50, &[2, 25]).select(0, 0), tensor(50, &[2, 25]).select(0, 1));
    let product = fft::rfft(&a, None, 0, Norm::Backward) * fft::rfft(&b, None, 0, Norm::Backward);
    let (va, vb) = (numbers(&a), numbers(&b));
    let want: Vec<f64> = (0..25).map(|k| (0..25).map(|j| va[j] * vb[(25 + k - j) % 25]).sum()).collect();
    agree(&fft::irfft(product, 25, 0, Norm::Backward), &want, 1e-12);
}

#[test]
fn whole_numbers_and_complex_arithmetic() {
    crate::devices::needs_f64!("whole_numbers_and_complex_arithmetic");
    let y = fft::fft(Tensor::arange(4), None, -1, Norm::Backward);
    assert_eq!((y.re.dtype(), numbers(&y.re)), (DType::F32, vec![6.0, -2.0, -2.0, -2.0]));
    agree(&y.im, &[0.0, 2.0, 0.0, -2.0], 1e-6);
    let (a, b) = (Complex::new(&tensor![1.0, 2.0], &tensor![3.0]), Complex::new(&tensor![2.0], &tensor![-1.0, 1.0]));
    agree(&(&a * &b).to_real(), &[5.0, 5.0, 1.0, 8.0], 1e-6);
    agree(&(&a + &b).to_real(), &[3.0, 2.0, 4.0, 4.0], 1e-6);
    agree(&(-(&a - &b)).conj().to_real(), &[1.0, 4.0, 0.0, 2.0], 1e-6);
}

#[test]
fn slips_are_named() {
    let e = |f: &dyn Fn()| lazuli::catch(f).unwrap_err();
    let x = Tensor::ones([2, 3]);
    let fails = |f: &dyn Fn(), kind: ErrorKind, says: &str| {
        let e = e(f);
        assert!(e.kind() == kind && e.to_string().contains(says), "{e}");
    };
    fails(&|| _ = fft::fft(&x, None, 2, Norm::Backward), ErrorKind::Index, "fft: axis 2 is out of range");
    fails(&|| _ = fft::rfft(&x, 0, -1, Norm::Backward), ErrorKind::Argument, "rfft: shape [2, 3], axis 1: the length");
    fails(&|| _ = fft::fft(Tensor::ones([2, 0]), None, -1, Norm::Backward), ErrorKind::Argument, "at least 1");
    fails(&|| _ = fft::ifft(Tensor::ones([]), None, -1, Norm::Backward), ErrorKind::Shape, "ifft: a 0-d tensor");
    fails(&|| _ = fft::irfft(Tensor::ones([1]), None, -1, Norm::Backward), ErrorKind::Argument, "irfft: shape [1]");
    fails(&|| _ = fft::fft(x.cast(DType::F16), None, -1, Norm::Backward), ErrorKind::DType, "fft: f16 [2, 3]");
    fails(&|| _ = fft::fft2(&x, None, [1, -1], Norm::Backward), ErrorKind::Shape, "two different axes");
    fails(&|| _ = fft::irfft2(Tensor::ones([3]), None, [-2, -1], Norm::Backward), ErrorKind::Index, "irfft2");
    fails(&|| _ = Complex::from_real(&x), ErrorKind::Shape, "from_real: f32 [2, 3]");
}

// PyTorch's.
#[rustfmt::skip]
const RFFT2: [f64; 24] = [0.556845438011, 0.0, 0.124902229694, -0.420526684224, 0.296107528393, -0.0290485756604, -0.393047052635, 0.0, 0.07012743066, -0.176481252183, 0.46157495057, 0.328936118964, -0.328027516414, 0.0688904446129, -0.463368383301, 0.812318737071, 0.07012743066, 0.176481252183, 0.0578359515883, -0.849183108279, 0.715963764384, -0.240578285888, -0.463368383301, -0.812318737071];
#[rustfmt::skip]
const RFFT2_GRAD: [f64; 20] = [-0.00427306493803, -0.00155526349844, -0.00284320655441, 0.0936894445792, -0.0131830044662, -0.0696831999676, 0.0703309739513, -0.0909971449917, 0.31479725045, -0.170351016917, 0.544594757, -0.0219171645946, 2.01898591923, 1.197671006, 0.0235270364481, 0.0, 0.0, 0.0, 0.0, 0.0];
#[rustfmt::skip]
const IRFFT2: [f64; 15] = [0.197637236589, 0.223539605351, -0.169885978437, 0.179420080637, 0.0518117181981, -0.163984785298, -0.184217026094, -0.129768383041, 0.0781052403544, 0.223308119729, -0.305659054796, 0.272242958251, -0.0494648447896, 0.197086557106, 0.0592540948428];
#[rustfmt::skip]
const IRFFT2_GRAD: [f64; 16] = [0.0333577929292, 0.0, 0.95050808932, 0.311817730831, -0.0225210798566, -0.00743243136287, 0.0, 0.0, -0.001359452229, 0.000479512539292, -0.0298557970421, -0.126186821422, -0.00431351684342, 0.00590780416455, 0.0, 0.0];
#[rustfmt::skip]
const FFT2: [f64; 18] = [0.245118140881, 0.0405356475311, 0.255864214933, 0.150320957839, -0.0184596934748, 0.321905236409, -0.225805927227, -0.162387076058, 0.286821618578, -0.0130719877759, 0.112444019265, 0.105619034326, -0.166080126806, 0.346906491972, 0.129840475054, 0.0418145870398, -0.140317182597, 0.100396194685];
#[rustfmt::skip]
const FFT2_GRAD: [f64; 16] = [0.0492919313097, -0.056902263867, -0.101005269872, -0.303095001757, 0.0716392703552, 0.0100002531678, 0.0, 0.0, 0.0671118800173, 0.208036485452, 0.803396412169, 0.170290854422, -0.213630500368, 0.232990528721, 0.0, 0.0];
#[rustfmt::skip]
const IFFT2: [f64; 16] = [0.279723235239, 0.115066665794, 0.242979975709, 0.453880794202, 0.06553341353, -0.0553569768145, 0.13554736903, 0.255552279487, -0.255468624852, -0.00630326769906, -0.116183932351, -0.206891179805, -0.231067046574, 0.0371194983172, 0.358361148874, 0.338971272486];
#[rustfmt::skip]
const IFFT2_GRAD: [f64; 16] = [0.101777588453, 0.0602451445158, 0.0285670735092, 0.138503208523, -0.123438891281, 0.32023348777, 0.212602100605, -0.06143425717, 0.0646182461704, -0.16763700751, 0.159751083148, -0.0880643643163, 0.691301392307, 0.409201602401, -0.135178592913, -0.343548985589];
