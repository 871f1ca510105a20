//! Tokens and control packets as a worker meets them: what they lead to here.

use udp_director_wire::{Ack, AckRequest, AckStatus, ControlPacket, Token};

use super::clients::ClientKey;
use super::message::Effect;
use super::sessions::{Locked, Move};
use super::{Arrival, Context, Forwarder, Verdict, next_random};
use crate::counters::{Dropped, Event};
use crate::ledger::{Admission, OpenedBy, Presented};
use crate::refusal::Refusal;
use crate::session::SessionId;
use crate::time::Moment;

/// How many messages to other workers may wait before control packets are refused.
const EFFECT_BOUND: usize = 1024;

impl Forwarder {
    /// Acts on a control packet, and acknowledges it where it asks for that.
    #[cold]
    pub(super) fn control_packet(
        &mut self,
        arrival: &Arrival,
        packet: &ControlPacket,
        cx: &mut Context<'_>,
    ) -> Verdict {
        let outcome = self.obey(arrival, packet, cx);
        if let Some(request) = packet.ack {
            let status = outcome.err().map_or(AckStatus::Done, Refusal::ack_status);
            let bytes = self.settings.magic.encode_ack(&Ack { request, status });
            self.effects.push_back(Effect::ToClient { to: arrival.into(), bytes });
        }
        match outcome {
            Ok(()) => Verdict::Consumed,
            Err(refusal) => Verdict::Drop(Dropped::Refused(refusal)),
        }
    }

    fn obey(
        &mut self,
        arrival: &Arrival,
        packet: &ControlPacket,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        if packet.ack.is_some_and(|request| request.opcode != AckRequest::SWITCH) {
            return Err(Refusal::UnknownOpcode);
        }
        if self.effects.len() >= EFFECT_BOUND {
            return Err(Refusal::WorkerBusy);
        }
        let key = ClientKey::new(arrival.listener, arrival.client);
        self.claim(key, arrival, cx);
        if cx.ledger.lock().straggles(&packet.token, arrival.listener, arrival.client, cx.now) {
            self.linger_on(key, cx.now);
            return Err(Refusal::JustLeft);
        }
        let own = self.clients.get_mut(&key).and_then(|half| half.current());
        self.present(arrival, &presented(arrival, packet.token, own, true), cx)
    }

    /// A control packet came from an address that its session had left, and now data does: it was none
    /// that had been under way, the client has come back.
    pub(super) fn come_back(&mut self, key: ClientKey, arrival: &Arrival, cx: &mut Context<'_>) {
        let Some(half) = self.clients.get_mut(&key) else { return };
        half.called_back = None;
        let session = half.session;
        let mut locked = cx.lock();
        if locked.ledger.session(session).is_some()
            && self.resume(arrival, session, None, &mut locked).is_ok()
        {
            self.counters.happened(Event::Resumed);
        }
    }

    /// Redeems a bare token of a client that has no session.
    pub(super) fn bare_token(&mut self, arrival: &Arrival, token: Token, cx: &mut Context<'_>) -> Verdict {
        match self.present(arrival, &presented(arrival, token, None, false), cx) {
            Ok(()) => Verdict::Consumed,
            Err(refusal) => Verdict::Drop(Dropped::Refused(refusal)),
        }
    }

    /// Whether a bare token within a session is for the director. The session's own is: clients repeat
    /// it. So is one that the default endpoint was faster than: a client that has been taken in
    /// without a token goes where its late token says. And so is one from an address that its session
    /// has left: that is the next client there. Any other is data like all else.
    pub(super) fn takes_token(
        &mut self,
        key: ClientKey,
        arrival: &Arrival,
        token: Token,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(half) = self.clients.get_mut(&key) else { return false };
        let (session, own) = (half.session, half.current());
        let mut ledger = cx.ledger.lock();
        if ledger.has_named(&token, session) {
            self.counters.happened(Event::Repeated);
            self.touch(own, arrival, cx.now);
            return true;
        }
        if own.is_some_and(|own| ledger.session(own).is_none_or(|session| session.token.is_some())) {
            return false;
        }
        drop(ledger);
        self.present(arrival, &presented(arrival, token, own, false), cx).is_ok()
    }

    /// Does what a presented token means; one that is not known may be one of another replica.
    fn present(
        &mut self,
        arrival: &Arrival,
        presented: &Presented,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        match self.present_known(arrival, presented, cx) {
            Err(Refusal::UnknownToken) => {
                cx.ledger.take_up(&presented.token, presented.client.ip(), cx.now)?;
                self.present_known(arrival, presented, cx)
            }
            outcome => outcome,
        }
    }

    /// Does what a token of the ledger means, and then sends on what was held for it.
    fn present_known(
        &mut self,
        arrival: &Arrival,
        presented: &Presented,
        cx: &mut Context<'_>,
    ) -> Result<(), Refusal> {
        let now = cx.now;
        self.random = next_random(self.random);
        let mut locked = cx.lock();
        let own = presented.own.filter(|id| locked.ledger.is_at(*id, presented.client));
        locked.ledger.reseat_waiting(&presented.token, presented.listener, self.random);
        let presented = Presented { own, ..*presented };
        let admission = locked.ledger.admit(&presented, now)?;
        self.follow(arrival, &presented, admission, &mut locked)
            .inspect_err(|_| locked.ledger.relinquish(&presented.token, now))?;
        drop(locked);
        self.release_held(ClientKey::new(arrival.listener, arrival.client), now);
        Ok(())
    }

    /// Does what the ledger has let through.
    fn follow(
        &mut self,
        arrival: &Arrival,
        presented: &Presented,
        admission: Admission,
        locked: &mut Locked<'_, '_>,
    ) -> Result<(), Refusal> {
        match admission {
            Admission::Repeat => {
                self.counters.happened(Event::Repeated);
                self.touch(presented.own, arrival, locked.now);
            }
            Admission::Bind(target) => {
                self.open(arrival, target.addr, OpenedBy::Token(presented.token), locked)?;
                self.counters.happened(Event::OpenedByToken);
            }
            Admission::Migrate(session, target) => {
                let key = ClientKey::new(arrival.listener, arrival.client);
                let to = Move { session, by: presented.token.into(), addr: target.addr };
                self.migrate(key, &to, locked)?;
                self.counters.happened(Event::MigratedByClient);
            }
            Admission::Resume(id) => {
                self.resume(arrival, id, presented.own, locked)?;
                self.counters.happened(Event::Resumed);
            }
        }
        Ok(())
    }

    /// A repeated token, bare or in a control packet, is what a client keeps a session alive with.
    fn touch(&mut self, own: Option<SessionId>, arrival: &Arrival, now: Moment) {
        let key = ClientKey::new(arrival.listener, arrival.client);
        self.meet_at(key, arrival.local);
        if let Some(half) = self.clients.get_mut(&key)
            && Some(half.session) == own
        {
            half.activity.to_backend().touch(now);
        }
    }
}

fn presented(arrival: &Arrival, token: Token, own: Option<SessionId>, control: bool) -> Presented {
    Presented { token, listener: arrival.listener, client: arrival.client, own, control }
}
