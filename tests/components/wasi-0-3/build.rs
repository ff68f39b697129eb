//! Makes a copy of the contract whose hooks are `async func`, as who writes a component that waits does. It lies in `target/`,
//! where `waits` looks for it.

use std::fs;
use std::path::Path;

const CONTRACT: &str = "../../../wit";

fn main() {
    println!("cargo::rerun-if-changed={CONTRACT}");
    let copy = Path::new("target/wit");
    fs::create_dir_all(copy).expect("cannot make the copy's directory");
    for entry in fs::read_dir(CONTRACT).expect("there is no wit/") {
        let path = entry.expect("cannot read wit/").path();
        if path.is_dir() {
            continue; // released versions
        }
        let text = fs::read_to_string(&path).expect("cannot read a WIT file");
        let text = text.replace("handle: func", "handle: async func").replace("decide: func", "decide: async func");
        let name = path.file_name().expect("a file without a name");
        fs::write(copy.join(name), text).expect("cannot write the copy");
    }
}
