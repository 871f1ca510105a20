//! Why a query gets the backend that it gets.

use std::fmt;
use std::sync::Arc;

use super::selection::Selection;
use crate::inventory::{Backend, Capacity, Withheld};
use crate::rendezvous::Hashed;

/// What a [`Selection`] comes to, and why. Nothing is taken by it, and it is nobody's turn.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Every backend of the type and namespace that is asked for, in the inventory's order.
    pub candidates: Vec<Candidate>,
    /// Which of them the query would get now.
    pub winner: Option<usize>,
}

/// One backend, and what becomes of it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The backend.
    pub backend: Arc<Backend>,
    /// What becomes of it.
    pub finding: Finding,
}

/// What becomes of a backend in a selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The first filter that refuses it.
    Refused(Filter),
    /// It can be picked, by this.
    Scored(Score),
}

/// Why a backend is not among those to pick from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// It takes no new players.
    Withheld(Withheld),
    /// It has not the labels; the first requirement that does not hold.
    Label(String),
    /// It has not this annotation with the value that is asked for.
    Annotation(String),
    /// Its status does not say what is asked for.
    Status,
    /// The query says that it is to be avoided.
    Avoided,
    /// No data port leads to it, or not each that the player uses.
    NoPort,
    /// Its object does not say how many players it takes; what is wrong.
    Capacity(Box<str>),
    /// All of its seats are taken; how many that is.
    Full(u32),
}

/// What a backend is picked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Score {
    /// Seats taken now.
    pub taken: u32,
    /// How many there are; `None` where nothing bounds them.
    pub seats: Option<u32>,
    /// How many players the object itself counts.
    pub current: u32,
    /// The weight of the sticky key with it; `None` without a key.
    pub key_weight: Option<u64>,
    /// Whether the key is remembered to have led here.
    pub remembered: bool,
}

impl Filter {
    /// The filter's name.
    pub fn name(&self) -> &'static str {
        match self {
            Filter::Withheld(_) => "withheld",
            Filter::Label(_) => "label",
            Filter::Annotation(_) => "annotation",
            Filter::Status => "status",
            Filter::Avoided => "avoided",
            Filter::NoPort => "no_port",
            Filter::Capacity(_) => "capacity",
            Filter::Full(_) => "full",
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::Withheld(why) => why.fmt(f),
            Filter::Label(requirement) => write!(f, "its labels are not {requirement}"),
            Filter::Annotation(key) => write!(f, "its annotation {key} is missing or another"),
            Filter::Status => f.write_str("its status is not what statusQuery asks for"),
            Filter::Avoided => f.write_str("the query avoids it"),
            Filter::NoPort => f.write_str("it has no port for a data port"),
            Filter::Capacity(fault) => f.write_str(fault),
            Filter::Full(seats) => write!(f, "its {seats} seats are taken"),
        }
    }
}

impl Selection<'_> {
    /// What [`Selection::choose`] would come to now, and why. Goes through every backend of the type
    /// and namespace.
    pub fn explain(&self) -> Explanation {
        let (query, winner) = (self.query, self.foresee());
        let key = self.draw.sticky_key.map(Hashed::new);
        let within = self.inventory.within(query.resource_type(), query.namespace());
        let candidates: Vec<Candidate> = within
            .map(|backend| Candidate { backend: Arc::clone(backend), finding: self.finding(backend, key) })
            .collect();
        let is_winner = |candidate: &Candidate| winner.is_some_and(|w| Arc::ptr_eq(w, &candidate.backend));
        Explanation { winner: candidates.iter().position(is_winner), candidates }
    }

    fn finding(&self, backend: &Backend, key: Option<Hashed>) -> Finding {
        let (spec, taken) = (&backend.spec, backend.load.seats());
        let refused = spec.withheld.clone().map(Filter::Withheld);
        let refused = refused.or_else(|| self.query.first_mismatch(spec));
        let refused = refused.or_else(|| self.avoid.contains(&spec.id).then_some(Filter::Avoided));
        let refused = refused.or_else(|| (!self.serves.fits(backend)).then_some(Filter::NoPort));
        let refused = refused.or_else(|| no_room(&spec.capacity, taken));
        refused.map_or_else(|| Finding::Scored(self.score(backend, taken, key)), Finding::Refused)
    }

    fn score(&self, backend: &Backend, taken: u32, key: Option<Hashed>) -> Score {
        let capacity = &backend.spec.capacity;
        Score {
            taken,
            seats: Some(capacity.seats()).filter(|seats| *seats != u32::MAX),
            current: capacity.current(),
            key_weight: key.map(|key| key.weight(Hashed::new(backend.spec.id.as_str()))),
            remembered: self.draw.remembered == Some(&backend.spec.id),
        }
    }
}

fn no_room(capacity: &Capacity, taken: u32) -> Option<Filter> {
    match capacity {
        Capacity::Unknown(fault) => Some(Filter::Capacity(fault.clone())),
        capacity => (taken >= capacity.seats()).then(|| Filter::Full(capacity.seats())),
    }
}
