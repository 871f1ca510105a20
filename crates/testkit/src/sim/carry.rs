//! Time, and what happens in it: carries datagrams and messages, and does what forwarders ask.

use std::sync::Arc;
use std::time::Duration;

use udp_director_core::{
    Arrival, BackendAddr, Context, Effect, Forwarder, Moment, Return, Verdict, WorkerId,
};

use super::beat::Beat;
use super::link::Way;
use super::player::Player;
use super::watch::{Arrived, Carried, Delivered};
use super::world::{Happening, Worker, World};

impl World {
    /// Lets everything happen that is due now.
    pub fn settle(&mut self) {
        self.run(Duration::ZERO);
    }

    /// Lets that much time pass, and everything happen that is due in it.
    pub fn run(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(next) = self.next_due().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.step();
        }
        self.now = until;
    }

    /// Lets time pass until every session, token and slot is gone that nobody uses.
    pub fn run_out(&mut self) {
        let settings = &self.setup.settings;
        let longest = settings.session_timeout.max(settings.token_ttl);
        self.run(longest + Duration::from_secs(120));
        (0..EXPIRIES).for_each(|_| self.expire());
    }

    fn next_due(&self) -> Option<Moment> {
        let deadlines = self.workers.iter().filter_map(|worker| worker.forwarder.poll_timeout());
        let players = self.players.iter().filter_map(Player::next_due);
        self.queue.next_at().into_iter().chain(players).chain(deadlines).min()
    }

    /// One thing: what is under way comes before players, and players before deadlines.
    fn step(&mut self) {
        if self.queue.next_at().is_some_and(|at| at <= self.now) {
            if let Some(happening) = self.queue.pop() {
                self.happen(happening);
            }
        } else if !self.wake_players() {
            self.keep_deadlines();
        }
    }

    fn wake_players(&mut self) -> bool {
        let now = self.now;
        let due = |player: &Player| player.next_due().is_some_and(|at| at <= now);
        let Some(player) = self.players.iter_mut().find(|player| due(player)) else { return false };
        let (listener, client) = (player.listener(), player.client());
        for datagram in player.wake(now, &self.setup.settings.magic) {
            self.send(listener, client, &datagram);
        }
        true
    }

    fn keep_deadlines(&mut self) {
        for number in 0..self.workers.len() {
            self.with_forwarder(WorkerId(number as u16), |forwarder, cx| forwarder.handle_timeout(cx));
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrival { way, payload } => match way {
                Way::FromClient(arrival) => self.client_datagram(&arrival, &payload),
                Way::ToBackend { upstream, to } => self.reach_backend(upstream, to, payload),
                Way::FromBackend { upstream, source } => self.backend_datagram(upstream, source, &payload),
                Way::ToClient(to) => self.reach_client(&to, payload),
            },
            Happening::Message { worker, message } => {
                self.with_forwarder(worker, |forwarder, cx| forwarder.message(message, cx));
            }
        }
    }

    /// Gives a datagram to the link on that way.
    pub(super) fn carry(&mut self, way: Way, payload: &[u8]) {
        let link = match way {
            Way::FromClient(_) | Way::ToClient(_) => &self.setup.client_link,
            Way::ToBackend { .. } | Way::FromBackend { .. } => &self.setup.cluster_link,
        };
        let mut copies = 0;
        for delay in link.carry(&mut self.random) {
            copies += 1;
            let happening = Happening::Arrival { way, payload: payload.to_vec() };
            self.queue.push(self.now + delay, happening);
        }
        self.watch.carried.push(Carried { at: self.now, way, payload: payload.to_vec(), copies });
    }

    fn client_datagram(&mut self, arrival: &Arrival, payload: &[u8]) {
        self.watch.beats.extend(Beat::parse(payload));
        let worker = self.worker_of(arrival.listener, arrival.client);
        let verdict =
            self.with_forwarder(worker, |forwarder, cx| forwarder.client_datagram(arrival, payload, cx));
        match verdict {
            Verdict::Forward { handle, to } => self.send_to_backend(handle, to, payload),
            Verdict::Consumed => {}
            Verdict::Drop(why) => self.workers[usize::from(worker.0)].counters.dropped(why),
        }
    }

    fn send_to_backend(&mut self, upstream: i32, to: BackendAddr, payload: &[u8]) {
        assert!(self.sockets.can_send(upstream), "a datagram leaves by a socket that is open");
        self.carry(Way::ToBackend { upstream, to }, payload);
    }

    fn reach_backend(&mut self, upstream: i32, to: BackendAddr, payload: Vec<u8>) {
        let inventory = Arc::clone(self.ledger.lock().inventory());
        let found = inventory.backends().iter().find(|backend| backend.spec.address == to.ip());
        let name = found.map(|backend| &backend.spec.name).or_else(|| self.servers.get(&to.ip()));
        let name = name.cloned().unwrap_or_default();
        if !name.is_empty() && !self.silent.contains(&name) {
            self.reply(to, upstream, &[&payload, name.as_bytes()].concat());
        }
        self.watch.arrived.push(Arrived { at: self.now, backend: name, addr: to, upstream, payload });
    }

    fn backend_datagram(&mut self, upstream: i32, source: BackendAddr, payload: &[u8]) {
        let Some((worker, index)) = self.sockets.reader(upstream) else { return };
        let Worker { forwarder, counters, .. } = &mut self.workers[usize::from(worker.0)];
        match forwarder.backend_datagram(index, source, payload.len(), self.now) {
            Ok(to) => self.send_to_client(to, payload),
            Err(why) => counters.dropped(why),
        }
    }

    fn send_to_client(&mut self, to: Return, payload: &[u8]) {
        self.carry(Way::ToClient(to), payload);
    }

    fn reach_client(&mut self, to: &Return, payload: Vec<u8>) {
        let here = |player: &&mut Player| player.client() == to.to && player.listener() == to.listener;
        if let Some(player) = self.players.iter_mut().find(here) {
            player.receive(&payload, &self.setup.settings.magic);
        }
        let (listener, client, from) = (to.listener, to.to, to.from);
        self.watch.delivered.push(Delivered { at: self.now, listener, client, from, payload });
    }

    /// Calls a worker's forwarder, and then does what it asks for.
    fn with_forwarder<T>(
        &mut self,
        worker: WorkerId,
        call: impl FnOnce(&mut Forwarder, &mut Context<'_>) -> T,
    ) -> T {
        let sockets = &mut self.sockets;
        let are_short = self.sockets_are_short;
        let mut open = |_, index| (!are_short).then(|| sockets.open(worker, index));
        let mut cx = Context { now: self.now, ledger: &self.ledger, open: &mut open };
        let outcome = call(&mut self.workers[usize::from(worker.0)].forwarder, &mut cx);
        while let Some(effect) = self.workers[usize::from(worker.0)].forwarder.pop_effect() {
            self.carry_out(worker, effect);
        }
        outcome
    }

    fn carry_out(&mut self, from: WorkerId, effect: Effect) {
        match effect {
            Effect::ToBackend { handle, to, bytes } => self.send_to_backend(handle, to, &bytes),
            Effect::ToClient { to, bytes } => self.send_to_client(to, &bytes),
            Effect::CloseUpstream { index, .. } => self.sockets.close(from, index),
            Effect::Tell { worker, message } => {
                let delay = self.random.within(&self.setup.message_delay);
                let last = self.told.entry((from, worker)).or_default();
                *last = (self.now + delay).max(*last);
                self.queue.push(*last, Happening::Message { worker, message });
            }
        }
    }
}

/// How often the control side clears expired tokens away until none is left; one call has a bound.
const EXPIRIES: usize = 100;
