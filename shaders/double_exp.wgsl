// Exponentials, logarithms, hyperbolic functions, powers and the error function of f64. The rational approximations are those of FreeBSD's
// msun (Sun Microsystems 1993), each function in a form without tables or branches on the way; within 2 ulp.

// x = n ln2 + hi - lo; the product of n, of at most 11 bits, with the first part of ln2 is exact.
fn d_exp_rest(x: f64, n: f64) -> vec2<f64> {
    return vec2<f64>(x - n * 0.6931471803691238lf, n * 1.9082149292705877e-10lf);
}

// e^r - 1 for r = hi - lo with |r| <= ln2 / 2, without an error of its own for small r.
fn d_expm1_unit(hi: f64, lo: f64) -> f64 {
    let r = hi - lo;
    let u = r * r;
    let c = r - u * (0.16666666666666602lf + u * (-0.0027777777777015593lf + u * (6.613756321437934e-05lf + u * (-1.6533902205465252e-06lf
        + u * 4.1381367970572385e-08lf))));
    return hi + (r * c / (2.0lf - c) - lo);
}

// e^x 2^shift.
fn d_exp_shifted(x: f64, shift: i32) -> f64 {
    let c = clamp(x, -750.0lf, 720.0lf);
    let n = d_near(c * 1.4426950408889634lf);
    let r = d_exp_rest(c, n);
    return d_scale2(1.0lf + d_expm1_unit(r.x, r.y), i32(n) + shift);
}

fn d_exp(x: f64) -> f64 {
    if (d_is_nan(x)) {
        return x;
    }
    return d_exp_shifted(x, 0);
}

fn d_exp2(x: f64) -> f64 {
    if (d_is_nan(x)) {
        return x;
    }
    let c = clamp(x, -1080.0lf, 1030.0lf);
    let n = d_near(c);
    let f = c - n;
    return d_scale2(1.0lf + d_expm1_unit(f * 0.6931471805599453lf, f * -2.3190468138462996e-17lf), i32(n));
}

// For -40 <= x <= 710.
fn d_expm1_held(x: f64) -> f64 {
    let n = d_near(x * 1.4426950408889634lf);
    let r = d_exp_rest(x, n);
    let k = i32(n);
    // Half the result, so that 2^n stays finite where the result still is.
    let y = d_pow2(k - 1) * (d_expm1_unit(r.x, r.y) + (1.0lf - d_pow2(-min(k, 1000))));
    return y + y;
}

fn d_expm1(x: f64) -> f64 {
    // What cannot be halved, and NaN.
    if (d_is_nan(x) || abs(x) < 1e-300lf) {
        return x;
    }
    return d_copysign(d_expm1_held(clamp(x, -40.0lf, 710.0lf)), x);
}

// t / (t + 2) with t = e^2|x| - 1, which does not cancel near 0.
fn d_tanh(x: f64) -> f64 {
    if (d_is_nan(x) || abs(x) < 1e-300lf) {
        return x;
    }
    let t = d_expm1_held(2.0lf * min(abs(x), 22.0lf));
    return d_copysign(t / (t + 2.0lf), x);
}

fn d_sinh(x: f64) -> f64 {
    let a = abs(x);
    if (d_is_nan(x) || a < 1e-300lf) {
        return x;
    }
    if (a >= 22.0lf) {
        return d_copysign(d_exp_shifted(a, -1), x);
    }
    let t = d_expm1_held(a);
    let q = t / (t + 1.0lf);
    return d_copysign(0.5lf * select(t + q, 2.0lf * t - t * q, a < 1.0lf), x);
}

fn d_cosh(x: f64) -> f64 {
    if (d_is_nan(x)) {
        return x;
    }
    let h = d_exp_shifted(abs(x), -1);
    return h + 0.25lf / h;
}

// x = 2^k m with m in [sqrt 1/2, sqrt 2), for positive finite x; k in y.
fn d_log_reduce(x: f64) -> vec2<f64> {
    var bits = bitcast<u64>(x);
    var k = 0.0lf;
    if (bits < 0x10000000000000lu) {
        // Subnormal, as an integer: some devices take it for zero.
        bits = bitcast<u64>(f64(bits));
        k = -1074.0lf;
    }
    let i = bits - 0x3fe6a09e667f3bcdlu;
    let m = bitcast<f64>((i & 0xffffffffffffflu) + 0x3fe6a09e667f3bcdlu);
    return vec2<f64>(m, k + f64(bitcast<i32>(u32(i >> 32u)) >> 20u));
}

// s (f^2/2 + R) with s = f / (2 + f), of which log(1 + f) is f - f^2/2 and this; 1 + f in [sqrt 1/2, sqrt 2].
fn d_log_rest(f: f64, hfsq: f64) -> f64 {
    let s = f / (2.0lf + f);
    let z = s * s;
    let w = z * z;
    let t1 = w * (0.3999999999940942lf + w * (0.22222198432149784lf + w * 0.15313837699209373lf));
    let t2 = z * (0.6666666666666735lf + w * (0.2857142874366239lf + w * (0.1818357216161805lf + w * 0.14798198605116586lf)));
    return s * (hfsq + (t2 + t1));
}

// log(1 + f) + c + k ln2.
fn d_log_from(k: f64, f: f64, c: f64) -> f64 {
    let hfsq = 0.5lf * f * f;
    return (((d_log_rest(f, hfsq) + (k * 1.9082149292705877e-10lf + c)) - hfsq) + f) + k * 0.6931471803691238lf;
}

// What every logarithm is at 0, below, at infinity and NaN, given the result elsewhere.
fn d_log_edges(x: f64, y: f64) -> f64 {
    let b = bitcast<u64>(x);
    if ((b << 1u) == 0lu) {
        return -d_inf();
    }
    if (b > 0x7ff0000000000000lu) {
        return d_nan();
    }
    return select(y, x, b == 0x7ff0000000000000lu);
}

fn d_log(x: f64) -> f64 {
    let m = d_log_reduce(x);
    return d_log_edges(x, d_log_from(m.y, m.x - 1.0lf, 0.0lf));
}

fn d_log2(x: f64) -> f64 {
    let m = d_log_reduce(x);
    let f = m.x - 1.0lf;
    let hfsq = 0.5lf * f * f;
    // The first part has half of the bits, and so has that of log2 e: their product is exact.
    let hi = bitcast<f64>(bitcast<u64>(f - hfsq) & 0xffffffff00000000lu);
    let lo = (opaque_d(f - hi) - hfsq) + d_log_rest(f, hfsq);
    let h = opaque_d(hi * 1.4426950407214463lf);
    let w = opaque_d(m.y + h);
    let l = (lo + hi) * 1.6751713164886512e-10lf + lo * 1.4426950407214463lf;
    return d_log_edges(x, w + ((h - opaque_d(w - m.y)) + l));
}

fn d_log1p(x: f64) -> f64 {
    if (abs(x) < 1e-20lf) {
        return x;
    }
    let u = opaque_d(1.0lf + x);
    if (x > -0.2928lf && x < 0.4142lf) {
        return d_log_from(0.0lf, x, 0.0lf);
    }
    let m = d_log_reduce(u);
    // What the rounding of 1 + x left; beyond 2^54 it does not matter.
    let rest = select(x - opaque_d(u - 1.0lf), 1.0lf - opaque_d(u - x), x > 1.0lf);
    let c = select(rest / u, 0.0lf, m.y >= 54.0lf);
    return d_log_edges(u, d_log_from(m.y, m.x - 1.0lf, c));
}

// x^y as 2^(y log2 x), the logarithm in two parts, because y magnifies its error by up to 2^10.
fn d_pow(x: f64, y: f64) -> f64 {
    let a = abs(x);
    let ay = abs(y);
    let inf = 0x7ff0000000000000lu;
    // x^0 and 1^y are 1 even for NaN, and so is (-1)^(+-inf).
    if (y == 0.0lf || x == 1.0lf || (x == -1.0lf && bitcast<u64>(ay) == inf)) {
        return 1.0lf;
    }
    if (d_is_nan(x) || d_is_nan(y)) {
        return d_nan();
    }
    let big = ay >= 9007199254740992.0lf;
    let whole = big || d_trunc(y) == y;
    let odd = !big && whole && d_trunc(y * 0.5lf) != y * 0.5lf;
    let sign = select(0lu, bitcast<u64>(x) & 0x8000000000000000lu, odd);
    let zero = bitcast<u64>(a) == 0lu;
    if (zero || bitcast<u64>(a) == inf) {
        let up = zero != (y > 0.0lf);
        return bitcast<f64>(select(0lu, inf, up) ^ sign ^ u64(p[0].x));
    }
    if (x < 0.0lf && !whole) {
        return d_nan();
    }
    if (a == 1.0lf) {
        return bitcast<f64>(0x3ff0000000000000lu ^ sign);
    }
    // log2 a = k + z (C0 + u (C1 + u q)) with z = (m - 1) / (m + 1) and u = z^2; all but q in two parts.
    let m = d_log_reduce(a);
    let num = m.x - 1.0lf;
    let den = opaque_d(m.x + 1.0lf);
    let den_low = m.x - opaque_d(den - 1.0lf);
    let z = opaque_d(num / den);
    let zd = opaque_d(z * den);
    let z_low = (((num - zd) - d_product_error(z, den, zd)) - z * den_low) / den;
    let u = opaque_d(z * z);
    let u_low = d_product_error(z, z, u) + 2.0lf * z * z_low;
    let q = 0.5770780163555853lf + u * (0.4121985831111439lf + u * (0.3205988979671547lf + u * (0.2623081914681522lf + u * (0.2219527885851067lf
        + u * (0.19238056603036385lf + u * (0.16888529114458137lf + u * 0.16912971664122153lf))))));
    let s = opaque_d(u * 0.9617966939259756lf);
    let s_low = (d_product_error(u, 0.9617966939259756lf, s) + (u * 5.0577616648125907e-17lf + u_low * 0.9617966939259756lf)) + u * u * q;
    let t = opaque_d(2.8853900817779268lf + s);
    let t_low = (s - opaque_d(t - 2.8853900817779268lf)) + (s_low + 4.0710547481862066e-17lf);
    let h = opaque_d(z * t);
    let l = d_product_error(z, t, h) + (z * t_low + z_low * t);
    // k is 0 or larger than h.
    let v = opaque_d(m.y + h);
    let low = (h - opaque_d(v - m.y)) + l;
    let log_high = opaque_d(v + low);
    let log_low = low - opaque_d(log_high - v);
    let e = opaque_d(y * log_high);
    if (abs(e) > 1200.0lf || ay > 1e30lf) {
        let over = (a > 1.0lf) == (y > 0.0lf);
        return bitcast<f64>(select(0lu, inf, over) ^ sign ^ u64(p[0].x));
    }
    let n = d_near(e);
    let f = (e - n) + (d_product_error(y, log_high, e) + y * log_low);
    let r = d_scale2(1.0lf + d_expm1_unit(f * 0.6931471805599453lf, f * -2.3190468138462996e-17lf), i32(n));
    return bitcast<f64>(bitcast<u64>(r) ^ sign);
}

// erfc a = exp(-a^2 - 0.5625 + R(1/a^2)) / a for 1.25 <= a < 6.
fn d_erf_tail(a: f64) -> f64 {
    let s = 1.0lf / (a * a);
    var ratio = 0.0lf;
    if (a < 2.857142857142857lf) {
        let p = -0.009864944034847148lf + s * (-0.6938585727071818lf + s * (-10.558626225323291lf + s * (-62.375332450326006lf
            + s * (-162.39666946257347lf + s * (-184.60509290671104lf + s * (-81.2874355063066lf + s * -9.814329344169145lf))))));
        let q = 1.0lf + s * (19.651271667439257lf + s * (137.65775414351904lf + s * (434.56587747522923lf + s * (645.3872717332679lf
            + s * (429.00814002756783lf + s * (108.63500554177944lf + s * (6.570249770319282lf + s * -0.0604244152148581lf)))))));
        ratio = p / q;
    } else {
        let p = -0.0098649429247001lf + s * (-0.799283237680523lf + s * (-17.757954917754752lf + s * (-160.63638485582192lf
            + s * (-637.5664433683896lf + s * (-1025.0951316110772lf + s * -483.5191916086514lf)))));
        let q = 1.0lf + s * (30.33806074348246lf + s * (325.7925129965739lf + s * (1536.729586084437lf + s * (3199.8582195085955lf
            + s * (2553.0504064331644lf + s * (474.52854120695537lf + s * -22.44095244658582lf))))));
        ratio = p / q;
    }
    // z has half of a's bits: its square is exact, and a^2 = z^2 + (a - z)(a + z).
    let z = bitcast<f64>(bitcast<u64>(a) & 0xffffffff00000000lu);
    return d_exp_shifted(-z * z - 0.5625lf, 0) * d_exp_shifted((z - a) * (z + a) + ratio, 0) / a;
}

fn d_erf(x: f64) -> f64 {
    let a = abs(x);
    if (d_is_nan(x)) {
        return x;
    }
    if (a < 3.725290298461914e-9lf) {
        return x + 0.1283791670955126lf * x;
    }
    if (a < 0.84375lf) {
        let u = x * x;
        let p = 0.12837916709551256lf + u * (-0.3250421072470015lf + u * (-0.02848174957559851lf + u * (-0.005770270296489442lf
            + u * -2.3763016656650163e-05lf)));
        let q = 1.0lf + u * (0.39791722395915535lf + u * (0.0650222499887673lf + u * (0.005081306281875766lf + u * (0.00013249473800432164lf
            + u * -3.960228278775368e-06lf))));
        return x + x * (p / q);
    }
    var y = 1.0lf;
    if (a < 1.25lf) {
        let s = a - 1.0lf;
        let p = -0.0023621185607526594lf + s * (0.41485611868374833lf + s * (-0.3722078760357013lf + s * (0.31834661990116175lf
            + s * (-0.11089469428239668lf + s * (0.035478304325618236lf + s * -0.002166375594868791lf)))));
        let q = 1.0lf + s * (0.10642088040084423lf + s * (0.540397917702171lf + s * (0.07182865441419627lf + s * (0.12617121980876164lf
            + s * (0.01363708391202905lf + s * 0.011984499846799107lf)))));
        y = 0.8450629115104675lf + p / q;
    } else if (a < 6.0lf) {
        y = 1.0lf - d_erf_tail(a);
    }
    return d_copysign(y, x);
}
