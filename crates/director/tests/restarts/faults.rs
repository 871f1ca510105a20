//! Journals that cannot be read or written: the process starts and serves all the same.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::crowd::{Account, Crowd, Server};
use crate::rig::{eventually, receive};
use crate::stage::Stage;
use crate::{ROUND, figures};

/// A stage whose journal has one session, after `kill -9`.
fn killed(server: &Server) -> (Stage, std::net::UdpSocket, PathBuf) {
    let mut stage = Stage::new("", server.port);
    stage.start();
    let player = stage.player("alpha");
    stage.settle();
    stage.kill();
    let journal = stage.path("journal/sessions.redb");
    (stage, player, journal)
}

/// It starts, says so, serves newcomers, and has kept what it could not read.
fn starts_anew(stage: &mut Stage, kept: bool) {
    stage.start();
    let newcomer = stage.player("alpha");
    newcomer.send(&[0; 8]).expect("sent");
    assert_eq!(receive(&newcomer), [0; 8]);
    assert_eq!(stage.path("journal/sessions.unreadable-1").exists(), kept);
    stage.settle();
    stage.kill();
    stage.start();
    assert!(stage.restored("restored") >= 1.0, "the journal is good again: {}", stage.log());
}

#[test]
fn journal_that_is_none_is_set_aside() {
    let server = Server::start();
    for bytes in [&b"no journal"[..], &[0; 1 << 16], &[]] {
        let (mut stage, _player, journal) = killed(&server);
        fs::write(&journal, bytes).expect("written");
        starts_anew(&mut stage, !bytes.is_empty());
    }
}

#[test]
fn half_written_journal_is_read_or_set_aside() {
    let server = Server::start();
    let (stage, _player, journal) = killed(&server);
    let whole = fs::read(&journal).expect("a journal");
    drop(stage);
    for part in [1, 100, 4096, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
        let mut stage = Stage::new("", server.port);
        fs::create_dir(stage.path("journal")).expect("a folder");
        fs::write(stage.path("journal/sessions.redb"), &whole[..part]).expect("written");
        stage.start();
        let newcomer = stage.player("alpha");
        newcomer.send(&[0; 8]).expect("sent");
        assert_eq!(receive(&newcomer), [0; 8]);
    }
}

#[test]
fn journal_with_damage_anywhere_does_not_keep_a_director_from_serving() {
    let server = Server::start();
    let (mut stage, _player, journal) = killed(&server);
    let whole = fs::read(&journal).expect("a journal");
    for place in (0..whole.len() as u64).step_by(whole.len() / 8) {
        fs::write(&journal, &whole).expect("written");
        let file = fs::OpenOptions::new().write(true).open(&journal).expect("a journal");
        file.write_all_at(&[0xa5; 512], place).expect("written");
        stage.start();
        let newcomer = stage.player("alpha");
        newcomer.send(&[0; 8]).expect("sent");
        assert_eq!(receive(&newcomer), [0; 8]);
        stage.kill();
    }
}

#[test]
fn journal_that_another_process_has_is_left_to_it() {
    let server = Server::start();
    let (mut stage, _player, journal) = killed(&server);
    let before = fs::read(&journal).expect("a journal");
    let lock = fs::File::create(stage.path("journal/lock")).expect("a lock");
    lock.lock().expect("it is free");
    stage.start();
    assert_eq!(stage.metric_where("udp_director_journal_failing", ""), 1.0);
    assert_eq!(fs::read(&journal).expect("a journal"), before);
}

#[test]
fn journal_on_a_disk_that_cannot_be_written_is_restored() {
    let server = Server::start();
    let (stage, player, _) = killed(&server);
    let read_only = "mount --bind journal journal && mount -o remount,ro,bind journal && exec \"$@\"";
    let mut stage = stage.within(read_only);
    stage.start();
    assert_eq!(stage.restored("restored"), 1.0, "{}", stage.log());
    assert_eq!(stage.metric_where("udp_director_journal_failing", ""), 1.0);
    assert!(stage.log().contains("the journal cannot be written"));
    player.send(&[0; 8]).expect("sent");
    assert_eq!(receive(&player), [0; 8]);
}

#[test]
fn full_disk_stops_the_journal_and_no_player() {
    full_disk(6);
}

#[test]
#[ignore = "long: make test-restarts"]
fn full_disk_stops_the_journal_and_none_of_many_players() {
    full_disk(60);
}

fn full_disk(players: usize) {
    let server = Server::start();
    let small = "mkdir -p journal && mount -t tmpfs -o size=8m none journal && exec \"$@\"";
    let mut stage = Stage::new("", server.port).within(small);
    stage.start();
    let crowd = Crowd::start();
    (0..players).for_each(|_| crowd.join(stage.player("alpha")));
    stage.settle();
    let within = stage.process_path("journal/filler");
    let filled = fs::write(&within, vec![1; 16 << 20]).expect_err("the disk is full");
    assert_eq!(filled.kind(), std::io::ErrorKind::StorageFull);
    let full = Instant::now();
    // Each newcomer is something to be written.
    eventually("the journal fails", || {
        crowd.join(stage.player("alpha"));
        stage.metric_where("udp_director_journal_failing", "") == 1.0
    });
    std::thread::sleep(ROUND);
    assert_eq!(stage.log().matches("the journal cannot be written").count(), 1);
    fs::remove_file(&within).expect("removed");
    eventually("it is written again", || stage.metric_where("udp_director_journal_failing", "") == 0.0);
    let accounts = crowd.stop();
    let lost: usize = accounts.iter().map(Account::lost).sum();
    let gap = accounts.iter().map(Account::longest_gap).max().unwrap_or_default();
    let played = full.elapsed();
    let overrun = stage.metric_where("udp_director_drops_total", r#"reason="receive_buffer_full""#);
    figures(
        "disk full",
        &accounts,
        &format!("played on for {played:?}, longest gap {gap:?}, receive buffer full {overrun}"),
    );
    assert_eq!((lost, server.new_peers()), (0, 0));
    assert!(gap < Duration::from_secs(1), "{gap:?}");
}
