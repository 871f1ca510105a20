//! What was read of the objects of one watch.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use udp_director_core::{BackendSpec, Refused, Withheld};

use super::address_index::{of_host, of_node, of_pod};
use super::plan::Uses;
use crate::cordon::{cordon, is_cordoned, node_of};
use crate::object::Object;
use crate::reader::{Place, Reader, nowhere};
use crate::service::Rank;

/// The objects of one watch.
pub(super) struct Store {
    /// Tells this watch from an earlier one on the same resource, whose last words may come late.
    pub(super) number: u64,
    pub(super) uses: Uses,
    /// The kind of its objects; empty before the first one.
    pub(super) kind: String,
    pub(super) objects: BTreeMap<Rank, Known>,
    /// Whether a list has come to its end once.
    pub(super) listed: bool,
    /// What the list that goes on has named so far; `None` while none does.
    pub(super) named: Option<HashSet<Rank>>,
}

/// One object.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Known {
    /// One for each reader of [`Uses`].
    pub(super) readings: Box<[Reading]>,
    /// Of a Pod or Node, where they are asked for.
    pub(super) addresses: Vec<IpAddr>,
    /// Whether it is a Node that is cordoned.
    pub(super) cordoned: bool,
}

/// What one mapping makes of an object, as far as the object alone tells.
#[derive(Debug, PartialEq)]
pub(super) enum Reading {
    Candidate(Candidate),
    Refused(Arc<Refused>),
}

/// A backend, if its address can be proven.
#[derive(Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) spec: Arc<BackendSpec>,
    /// Whether the address stands in the object's own status, and the object is a Pod.
    pub(super) own: bool,
    /// Where another object says that this one is, as it was said last.
    pub(super) joined: Option<Joined>,
    /// The name of its Node, where the mapping follows that.
    pub(super) node: Option<Box<str>>,
}

/// A place that another object names.
#[derive(Debug, PartialEq)]
pub(super) struct Joined {
    /// Why the object itself takes no players.
    withheld: Option<Withheld>,
    place: Option<Place>,
}

impl Store {
    pub(super) fn new(number: u64, uses: Uses) -> Store {
        Store { number, uses, kind: String::new(), objects: BTreeMap::new(), listed: false, named: None }
    }

    /// What there is to know of the object.
    pub(super) fn read(&self, object: Object<'_>) -> Known {
        let readings = self.uses.readers.iter().map(|reader| read(reader, object)).collect();
        let addresses = match (self.uses.addresses, object.is_pod()) {
            (false, _) => Vec::new(),
            (true, true) => of_pod(object),
            (true, false) => of_node(object),
        };
        Known { readings, addresses, cordoned: is_cordoned(object) }
    }
}

impl Known {
    /// Whether both say the same by themselves: what other objects add to a reading does not matter.
    pub(super) fn says(&self, other: &Known) -> bool {
        let alike = |(a, b): (&Reading, &Reading)| a.says(b);
        self.addresses == other.addresses
            && self.cordoned == other.cordoned
            && self.readings.len() == other.readings.len()
            && self.readings.iter().zip(&other.readings).all(alike)
    }
}

impl Reading {
    fn says(&self, other: &Reading) -> bool {
        match (self, other) {
            (Reading::Candidate(a), Reading::Candidate(b)) => a.says(b),
            (a, b) => a == b,
        }
    }
}

impl Candidate {
    /// Puts the candidate where another object says that it is. Shares the spec as long as that stays
    /// the same.
    pub(super) fn join(&mut self, place: Place) {
        let Some(joined) = &mut self.joined else { return };
        if joined.place.as_ref() == Some(&place) {
            return;
        }
        let mut spec = BackendSpec::clone(&self.spec);
        place.clone().put(&mut spec, joined.withheld.clone());
        joined.place = Some(place);
        self.spec = Arc::new(spec);
    }

    fn says(&self, other: &Candidate) -> bool {
        let is_alone = self.joined.is_none() && self.node.is_none();
        if is_alone { self == other } else { self.by_itself() == other.by_itself() }
    }

    /// What the object says, without what others add: its place, and that its Node is cordoned.
    fn by_itself(&self) -> (BackendSpec, bool, Option<&str>) {
        let mut spec = Arc::clone(&self.spec);
        cordon(&mut spec, false);
        let mut spec = Arc::unwrap_or_clone(spec);
        if let Some(joined) = &self.joined {
            nowhere().put(&mut spec, joined.withheld.clone());
        }
        (spec, self.own, self.node.as_deref())
    }
}

fn read(reader: &Reader, object: Object<'_>) -> Reading {
    let elsewhere = reader.mapping().service.is_some();
    let read = if elsewhere { reader.read_unplaced(object) } else { reader.read(object) };
    match read {
        Ok(spec) => Reading::Candidate(Candidate {
            own: object.is_pod() && [of_pod(object), of_host(object)].concat().contains(&spec.address),
            joined: elsewhere.then_some(Joined { withheld: spec.withheld.clone(), place: None }),
            node: node_of(object).filter(|_| reader.mapping().follow_nodes).map(Box::from),
            spec: Arc::new(spec),
        }),
        Err(reason) => Reading::Refused(Arc::new(reader.refused(object.to_ref(), &reason))),
    }
}
