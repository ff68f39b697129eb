//! Makes a copy of the contract that calls itself 0.2.0, for the component that was built against another version. The
//! copy lies in `target/`, where `wrong-version` looks for it.

use std::fs;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=../../wit");
    let copy = Path::new("target/wit-0.2.0");
    fs::create_dir_all(copy).expect("cannot make the copy's directory");
    for entry in fs::read_dir("../../wit").expect("there is no wit/") {
        let path = entry.expect("cannot read wit/").path();
        if path.is_dir() {
            continue; // released versions
        }
        let text = fs::read_to_string(&path).expect("cannot read a WIT file");
        let text = text.replace("haul:transfer@0.1.0", "haul:transfer@0.2.0");
        let name = path.file_name().expect("a file without a name");
        fs::write(copy.join(name), text).expect("cannot write the copy");
    }
}
