//! What a test can do to the world: as a client, as a player, as the control side.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use udp_director_core::{
    Arrival, BackendAddr, BackendSpec, Balancer, ClientAddr, DefaultEndpoint, Inventory, Issue, IssueError,
    Ledger, ListenerId, Message, Place, Query, Seat, Settings, Strategy, Wanted, WorkerId,
};
use udp_director_wire::{self as wire, ControlPacket, Token};

use super::link::Way;
use super::player::{Player, PlayerId};
use super::random::mix;
use super::world::{Happening, PUBLIC, World};

/// Clients and players.
impl World {
    /// Sends a datagram from a client's address to a listener.
    pub fn send(&mut self, listener: ListenerId, client: ClientAddr, payload: &[u8]) {
        self.send_to(Arrival { listener, client, local: PUBLIC }, payload);
    }

    /// Sends a datagram to one of several addresses of the director.
    pub fn send_to(&mut self, arrival: Arrival, payload: &[u8]) {
        self.carry(Way::FromClient(arrival), payload);
    }

    /// Sends a bare token.
    pub fn bare(&mut self, listener: ListenerId, client: ClientAddr, token: Token) {
        self.send(listener, client, token.as_bytes());
    }

    /// Sends a control packet in its plain form.
    pub fn control(&mut self, listener: ListenerId, client: ClientAddr, token: Token) {
        let packet = self.setup.settings.magic.encode_control(&ControlPacket { token, ack: None });
        self.send(listener, client, &packet);
    }

    /// Lets a player connect.
    pub fn join(&mut self, listener: ListenerId, client: ClientAddr, token: Token) -> PlayerId {
        let id = PlayerId(self.players.len() as u32);
        let mut player = Player::new(id, listener, client, token);
        player.ask(token, self.now);
        self.players.push(player);
        id
    }

    /// Lets a player send beats for that long, once it is connected.
    pub fn play(&mut self, id: PlayerId, span: Duration) {
        let now = self.now;
        self.players[id.0 as usize].play(now + span, now);
    }

    /// Lets a player send that many beats at once, beside those that are due.
    pub fn burst(&mut self, id: PlayerId, count: u32) {
        let player = &mut self.players[id.0 as usize];
        let (listener, client) = (player.listener(), player.client());
        for beat in player.burst(count) {
            self.send(listener, client, &beat);
        }
    }

    /// Lets a player move to the backend of a token.
    pub fn migrate(&mut self, id: PlayerId, token: Token) {
        let now = self.now;
        self.players[id.0 as usize].ask(token, now);
    }

    /// Gives a player another address, as a network switch does; it resumes its session.
    pub fn rebind(&mut self, id: PlayerId, client: ClientAddr) {
        let now = self.now;
        self.players[id.0 as usize].rebind(client, now);
    }
}

/// The control side.
impl World {
    /// Gives out a token for a backend, bound to the IP.
    pub fn token(&mut self, ip: IpAddr, backend: &str) -> Token {
        self.ask(ip, backend, true).expect("fewer tokens wait than may")
    }

    /// Gives out a token.
    ///
    /// # Errors
    /// When as many tokens wait as may.
    pub fn ask(&mut self, ip: IpAddr, backend: &str, bound: bool) -> Result<Token, IssueError> {
        let token = self.next_token();
        let seat = Seat::take(&self.backend(backend)).expect("a seat");
        self.ledger
            .lock()
            .issue(Issue { token, seat, asked_by: ip, bound, wanted: None, sticky_key: None }, self.now)?;
        Ok(token)
    }

    fn next_token(&mut self) -> Token {
        self.tokens += 1;
        let text = format!("{:08x}-0000-4000-8000-{:012x}", mix(self.tokens) as u32, self.tokens);
        Token::from_bytes(text.as_bytes()).expect("a UUID is a token")
    }

    /// Gives out a token that any backend of the same type will do for.
    ///
    /// # Errors
    /// When as many tokens wait as may.
    pub fn ask_for_any(&mut self, ip: IpAddr, backend: &str) -> Result<Token, IssueError> {
        let token = self.next_token();
        let seat = Seat::take(&self.backend(backend)).expect("a seat");
        let query = any(&seat.backend().spec.resource_type);
        let wanted = Some(Arc::new(Wanted { query, balancer: Arc::default(), text: Arc::default() }));
        self.ledger
            .lock()
            .issue(Issue { token, seat, asked_by: ip, bound: true, wanted, sticky_key: None }, self.now)?;
        Ok(token)
    }

    /// Publishes another inventory, and lets the sessions be closed whose backend is gone.
    pub fn publish(&mut self, backends: Vec<BackendSpec>) {
        self.enter(backends);
        for player in self.players_on(Ledger::is_gone) {
            self.close(player);
        }
    }

    /// Publishes another inventory, and lets the sessions be parked whose backend is gone.
    pub fn publish_and_park(&mut self, backends: Vec<BackendSpec>) {
        self.enter(backends);
        for player in self.players_on(Ledger::is_gone) {
            self.park(player);
        }
    }

    pub(super) fn enter(&mut self, backends: Vec<BackendSpec>) {
        if self.setup.servers_outlive_inventory {
            self.servers.extend(backends.iter().map(|spec| (spec.address, spec.name.clone())));
        }
        let inventory = Arc::new(self.ledger.lock().inventory().next(backends, Vec::new()));
        let default_endpoint = self
            .setup
            .settings
            .has_default_endpoint
            .then(|| Arc::new(default_endpoint(Arc::clone(&inventory))));
        self.ledger.lock().publish(inventory, default_endpoint);
    }

    /// Puts other settings in force.
    pub fn configure(&mut self, settings: Settings) {
        let settings = Arc::new(settings);
        self.ledger.lock().configure(Arc::clone(&settings));
        for number in 0..self.workers.len() {
            let place = Place::Worker(WorkerId(number as u16));
            self.order(place, Message::Configure(Arc::clone(&settings)));
        }
    }

    /// Lets a backend send to one of the director's upstream sockets.
    pub fn reply(&mut self, source: BackendAddr, upstream: i32, payload: &[u8]) {
        self.carry(Way::FromBackend { upstream, source }, payload);
    }

    pub(super) fn order(&mut self, place: Place, message: Message) {
        let Place::Worker(worker) = place else { return };
        let delay = self.random.within(&self.setup.message_delay);
        self.queue.push(self.now + delay, Happening::Message { worker, message });
    }
}

fn default_endpoint(inventory: Arc<Inventory>) -> DefaultEndpoint {
    DefaultEndpoint::new(any("lobby"), Arc::new(Balancer::new(Strategy::LeastSessions)), inventory)
}

fn any(resource_type: &str) -> Query {
    let query = wire::Query { resource_type: resource_type.to_owned(), ..wire::Query::default() };
    Query::compile(&query).expect("a query for a type alone compiles")
}
