//! Holds the tests of every crate to the names by which `make test-kubernetes` finds them.

use std::fs;
use std::path::{Path, PathBuf};

const NAMES: [&str; 2] = ["kubernetes", "cluster"];

#[test]
fn tests_that_need_a_server_have_a_name_that_says_so() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let command = fs::read_to_string(root.join("Makefile")).expect("Makefile");
    for name in NAMES {
        assert!(command.contains(&format!("--test '{name}*'")), "make test-kubernetes runs {name}*");
    }
    let folders = entries(&root.join("crates")).into_iter().map(|krate| krate.join("tests"));
    let targets: Vec<PathBuf> =
        folders.filter(|folder| folder.is_dir()).flat_map(|folder| entries(&folder)).collect();
    let needing: Vec<_> =
        targets.iter().filter(|target| needs_server(target)).filter_map(|path| path.file_stem()).collect();
    assert!(!needing.is_empty());
    for target in needing {
        let target = target.to_string_lossy();
        assert!(NAMES.iter().any(|name| target.starts_with(name)), "{target} is none of {NAMES:?}");
    }
}

/// True when a source file, or one in a folder, uses the rig.
fn needs_server(path: &Path) -> bool {
    if path.is_dir() {
        return entries(path).iter().any(|path| needs_server(path));
    }
    let is_source = path.extension().is_some_and(|extension| extension == "rs");
    is_source
        && fs::read_to_string(path)
            .expect("a source file")
            .lines()
            .any(|line| line.starts_with("use udp_director_apiserver::"))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
}
