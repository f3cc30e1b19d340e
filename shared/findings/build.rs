//! Lists the standards' files, so that a new one is a file and no code.

use std::path::Path;
use std::{env, fs};

#[expect(clippy::disallowed_methods, reason = "this is what Cargo tells")]
fn main() {
    const FOLDER: &str = "standards";
    println!("cargo::rerun-if-changed={FOLDER}");
    let root = env::var("CARGO_MANIFEST_DIR").expect("Cargo sets it");
    let folder = Path::new(&root).join(FOLDER);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|it| it == "json"))
        .collect();
    files.sort();
    let lines: String = files
        .iter()
        .map(|path| format!("    include_str!({path:?}),\n"))
        .collect();
    let out = env::var("OUT_DIR").expect("Cargo sets it");
    let list = format!("&[\n{lines}]\n");
    fs::write(Path::new(&out).join("standards.rs"), list).expect("it can be written");
}
