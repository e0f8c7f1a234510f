use super::super::samples::*;
use super::super::schedule::{Launch, Slot, SlotId};
use super::*;
use std::sync::Arc;

fn kernel(text: &str) -> Kernel {
    text.parse().unwrap()
}

/// Replaces a part of a good kernel; the verifier must object with that message.
fn refused(text: &str, from: &str, to: &str, message: &str) {
    assert!(text.contains(from), "{from}");
    match verify(&kernel(&text.replacen(from, to, 1))) {
        Ok(()) => panic!("`{from}` -> `{to}` was accepted"),
        Err(e) => assert!(e.message().contains(message), "`{from}` -> `{to}`: {e}"),
    }
}

#[test]
fn samples_are_good() {
    for text in ALL {
        verify(&kernel(text)).unwrap_or_else(|e| panic!("{e}\n{text}"));
    }
}

#[test]
fn order_of_the_arenas() {
    refused(SOFTMAX, "e2: f32 = sub e0, e1", "e2: f32 = sub e0, e3", "depend on each other");
    refused(SOFTMAX, "e3: f32 = exp e2", "e3: f32 = exp e3", "depend on each other");
    refused(MATMUL, "e0: f32 = load a0[n4]", "e0: f32 = cast e5", "come before");
    refused(SOFTMAX, "n1 = n0 * 3", "n1 = n3 * 3", "come before");
    refused(SOFTMAX, "n0 = i0", "n0 = i2", "axis 2 of 2");
    refused(GATHER, "e0: i64 = load a1[n0]", "e0: i64 = load a1[n2]", "depend on each other");
    refused(SOFTMAX, "a1[n3] = e5", "a1[n3] = e9", "does not exist");
    refused(UPDATE, "n0 / 6", "n0 / 0", "divides by 0");
}

#[test]
fn passes_and_levels() {
    refused(SOFTMAX, "r0.0: f32 = max e0", "r0.0: f32 = max e2", "known from pass 1");
    refused(SOFTMAX, "pass 2 row", "pass 2 outer", "depends on the row");
    refused(SOFTMAX, "reduced r1.0", "reduced r1.1", "does not fit");
    refused(CUMULATIVE, "s0 = e1", "s0 = e2", "known from pass 1");
    refused(CUMULATIVE, "sum forward", "argmax forward", "promises");
    refused(SORT, "scratch f32, i64", "scratch f32, f32", "does not fit");
    refused(COLUMN, "pass 1 row", "pass 1 outer", "reduces");
    refused(SOFTMAX, "axes 2, 3 row", "axes 2, 0 row", "no element");
    refused(SOFTMAX, "row_reduction", "pointwise", "promises");
    refused(MATMUL, "dot e0, e1", "sum e0", "promises");
    refused(CONV, "groups 2", "groups 1", "promises");
    refused(CONV, "hi [1]", "hi [3]", "promises");
    refused(SCATTER, "update f32[6]", "write f32[6]", "promises");
    refused(ATTENTION, "max e7", "min e7", "promises");
    refused(ATTENTION, "exp e12", "sin e12", "promises");
    refused(ATTENTION, "sub e7, e11", "sub e5, e11", "promises");
    refused(ATTENTION, "dot e13, e14", "dot e14, e13", "promises");
    refused(ATTENTION, "select e10, e9, e8", "select e10, e8, e9", "promises");
    refused(ATTENTION, "load a2[n13]", "load a2[n15]", "promises");
    refused(ATTENTION, "load a2[n13]", "load a2[n5]", "promises");
    refused(ATTENTION, "load a0[n6]", "load a0[n8]", "promises");
    refused(ATTENTION, "a4[n22] = e19", "a4[n22] = e5", "depends on the row");
}

#[test]
fn dtypes() {
    refused(SOFTMAX, "e0: f32", "e0: f64", "does not fit");
    refused(SOFTMAX, "e3: f32 = exp e2", "e3: f32 = not e2", "does not fit");
    refused(SOFTMAX, "write f32[6]", "write f64[6]", "has dtype f32");
    refused(SOFTMAX, "r0.0: f32 = max", "r0.0: i64 = max", "does not fit");
    refused(COLUMN, "const 0.25", "const 0.1", "does not fit");
    refused(COLUMN, "const 0.25", "const 1", "does not fit");
    refused(PAD, "params f32", "params f64", "does not fit");
    refused(PAD, "e3: bool = inbounds", "e3: u8 = inbounds", "does not fit");
    refused(GATHER, "e0: i64 = load a1[n0]", "e0: f32 = load a0[n0]", "of dtype f32");
    refused(PAD, "select e3, e2, e0", "select e1, e2, e0", "does not fit");
}

#[test]
fn accesses() {
    refused(SOFTMAX, "n0 * 3", "n0 * 4", "is 6 at point [1, 2]");
    refused(SOFTMAX, "read f32[6]", "read f32[5]", "of 5 elements");
    refused(PAD, "0 <= n3 < 2, 0 <= n4 < 3", "0 <= n3 < 3, 0 <= n4 < 3", "load from a0");
    refused(PAD, "0 <= n3 < 2, 0 <= n4 < 3", "0 <= n3 < 2", "load from a0");
    refused(GATHER, "clamp 5", "", "not clamped");
    refused(SCATTER, "a0[n5]", "a0[n2]", "not clamped");
    refused(SOFTMAX, "write f32[6]", "read f32[6]", "only read");
    refused(SOFTMAX, "read f32[6]", "write f32[6]", "only written");
    refused(SOFTMAX, "write f32[6]", "write f32[7]", "6 writes");
    refused(SOFTMAX, "a1[n3] = e5", "a1[n2] = e5", "more than once");
    refused(COLUMN, "a2[n2]", "a1[n2]", "6 writes to argument a1");
    refused(UPDATE, "load a0[n0]", "load a0[n5]", "elsewhere");
    refused(SOFTMAX, "a1[n3] = e5", "a1[n3] = e5 where 0 <= n2 < 2", "drops");
}

#[test]
fn ranges_are_tight() {
    let k = kernel(
        "kernel pointwise
         axes 6, 10
         n0 = i0
         n1 = i1
         n2 = n0 * 10
         n3 = n2 + n1
         n4 = n3 / 10
         n5 = n3 % 10
         n6 = n3 / 7
         n7 = n3 % 7
         n8 = n6 * 7
         n9 = n8 + n7
         n10 = n1 * -1
         n11 = n1 + n10
         n12 = 5
         n13 = n10 + n12
         n14 = n13 / 3
         n15 = n13 % 3
         pass 0 outer",
    );
    let want = [
        (3, (0, 59)),
        (4, (0, 5)),
        (5, (0, 9)),
        (6, (0, 8)),
        (7, (0, 6)),
        (9, (0, 59)),
        (11, (0, 0)),
        (13, (-4, 5)),
        (14, (-2, 1)),
        (15, (0, 2)),
    ];
    for (n, r) in want {
        assert_eq!(range(&k, IndexId(n)), r, "n{n}");
    }
    let s = Symbolic::new(&k).unwrap();
    assert!(s.same(IndexId(4), IndexId(0)) && s.same(IndexId(9), IndexId(3)) && !s.same(IndexId(6), IndexId(4)));
    assert_eq!(s.formula(IndexId(6)).unwrap(), "((10*i0 + i1)/7)");
}

/// Ranges under masks contain, and for these forms equal, what enumeration finds.
#[test]
fn masked_ranges_agree_with_enumeration() {
    let k = kernel(
        "kernel pointwise
         axes 9, 4, 12
         n0 = i0
         n1 = i1
         n2 = i2
         n3 = n0 * 2
         n4 = n3 + n1
         n5 = -3
         n6 = n4 + n5
         n7 = n6 * 12
         n8 = n7 + n2
         n9 = n6 / 2
         n10 = n6 % 2
         n11 = n9 * 12
         n12 = n11 + n2
         n13 = n2 / 5
         n14 = n13 + n1
         n15 = n0 * -1
         n16 = n15 + n2
         pass 0 outer",
    );
    let s = Symbolic::new(&k).unwrap();
    let b = |index, lo, hi| Bound { index: IndexId(index), lo, hi };
    // Index, mask, exact?
    let cases: [(u32, Vec<Bound>, bool); 9] = [
        (8, vec![b(6, 0, 14)], true),
        (12, vec![b(9, 0, 7), b(10, 0, 1)], true),
        (6, vec![b(1, 2, 3)], true),
        (8, vec![b(6, 0, 14), b(2, 3, 7)], true),
        (6, vec![b(0, 1, 2), b(6, 0, 100)], true),
        (14, vec![b(13, 1, 2)], true),
        (2, vec![b(13, 1, 2)], true),
        (16, vec![b(16, -3, 2)], true),
        (0, vec![b(16, -3, 2), b(2, 0, 2)], false),
    ];
    for (i, mask, exact) in cases {
        let mut found: Option<(i64, i64)> = None;
        for p in (0..9 * 4 * 12).map(|n| [n / 48, n / 12 % 4, n % 12]) {
            if mask.iter().all(|b| (b.lo..b.hi).contains(&s.at(b.index, &p))) {
                let x = s.at(IndexId(i), &p);
                found = Some(found.map_or((x, x), |(lo, hi)| (lo.min(x), hi.max(x))));
            }
        }
        let (found, got) = (found.unwrap(), s.range_where(IndexId(i), &mask).unwrap());
        assert!(got.0 <= found.0 && got.1 >= found.1, "n{i} {mask:?}: {got:?} does not hold {found:?}");
        assert!(!exact || got == found, "n{i} {mask:?}: {got:?}, is {found:?}");
    }
    assert_eq!(s.range_where(IndexId(0), &[b(0, 20, 30)]), None);
    assert_eq!(s.range_where(IndexId(0), &[b(0, 3, 3)]), None);
}

#[test]
fn large_domains_are_proved_not_enumerated() {
    // Pad and slice of [4096, 4096], two interleaved stores.
    let text = "
        kernel pointwise
        axes 4098, 4096
        args a0: read f32[16777216], a1: write f32[33570816]
        n0 = i0
        n1 = i1
        n2 = -1
        n3 = n0 + n2
        n4 = n3 * 4096
        n5 = n4 + n1
        n6 = n0 * 8192
        n7 = n6 + n1
        n8 = 4096
        n9 = n7 + n8
        e0: f32 = load a0[n5] where 0 <= n3 < 4096
        pass 0 outer
          a1[n7] = e0
          a1[n9] = e0";
    verify(&kernel(text)).unwrap();
    refused(text, "n8 = 4096", "n8 = 4097", "store to a1");
    refused(text, "read f32[16777216]", "read f32[16777215]", "load from a0");
}

#[test]
fn hostile_kernels_end() {
    // 2^200 terms if expanded.
    let mut text = String::from("kernel pointwise\naxes 2\nargs a0: write f32[2]\nn0 = i0\n");
    for n in 1..200 {
        text += &format!("n{n} = n{} + n{}\n", n - 1, n - 1);
    }
    text += "e0: f32 = const 0.0\npass 0 outer\n  a0[n0] = e0\n";
    verify(&kernel(&text)).unwrap();
    let huge = text.replace("axes 2", "axes 4000000000, 4000000000, 4000000000");
    assert!(verify(&kernel(&huge)).is_err());
    assert_eq!(range(&kernel("kernel pointwise\nn0 = n5 + n7"), IndexId(0)), (i64::MIN, i64::MAX));
}

const COPY: &str = "
    kernel pointwise
    axes 4
    args a0: read f32[4], a1: write f32[4]
    n0 = i0
    e0: f32 = load a0[n0]
    pass 0 outer
      a1[n0] = e0";

/// Input 0, arena slots at those bytes, output 0; launches of copies between slots.
fn schedule(offsets: &[usize], launches: &[&[(u32, u32)]]) -> Schedule {
    let copy: Arc<Kernel> = Arc::new(kernel(COPY));
    let slot = |place| Slot { dtype: DType::F32, numel: 4, place };
    let mut slots = vec![slot(Place::Input(0)), slot(Place::Output(0))];
    slots.extend(offsets.iter().map(|&o| slot(Place::Arena(o))));
    let instance = |&(a, b): &(u32, u32)| Instance { kernel: copy.clone(), slots: vec![SlotId(a), SlotId(b)], params: vec![] };
    let launches = launches.iter().map(|l| Launch::Kernels(l.iter().map(instance).collect())).collect();
    Schedule { slots, launches, params: vec![], arena_bytes: 48, donated: vec![] }
}

#[test]
fn schedules() {
    let good = [schedule(&[0, 16, 0], &[&[(0, 2)], &[(2, 3)], &[(3, 4)], &[(4, 1)]]), schedule(&[0, 16], &[&[(0, 2), (0, 3)], &[(3, 1)]])];
    for s in good {
        verify_schedule(&s).unwrap();
    }
    let bad = [
        (schedule(&[0, 8], &[&[(0, 2)], &[(2, 3)], &[(3, 1)]]), "same memory"),
        (schedule(&[0, 16, 0], &[&[(0, 2)], &[(2, 3)], &[(3, 4)], &[(2, 1)]]), "same memory"),
        (schedule(&[0, 16], &[&[(2, 3)], &[(3, 1)]]), "reads slot 2 before"),
        (schedule(&[0], &[&[(0, 2)]]), "never written"),
        (schedule(&[0], &[&[(0, 1)], &[(1, 0)]]), "a buffer of the caller's"),
        (schedule(&[0], &[&[(0, 2), (2, 1)]]), "before anything was written"),
        (schedule(&[0], &[&[(0, 2)], &[(2, 1), (0, 2)]]), "share slot 2"),
        (schedule(&[40], &[&[(0, 2)], &[(2, 1)]]), "beyond the arena"),
        (schedule(&[2], &[&[(0, 2)], &[(2, 1)]]), "at byte 2"),
        (schedule(&[0], &[&[(0, 2)], &[(7, 1)]]), "slot 7 does not exist"),
    ];
    for (n, (s, message)) in bad.iter().enumerate() {
        match verify_schedule(s) {
            Ok(()) => panic!("bad schedule {n} ({message}) was accepted"),
            Err(e) => assert!(e.message().contains(message), "{n}: {e}"),
        }
    }
    // In place: only where each point reads what it writes, and only memory of the plan's own or given to it.
    let mut s = schedule(&[0], &[&[(0, 2)], &[(2, 2)], &[(2, 1)]]);
    verify_schedule(&s).unwrap();
    let Launch::Kernels(instances) = &mut s.launches[1] else { unreachable!() };
    instances[0].kernel =
        Arc::new(kernel(&COPY.replace("n0 = i0", "n0 = i0\n    n1 = n0 * -1\n    n2 = 3\n    n3 = n1 + n2").replace("a0[n0]", "a0[n3]")));
    assert!(verify_schedule(&s).unwrap_err().message().contains("share slot 2"));
    let mut s = schedule(&[], &[&[(0, 1)], &[(0, 0)]]);
    assert!(verify_schedule(&s).unwrap_err().message().contains("caller's"));
    s.donated.push(0);
    verify_schedule(&s).unwrap();
    let mut s = schedule(&[0], &[&[(0, 1)]]);
    s.slots[0].numel = 5;
    assert!(verify_schedule(&s).is_err());
}
