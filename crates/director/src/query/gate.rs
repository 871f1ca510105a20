//! How many connections there may be, in total and from one source.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use udp_director_dataplane::{Descriptors, Taken};

use super::counters::{Bound, QueryCounters};

/// The bounds of connections, or of held queries. At a bound the newcomer is refused; those that are in
/// stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// From everywhere.
    pub total: usize,
    /// From one source: an IPv4 address, or an IPv6 network of 64 bits, since a host has all of it.
    pub per_source: usize,
}

/// Lets connections in as long as there is room, and counts them.
#[derive(Debug)]
pub(super) struct Gate {
    limits: ConnectionLimits,
    descriptors: Arc<Descriptors>,
    counters: Arc<QueryCounters>,
    /// Who is in. Held for one look-up.
    inside: Mutex<Inside>,
}

/// How many are in, in all and from each source.
#[derive(Debug, Default)]
pub(super) struct Inside {
    total: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// A connection's room, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
    source: IpAddr,
    _descriptor: Taken,
}

impl Gate {
    pub(super) fn new(
        limits: ConnectionLimits,
        descriptors: Arc<Descriptors>,
        counters: Arc<QueryCounters>,
    ) -> Gate {
        Gate { limits, descriptors, counters, inside: Mutex::default() }
    }

    /// Lets a connection from that address in.
    ///
    /// # Errors
    /// Says which bound is reached.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<Pass, Bound> {
        let source = source_of(peer);
        let descriptor = self.enter(source).inspect_err(|&bound| self.counters.turned_away(bound))?;
        self.counters.opened();
        Ok(Pass { gate: Arc::clone(self), source, _descriptor: descriptor })
    }

    fn enter(&self, source: IpAddr) -> Result<Taken, Bound> {
        let mut inside = self.inside();
        inside.check(source, self.limits)?;
        let descriptor = self.descriptors.take(1).ok_or(Bound::Descriptors)?;
        inside.enter(source);
        Ok(descriptor)
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// Whether there is room for one more from there.
    pub(super) fn check(&self, source: IpAddr, limits: ConnectionLimits) -> Result<(), Bound> {
        if self.total >= limits.total {
            return Err(Bound::Total);
        }
        if self.by_source.get(&source).is_some_and(|&count| count >= limits.per_source) {
            return Err(Bound::Source);
        }
        Ok(())
    }

    pub(super) fn enter(&mut self, source: IpAddr) {
        self.total += 1;
        *self.by_source.entry(source).or_default() += 1;
    }

    pub(super) fn leave(&mut self, source: IpAddr) {
        self.total -= 1;
        let Some(count) = self.by_source.get_mut(&source) else { return };
        *count -= 1;
        if *count == 0 {
            self.by_source.remove(&source);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.inside().leave(self.source);
        self.gate.counters.closed();
    }
}

/// An IPv4 address, or an IPv6 network of 64 bits.
pub(super) fn source_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use udp_director_dataplane::Clock;

    use super::*;

    fn gate(total: usize, per_source: usize) -> Arc<Gate> {
        let descriptors = Descriptors::new(4, Clock::new());
        let limits = ConnectionLimits { total, per_source };
        Arc::new(Gate::new(limits, descriptors, Arc::new(QueryCounters::new())))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn source_is_an_ipv4_address_or_an_ipv6_network() {
        let gate = gate(100, 1);
        let _inside = ["192.0.2.1", "2001:db8:0:1::1"].map(|peer| gate.admit(ip(peer)).expect("room"));
        for (peer, refused) in [
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", true),
            ("192.0.2.2", false),
            ("2001:db8:0:1:ffff::2", true),
            ("2001:db8:0:2::1", false),
        ] {
            assert_eq!(gate.admit(ip(peer)).err(), refused.then_some(Bound::Source), "{peer}");
        }
    }

    #[test]
    fn newcomer_is_refused_while_descriptors_are_short() {
        let gate = gate(100, 100);
        let mut inside: Vec<Pass> = (0..3).map(|_| gate.admit(ip("192.0.2.1")).expect("room")).collect();
        assert_eq!(gate.admit(ip("192.0.2.2")).err(), Some(Bound::Descriptors));
        assert_eq!((gate.counters.connections(), gate.counters.refused(Bound::Descriptors)), (3, 1));
        assert_eq!(gate.inside().total, 3, "who is refused takes no room");
        inside.pop();
        assert!(gate.admit(ip("192.0.2.2")).is_ok());
    }

    #[test]
    fn room_is_given_back_and_nothing_is_kept_of_who_left() {
        let gate = gate(2, 2);
        let first = gate.admit(ip("192.0.2.1")).expect("room");
        let second = gate.admit(ip("192.0.2.2")).expect("room");
        assert_eq!(gate.admit(ip("192.0.2.3")).err(), Some(Bound::Total));
        assert_eq!((gate.counters.connections(), gate.counters.refused(Bound::Total)), (2, 1));
        drop((first, second));
        assert_eq!(gate.counters.connections(), 0);
        assert!(gate.admit(ip("192.0.2.3")).is_ok());
        assert!(gate.inside().by_source.is_empty());
    }
}
