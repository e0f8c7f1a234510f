// Sine, cosine, tangent and the inverse functions of f64. The polynomials are those of FreeBSD's msun (Sun Microsystems 1993).

// The 128-bit product of two words, low one first.
fn d_mul_wide(a: u64, b: u64) -> vec2<u64> {
    let al = a & 0xfffffffflu;
    let ah = a >> 32u;
    let bl = b & 0xfffffffflu;
    let bh = b >> 32u;
    let ll = al * bl;
    let lh = al * bh;
    let hl = ah * bl;
    let mid = (ll >> 32u) + (lh & 0xfffffffflu) + (hl & 0xfffffffflu);
    return vec2<u64>(a * b, ah * bh + (lh >> 32u) + (hl >> 32u) + (mid >> 32u));
}

// `a` and what follows it, from bit `shift` < 64 on.
fn d_window(a: u64, b: u64, shift: u32) -> u64 {
    if (shift == 0u) {
        return a;
    }
    return (a << shift) | (b >> (64u - shift));
}

// The quadrant (z) and the rest in two parts of positive x >= 2^20 in units of pi/2: the exact product of the mantissa with 192 bits of 2/pi.
fn d_quadrant_large(x: f64) -> vec3<f64> {
    // 64 zeros, then the bits of 2/pi.
    var table = array<u64, 20>(
        0x0000000000000000lu, 0xa2f9836e4e441529lu, 0xfc2757d1f534ddc0lu, 0xdb6295993c439041lu, 0xfe5163abdebbc561lu,
        0xb7246e3a424dd2e0lu, 0x06492eea09d1921clu, 0xfe1deb1cb129a73elu, 0xe88235f52ebb4484lu, 0xe99c7026b45f7e41lu,
        0x3991d639835339f4lu, 0x9c845f8bbdf9283blu, 0x1ff897ffde05980flu, 0xef2f118b5a0a6d1flu, 0x6d367ecf27cb09b7lu,
        0x4f463f669e5fea2dlu, 0x7527bac7ebe5f17blu, 0x3d0739f78a5292ealu, 0x6bfb5fb11f8d5d08lu, 0x56033046fc7b6bablu);
    let bits = bitcast<u64>(x);
    let m = (bits & 0xffffffffffffflu) | 0x10000000000000lu;
    // x = m 2^e. Bits of 2/pi before the one of weight 2^(1-e) contribute multiples of 4.
    let start = u32(bits >> 52u) - 1075u + 62u;
    let word = min(start >> 6u, 16u);
    let shift = start & 63u;
    let w2 = d_window(table[word], table[word + 1u], shift);
    let w1 = d_window(table[word + 1u], table[word + 2u], shift);
    let w0 = d_window(table[word + 2u], table[word + 3u], shift);
    // The low 192 bits of m times the window.
    let p0 = d_mul_wide(m, w0);
    let p1 = d_mul_wide(m, w1);
    var b0 = p0.x;
    var b1 = p0.y + p1.x;
    var b2 = m * w2 + p1.y + select(0lu, 1lu, b1 < p0.y);
    // To the nearest quadrant: its number is in the top two bits.
    let n = ((b2 >> 61u) + 1lu) >> 1u;
    b2 = b2 - (n << 62u);
    let negative = (b2 >> 63u) == 1lu;
    if (negative) {
        b0 = ~b0 + 1lu;
        b1 = ~b1 + select(0lu, 1lu, b0 == 0lu);
        b2 = ~b2 + select(0lu, 1lu, b0 == 0lu && b1 == 0lu);
    }
    // 190 bits of fraction, of which the first 106 that are not zero are kept. No f64 is so near to a multiple of pi/2 that 64 are zero.
    let z = select(d_zeros(b2), 63u, b2 == 0lu);
    let first = d_window(b2, b1, z);
    let second = d_window(b1, b0, z);
    let unit = d_pow2(-62 - i32(z));
    let hi = f64(first >> 11u) * 2048.0lf * unit;
    let lo = f64(((first & 0x7fflu) << 42u) | (second >> 22u)) * 2.2737367544323206e-13lf * unit;
    let y = opaque_d(hi * 1.5707963267948966lf);
    let rest = d_product_error(hi, 1.5707963267948966lf, y) + (hi * 6.123233995736766e-17lf + lo * 1.5707963267948966lf);
    let q = f64(u32(n) & 3u);
    return select(vec3<f64>(y, rest, q), vec3<f64>(-y, -rest, q), vec3<bool>(negative, negative, negative));
}

// As above for any finite x: pi/2 in three parts of 33 bits and the rest, n has at most 20 bits.
fn d_quadrant(x: f64) -> vec3<f64> {
    let a = abs(x);
    if (a >= 1048576.0lf) {
        let q = d_quadrant_large(a);
        if (x < 0.0lf) {
            return vec3<f64>(-q.x, -q.y, f64((4u - u32(q.z)) & 3u));
        }
        return q;
    }
    let n = d_near(x * 0.6366197723675814lf);
    // Each difference is followed by what its rounding left.
    let r0 = opaque_d(x - n * 1.5707963267341256lf);
    let w1 = n * 6.077100506303966e-11lf;
    let r1 = opaque_d(r0 - w1);
    let left = opaque_d(r0 - r1) - w1;
    let w2 = n * 2.0222662487111665e-21lf;
    let r2 = opaque_d(r1 - w2);
    let low = (left + (opaque_d(r1 - r2) - w2)) - n * 8.4784276603689e-32lf;
    let y = opaque_d(r2 + low);
    return vec3<f64>(y, opaque_d(r2 - y) + low, f64(bitcast<u32>(i32(n)) & 3u));
}

fn d_sin_unit(x: f64, y: f64) -> f64 {
    let z = x * x;
    let r = 0.00833333333332249lf + z * (-0.0001984126982985795lf + z * (2.7557313707070068e-06lf + z * (-2.5050760253406863e-08lf
        + z * 1.58969099521155e-10lf)));
    let v = z * x;
    return x - ((z * (0.5lf * y - v * r) - y) - v * -0.16666666666666632lf);
}

fn d_cos_unit(x: f64, y: f64) -> f64 {
    let z = x * x;
    let r = z * (0.0416666666666666lf + z * (-0.001388888888887411lf + z * (2.480158728947673e-05lf + z * (-2.7557314351390663e-07lf
        + z * (2.087572321298175e-09lf + z * -1.1359647557788195e-11lf)))));
    let hz = 0.5lf * z;
    let w = opaque_d(1.0lf - hz);
    return w + ((opaque_d(1.0lf - w) - hz) + (z * r - x * y));
}

fn d_endless(x: f64) -> bool {
    return (bitcast<u64>(x) & 0x7ff0000000000000lu) == 0x7ff0000000000000lu;
}

fn d_sin(x: f64) -> f64 {
    if (d_endless(x)) {
        return d_nan();
    }
    if (abs(x) < 1e-9lf) {
        return x;
    }
    let q = d_quadrant(x);
    let n = u32(q.z);
    let y = select(d_sin_unit(q.x, q.y), d_cos_unit(q.x, q.y), (n & 1u) == 1u);
    return select(y, -y, n >= 2u);
}

fn d_cos(x: f64) -> f64 {
    if (d_endless(x)) {
        return d_nan();
    }
    let q = d_quadrant(x);
    let n = u32(q.z);
    let y = select(d_cos_unit(q.x, q.y), d_sin_unit(q.x, q.y), (n & 1u) == 1u);
    return select(y, -y, n == 1u || n == 2u);
}

fn d_tan(x: f64) -> f64 {
    if (d_endless(x)) {
        return d_nan();
    }
    if (abs(x) < 1e-9lf) {
        return x;
    }
    let q = d_quadrant(x);
    let s = d_sin_unit(q.x, q.y);
    let c = d_cos_unit(q.x, q.y);
    return select(s / c, -(c / s), (u32(q.z) & 1u) == 1u);
}

// Arctangent of x >= 0: of what is left of x beside 0, 1/2, 1, 3/2 or infinity.
fn d_atan_positive(x: f64) -> f64 {
    var hi = 0.0lf;
    var lo = 0.0lf;
    var r = x;
    if (x >= 2.4375lf) {
        hi = 1.5707963267948966lf;
        lo = 6.123233995736766e-17lf;
        r = -1.0lf / x;
    } else if (x >= 1.1875lf) {
        hi = 0.982793723247329lf;
        lo = 1.3903311031230998e-17lf;
        r = (x - 1.5lf) / (1.0lf + 1.5lf * x);
    } else if (x >= 0.6875lf) {
        hi = 0.7853981633974483lf;
        lo = 3.061616997868383e-17lf;
        r = (x - 1.0lf) / (x + 1.0lf);
    } else if (x >= 0.4375lf) {
        hi = 0.4636476090008061lf;
        lo = 2.2698777452961687e-17lf;
        r = (2.0lf * x - 1.0lf) / (2.0lf + x);
    }
    let z = r * r;
    let w = z * z;
    let s1 = z * (0.3333333333333293lf + w * (0.14285714272503466lf + w * (0.09090887133436507lf + w * (0.06661073137387531lf
        + w * (0.049768779946159324lf + w * 0.016285820115365782lf)))));
    let s2 = w * (-0.19999999999876483lf + w * (-0.11111110405462356lf + w * (-0.0769187620504483lf + w * (-0.058335701337905735lf
        + w * -0.036531572744216916lf))));
    return hi - opaque_d(opaque_d(r * (s1 + s2) - lo) - r);
}

fn d_atan(x: f64) -> f64 {
    if (d_is_nan(x) || abs(x) < 1e-9lf) {
        return x;
    }
    return d_copysign(d_atan_positive(abs(x)), x);
}

fn d_atan2(y: f64, x: f64) -> f64 {
    if (d_is_nan(x) || d_is_nan(y)) {
        return d_nan();
    }
    let ay = abs(y);
    let ax = abs(x);
    let inf = 0x7ff0000000000000lu;
    // 0/0 is the angle 0 and inf/inf that of the diagonal.
    var q = ay / ax;
    if (ay == 0.0lf) {
        q = 0.0lf;
    } else if (bitcast<u64>(ax) == inf) {
        q = select(0.0lf, 1.0lf, bitcast<u64>(ay) == inf);
    } else if (bitcast<u64>(ay) == inf || ax == 0.0lf) {
        q = 1e300lf;
    }
    q = min(q, 1e300lf);
    var r = select(d_atan_positive(q), q, q < 1e-9lf);
    if ((bitcast<u64>(x) >> 63u) == 1lu) {
        r = 3.141592653589793lf - opaque_d(r - 1.2246467991473532e-16lf);
    }
    return d_copysign(r, y);
}

// (asin z - z) / z of u = z^2 <= 1/4.
fn d_asin_ratio(u: f64) -> f64 {
    let p = u * (0.16666666666666666lf + u * (-0.3255658186224009lf + u * (0.20121253213486293lf + u * (-0.04005553450067941lf
        + u * (0.0007915349942898145lf + u * 3.479331075960212e-05lf)))));
    let q = 1.0lf + u * (-2.403394911734414lf + u * (2.0209457602335057lf + u * (-0.6882839716054533lf + u * 0.07703815055590194lf)));
    return p / q;
}

fn d_asin(x: f64) -> f64 {
    let a = abs(x);
    if (d_is_nan(x) || a > 1.0lf) {
        return d_nan();
    }
    if (a < 0.5lf) {
        if (a < 1e-9lf) {
            return x;
        }
        return x + x * d_asin_ratio(x * x);
    }
    // pi/2 - 2 asin sqrt((1 - a) / 2); the root as a part of half its bits, and the rest.
    let z = (1.0lf - a) * 0.5lf;
    let s = sqrt(z);
    let f = bitcast<f64>(bitcast<u64>(s) & 0xffffffff00000000lu);
    let c = select((z - f * f) / (s + f), 0.0lf, z == 0.0lf);
    let twice = 2.0lf * s * d_asin_ratio(z);
    let rest = opaque_d(twice - opaque_d(6.123233995736766e-17lf - 2.0lf * c)) - opaque_d(0.7853981633974483lf - 2.0lf * f);
    return d_copysign(0.7853981633974483lf - rest, x);
}

fn d_acos(x: f64) -> f64 {
    let a = abs(x);
    if (d_is_nan(x) || a > 1.0lf) {
        return d_nan();
    }
    if (a < 0.5lf) {
        return 1.5707963267948966lf - opaque_d(x - opaque_d(6.123233995736766e-17lf - x * d_asin_ratio(x * x)));
    }
    let z = (1.0lf - a) * 0.5lf;
    let s = sqrt(z);
    let ratio = d_asin_ratio(z);
    if (x < 0.0lf) {
        return 2.0lf * (1.5707963267948966lf - (s + opaque_d(ratio * s - 6.123233995736766e-17lf)));
    }
    if (z == 0.0lf) {
        return 0.0lf;
    }
    let f = bitcast<f64>(bitcast<u64>(s) & 0xffffffff00000000lu);
    let c = (z - f * f) / (s + f);
    return 2.0lf * (f + (ratio * s + c));
}
