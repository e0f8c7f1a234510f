//! f64 functions that the standard library lacks.

/// The error function, by the rational approximations of FreeBSD's msun (`s_erf.c`, Sun Microsystems 1993): below 1 ulp.
pub(super) fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a.is_nan() {
        return x;
    }
    if a < 0.84375 {
        return near_zero(x);
    }
    // erfc(6) is below half the last place of 1.
    let y = if a < 1.25 {
        near_one(a)
    } else if a < 6.0 {
        1.0 - tail(a)
    } else {
        1.0
    };
    y.copysign(x)
}

/// The polynomial with these coefficients, constant term first.
fn poly<const N: usize>(x: f64, c: [f64; N]) -> f64 {
    c.iter().rev().fold(0.0, |y, &c| y * x + c)
}

/// erf x = x + x R(x^2) for |x| < 0.84375.
fn near_zero(x: f64) -> f64 {
    if x.abs() < 2f64.powi(-28) {
        // 2 / sqrt(pi) - 1, as 8 times itself: so the product of a subnormal x loses nothing before the sum.
        return 0.125 * (8.0 * x + 1.0270333367641007 * x);
    }
    let u = x * x;
    let p = poly(u, [0.12837916709551256, -0.3250421072470015, -0.02848174957559851, -0.005770270296489442, -2.3763016656650163e-05]);
    let q = poly(u, [1.0, 0.39791722395915535, 0.0650222499887673, 0.005081306281875766, 0.00013249473800432164, -3.960228278775368e-06]);
    x + x * (p / q)
}

/// erf a = c + R(a - 1) for 0.84375 <= a < 1.25, c near erf 1.
fn near_one(a: f64) -> f64 {
    let s = a - 1.0;
    let p = poly(
        s,
        [
            -0.0023621185607526594,
            0.41485611868374833,
            -0.3722078760357013,
            0.31834661990116175,
            -0.11089469428239668,
            0.035478304325618236,
            -0.002166375594868791,
        ],
    );
    let q = poly(
        s,
        [1.0, 0.10642088040084423, 0.540397917702171, 0.07182865441419627, 0.12617121980876164, 0.01363708391202905, 0.011984499846799107],
    );
    0.8450629115104675 + p / q
}

/// erfc a = exp(-a^2 - 0.5625 + R(1/a^2)) / a for 1.25 <= a < 6.
fn tail(a: f64) -> f64 {
    let s = 1.0 / (a * a);
    let ratio = if a < 1.0 / 0.35 {
        let p = poly(
            s,
            [
                -0.009864944034847148,
                -0.6938585727071818,
                -10.558626225323291,
                -62.375332450326006,
                -162.39666946257347,
                -184.60509290671104,
                -81.2874355063066,
                -9.814329344169145,
            ],
        );
        let q = poly(
            s,
            [
                1.0,
                19.651271667439257,
                137.65775414351904,
                434.56587747522923,
                645.3872717332679,
                429.00814002756783,
                108.63500554177944,
                6.570249770319282,
                -0.0604244152148581,
            ],
        );
        p / q
    } else {
        let p = poly(
            s,
            [
                -0.0098649429247001,
                -0.799283237680523,
                -17.757954917754752,
                -160.63638485582192,
                -637.5664433683896,
                -1025.0951316110772,
                -483.5191916086514,
            ],
        );
        let q = poly(
            s,
            [
                1.0,
                30.33806074348246,
                325.7925129965739,
                1536.729586084437,
                3199.8582195085955,
                2553.0504064331644,
                474.52854120695537,
                -22.44095244658582,
            ],
        );
        p / q
    };
    // z has half of a's bits: its square is exact, and a^2 = z^2 + (a - z)(a + z).
    let z = f64::from_bits(a.to_bits() & !0xffff_ffff);
    (-z * z - 0.5625).exp() * ((z - a) * (z + a) + ratio).exp() / a
}
