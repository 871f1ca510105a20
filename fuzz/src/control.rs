//! Target: control packets and acknowledgements, with any magic bytes.

use udp_director_wire::{Ack, AckStatus, ControlPacket, Magic};

use super::script::Script;

/// The script names the magic bytes; what is left of it is a datagram, once as it is and once behind
/// the magic bytes.
pub fn control(input: &[u8]) {
    let mut script = Script::new(input);
    let magic = script.magic();
    assert_eq!(magic.to_string().parse(), Ok(magic), "the text form gives the magic back");
    let tail = script.rest();
    for datagram in [tail, &[magic.as_bytes(), tail].concat()] {
        if let Some(packet) = magic.parse_control(datagram) {
            check_packet(&magic, datagram, &packet);
        }
        if let Some(ack) = magic.parse_ack(datagram) {
            assert_eq!(magic.encode_ack(&ack), datagram, "an ack is read as it is written");
        }
    }
}

fn check_packet(magic: &Magic, datagram: &[u8], packet: &ControlPacket) {
    let written = magic.encode_control(packet);
    let newline = if packet.ack.is_none() && datagram.len() > written.len() { &b"\n"[..] } else { b"" };
    assert_eq!([&written, newline].concat(), datagram, "a packet is read as it is written");
    assert_eq!(magic.parse_ack(datagram), None, "no packet is an ack too");
    let Some(request) = packet.ack else { return };
    let ack = Ack { request, status: AckStatus::Done };
    let answer = magic.encode_ack(&ack);
    assert!(answer.len() < datagram.len(), "an ack is shorter than what asked for it");
    assert_eq!(magic.parse_ack(&answer), Some(ack), "who asked can read the ack");
    assert_eq!(magic.parse_control(&answer), None, "no ack is a packet too");
}
