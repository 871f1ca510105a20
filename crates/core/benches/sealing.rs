//! What it costs to seal a token and to open one: `cargo bench -p udp-director-core --bench sealing`.
//!
//! Medians of 15 runs, in nanoseconds a token, on one thread. Opening what no key opens is what a
//! stranger's 36 characters cost, half of it where all tokens are bound; what an older key opens costs what the keys before it do.

mod timing;

use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use udp_director_core::{Contents, Handle, Key, KeyRing, Nonces, Seal};
use udp_director_wire::Token;

fn main() {
    let now = SystemTime::now();
    let client = IpAddr::from([192, 0, 2, 1]);
    let nonces = Nonces::new(7);
    let contents = || Contents {
        expires: now + Duration::from_secs(30),
        backend: Handle::of("gameserver/6e1c7a8e-0000-4000-8000-000000000001"),
        nonce: nonces.draw(),
    };
    println!("ns a token");
    for keys in [1, 2, 8] {
        let (seal, strict) = (seal(keys, false), seal(keys, true));
        let (bound, unbound) = (seal.seal(&contents(), Some(client)), seal.seal(&contents(), None));
        let stranger = Token::from_bytes(&[b'x'; 36]).expect("36 visible characters");
        row(keys, "seal", || {
            black_box(seal.seal(&contents(), Some(client)));
        });
        for (what, token, opens) in
            [("open, bound", bound, true), ("open, unbound", unbound, true), ("refuse", stranger, false)]
        {
            assert_eq!(seal.open(&token, Some(client), now).is_some(), opens);
            row(keys, what, || {
                black_box(seal.open(&token, Some(client), now));
            });
        }
        row(keys, "refuse, strict", || {
            black_box(strict.open(&stranger, Some(client), now));
        });
    }
}

fn seal(keys: usize, only_bound: bool) -> Seal {
    let key = |number: usize| Key::parse(&number.to_string(), format!("{number:064x}").as_bytes());
    let keys: Vec<Key> = (0..keys).map(|number| key(number).expect("a key")).collect();
    Seal::new(KeyRing::new("0", keys).expect("a ring"), "games-1", only_bound)
}

fn row(keys: usize, what: &str, work: impl FnMut()) {
    println!("{keys} keys, {what:<15}{:>8.0}", timing::median(work));
}
