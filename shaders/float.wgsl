// Functions of f32 for kernels. `p` is the kernel's block of numbers, whose first word is zero: a value xor that word cannot be seen
// through by a compiler that would reassociate, nor be evaluated while compiling. No function needs a fused multiply-add, none relies on
// what a driver does with NaN, infinities or rounding modes; polynomials are those of the CPU backend.

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn opaque_f(x: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) ^ p[0].x);
}

fn f_inf() -> f32 {
    return bitcast<f32>(0x7f800000u ^ p[0].x);
}

fn f_nan() -> f32 {
    return bitcast<f32>(0x7fc00000u ^ p[0].x);
}

fn copysign(x: f32, y: f32) -> f32 {
    return bitcast<f32>((bitcast<u32>(x) & 0x7fffffffu) | (bitcast<u32>(y) & 0x80000000u));
}

fn f_max(a: f32, b: f32) -> f32 {
    return select(max(a, b), a + b, is_nan(a) || is_nan(b));
}

fn f_min(a: f32, b: f32) -> f32 {
    return select(min(a, b), a + b, is_nan(a) || is_nan(b));
}

fn f_ne(a: f32, b: f32) -> bool {
    return !(a == b);
}

fn f_sign(x: f32) -> f32 {
    if (is_nan(x) || (bitcast<u32>(x) & 0x7fffffffu) == 0u) {
        return x;
    }
    return copysign(1.0, x);
}

fn f_sqrt(x: f32) -> f32 {
    return sqrt(x);
}

fn f_rsqrt(x: f32) -> f32 {
    return 1.0 / sqrt(x);
}

// The remainder of the truncated quotient, exact: long division of the mantissas.
fn f_rem(x: f32, y: f32) -> f32 {
    let sign = bitcast<u32>(x) & 0x80000000u;
    let a = bitcast<u32>(x) & 0x7fffffffu;
    let b = bitcast<u32>(y) & 0x7fffffffu;
    if (b == 0u || a >= 0x7f800000u || b > 0x7f800000u) {
        return f_nan();
    }
    if (a < b) {
        return x;
    }
    var ea = i32(a >> 23u);
    var ma = a & 0x7fffffu;
    if (ea == 0) {
        let s = countLeadingZeros(ma) - 8u;
        ma = ma << s;
        ea = 1 - i32(s);
    } else {
        ma = ma | 0x800000u;
    }
    var eb = i32(b >> 23u);
    var mb = b & 0x7fffffu;
    if (eb == 0) {
        let s = countLeadingZeros(mb) - 8u;
        mb = mb << s;
        eb = 1 - i32(s);
    } else {
        mb = mb | 0x800000u;
    }
    while (ea > eb) {
        if (ma >= mb) {
            ma = ma - mb;
        }
        ma = ma << 1u;
        ea = ea - 1;
    }
    if (ma >= mb) {
        ma = ma - mb;
    }
    if (ma == 0u) {
        return bitcast<f32>(sign ^ p[0].x);
    }
    let s = countLeadingZeros(ma) - 8u;
    ma = ma << s;
    ea = ea - i32(s);
    if (ea > 0) {
        return bitcast<f32>(sign | (ma - 0x800000u) | (u32(ea) << 23u));
    }
    return bitcast<f32>(sign | (ma >> u32(1 - ea)));
}

// 2^n for -126 <= n <= 127.
fn pow2(n: i32) -> f32 {
    return bitcast<f32>(u32(n + 127) << 23u);
}

// y 2^n for |n| <= 252.
fn scale2(y: f32, n: i32) -> f32 {
    let half = n >> 1u;
    return opaque_f(y * pow2(half)) * pow2(n - half);
}

// e^r for |r| <= ln2 / 2.
fn exp_unit(r: f32) -> f32 {
    let q = 4.999999702e-01 + r * (1.666654199e-01 + r * (4.166720435e-02 + r * (8.366647176e-03 + r * 1.388249686e-03)));
    return (r * r * q + r) + 1.0;
}

// x - n ln2; the products of n with the first part are exact.
fn exp_rest(x: f32, n: f32) -> f32 {
    return (x - n * 0.69314575) - n * 1.4286068e-6;
}

// e^x 2^shift.
fn exp_shifted(x: f32, shift: i32) -> f32 {
    let c = clamp(x, -105.0, 90.0);
    let n = round(c * 1.44269504);
    return scale2(exp_unit(exp_rest(c, n)), i32(n) + shift);
}

fn f_exp(x: f32) -> f32 {
    return select(exp_shifted(x, 0), x, is_nan(x));
}

// 2^r for |r| <= 1/2.
fn exp2_unit(r: f32) -> f32 {
    let q = 6.931471825e-01 + r * (2.402264774e-01 + r * (5.550331250e-02 + r * (9.618442506e-03 + r * (1.339939074e-03 + r * 1.535294577e-04))));
    return r * q + 1.0;
}

fn f_exp2(x: f32) -> f32 {
    let c = clamp(x, -152.0, 130.0);
    let n = round(c);
    return select(scale2(exp2_unit(c - n), i32(n)), x, is_nan(x));
}

fn f_expm1(x: f32) -> f32 {
    let c = clamp(x, -20.0, 88.8);
    let n = round(c * 1.44269504);
    let r = exp_rest(c, n);
    let q = 5.000000000e-01 + r * (1.666666567e-01 + r * (4.166635871e-02 + r * (8.333389647e-03 + r * (1.394082326e-03 + r * 1.984589180e-04))));
    let e = r * r * q + r;
    // Half the result, so that 2^n stays finite where the result still is.
    let h = pow2(i32(n) - 1);
    let y = h * e + (h - 0.5);
    let tiny = (x * 0.5) * x + x;
    let result = copysign(select(y + y, tiny, abs(x) < 1e-6), x);
    return select(result, x, is_nan(x));
}

// t / (t + 2) with t = e^2|x| - 1, which does not cancel near 0.
fn f_tanh(x: f32) -> f32 {
    let b = min(abs(x), 9.1) * 2.0;
    let n = round(b * 1.44269504);
    let r = exp_rest(b, n);
    let q = 4.999999702e-01 + r * (1.666654199e-01 + r * (4.166720435e-02 + r * (8.366647176e-03 + r * 1.388249686e-3)));
    let s = pow2(i32(n));
    let t = (r * r * q + r) * s + (s - 1.0);
    return select(copysign(t / (t + 2.0), x), x, is_nan(x));
}

fn f_sinh(x: f32) -> f32 {
    let a = abs(x);
    let h = exp_shifted(a, -1);
    let large = h - 0.25 / h;
    let u = a * a;
    let q = 1.666666716e-01 + u * (8.333351463e-03 + u * (1.983596158e-04 + u * 2.818063194e-06));
    let small = (u * a) * q + a;
    return select(copysign(select(large, small, a < 1.0), x), x, is_nan(x));
}

fn f_cosh(x: f32) -> f32 {
    let h = exp_shifted(abs(x), -1);
    return select(h + 0.25 / h, x, is_nan(x));
}

// x = 2^k m with m in [sqrt 1/2, sqrt 2), for positive finite x; k in y.
fn log_reduce(x: f32) -> vec2<f32> {
    var bits = bitcast<u32>(x);
    var k = 0.0;
    if (bits < 0x00800000u) {
        // Subnormal, as an integer: some devices take it for zero.
        bits = bitcast<u32>(f32(bits));
        k = -149.0;
    }
    let i = bitcast<i32>(bits - 0x3f3504f3u);
    let m = bitcast<f32>((bitcast<u32>(i) & 0x007fffffu) + 0x3f3504f3u);
    return vec2<f32>(m, k + f32(i >> 23u));
}

// log(1 + f) + k ln2 for 1 + f in [sqrt 1/2, sqrt 2].
fn log_from(k: f32, f: f32) -> f32 {
    let r = 3.333331347e-01 + f * (-2.500000894e-01 + f * (2.000211924e-01 + f * (-1.666799635e-01 + f * (1.421955228e-01
        + f * (-1.240558922e-01 + f * (1.188816130e-01 + f * (-1.167565063e-01 + f * 6.746640056e-02)))))));
    let ff = f * f;
    let y = (ff * f) * r + k * 1.4286068e-6;
    let z = (ff * -0.5 + y) + f;
    return k * 0.69314575 + z;
}

// What every logarithm is at 0, below, at infinity and NaN, given the result elsewhere.
fn log_edges(x: f32, y: f32) -> f32 {
    if ((bitcast<u32>(x) & 0x7fffffffu) == 0u) {
        return -f_inf();
    }
    // By the sign's bit: some devices do not tell a subnormal number from zero.
    if (is_nan(x) || bitcast<i32>(x) < 0) {
        return f_nan();
    }
    return select(y, x, bitcast<u32>(x) == 0x7f800000u);
}

fn f_log(x: f32) -> f32 {
    let m = log_reduce(x);
    return log_edges(x, log_from(m.y, m.x - 1.0));
}

fn f_log2(x: f32) -> f32 {
    let m = log_reduce(x);
    let f = m.x - 1.0;
    let q = -7.213473320e-01 + f * (4.808982313e-01 + f * (-3.606965840e-01 + f * (2.885674834e-01 + f * (-2.396184057e-01
        + f * (2.046004683e-01 + f * (-1.910559386e-01 + f * (1.861716956e-01 + f * -1.099590957e-01)))))));
    // log2 e in two parts, the first of 12 bits, and f too: so their product is exact.
    let fh = bitcast<f32>(bitcast<u32>(f) & 0xfffff000u);
    let low = f * (f * q) + (f * 3.1222838e-04 + (f - fh) * 1.4423828125);
    return log_edges(x, m.y + (fh * 1.4423828125 + low));
}

fn f_log1p(x: f32) -> f32 {
    let u = 1.0 + x;
    let i = bitcast<i32>(bitcast<u32>(u) - 0x3f3504f3u);
    let k = i >> 23u;
    let m = bitcast<f32>((bitcast<u32>(i) & 0x007fffffu) + 0x3f3504f3u);
    // (1 + x) 2^-k - 1 without the rounding of 1 + x; beyond 2^60 that rounding does not matter.
    let q = bitcast<f32>(u32(127 - clamp(k, -120, 120)) << 23u);
    let f = select(m - 1.0, x * q + (q - 1.0), x < 1e18);
    let y = log_edges(u, log_from(f32(k), f));
    return select(y, x, abs(x) < 1e-10);
}

// The quadrant (x) and the rest, as bits (y), of |x| >= 2^12 in units of pi/2: the exact product of the mantissa with 96 bits of 2/pi.
fn quadrant_large(x: f32) -> vec2<u32> {
    var table = array<u32, 9>(0u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu, 0xdebbc561u);
    let bits = bitcast<u32>(x) & 0x7fffffffu;
    let m = (bits & 0x7fffffu) | 0x800000u;
    // Bits of 2/pi before this one contribute multiples of 4.
    let start = (bits >> 23u) - 150u - 2u + 32u;
    let word = min(start >> 5u, 5u);
    let shift = start & 31u;
    let a = table[word];
    let b = table[word + 1u];
    let c = table[word + 2u];
    let d = table[word + 3u];
    var h = a;
    var i = b;
    var l = c;
    if (shift != 0u) {
        h = (a << shift) | (b >> (32u - shift));
        i = (b << shift) | (c >> (32u - shift));
        l = (c << shift) | (d >> (32u - shift));
    }
    // The low 96 bits of m times the window.
    let pl = mul_wide(m, l);
    let pi = mul_wide(m, i);
    let mid = pl.y + pi.x;
    let high = m * h + pi.y + select(0u, 1u, mid < pl.y);
    // To the nearest quadrant: its number is in the top two bits.
    let n = (high + 0x20000000u) >> 30u;
    let sh = high - (n << 30u);
    let negative = (sh & 0x80000000u) != 0u;
    var top = sh;
    var low = mid;
    if (negative) {
        low = ~mid + 1u;
        top = ~sh + select(0u, 1u, low == 0u);
    }
    // 62 bits of fraction.
    let f = l_to_f32(vec2<u32>(low, top)) * 2.16840434e-19;
    let r = f * 1.57079633;
    return vec2<u32>(n, bitcast<u32>(select(r, -r, negative)));
}

// As above for any finite x.
fn quadrant(x: f32) -> vec2<u32> {
    let a = abs(x);
    if (a < 4096.0) {
        let n = round(x * 0.636619772);
        // pi/2 in four parts; n has at most 12 bits, and so have the first three.
        let r = ((x - n * 1.5703125) - n * 4.837512969970703e-4) - n * 7.549533620476723e-08;
        return vec2<u32>(bitcast<u32>(i32(n)) & 3u, bitcast<u32>(r - n * 2.5633441e-12));
    }
    let q = quadrant_large(a);
    if (x < 0.0) {
        return vec2<u32>((4u - q.x) & 3u, q.y ^ 0x80000000u);
    }
    return vec2<u32>(q.x & 3u, q.y);
}

fn sin_unit(r: f32) -> f32 {
    let u = r * r;
    return (u * r) * (-1.666665375e-01 + u * (8.332090452e-03 + u * -1.950524020e-04)) + r;
}

fn cos_unit(r: f32) -> f32 {
    let u = r * r;
    return (u * u) * (4.166664556e-02 + u * (-1.388725126e-03 + u * 2.442492405e-05)) + (u * -0.5 + 1.0);
}

fn f_sin(x: f32) -> f32 {
    if ((bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u) {
        return f_nan();
    }
    let q = quadrant(x);
    let r = bitcast<f32>(q.y);
    let y = select(sin_unit(r), cos_unit(r), (q.x & 1u) == 1u);
    return select(select(y, -y, q.x >= 2u), x, x == 0.0);
}

fn f_cos(x: f32) -> f32 {
    if ((bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u) {
        return f_nan();
    }
    let q = quadrant(x);
    let r = bitcast<f32>(q.y);
    let y = select(cos_unit(r), sin_unit(r), (q.x & 1u) == 1u);
    return select(y, -y, q.x == 1u || q.x == 2u);
}

fn f_tan(x: f32) -> f32 {
    if ((bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u) {
        return f_nan();
    }
    let q = quadrant(x);
    let r = bitcast<f32>(q.y);
    let s = sin_unit(r);
    let c = cos_unit(r);
    return select(select(s / c, -(c / s), (q.x & 1u) == 1u), x, x == 0.0);
}

// Arctangent of 0 <= z <= 1.
fn atan_unit(z: f32) -> f32 {
    let u = z * z;
    let q = -3.333329856e-01 + u * (1.999854892e-01 + u * (-1.426424235e-01 + u * (1.095218584e-01 + u * (-8.403450996e-02
        + u * (5.795760825e-02 + u * (-3.117786162e-02 + u * (1.091461442e-02 + u * -1.793623785e-03)))))));
    return (u * z) * q + z;
}

// hi + lo - y for a constant hi + lo.
fn from_const(hi: f32, lo: f32, y: f32) -> f32 {
    return hi - opaque_f(y - lo);
}

fn f_atan(x: f32) -> f32 {
    let a = abs(x);
    let large = a > 1.0;
    let y = atan_unit(select(a, 1.0 / a, large));
    return select(copysign(select(y, from_const(1.57079637, -4.371139e-8, y), large), x), x, is_nan(x));
}

fn f_atan2(y: f32, x: f32) -> f32 {
    if (is_nan(x) || is_nan(y)) {
        return f_nan();
    }
    let ay = abs(y);
    let ax = abs(x);
    let steep = ax < ay;
    let lo = select(ay, ax, steep);
    let hi = select(ax, ay, steep);
    // 0/0 is the angle 0 and inf/inf that of the diagonal. Halves and doubles keep the quotient of extremes normal.
    let s = select(select(1.0, 0.25, hi > 1e38), 16777216.0, hi < 1e-30);
    var q = (lo * s) / (hi * s);
    q = select(q, 0.0, hi == 0.0);
    q = select(q, 0.0, bitcast<u32>(hi) == 0x7f800000u);
    q = select(q, 1.0, bitcast<u32>(lo) == 0x7f800000u);
    var r = atan_unit(q);
    r = select(r, from_const(1.57079637, -4.371139e-8, r), steep);
    r = select(r, from_const(3.14159274, -8.742278e-8, r), (bitcast<u32>(x) & 0x80000000u) != 0u);
    return copysign(r, y);
}

fn asin_poly(u: f32) -> f32 {
    return 1.666675359e-01 + u * (7.495241612e-02 + u * (4.547709972e-02 + u * (2.414759435e-02 + u * 4.221857712e-02)));
}

fn f_asin(x: f32) -> f32 {
    let a = abs(x);
    if (is_nan(x) || a > 1.0) {
        return f_nan();
    }
    let large = a > 0.5;
    let half = (1.0 - a) * 0.5;
    let z = select(a, sqrt(half), large);
    let u = select(a * a, half, large);
    let d = (u * z) * asin_poly(u);
    // pi/2 - 2 (z + d): the error of a rounded z + d would count double.
    let rest = opaque_f(opaque_f(d + d) + 4.371139e-8) - opaque_f(z * -2.0 + 0.785398185);
    return copysign(select(z + d, 0.785398185 - rest, large), x);
}

fn f_acos(x: f32) -> f32 {
    let a = abs(x);
    if (is_nan(x) || a > 1.0) {
        return f_nan();
    }
    let large = a > 0.5;
    let half = (1.0 - a) * 0.5;
    let z = select(a, sqrt(half), large);
    let u = select(a * a, half, large);
    let y = (u * z) * asin_poly(u) + z;
    let twice = y + y;
    let far = select(twice, from_const(3.14159274, -8.742278e-8, twice), x < 0.0);
    return select(from_const(1.57079637, -4.371139e-8, copysign(y, x)), far, large);
}

fn f_erf(x: f32) -> f32 {
    let a = abs(x);
    let u = a * a;
    let q = 1.283791661e-01 + u * (-3.761263788e-01 + u * (1.128373072e-01 + u * (-2.686123736e-02 + u * (5.205444992e-03
        + u * (-8.191986126e-04 + u * 8.577320114e-05)))));
    // Of the smallest the product with q would be subnormal.
    let small = select(a * q + a, a * 1.128379167, a < 1e-30);
    let t = min(a, 4.0);
    let g = -2.301908389e-04 + t * (-1.627109170e+00 + t * (-9.188909531e-01 + t * (-1.502677351e-01 + t * (3.222503141e-02
        + t * (-4.430435132e-03 + t * 2.867816074e-04)))));
    let n = round(g);
    let large = 1.0 - exp2_unit(g - n) * pow2(i32(n));
    return select(copysign(select(small, large, a >= 0.9), x), x, is_nan(x));
}

// The rounding error of the product q = a b.
fn product_error(a: f32, b: f32, q: f32) -> f32 {
    let ah = bitcast<f32>(bitcast<u32>(a) & 0xfffff000u);
    let bh = bitcast<f32>(bitcast<u32>(b) & 0xfffff000u);
    let al = a - ah;
    let bl = b - bh;
    return ((ah * bh - q) + ah * bl + al * bh) + al * bl;
}

// x^y as 2^(y log2 x), the logarithm in two parts, because y magnifies its error by up to 2^7.
fn f_pow(x: f32, y: f32) -> f32 {
    let a = abs(x);
    let ay = abs(y);
    // x^0 and 1^y are 1 even for NaN, and so is (-1)^(+-inf).
    if (y == 0.0 || x == 1.0 || (x == -1.0 && bitcast<u32>(ay) == 0x7f800000u)) {
        return 1.0;
    }
    if (is_nan(x) || is_nan(y)) {
        return f_nan();
    }
    let big = ay >= 16777216.0;
    let whole = big || trunc(y) == y;
    let odd = !big && whole && trunc(y * 0.5) != y * 0.5;
    let sign = select(0u, bitcast<u32>(x) & 0x80000000u, odd);
    let zero = (bitcast<u32>(a) == 0u);
    let infinite = bitcast<u32>(a) == 0x7f800000u;
    if (zero || infinite) {
        let up = zero != (y > 0.0);
        return bitcast<f32>(select(0u, 0x7f800000u, up) ^ sign ^ p[0].x);
    }
    if (x < 0.0 && !whole) {
        return f_nan();
    }
    if (a == 1.0) {
        return bitcast<f32>(0x3f800000u ^ sign);
    }
    let m = log_reduce(a);
    let num = m.x - 1.0;
    let den = opaque_f(m.x + 1.0);
    let den_low = m.x - opaque_f(den - 1.0);
    let z = num / den;
    let zd = z * den;
    let z_low = (((num - zd) - product_error(z, den, opaque_f(zd))) - z * den_low) / den;
    let u = z * z;
    let tail = u * (0.96179669 + u * (0.57707802 + u * (0.4121984 + u * (0.32061644 + u * (0.26144224 + u * 0.24294213)))));
    let h = opaque_f(z * 2.88539);
    let l = product_error(z, 2.88539, h) + (z * 3.851926e-08 + (z_low * 2.88539 + z * tail));
    // k + h + l: k is 0 or larger than h.
    let s = opaque_f(m.y + h);
    let low = (h - opaque_f(s - m.y)) + l;
    let log_high = opaque_f(s + low);
    let log_low = low - opaque_f(log_high - s);
    let e = opaque_f(y * log_high);
    if (abs(e) > 160.0 || ay > 1e30) {
        let over = (a > 1.0) == (y > 0.0);
        return bitcast<f32>(select(0u, 0x7f800000u, over) ^ sign ^ p[0].x);
    }
    let n = round(e);
    let f = (e - n) + (product_error(y, log_high, e) + y * log_low);
    let q = 0.69314718 + f * (0.24022651 + f * (0.055504104 + f * (0.0096180272 + f * (0.0013333923 + f * (0.00015469317 + f * 1.5201901e-05)))));
    let r = scale2(f * q + 1.0, i32(n));
    return bitcast<f32>(bitcast<u32>(r) ^ sign);
}

// From here on: conversions.

fn h_to_f32(h: u32) -> f32 {
    let s = (h & 0x8000u) << 16u;
    let e = (h >> 10u) & 31u;
    let m = h & 0x3ffu;
    if (e == 0u) {
        return bitcast<f32>(bitcast<u32>(f32(m) * 5.9604644775390625e-8) | s);
    }
    return bitcast<f32>(s | (m << 13u) | select((e + 112u) << 23u, 0x7f800000u, e == 31u));
}

fn f32_to_h(x: f32) -> u32 {
    let b = bitcast<u32>(x);
    let s = (b >> 16u) & 0x8000u;
    let a = b & 0x7fffffffu;
    if (a > 0x7f800000u) {
        return s | 0x7e00u;
    }
    if (a >= 0x477ff000u) {
        return s | 0x7c00u;
    }
    if (a < 0x38800000u) {
        return s | u32(round(bitcast<f32>(a) * 16777216.0));
    }
    return s | ((a + 0xfffu + ((a >> 13u) & 1u) - 0x38000000u) >> 13u);
}

fn b_to_f32(h: u32) -> f32 {
    return bitcast<f32>(h << 16u);
}

fn f32_to_b(x: f32) -> u32 {
    let b = bitcast<u32>(x);
    if ((b & 0x7fffffffu) > 0x7f800000u) {
        return (b >> 16u) | 0x40u;
    }
    return (b + 0x7fffu + ((b >> 16u) & 1u)) >> 16u;
}

fn round_h(x: f32) -> f32 {
    return h_to_f32(f32_to_h(x));
}

fn round_b(x: f32) -> f32 {
    return b_to_f32(f32_to_b(x));
}

// As Rust's `as`: truncated, held at the ends, 0 for NaN.
fn f32_to_i32(x: f32) -> i32 {
    if (is_nan(x)) {
        return 0;
    }
    if (x >= 2147483648.0) {
        return 2147483647;
    }
    if (x <= -2147483648.0) {
        return bitcast<i32>(0x80000000u);
    }
    return i32(x);
}

// An unsigned number in the order of floats: both zeros equal, NaN above all.
fn sort_key(x: f32) -> u32 {
    let b = bitcast<u32>(x);
    if (is_nan(x)) {
        return 0xffffffffu;
    }
    if ((b & 0x7fffffffu) == 0u) {
        return 0x80000000u;
    }
    return select(b | 0x80000000u, ~b, (b >> 31u) == 1u);
}
