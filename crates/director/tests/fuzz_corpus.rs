//! Replays the corpus of every fuzz target, and a bounded number of inputs that differ from it a little.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

/// The targets themselves: their own crate needs libFuzzer, and with it nightly Rust.
#[path = "../../../fuzz/src/lib.rs"]
pub mod fuzz;

use fuzz::{TARGETS, Target};

/// How many changed inputs each input of the corpus gives.
const CHANGED: usize = 20;

#[test]
fn every_target_has_a_small_corpus_and_no_corpus_is_without_target() {
    let names: Vec<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let mut folders: Vec<_> = files(&corpus()).iter().map(|folder| name(folder)).collect();
    folders.sort();
    assert_eq!(folders, names);
    for target in &TARGETS {
        let inputs = inputs(target);
        let bytes: usize = inputs.iter().map(|(_, input)| input.len()).sum();
        assert!((1..=80).contains(&inputs.len()) && bytes < 128 << 10, "{}: {bytes} bytes", target.name);
    }
}

#[test]
fn every_rule_holds_for_the_corpus() {
    thread::scope(|scope| {
        for target in &TARGETS {
            scope.spawn(|| inputs(target).iter().for_each(|(name, input)| replay(target, name, input)));
        }
    });
}

#[test]
fn every_rule_holds_for_inputs_that_differ_a_little() {
    thread::scope(|scope| {
        for target in &TARGETS {
            scope.spawn(|| {
                let inputs = inputs(target);
                let mut random = Random(0x5eed);
                for (name, input) in inputs.iter().cycle().take(CHANGED * inputs.len()) {
                    let other = &inputs[random.below(inputs.len())].1;
                    replay(target, &format!("like {name}"), &random.change(input, other));
                }
            });
        }
    });
}

/// The input is printed when a rule does not hold: panics of the target do not name it.
fn replay(target: &Target, name: &str, input: &[u8]) {
    let outcome = std::panic::catch_unwind(|| (target.run)(input));
    assert!(outcome.is_ok(), "{}, {name}: {}", target.name, input.escape_ascii());
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

fn inputs(target: &Target) -> Vec<(String, Vec<u8>)> {
    let read = |file: &PathBuf| (name(file), fs::read(file).expect("a file of the corpus"));
    let mut inputs: Vec<_> = files(&corpus().join(target.name)).iter().map(read).collect();
    inputs.sort();
    inputs
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of the corpus");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

fn name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    /// An xorshift step.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    /// Up to four changes: a byte replaced, put in, taken out, or the rest taken from another input.
    fn change(&mut self, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut changed = input.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(changed.len() + 1);
            let byte = self.below(256) as u8;
            match self.below(4) {
                0 => changed.insert(at, byte),
                1 if at < changed.len() => changed[at] = byte,
                2 if at < changed.len() => drop(changed.remove(at)),
                _ => changed.splice(at.., other[self.below(other.len())..].iter().copied()).for_each(drop),
            }
        }
        changed
    }
}
