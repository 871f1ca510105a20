//! What a reload can change.

use super::*;
use crate::config::restart_needed;

#[test]
fn every_other_key_is_taken_over_live() {
    let changed = "\
tokenTTLSeconds: 5
sessionTimeoutSeconds: 5
controlPacketMagicBytes: '00112233'
migrationGraceMs: 5
tokenGraceMs: 5
tokens: {bindClientIp: false}
allowedTargetCidrs: [10.0.0.0/8]
loadBalancing: {type: first}
exposeBackend: true
limits: {maxSessions: 5}
";
    let (running, wanted) = (config(LEAST), config(&format!("{}{changed}", LEAST.replace("7777", "7778"))));
    assert_ne!(running, wanted);
    assert_eq!(restart_needed(&running, &wanted), []);
}

#[test]
fn key_that_needs_a_restart_is_named_with_both_values() {
    for (written, text) in [
        ("workers: 2", "workers is auto and becomes 2 only by a restart"),
        ("queryPort: 1", "queryPort is 9000 and becomes 1 only by a restart"),
        ("adminPort: 1", "adminPort is 9090 and becomes 1 only by a restart"),
        ("bindAddress: 0.0.0.0", "bindAddress is :: and becomes 0.0.0.0 only by a restart"),
    ] {
        let restarts = restart_needed(&config(LEAST), &config(&format!("{LEAST}{written}")));
        assert_eq!(restarts.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
    }
    let moved = config(&LEAST.replace("objects.yaml", "other.yaml"));
    let [restart] = &restart_needed(&config(LEAST), &moved)[..] else { panic!("one key") };
    assert_eq!((restart.key, &*restart.wanted), ("inventory", "dir/other.yaml"));
}
