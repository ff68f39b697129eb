//! Makes copies of the contract in which hooks are `async func`, as who writes a component that waits does: the callbacks in
//! `target/wit`, the decisions too in `target/wit-decisions`. The examples look for them there.

use std::fs;
use std::path::Path;

const CONTRACT: &str = "../../../wit";

fn main() {
    println!("cargo::rerun-if-changed={CONTRACT}");
    copy("target/wit", &["handle"]);
    copy("target/wit-decisions", &["handle", "decide"]);
}

fn copy(to: &str, functions: &[&str]) {
    let to = Path::new(to);
    fs::create_dir_all(to).expect("cannot make the copy's directory");
    for entry in fs::read_dir(CONTRACT).expect("there is no wit/") {
        let path = entry.expect("cannot read wit/").path();
        if path.is_dir() {
            continue; // released versions
        }
        let mut text = fs::read_to_string(&path).expect("cannot read a WIT file");
        for function in functions {
            text = text.replace(&format!("{function}: func"), &format!("{function}: async func"));
        }
        let name = path.file_name().expect("a file without a name");
        fs::write(to.join(name), text).expect("cannot write the copy");
    }
}
