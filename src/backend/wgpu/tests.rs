//! Modules that need no adapter: text and validation. What runs is tested through the public interface.

use super::emit::{ArgUse, Target, emit};
use super::validate;
use crate::loops::Kernel;

fn uses(k: &Kernel, offset: bool) -> Vec<ArgUse> {
    (0..k.args.len()).map(|n| ArgUse { binding: n as u32, offset, raw: offset }).collect()
}

#[test]
fn every_sample_is_a_valid_module() {
    for text in crate::loops::samples::ALL {
        let k: Kernel = text.trim_start().parse().unwrap();
        for (software, subgroup) in [(false, 0), (false, 32), (false, 4), (true, 8)] {
            for data_points in [0, 1 << 20] {
                for offset in [false, true] {
                    let double = text.contains("f64");
                    let t = Target { data_points, double, subgroup, ..Target::floor() };
                    let t = if software { Target { workgroup: 64, software, long: offset, ..t } } else { t };
                    let m = emit(&k, &t, &uses(&k, offset), false).unwrap_or_else(|e| panic!("{e}\n{text}"));
                    if let Err(e) = validate(&m.text, &t) {
                        panic!("{e}\n{}\n{text}", m.text);
                    }
                }
            }
        }
    }
}

/// Lanes of a row meet without barriers where a subgroup holds them all, else with a pair; down columns, and without subgroups, by halves.
#[test]
fn lanes_meet_in_subgroups() {
    let sums = |archetype: &str, axes: &str, row: u32| {
        let (a, b) = if row == 1 { (4096, 1) } else { (1, 3) };
        let text = format!(
            "kernel {archetype}
axes {axes}
args a0: read f32[12288], a1: write f32[3], a2: write i64[3]
n0 = i{}
n1 = i{row}
n2 = n0 * {a}
n3 = n1 * {b}
n4 = n2 + n3
e0: f32 = load a0[n4]
e1: f32 = reduced r0.0
e2: i64 = reduced r0.1
pass 0 row
  r0.0: f32 = sum e0
  r0.1: i64 = argmax e0
pass 1 outer
  a1[n0] = e1
  a2[n0] = e2
",
            1 - row
        );
        text.parse::<Kernel>().unwrap_or_else(|e| panic!("{e}\n{text}"))
    };
    let module = |k: &Kernel, subgroup: u32| {
        let t = Target { data_points: 0, subgroup, ..Target::floor() };
        let text = emit(k, &t, &uses(k, false), false).unwrap_or_else(|e| panic!("{e}\n{k}")).text;
        validate(&text, &t).unwrap_or_else(|e| panic!("{e}\n{text}"));
        text
    };
    let count = |text: &str, what: &str| text.matches(what).count();
    let rows = sums("row_reduction", "3, 4096 row", 1);
    let (halves, all, some) = (module(&rows, 0), module(&rows, 256), module(&rows, 32));
    assert_eq!((count(&halves, "subgroup"), count(&halves, "workgroupBarrier")), (0, 3), "{halves}");
    // Of 256 lanes: the sum, the value and its position over eight distances.
    assert_eq!((count(&all, "subgroupShuffleXor"), count(&all, "workgroupBarrier")), (3 * 8, 0), "{all}");
    assert_eq!((count(&some, "subgroupShuffleXor"), count(&some, "workgroupBarrier")), (3 * (5 + 3), 2), "{some}");
    let columns = sums("column_reduction", "4096 row, 3", 0);
    assert!(module(&columns, 0).contains("let lane = "));
    assert_eq!(module(&columns, 32), module(&columns, 0));
}
