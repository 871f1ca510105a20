//! No token and no key is in a log, a metric or on an admin page, whatever is done with it.

mod rig;

use std::fs;
use std::io;
use std::sync::{Arc, Mutex};

use rig::{Rig, eventually, game_server, receive};
use tracing_subscriber::fmt::MakeWriter;

/// All that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("nobody panicked")).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

/// The one test of this file: the log is the process's.
#[test]
fn tokens_and_keys_are_never_logged_or_shown() {
    let log = Log::default();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).init();
    let keys = tempfile::tempdir().expect("a folder");
    let key = "0123456789abcdef".repeat(4);
    fs::write(keys.path().join("k"), &key).expect("written");
    let (random, sealed) = ("".to_owned(), format!("tokens: {{keys: {{dir: {}}}}}\n", keys.path().display()));
    let mut shown = String::new();
    let mut tokens = vec![key];
    for more in [random, sealed] {
        let echo = rig::TwinServer::start();
        let rig = Rig::start(&rig::config(&more), &[game_server("alpha", echo.port())]);
        tokens.extend(play(&rig));
        if !more.is_empty() {
            fs::write(keys.path().join("l"), "fedcba98".repeat(3)).expect("written");
            eventually("a key is refused", || rig.metric("udp_director_token_key_rejections_total") == 1.0);
        }
        for page in ["/metrics", "/readyz?verbose", "/v1/sessions", "/v1/backends", "/v1/config"] {
            shown += &rig.admin(page);
        }
    }
    let log = log.text();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "much is logged");
    tokens.push("fedcba98fedc".to_owned());
    for token in tokens {
        assert!(!log.contains(&token) && !shown.contains(&token), "it shows");
    }
}

/// Does with tokens all that can be done, right and wrong. Gives those it has used.
fn play(rig: &Rig) -> Vec<String> {
    let (first, second, unknown) =
        (rig.token("alpha"), rig.token("alpha"), "unknown-".repeat(5)[..36].to_owned());
    let player = rig.udp_client("udp");
    player.send(first.as_bytes()).expect("sent");
    player.send(b"hello").expect("sent");
    assert_eq!(receive(&player), b"hello");
    let control = |token: &str| [b"\xff\xff\xff\xffRESET", token.as_bytes()].concat();
    player.send(&control(&second)).expect("sent");
    player.send(&control(&unknown)).expect("sent");
    rig.udp_client("udp").send(first.as_bytes()).expect("sent");
    rig.udp_client("udp").send(&control(&unknown)).expect("sent");
    eventually("all is seen", || rig.metric("udp_director_drops_total") >= 3.0);
    for token in [&first, &second, &unknown] {
        rig.tcp_exchange("tcp", &[token.as_bytes()]);
        for document in [
            format!(r#"{{"type": "sessionReset", "session": "{first}", "token": "{token}"}}"#),
            format!(r#"{{"type": "sessionReset", "session": "{second}", "token": "{token}"}}"#),
            format!(r#"{{"type": "{token}", "{token}": 1}}"#),
            format!(r#"{{"resourceType": "gs", "avoid": ["{token}"], "{token}": "{token}"}}"#),
            format!(r#"{{"resourceType": "gs", "avoid": "{token}"}}"#),
            format!(r#"{{"resourceType": "gs", "stickyKey": "{token}""#),
        ] {
            rig.query(&document);
        }
    }
    vec![first, second, unknown]
}
