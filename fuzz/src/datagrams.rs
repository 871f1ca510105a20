//! Target: datagrams through the forwarders of a whole director, as a game that the bytes play.

mod cast;
mod checks;
mod director;
mod sockets;

use std::time::Duration;

use udp_director_core::{Arrival, BackendAddr};
use udp_director_wire::{AckRequest, ControlPacket, Token};

use super::script::Script;
use director::Director;

/// The bytes are a script: the first say how the director is configured, the others what happens in
/// turn. At the end everybody leaves, and nothing may be left of anybody.
pub fn datagrams(input: &[u8]) {
    let mut script = Script::new(input);
    let mut director = Director::new(&mut script);
    for _ in 0..MOST_STEPS {
        if script.is_over() {
            break;
        }
        step(&mut director, &mut script);
    }
    director.run_out();
}

fn step(director: &mut Director, script: &mut Script<'_>) {
    match script.byte() % 12 {
        0 => {
            let arrival = arrival(script);
            director.datagram(arrival, script.piece());
        }
        1 => {
            let (arrival, token) = (arrival(script), token(director, script));
            let newline = [&b""[..], b"\n"][script.below(2)];
            director.datagram(arrival, &[token.as_bytes(), newline].concat());
        }
        2 => {
            let (arrival, token) = (arrival(script), token(director, script));
            control(director, arrival, &ControlPacket { token, ack: None });
        }
        3 => {
            let (arrival, token) = (arrival(script), token(director, script));
            let opcode = if script.below(8) == 0 { script.byte() } else { AckRequest::SWITCH };
            let ack = Some(AckRequest { opcode, nonce: [script.byte(); 8] });
            control(director, arrival, &ControlPacket { token, ack });
        }
        4 => director.issue(cast::client(script).ip(), script.byte(), script.below(2) == 0),
        5 => {
            let number = script.below(16);
            director.reply(number, source(script), script.below(256));
        }
        6 => director.pass(SPANS[script.below(SPANS.len())]),
        7 => director.publish(script.byte()),
        8 => director.configure(script.byte()),
        9 => {
            let number = script.byte();
            director.reset(number, token(director, script));
        }
        10 => director.deliver_one(script.below(director::WORKERS)),
        _ => director.deliver_all(),
    }
}

fn control(director: &mut Director, arrival: Arrival, packet: &ControlPacket) {
    let datagram = director.magic().encode_control(packet);
    director.datagram(arrival, &datagram);
}

fn arrival(script: &mut Script<'_>) -> Arrival {
    let places = script.byte();
    Arrival {
        listener: cast::listener(places),
        local: cast::LOCALS[usize::from(places >> 7)],
        client: cast::client(script),
    }
}

/// A token that was given out, or now and then one that never was.
fn token(director: &Director, script: &mut Script<'_>) -> Token {
    let number = script.below(16);
    director.token(number).unwrap_or_else(|| cast::token(1000 + number))
}

fn source(script: &mut Script<'_>) -> BackendAddr {
    let addresses = cast::addresses();
    let number = script.below(addresses.len() + 1);
    addresses.get(number).copied().unwrap_or_else(|| BackendAddr::new(([10, 9, 9, 9], 9).into()))
}

const MOST_STEPS: usize = 512;

const SPANS: [Duration; 8] = [
    Duration::ZERO,
    Duration::from_millis(1),
    Duration::from_millis(100),
    Duration::from_millis(251),
    Duration::from_secs(1),
    Duration::from_secs(6),
    Duration::from_secs(31),
    Duration::from_secs(301),
];
