//! What a folder of keys is read as, and what a change of it brings into force.

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;
use udp_director_core::Key;

use super::*;

fn hex(digit: char) -> String {
    digit.to_string().repeat(Key::DIGITS)
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(dir.path().join(name), text).expect("written");
    }
    dir
}

/// The ids of the ring, the current one first.
fn ids(ring: &KeyRing) -> Vec<String> {
    ring.keys().map(|key| key.id().to_owned()).collect()
}

fn fault(files: &[(&str, &str)]) -> String {
    KeyFolder::open(folder(files).path()).expect_err("it is wrong").to_string()
}

#[test]
fn last_by_name_seals_unless_the_file_current_names_another() {
    let (a, b) = (hex('a'), hex('b') + "\n");
    let open = |files: &[(&str, &str)]| ids(KeyFolder::open(folder(files).path()).expect("right").ring());
    assert_eq!(open(&[("2026-12", &b), ("2026-11.key", &a)]), ["2026-12", "2026-11"]);
    for named in ["2026-11\n", "2026-11.key"] {
        assert_eq!(open(&[("2026-12", &b), ("2026-11.key", &a), ("current", named)]), ["2026-11", "2026-12"]);
    }
    assert_eq!(open(&[("k", &a), ("..data", "no key"), (".hidden", "")]), ["k"]);
}

#[test]
fn what_is_wrong_is_named_and_no_key_shows() {
    let (a, b) = (hex('a'), hex('b'));
    for (files, text) in [
        (&[][..], "there is no key"),
        (&[("k", &a[..62])], "k: a key has 64 hexadecimal digits, not 62 characters"),
        (&[("k", &a.replace("aa", "xy"))], "k: a key has 64 hexadecimal digits and nothing else"),
        (&[("k", &a), ("k.key", &b)], "two keys have the id k"),
        (&[("k", &a), ("l", &a)], "k and l are the same key"),
        (&[("k", &a), ("current", "l")], "the current key is to be l, which is not there"),
        (&[("a key", &a)], "a key: a key's id has 1 to 63 letters"),
        (&[("k", &a.repeat(20))], "k: a key has 64 hexadecimal digits, not 512 characters"),
    ] {
        let fault = fault(files);
        assert!(fault.contains(text), "{fault}");
        assert!(!fault.contains("aaaa"), "{fault}");
    }
    let many: Vec<_> =
        (0..9).map(|n| (n.to_string(), hex(char::from_digit(n, 16).expect("a digit")))).collect();
    let many: Vec<_> = many.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert!(fault(&many).contains("there are 9 keys"));
}

#[test]
fn file_that_leads_nowhere_is_a_fault() {
    let dir = folder(&[("k", &hex('a'))]);
    symlink("nowhere", dir.path().join("l")).expect("a link");
    let fault = KeyFolder::open(dir.path()).expect_err("it is wrong").to_string();
    assert!(fault.contains("l: cannot be read"), "{fault}");
    assert!(KeyFolder::open("/nowhere").expect_err("it is wrong").to_string().contains("/nowhere"));
}

#[tokio::test]
async fn new_keys_are_in_force_and_a_fault_leaves_the_old_ones() {
    let dir = folder(&[("1", &hex('a'))]);
    let file = |name: &str| dir.path().join(name);
    let mut keys = KeyFolder::open(dir.path()).expect("right");
    fs::write(file("2"), hex('b')).expect("written");
    assert_eq!(keys.changed().await, Ok(()));
    assert_eq!(ids(keys.ring()), ["2", "1"]);
    fs::write(file("3"), "short").expect("written");
    assert!(keys.changed().await.is_err());
    assert_eq!(ids(keys.ring()), ["2", "1"]);
    fs::remove_file(file("3")).expect("removed");
    assert_eq!(keys.changed().await, Ok(()), "it is told that all is right again");
    fs::remove_file(file("1")).expect("removed");
    assert_eq!(keys.changed().await, Ok(()));
    assert_eq!(ids(keys.ring()), ["2"], "an older key may go");
}

#[tokio::test]
async fn key_that_seals_may_be_replaced_and_left_by_name_but_not_vanish() {
    let dir = folder(&[("1", &hex('a')), ("2", &hex('b'))]);
    let file = |name: &str| dir.path().join(name);
    let mut keys = KeyFolder::open(dir.path()).expect("right");
    fs::remove_file(file("2")).expect("removed");
    assert_eq!(keys.changed().await, Err(KeysFault::Vanished("2".to_owned())));
    assert_eq!(ids(keys.ring()), ["2", "1"]);
    fs::write(file("current"), "1").expect("written");
    assert_eq!(keys.changed().await, Ok(()));
    assert_eq!(ids(keys.ring()), ["1"], "who names it means it");
    fs::remove_file(file("current")).expect("removed");
    fs::remove_file(file("1")).expect("removed");
    assert!(matches!(keys.changed().await, Err(KeysFault::Ring(_))), "no key at all");
    fs::write(file("3"), hex('c')).expect("written");
    assert_eq!(keys.changed().await, Ok(()));
    assert_eq!(ids(keys.ring()), ["3"], "a leaked key goes at once for a new one");
    fs::remove_dir_all(dir.path()).expect("removed");
    assert!(matches!(keys.changed().await, Err(KeysFault::Unreadable { .. })));
    assert_eq!(ids(keys.ring()), ["3"]);
}
