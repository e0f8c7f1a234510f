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
