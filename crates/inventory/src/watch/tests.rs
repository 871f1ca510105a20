use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

/// A file `file` with the text `one`, which has been read.
fn watched() -> (TempDir, FileWatch) {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("file"), "one").expect("a file");
    let mut watch = FileWatch::new(dir.path().join("file"));
    assert_eq!(watch.read().expect("a text"), "one");
    (dir, watch)
}

async fn changed(watch: &mut FileWatch) -> io::Result<String> {
    tokio::time::timeout(Duration::from_secs(20), watch.changed()).await.expect("a change in time")
}

/// Whether nothing is reported while the file is polled several times.
async fn is_quiet(watch: &mut FileWatch) -> bool {
    tokio::time::timeout(5 * POLL_INTERVAL, watch.changed()).await.is_err()
}

#[tokio::test]
async fn file_written_in_place_is_seen() {
    let (dir, mut watch) = watched();
    fs::write(dir.path().join("file"), "two, and longer").expect("a write");
    assert_eq!(changed(&mut watch).await.expect("a text"), "two, and longer");
}

#[tokio::test]
async fn file_renamed_over_it_is_seen_each_time() {
    let (dir, mut watch) = watched();
    for text in ["two", "six", "ten"] {
        fs::write(dir.path().join("new"), text).expect("a write");
        fs::rename(dir.path().join("new"), dir.path().join("file")).expect("a rename");
        assert_eq!(changed(&mut watch).await.expect("a text"), text);
    }
}

/// What kubelet does: `file` leads through `..data` into a directory that is swapped as a whole.
#[tokio::test]
async fn symlink_swapped_above_it_is_seen_each_time() {
    let dir = tempfile::tempdir().expect("a directory");
    let swap = |version: &str| {
        fs::create_dir(dir.path().join(version)).expect("a directory");
        fs::write(dir.path().join(version).join("file"), version).expect("a write");
        symlink(version, dir.path().join("..data_tmp")).expect("a symlink");
        fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).expect("a rename");
    };
    swap("v1");
    symlink("..data/file", dir.path().join("file")).expect("a symlink");
    let mut watch = FileWatch::new(dir.path().join("file"));
    assert_eq!(watch.read().expect("a text"), "v1");
    for version in ["v2", "v3"] {
        swap(version);
        assert_eq!(changed(&mut watch).await.expect("a text"), version);
    }
}

#[tokio::test]
async fn change_that_leaves_the_stamp_alone_is_seen() {
    let (dir, mut watch) = watched();
    let path = dir.path().join("file");
    let modified = fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("a time");
    fs::write(&path, "two").expect("a write");
    File::options().write(true).open(&path).and_then(|file| file.set_modified(modified)).expect("a time set");
    assert_eq!(changed(&mut watch).await.expect("a text"), "two");
}

#[tokio::test]
async fn file_that_disappears_is_reported_once_and_again_when_it_is_back() {
    let (dir, mut watch) = watched();
    let path = dir.path().join("file");
    for _ in 0..2 {
        fs::remove_file(&path).expect("a removal");
        let error = changed(&mut watch).await.expect_err("a missing file");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("/file: "), "{error}");
        assert!(is_quiet(&mut watch).await);
        fs::write(&path, "one").expect("a write");
        assert_eq!(changed(&mut watch).await.expect("a text"), "one");
    }
}

#[tokio::test]
async fn file_that_was_missing_at_first_is_reported_when_it_comes() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut watch = FileWatch::new(dir.path().join("file"));
    assert_eq!(watch.read().expect_err("a missing file").kind(), io::ErrorKind::NotFound);
    assert!(is_quiet(&mut watch).await, "it was reported by read");
    fs::write(dir.path().join("file"), "one").expect("a write");
    assert_eq!(changed(&mut watch).await.expect("a text"), "one");
}

#[tokio::test]
async fn same_text_written_again_is_no_change() {
    let (dir, mut watch) = watched();
    fs::write(dir.path().join("new"), "one").expect("a write");
    fs::rename(dir.path().join("new"), dir.path().join("file")).expect("a rename");
    assert!(is_quiet(&mut watch).await);
}

#[tokio::test]
async fn wait_that_is_dropped_and_begun_again_still_sees_the_change() {
    let (dir, mut watch) = watched();
    fs::write(dir.path().join("file"), "two").expect("a write");
    let text = async {
        loop {
            if let Ok(text) = tokio::time::timeout(POLL_INTERVAL / 4, watch.changed()).await {
                break text;
            }
        }
    };
    let text = tokio::time::timeout(Duration::from_secs(20), text).await.expect("a change in time");
    assert_eq!(text.expect("a text"), "two");
}

#[test]
fn file_that_is_still_written_is_not_read() {
    let (dir, watch) = watched();
    let path = dir.path().join("file");
    let settled = watch.polled;
    fs::write(&path, "half").expect("a write");
    let Ok(Poll::Unsettled(half)) = poll(&path, settled, watch.read) else {
        panic!("read at the first sight")
    };
    fs::write(&path, "half and half").expect("a write");
    let Ok(Poll::Unsettled(whole)) = poll(&path, Some(half), watch.read) else {
        panic!("read while written")
    };
    assert!(matches!(poll(&path, Some(whole), watch.read), Ok(Poll::Read(..))));
}

#[test]
fn old_file_is_not_read_again() {
    let (dir, mut watch) = watched();
    let path = dir.path().join("file");
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(&path).and_then(|file| file.set_modified(long_ago)).expect("a time set");
    watch.read().expect("a text");
    assert!(matches!(poll(&path, watch.polled, watch.read), Ok(Poll::Same)));
}

#[test]
fn what_is_no_text_file_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str| dir.path().join(name);
    fs::write(file("bytes"), [0xff, 0xfe]).expect("a write");
    File::create(file("most")).and_then(|file| file.set_len(FileWatch::MAX_BYTES)).expect("a sparse file");
    File::create(file("more"))
        .and_then(|file| file.set_len(FileWatch::MAX_BYTES + 1))
        .expect("a sparse file");
    for (name, kind) in [
        ("bytes", Some(io::ErrorKind::InvalidData)),
        ("more", Some(io::ErrorKind::FileTooLarge)),
        (".", Some(io::ErrorKind::InvalidInput)),
        ("most", None),
    ] {
        let outcome = FileWatch::new(file(name)).read();
        assert_eq!(outcome.as_ref().err().map(io::Error::kind), kind, "{name}");
    }
}
