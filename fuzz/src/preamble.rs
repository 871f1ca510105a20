//! Target: the first bytes of a TCP stream, split at every point.

use udp_director_wire::{Preamble, parse_preamble};

use super::script::Script;

/// More of a stream than any preamble takes.
const LONGEST: usize = 128;

/// The script names magic bytes and token form; what is left of it is the stream, once as it is and
/// once behind the magic bytes.
pub fn preamble(input: &[u8]) {
    let mut script = Script::new(input);
    let form = script.token_form();
    let magic = script.magic();
    let tail = script.rest();
    for stream in [tail, &[magic.as_bytes(), tail].concat()] {
        let stream = &stream[..stream.len().min(LONGEST)];
        let whole = parse_preamble(stream, &magic, form);
        check_length(stream, whole);
        let found = (0..=stream.len()).map(|length| parse_preamble(&stream[..length], &magic, form));
        let decided: Vec<_> = found.skip_while(|found| *found == Preamble::Incomplete).collect();
        assert!(decided.iter().all(|found| *found == whole), "what is decided stays, whatever follows");
    }
}

fn check_length(stream: &[u8], found: Preamble) {
    let Preamble::Token { token, len } = found else { return };
    assert!(stream[..len].ends_with(token.as_bytes()), "the preamble ends with its token");
}
