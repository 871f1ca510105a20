//! Journals of other versions.

use std::net::{IpAddr, SocketAddr};

use udp_director_core::Moment;

use super::store::{FORMAT, Row, Rows, Store};
use super::*;

const BACKEND: &str = r#"{"id":"gs/a","resourceType":"gs","namespace":"games","name":"a",
    "address":"10.0.0.1","ports":7000,"labels":{}}"#;

/// A session on a backend of that number, as a version writes it that knows one thing more.
fn session(backend: u64) -> Vec<u8> {
    let addr = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let local = IpAddr::from([198, 51, 100, 1]);
    let client = (7777_u16, addr("192.0.2.1:5000"), local);
    let upstream = (backend, addr("10.0.0.1:7000"), 0_u16, 40_000_u16);
    let rest = (None::<u64>, 0_u32, false, "known later");
    postcard::to_stdvec(&(client, upstream, rest)).expect("bytes")
}

fn journal(format: u64, sessions: &[Vec<u8>]) -> (tempfile::TempDir, Journal) {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = Journal::take(dir.path(), Arc::default());
    let store = Store::create(&journal.files.current()).expect("a store");
    let row = |(number, bytes): (usize, &Vec<u8>)| Row(number as u64, Some(bytes.clone()));
    let sessions = sessions.iter().enumerate().map(row).collect();
    let backends = vec![Row(1, Some(BACKEND.as_bytes().to_vec()))];
    store.write(&Rows { format, sessions, backends, ..Rows::default() }).expect("written");
    drop(store);
    (dir, journal)
}

fn sessions(left: Left) -> usize {
    let inventory = left.inventory();
    left.records(&inventory, Moment::default(), &mut |_| None).sessions.len()
}

#[test]
fn journal_of_a_newer_version_is_read_as_far_as_it_goes_and_kept() {
    let (dir, journal) = journal(FORMAT + 1, &[session(1), b"whatever".to_vec()]);
    let left = journal.read();
    assert_eq!((left.unreadable, left.is_newer), (1, true));
    assert_eq!(sessions(left), 1);
    assert!(dir.path().join("sessions.unreadable-1").exists() && !journal.files.current().exists());
}

#[test]
fn journal_that_is_read_as_a_whole_stays_where_it_is() {
    let (dir, journal) = journal(FORMAT, &[session(1)]);
    assert_eq!(sessions(journal.read()), 1);
    assert!(!dir.path().join("sessions.unreadable-1").exists() && journal.files.current().exists());
}

#[test]
fn session_of_an_unknown_backend_is_counted_as_unreadable() {
    let (_dir, journal) = journal(FORMAT, &[session(2)]);
    let left = journal.read();
    let inventory = left.inventory();
    let records = left.records(&inventory, Moment::default(), &mut |_| None);
    assert_eq!((records.sessions.len(), records.unreadable), (0, 1));
}

#[test]
fn each_unreadable_journal_is_set_aside_under_a_name_of_its_own() {
    let (dir, journal) = journal(FORMAT, &[]);
    for number in 1..=2 {
        fs::write(journal.files.current(), "no journal").expect("written");
        assert_eq!(journal.read().unreadable, 1);
        assert!(dir.path().join(format!("sessions.unreadable-{number}")).exists());
    }
}
