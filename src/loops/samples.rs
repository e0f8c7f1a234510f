//! Kernels in their text form, for the tests of this folder: one of every archetype and feature.

/// `x.softmax(-1)` for x [2, 3], in one kernel: three visits of the row.
pub const SOFTMAX: &str = "
kernel row_reduction
axes 2, 3 row
args a0: read f32[6], a1: write f32[6]
n0 = i0
n1 = n0 * 3
n2 = i1
n3 = n1 + n2
e0: f32 = load a0[n3]
e1: f32 = reduced r0.0
e2: f32 = sub e0, e1
e3: f32 = exp e2
e4: f32 = reduced r1.0
e5: f32 = div e3, e4
pass 0 row
  r0.0: f32 = max e0
pass 1 row
  r1.0: f32 = sum e3
pass 2 row
  a1[n3] = e5
";

/// Mean and standard deviation of the columns of x [4, 3]: two outputs, the row axis outermost.
pub const COLUMN: &str = "
kernel column_reduction
axes 4 row, 3
args a0: read f32[12], a1: write f32[3], a2: write f32[3]
n0 = i0
n1 = n0 * 3
n2 = i1
n3 = n1 + n2
e0: f32 = load a0[n3]
e1: f32 = const 0.25
e2: f32 = reduced r0.0
e3: f32 = mul e2, e1
e4: f32 = sub e0, e3
e5: f32 = mul e4, e4
e6: f32 = reduced r1.0
e7: f32 = mul e6, e1
e8: f32 = sqrt e7
pass 0 row
  r0.0: f32 = sum e0
pass 1 row
  r1.0: f32 = sum e5
pass 2 outer
  a1[n2] = e3
  a2[n2] = e8
";

/// x [2, 3] times a parameter, padded by 1 with -1 all round, read through a mask.
pub const PAD: &str = "
kernel pointwise
axes 4, 5
args a0: read f32[6], a1: write f32[20]
params f32
n0 = i0
n1 = i1
n2 = -1
n3 = n0 + n2
n4 = n1 + n2
n5 = n3 * 3
n6 = n5 + n4
n7 = n0 * 5
n8 = n7 + n1
e0: f32 = load a0[n6] where 0 <= n3 < 2, 0 <= n4 < 3 else -1.0
e1: f32 = param p0
e2: f32 = mul e0, e1
e3: bool = inbounds 0 <= n3 < 2, 0 <= n4 < 3
e4: f32 = select e3, e2, e0
pass 0 outer
  a1[n8] = e4
";

/// Rows of x [5, 2] taken at indices [3], clamped.
pub const GATHER: &str = "
kernel pointwise
axes 3, 2
args a0: read f32[10], a1: read i64[3], a2: write f32[6]
n0 = i0
n1 = i1
n2 = value e0 clamp 5
n3 = n2 * 2
n4 = n3 + n1
n5 = n0 * 2
n6 = n5 + n1
e0: i64 = load a1[n0]
e1: f32 = load a0[n4]
pass 0 outer
  a2[n6] = e1
";

/// relu(a [2, 4] b [4, 3] + bias [3]).
pub const MATMUL: &str = "
kernel matmul
axes 2, 3, 4 row
args a0: read f32[8], a1: read f32[12], a2: read f32[3], a3: write f32[6]
n0 = i0
n1 = i1
n2 = i2
n3 = n0 * 4
n4 = n3 + n2
n5 = n2 * 3
n6 = n5 + n1
n7 = n0 * 3
n8 = n7 + n1
e0: f32 = load a0[n4]
e1: f32 = load a1[n6]
e2: f32 = reduced r0.0
e3: f32 = load a2[n1]
e4: f32 = add e2, e3
e5: f32 = const 0.0
e6: f32 = max e4, e5
pass 0 row
  r0.0: f32 = dot e0, e1
pass 1 outer
  a3[n8] = e6
";

/// Input [1, 2, 5], kernel [2, 1, 3], stride 2, padding 1, 2 groups: output [1, 2, 3].
pub const CONV: &str = "
kernel conv stride [2] lo [1] hi [1] lhs_dilation [1] rhs_dilation [1] groups 2 input [1, 2, 5] window [2, 1, 3]
axes 1, 2, 3, 1 row, 3 row
args a0: read f32[10], a1: read f32[6], a2: write f32[6]
n0 = i1
n1 = i2
n2 = i3
n3 = i4
n4 = n1 * 2
n5 = n4 + n3
n6 = -1
n7 = n5 + n6
n8 = n0 + n2
n9 = n8 * 5
n10 = n9 + n7
n11 = n0 * 3
n12 = n11 + n3
n13 = n11 + n1
e0: f32 = load a0[n10] where 0 <= n7 < 5 else 0.0
e1: f32 = load a1[n12]
e2: f32 = reduced r0.0
pass 0 row
  r0.0: f32 = dot e0, e1
pass 1 outer
  a2[n13] = e2
";

/// Positions that sort each row of x [2, 4].
pub const SORT: &str = "
kernel sort ascending
axes 2, 4 row
args a0: read f32[8], a1: write i64[8]
scratch f32, i64
n0 = i0
n1 = n0 * 4
n2 = i1
n3 = n1 + n2
e0: f32 = load a0[n3]
e1: i64 = scratch s1
pass 0 row
  s0 = e0
pass 1 row
  a1[n3] = e1
";

/// Running sum of x [2, 4] squared.
pub const CUMULATIVE: &str = "
kernel cumulative sum forward
axes 2, 4 row
args a0: read f32[8], a1: write f32[8]
scratch f32, f32
n0 = i0
n1 = n0 * 4
n2 = i1
n3 = n1 + n2
e0: f32 = load a0[n3]
e1: f32 = mul e0, e0
e2: f32 = scratch s1
pass 0 row
  s0 = e1
pass 1 row
  a1[n3] = e2
";

/// Adds rows of u [4, 2] to rows of x [3, 2] at indices [4]; those outside are dropped.
pub const SCATTER: &str = "
kernel scatter add
axes 4, 2
args a0: update f32[6], a1: read i64[4], a2: read f32[8]
n0 = i0
n1 = i1
n2 = value e0
n3 = value e0 clamp 3
n4 = n3 * 2
n5 = n4 + n1
n6 = n0 * 2
n7 = n6 + n1
e0: i64 = load a1[n0]
e1: f32 = load a2[n7]
pass 0 outer
  a0[n5] = e1 where 0 <= n2 < 3
";

/// (x + y)^2 in place, for x [4, 6] and y [4, 3] repeated: quotients, remainders, an updated argument, a half type.
pub const UPDATE: &str = "
kernel pointwise
axes 24
args a0: update f16[24], a1: read f16[12]
n0 = i0
n1 = n0 / 6
n2 = n0 % 6
n3 = n1 * 3
n4 = n2 % 3
n5 = n3 + n4
e0: f16 = load a0[n0]
e1: f16 = load a1[n5]
e2: f16 = add e0, e1
e3: f16 = mul e2, e2
pass 0 outer
  a0[n0] = e3
";

/// `softmax(q k / 2) v` under a mask, for q [2, 3, 4], k [2, 5, 4], v [2, 5, 2], a hidden row being 0.
pub const ATTENTION: &str = "
kernel attention
axes 2, 3, 2, 5 row, 4 row
args a0: read f32[24], a1: read f32[40], a2: read bool[15], a3: read f32[20], a4: write f32[12]
n0 = i0
n1 = n0 * 12
n2 = i1
n3 = n2 * 4
n4 = n1 + n3
n5 = i4
n6 = n4 + n5
n7 = n0 * 20
n8 = i3
n9 = n8 * 4
n10 = n7 + n9
n11 = n10 + n5
n12 = n2 * 5
n13 = n12 + n8
n14 = n0 * 10
n15 = i2
n16 = n14 + n15
n17 = n8 * 2
n18 = n16 + n17
n19 = n0 * 6
n20 = n2 * 2
n21 = n19 + n20
n22 = n21 + n15
e0: f32 = const 0.5
e1: f32 = load a0[n6]
e2: f32 = mul e1, e0
e3: f32 = load a1[n11]
e4: f32 = const -inf
e5: f32 = reduced r0.0
e6: bool = load a2[n13]
e7: f32 = select e6, e5, e4
e8: f32 = reduced r1.0
e9: f32 = const 0.0
e10: bool = eq e8, e4
e11: f32 = select e10, e9, e8
e12: f32 = sub e7, e11
e13: f32 = exp e12
e14: f32 = load a3[n18]
e15: f32 = reduced r2.1
e16: f32 = reduced r2.0
e17: f32 = const 1.0
e18: f32 = select e10, e17, e16
e19: f32 = div e15, e18
pass 0 row
  r0.0: f32 = dot e2, e3
pass 1 row
  r1.0: f32 = max e7
pass 2 row
  r2.0: f32 = sum e13
  r2.1: f32 = dot e13, e14
pass 3 outer
  a4[n22] = e19
";

/// Every sample.
pub const ALL: [&str; 11] = [SOFTMAX, COLUMN, PAD, GATHER, MATMUL, CONV, ATTENTION, SORT, CUMULATIVE, SCATTER, UPDATE];
