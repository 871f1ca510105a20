//! Holds the workspace to what `ARCHITECTURE.md` says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::semver::{Version, VersionReq};
use cargo_metadata::{DependencyKind, MetadataCommand, Package};

type Edges = BTreeSet<(String, String)>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn packages() -> Vec<Package> {
    let mut command = MetadataCommand::new();
    let command = command.manifest_path(root().join("Cargo.toml")).no_deps();
    command.other_options(["--offline".to_owned()]).exec().expect("cargo metadata").packages
}

/// A crate's short name: its folder under `crates/`.
fn short(name: &str) -> Option<String> {
    name.strip_prefix("udp-director-").map(str::to_owned)
}

fn crate_edges() -> Edges {
    let of = |package: &Package| {
        let from = short(&package.name).expect("every crate is named udp-director-*");
        let normal = package.dependencies.iter().filter(|dep| dep.kind == DependencyKind::Normal);
        let to: Vec<_> = normal.filter_map(|dep| short(&dep.name)).collect();
        to.into_iter().map(move |to| (from.clone(), to))
    };
    packages().iter().flat_map(of).collect()
}

/// The edges of the first mermaid block of a document: lines `a --> b & c`.
fn drawn_edges(document: &str) -> Edges {
    let block = document.split("```mermaid").nth(1).and_then(|rest| rest.split("```").next());
    let arrows = block.expect("a mermaid block").lines().filter_map(|line| line.trim().split_once(" --> "));
    arrows
        .flat_map(|(from, to)| to.split(" & ").map(|to| (from.trim().to_owned(), to.trim().to_owned())))
        .collect()
}

/// A way round in the graph, if there is one.
fn cycle(edges: &Edges) -> Option<Vec<String>> {
    let nodes: BTreeSet<&String> = edges.iter().map(|(from, _)| from).collect();
    nodes.into_iter().find_map(|start| way(edges, start, start, &mut Vec::new()))
}

fn way(edges: &Edges, from: &String, to: &String, seen: &mut Vec<String>) -> Option<Vec<String>> {
    seen.push(from.clone());
    for (_, next) in edges.iter().filter(|(start, _)| start == from) {
        if next == to {
            return Some(seen.clone());
        }
        if !seen.contains(next)
            && let Some(found) = way(edges, next, to, seen)
        {
            return Some(found);
        }
    }
    None
}

#[test]
fn crate_graph_is_the_one_that_is_drawn() {
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    assert_eq!(crate_edges(), drawn_edges(&document), "left: Cargo.toml, right: ARCHITECTURE.md");
}

#[test]
fn crates_have_no_cycle() {
    assert_eq!(cycle(&crate_edges()), None);
}

#[test]
fn modules_of_a_crate_have_no_cycle() {
    for package in packages() {
        let source = Path::new(package.manifest_path.as_str()).with_file_name("src");
        let edges = module_edges(&source);
        assert_eq!(cycle(&edges), None, "in {}", package.name);
    }
}

/// Which top-level module names which other by path, tests left out.
fn module_edges(source: &Path) -> Edges {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for file in rust_files(source) {
        let relative = file.strip_prefix(source).expect("below the source folder");
        let first = relative.iter().next().expect("a name").to_string_lossy();
        let module = first.trim_end_matches(".rs").to_owned();
        let is_test = relative.to_string_lossy().contains("tests");
        if !is_test && module != "lib" && module != "main" {
            let text = fs::read_to_string(&file).expect("a source file");
            let code = text.split("#[cfg(test)]\nmod tests {").next().expect("at least one part");
            texts.entry(module).or_default().push_str(code);
        }
    }
    let modules: BTreeSet<&String> = texts.keys().collect();
    let named = |(from, text): (&String, &String)| {
        let from = from.clone();
        crate_paths(text).into_iter().map(move |to| (from.clone(), to))
    };
    let edges = texts.iter().flat_map(named);
    edges.filter(|(from, to)| from != to && modules.contains(to)).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
        .collect()
}

/// The first name behind each `crate::`, also within `crate::{...}`; comments do not count.
fn crate_paths(text: &str) -> Vec<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    code.split("crate::").skip(1).flat_map(first_names).collect()
}

fn first_names(path: &str) -> Vec<String> {
    let ident = |text: &str| -> String {
        text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![ident(path)] };
    let mut depth = 0;
    let mut names = vec![String::new()];
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(String::new()),
            c => names.last_mut().expect("never empty").push(c),
        }
    }
    names.iter().map(|name| ident(name)).collect()
}

#[test]
fn module_check_sees_groups_and_nesting() {
    assert_eq!(crate_paths("use crate::{a::{X, Y}, b, c::Z};"), ["a", "b", "c"]);
    assert_eq!(crate_paths("crate::one::f(crate::two::g)"), ["one", "two"]);
    let edges = [("a", "b"), ("b", "c"), ("c", "a")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert!(cycle(&edges.into()).is_some());
}

#[test]
fn unsafe_code_is_forbidden_everywhere_but_in_the_data_plane() {
    for package in packages() {
        let source = Path::new(package.manifest_path.as_str()).with_file_name("src");
        for root in ["lib.rs", "main.rs"].map(|name| source.join(name)).iter().filter(|path| path.exists()) {
            let forbidden =
                fs::read_to_string(root).expect("a source file").contains("#![forbid(unsafe_code)]");
            let dataplane = package.name.as_str() == "udp-director-dataplane";
            assert_eq!(forbidden, !dataplane, "{}", root.display());
        }
    }
    let socket_layer = root().join("crates/dataplane/src/sys.rs");
    for file in rust_files(&root().join("crates/dataplane/src")) {
        let text = fs::read_to_string(&file).expect("a source file");
        let has_unsafe = text.contains("unsafe {") || text.contains("unsafe fn");
        assert!(!has_unsafe || file == socket_layer, "{} has unsafe code", file.display());
    }
}

#[test]
fn every_source_file_begins_with_its_job() {
    for package in packages() {
        let folder = Path::new(package.manifest_path.as_str()).with_file_name("src");
        for file in rust_files(&folder).iter().filter(|file| !file.ends_with("tests.rs")) {
            let text = fs::read_to_string(file).expect("a source file");
            assert!(text.starts_with("//! "), "{} does not begin with //!", file.display());
        }
    }
}

/// `advisories.json` lists the known advisories (RustSec) for crates in or near our tree, and the
/// versions that are free of them.
#[test]
fn no_dependency_has_a_known_advisory() {
    let text = fs::read_to_string(root().join("advisories.json")).expect("advisories.json");
    let advisories: Vec<serde_json::Value> = serde_json::from_str(&text).expect("a list");
    let locked = locked_packages();
    assert!(locked.len() > 50 && !advisories.is_empty());
    for advisory in &advisories {
        let text = |key: &str| advisory[key].as_str().expect("a text").to_owned();
        let free = VersionReq::parse(&text("free")).expect("a version requirement");
        let affected = locked.iter().find(|(name, version)| *name == text("crate") && !free.matches(version));
        assert_eq!(affected, None, "{}", text("id"));
    }
}

/// Names and versions in `Cargo.lock`.
fn locked_packages() -> Vec<(String, Version)> {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    let value = |block: &str, key: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim_matches(['=', ' ', '"']).to_owned())
    };
    lock.split("[[package]]")
        .skip(1)
        .map(|block| {
            let version = value(block, "version").expect("a version");
            (value(block, "name").expect("a name"), Version::parse(&version).expect("a version"))
        })
        .collect()
}
