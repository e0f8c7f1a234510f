//! Writes the JavaScript that a page loads a module of wasm-bindgen with: `bind MODULE.wasm FOLDER`. As the program `wasm-bindgen`, but of
//! the version that this workspace's lock file names.

use std::process::ExitCode;
use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [module, folder] = &arguments[..] else {
        eprintln!("bind MODULE.wasm FOLDER");
        return ExitCode::from(2);
    };
    let mut bindgen = Bindgen::new();
    let written = bindgen.input_path(module).typescript(false).web(true).and_then(|b| b.generate(folder));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {module}: {e:#}");
            ExitCode::FAILURE
        }
    }
}
