//! Changes: which sessions, tokens and sticky keys are not as the journal last saw them.

use udp_director_wire::Token;

use super::memory::StickyKey;
use crate::session::SessionId;

/// What has changed since it was last asked for. It names things, and does not say how they are now:
/// whoever follows asks the ledger for each, and so a thing that has changed often costs it one look.
#[derive(Debug, Default)]
pub struct Changes {
    /// Sessions that have begun, moved or ended; some more than once.
    pub sessions: Vec<SessionId>,
    /// Tokens that have been given out, used or forgotten; some more than once.
    pub tokens: Vec<Token>,
    /// Sticky keys that are remembered though nobody has a seat by them, or are so no longer.
    pub sticky_keys: Vec<StickyKey>,
    /// More has changed than there was room for: nothing but a look at everything tells what.
    pub incomplete: bool,
}

impl Changes {
    /// How many changes of each kind are kept at most: some seconds of a busy director.
    pub const MOST: usize = 1 << 17;

    pub(super) fn session(&mut self, id: SessionId) {
        note(&mut self.sessions, id, &mut self.incomplete);
    }

    pub(super) fn token(&mut self, token: Token) {
        note(&mut self.tokens, token, &mut self.incomplete);
    }

    pub(super) fn sticky_key(&mut self, key: &StickyKey) {
        note(&mut self.sticky_keys, key.clone(), &mut self.incomplete);
    }
}

fn note<T>(kept: &mut Vec<T>, changed: T, incomplete: &mut bool) {
    if kept.len() < Changes::MOST {
        kept.push(changed);
    } else {
        *incomplete = true;
    }
}
