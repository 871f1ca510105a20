//! What the kernel tells of a process: memory, descriptors, threads, and datagrams that its sockets
//! had no room for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::time::Duration;

/// What a process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Resident memory, in KiB.
    pub(crate) rss_kib: u64,
    /// Open descriptors.
    pub(crate) descriptors: u64,
    /// Threads.
    pub(crate) threads: u64,
    /// Processor time since it began, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Datagrams that found the receive buffers of its open UDP sockets full.
    pub(crate) overflown: u64,
}

/// What that process uses now.
///
/// # Errors
/// When it is gone, or the kernel tells otherwise than expected.
pub(crate) fn usage(pid: u32) -> io::Result<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let descriptors = descriptors(pid)?;
    let inodes: BTreeSet<u64> = descriptors.iter().filter_map(|link| socket_inode(link)).collect();
    let sockets = fs::read_to_string("/proc/net/udp")?;
    Ok(Usage {
        rss_kib: status_field(&status, "VmRSS:").ok_or_else(|| unread("VmRSS"))?,
        descriptors: descriptors.len() as u64,
        threads: status_field(&status, "Threads:").ok_or_else(|| unread("Threads"))?,
        cpu_seconds: cpu_ticks(&stat).ok_or_else(|| unread("stat"))? as f64 / TICKS_PER_SECOND,
        overflown: overflown(&sockets, &inodes),
    })
}

/// For how long each thread of that process has waited for a processor since it began, by its id. A
/// wait counts when it is over.
///
/// # Errors
/// When the process is gone.
pub(crate) fn waits(pid: u32) -> io::Result<BTreeMap<u64, Duration>> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))?;
    // A thread that ends between the listing and the reading waits for nothing.
    let wait = |thread: io::Result<fs::DirEntry>| {
        let thread = thread.ok()?;
        let schedstat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let nanos = schedstat.split_whitespace().nth(1)?.parse().ok()?;
        Some((thread.file_name().to_str()?.parse().ok()?, Duration::from_nanos(nanos)))
    };
    Ok(threads.filter_map(wait).collect())
}

/// What each descriptor is open on.
fn descriptors(pid: u32) -> io::Result<Vec<String>> {
    let links = fs::read_dir(format!("/proc/{pid}/fd"))?;
    // One that closes between the listing and the reading is not open.
    let open = |link: io::Result<fs::DirEntry>| fs::read_link(link.ok()?.path()).ok();
    Ok(links.filter_map(open).map(|target| target.to_string_lossy().into_owned()).collect())
}

fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn status_field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// User and system time: fields 14 and 15, counted behind the name, which may hold blanks.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_whitespace().skip(11).map_while(|field| field.parse::<u64>().ok());
    Some(fields.next()? + fields.next()?)
}

/// The sum of the last column of `/proc/net/udp` over the sockets with these inodes (the tenth).
fn overflown(sockets: &str, inodes: &BTreeSet<u64>) -> u64 {
    let dropped = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let inode: u64 = fields.get(9)?.parse().ok()?;
        let drops: u64 = fields.last()?.parse().ok()?;
        inodes.contains(&inode).then_some(drops)
    };
    sockets.lines().skip(1).filter_map(dropped).sum()
}

fn unread(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the kernel tells no {what}"))
}

/// `USER_HZ`, the same on every Linux that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let usage = usage(std::process::id()).expect("it runs");
        assert!(usage.rss_kib > 100 && usage.descriptors >= 3 && usage.threads >= 1, "{usage:?}");
    }

    #[test]
    fn every_thread_of_this_process_has_a_wait() {
        let waits = waits(std::process::id()).expect("it runs");
        assert!(waits.contains_key(&u64::from(std::process::id())), "{waits:?}");
    }

    #[test]
    fn only_the_own_sockets_drops_count() {
        let sockets = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  100: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 5
  101: 0100007F:1F91 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 7
";
        assert_eq!(overflown(sockets, &[4711].into()), 5);
    }

    #[test]
    fn cpu_time_is_found_behind_a_name_with_blanks() {
        let stat = "7 (a (b) c) S 1 1 1 0 -1 4194560 1 0 0 0 30 12 0 0 20 0 1 0 9 1 1";
        assert_eq!(cpu_ticks(stat), Some(42));
    }
}
