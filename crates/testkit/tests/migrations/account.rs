//! The account of a game: what every datagram came to, both ways, and what the links made of it.
//!
//! ```text
//! player --link--> director --link--> backend         each arrow: given, and how many arrive
//!        <--link--          <--link-- (echo)
//! ```
//! A director loses nothing when as many copies leave it as have reached it, in the same order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use udp_director_core::{BackendAddr, Moment};
use udp_director_testkit::sim::{Beat, Echo, PERIOD, Way, World};

/// What one way of a datagram came to, for one datagram or for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passage {
    /// How often it was sent.
    sent: usize,
    /// How many copies reached the director.
    reached: usize,
    /// How many copies left the director.
    left: usize,
    /// How many copies the second link was to deliver, by its own account.
    due: usize,
    /// How many arrived.
    arrived: usize,
    lost_by_links: usize,
    doubled_by_links: usize,
}

/// Everything that can be said of a game when it is over.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) up: Passage,
    pub(crate) down: Passage,
    /// The longest time between two echoes in a row of datagrams in a row, at any player.
    pub(crate) longest_gap: Duration,
    /// The longest time from sending a datagram to its echo.
    pub(crate) longest_wait: Duration,
    /// For each player (by socket), to which backends his datagrams left, one after the other.
    pub(crate) stays: BTreeMap<u32, Vec<BackendAddr>>,
}

impl Account {
    /// Checks the game datagram by datagram.
    ///
    /// # Panics
    /// When a datagram was lost, doubled or turned over by the director, naming it.
    pub(crate) fn of(world: &World) -> Account {
        let (up, down) = (upward(world), downward(world));
        for (beat, passage) in &up {
            passage.check(beat);
        }
        for ((beat, by), passage) in &down {
            passage.check(&format_args!("echo of {beat:?} by {by}"));
        }
        let total =
            |passages: &mut dyn Iterator<Item = &Passage>| passages.fold(Passage::default(), Passage::plus);
        let mut account = Account {
            up: total(&mut up.values()),
            down: total(&mut down.values()),
            stays: stays(world),
            ..Account::default()
        };
        assert_same_order(world);
        account.measure(world);
        account
    }

    /// Checks what holds where links keep the order and lose nothing: every datagram has reached one
    /// backend, once and in order, and so have its echoes.
    pub(crate) fn check_in_order(&self, world: &World) {
        assert_eq!((self.up.lost_by_links, self.up.doubled_by_links), (0, 0), "the links are perfect");
        let mut next: HashMap<u32, u32> = HashMap::new();
        for arrived in &world.watch().arrived {
            let Some(beat) = Beat::parse(&arrived.payload) else { continue };
            let next = next.entry(beat.player).or_default();
            assert_eq!(beat.number, *next, "{beat:?} at {}", arrived.backend);
            *next += 1;
        }
        for player in world.players() {
            let id = player.id();
            assert_eq!(next.get(&id.0).copied().unwrap_or(0), player.beats(), "{id:?} has sent so many");
            let echoes: Vec<u32> = player.echoes().iter().map(|echo| echo.beat.number).collect();
            assert!(echoes.is_sorted_by(|a, b| a < b), "{id:?}: {echoes:?}");
        }
    }

    fn measure(&mut self, world: &World) {
        let mut sent: HashMap<Beat, Moment> = HashMap::new();
        for carried in &world.watch().carried {
            if let (Way::FromClient(_), Some(beat)) = (carried.way, Beat::parse(&carried.payload)) {
                sent.entry(beat).or_insert(carried.at);
            }
        }
        let mut last: HashMap<u32, (u32, Moment)> = HashMap::new();
        for delivered in &world.watch().delivered {
            let Some(Echo { beat, .. }) = Echo::parse(&delivered.payload) else { continue };
            self.longest_wait = self.longest_wait.max(delivered.at - sent[&beat]);
            if let Some((number, at)) = last.insert(beat.player, (beat.number, delivered.at))
                && beat.number == number + 1
            {
                self.longest_gap = self.longest_gap.max(delivered.at - at);
            }
        }
    }
}

impl Passage {
    fn plus(self, other: &Passage) -> Passage {
        Passage {
            sent: self.sent + other.sent,
            reached: self.reached + other.reached,
            left: self.left + other.left,
            due: self.due + other.due,
            arrived: self.arrived + other.arrived,
            lost_by_links: self.lost_by_links + other.lost_by_links,
            doubled_by_links: self.doubled_by_links + other.doubled_by_links,
        }
    }

    fn give(&mut self, copies: usize) {
        self.lost_by_links += usize::from(copies == 0);
        self.doubled_by_links += usize::from(copies > 1);
    }

    fn check(&self, what: &dyn fmt::Debug) {
        assert_eq!(self.left, self.reached, "copies of {what:?} that left the director and reached it");
        assert_eq!(self.arrived, self.due, "copies of {what:?} that arrived and were due");
    }

    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    pub(crate) fn lost_by_links(&self) -> usize {
        self.lost_by_links
    }

    pub(crate) fn doubled_by_links(&self) -> usize {
        self.doubled_by_links
    }

    /// What the director lost: [`Account::of`] has checked that it is nothing, copy by copy.
    pub(crate) fn lost_by_director(&self) -> usize {
        self.reached - self.left
    }
}

fn upward(world: &World) -> HashMap<Beat, Passage> {
    let mut passages: HashMap<Beat, Passage> = HashMap::new();
    for carried in &world.watch().carried {
        let Some(beat) = Beat::parse(&carried.payload) else { continue };
        let passage = passages.entry(beat).or_default();
        match carried.way {
            Way::FromClient(_) => {
                passage.sent += 1;
                passage.reached += carried.copies;
            }
            Way::ToBackend { .. } => {
                passage.left += 1;
                passage.due += carried.copies;
            }
            Way::FromBackend { .. } | Way::ToClient(_) => continue,
        }
        passage.give(carried.copies);
    }
    for arrived in &world.watch().arrived {
        let Some(beat) = Beat::parse(&arrived.payload) else { continue };
        passages.entry(beat).or_default().arrived += 1;
    }
    passages
}

fn downward(world: &World) -> HashMap<(Beat, String), Passage> {
    let mut passages: HashMap<(Beat, String), Passage> = HashMap::new();
    for carried in &world.watch().carried {
        let (Way::FromBackend { .. } | Way::ToClient(_)) = carried.way else { continue };
        let Some(echo) = Echo::parse(&carried.payload) else { continue };
        let passage = passages.entry((echo.beat, echo.by)).or_default();
        if let Way::ToClient(_) = carried.way {
            passage.left += 1;
            passage.due += carried.copies;
        } else {
            passage.sent += 1;
            passage.reached += carried.copies;
        }
        passage.give(carried.copies);
    }
    for delivered in &world.watch().delivered {
        let Some(echo) = Echo::parse(&delivered.payload) else { continue };
        passages.entry((echo.beat, echo.by)).or_default().arrived += 1;
    }
    passages
}

/// A player's datagrams leave the director in the order in which they have reached it.
fn assert_same_order(world: &World) {
    let mut reached: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut left: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for beat in &world.watch().beats {
        reached.entry(beat.player).or_default().push(beat.number);
    }
    for carried in &world.watch().carried {
        if let (Way::ToBackend { .. }, Some(beat)) = (carried.way, Beat::parse(&carried.payload)) {
            left.entry(beat.player).or_default().push(beat.number);
        }
    }
    for (player, numbers) in &reached {
        assert_eq!(left.get(player), Some(numbers), "player {player}: left the director, reached it");
    }
}

fn stays(world: &World) -> BTreeMap<u32, Vec<BackendAddr>> {
    let mut stays: BTreeMap<u32, Vec<BackendAddr>> = BTreeMap::new();
    for carried in &world.watch().carried {
        if let (Way::ToBackend { to, .. }, Some(beat)) = (carried.way, Beat::parse(&carried.payload)) {
            let stays = stays.entry(beat.player).or_default();
            if stays.last() != Some(&to) {
                stays.push(to);
            }
        }
    }
    stays
}

/// The numbers of a player's datagrams that reached one of these backends, which answer none.
pub(crate) fn unanswered(world: &World, player: u32, silent: &[String]) -> BTreeSet<u32> {
    let arrived = world.watch().arrived.iter().filter(|arrived| silent.contains(&arrived.backend));
    let beats = arrived.filter_map(|arrived| Beat::parse(&arrived.payload));
    beats.filter(|beat| beat.player == player).map(|beat| beat.number).collect()
}

/// How much longer a player waited between two echoes than from one datagram to the next.
pub(crate) fn beyond_a_tick(gap: Duration) -> Duration {
    gap.saturating_sub(PERIOD)
}
