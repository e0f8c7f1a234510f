//! Tests on process totals and limits: launches, compiles, memory. Each runs alone in a process of its own, because other tests of
//! this binary compile and allocate at the same time.

mod donation;
mod memory;
mod plans;
pub mod restart;
mod training;

/// Set in the process that runs one test alone.
const ALONE: &str = "LAZULI_TEST_ALONE";

/// Runs `body` in a fresh process of this binary that runs only the test `path`.
#[track_caller]
pub fn run_alone(path: &str, body: fn()) {
    if is_alone(path) {
        body();
        // A driver in software takes its threads down at the end of the process, and may fall over work that they still do.
        // Whether the device is well is the body's business.
        let _ = lazuli::Device::current().synchronize();
        return;
    }
    process(path, &[]);
}

/// What a fresh process of this binary prints that runs only the test `path`, in this environment besides.
#[track_caller]
pub fn process(path: &str, environment: &[(&str, &std::ffi::OsStr)]) -> String {
    let path = path.strip_prefix("it::").unwrap_or(path);
    let exe = std::env::current_exe().expect("this binary");
    let out = std::process::Command::new(exe)
        .args([path, "--exact", "--nocapture", "--test-threads=1"])
        .env(ALONE, path)
        .envs(environment.iter().copied())
        .output()
        .expect("this binary starts");
    let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "alone: {}\n{text}", out.status);
    assert!(text.contains("1 passed"), "{path} did not run:\n{text}");
    text.into_owned()
}

/// Whether this is the process that runs only the test `path`.
pub fn is_alone(path: &str) -> bool {
    std::env::var(ALONE).is_ok_and(|p| p == path.strip_prefix("it::").unwrap_or(path))
}

/// A test that runs alone.
macro_rules! alone {
    ($($(#[$doc:meta])* fn $name:ident() $body:block)*) => {$(
        #[test]
        $(#[$doc])*
        fn $name() {
            fn body() $body
            $crate::serial::run_alone(concat!(module_path!(), "::", stringify!($name)), body);
        }
    )*};
}
pub(crate) use alone;
