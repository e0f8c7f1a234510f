use lazuli::profile::bench::{cases, run};
fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    lazuli::Device::named("wgpu").unwrap().set_default();
    let rules = lazuli::profile::bench::Rules::QUICK;
    for c in cases() {
        if !names.iter().any(|n| n == c.name) { continue }
        match run(&c, &rules).result {
            Ok((t, check)) => println!("{:24} min {:9.2} median {:9.2} first {:9.1} cpu {:9.1} check {check:.5}", c.name, t.min_ms, t.median_ms, t.first_ms, t.cpu_ms.unwrap_or(0.0)),
            Err(e) => println!("{:24} {e}", c.name),
        }
    }
}
