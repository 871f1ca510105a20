//! Sealed tokens that this ledger has not given out: another replica has, or this one before it was
//! started anew.

use std::sync::Arc;
use std::time::SystemTime;

use smallvec::SmallVec;
use udp_director_wire::Token;

use super::Ledger;
use super::tokens::Grant;
use crate::refusal::Refusal;
use crate::seal::Unsealed;
use crate::seat::Seat;
use crate::time::Moment;

impl Ledger {
    /// Takes note of what the wall clock says, by which replicas agree on when a token expires. Until
    /// this is told it is 1970, and no token of another replica is good.
    pub fn tell_time(&mut self, wall: SystemTime, now: Moment) {
        self.epoch = wall.checked_sub(now - Moment::default()).unwrap_or(SystemTime::UNIX_EPOCH);
    }

    /// What the wall clock says, as far as it was told.
    pub fn wall(&self, now: Moment) -> SystemTime {
        self.epoch + (now - Moment::default())
    }

    /// Enters a token that has been opened, with a seat on its backend, as if it had been given out
    /// here. Nothing is known of what was asked for: its player goes nowhere else when the backend
    /// leaves. Of one that is bound to no IP it is not known who asked, so it moves no session at all.
    ///
    /// It is known until it expires, so that it is redeemed once a listener, as all are. At the bound of
    /// tokens it is refused: one that is forgotten could be redeemed once more.
    ///
    /// # Errors
    /// It is expired, its backend is gone or full, or the bound of tokens is reached.
    pub(crate) fn take_up(
        &mut self,
        token: Token,
        opened: &Unsealed<'_>,
        now: Moment,
    ) -> Result<(), Refusal> {
        self.recognise(&token);
        if self.grants.contains_key(&token) {
            return Ok(());
        }
        let left = opened.contents.expires.duration_since(self.wall(now)).unwrap_or_default();
        if left.is_zero() {
            return Err(Refusal::ExpiredToken);
        }
        let backend = self.inventory.by_handle(opened.contents.backend).ok_or(Refusal::BackendGone)?;
        let backend = Arc::clone(backend);
        if !backend.spec.accepting() {
            return Err(Refusal::BackendGone);
        }
        self.make_room(now).map_err(|_| Refusal::TokenLimit)?;
        let seat = Seat::take(&backend).ok_or(Refusal::BackendFull)?;
        let awaited = opened.bound_to.map_or_else(SmallVec::new, |_| self.listeners_of(&backend));
        let grant = Grant {
            backend,
            seat: Some(Arc::new(seat)),
            asked_by: opened.bound_to,
            bound: opened.bound_to.is_some(),
            wanted: None,
            sticky_key: None,
            expires: now + left,
            uses: SmallVec::new(),
            awaited,
        };
        self.enter(token, grant);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
