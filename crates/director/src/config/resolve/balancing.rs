//! Strategies, and how many players a backend takes.

use std::collections::BTreeMap;

use udp_director_core::Strategy;
use udp_director_inventory::{CapacitySource, NumberSource};

use super::Resolver;
use crate::config::document::{self, Capacity, LoadBalancing, ResourceMapping};

/// How one of a mapping's backends is picked.
pub(super) struct Balancing {
    pub(super) strategy: Strategy,
    /// How many players each takes: what the mapping says, or what its strategy counts by.
    pub(super) capacity: Option<CapacitySource>,
}

/// The places of one number, of which one may be given.
struct Places<'a> {
    /// `max` or `current`.
    of: &'static str,
    label: &'a Option<String>,
    annotation: &'a Option<String>,
    path: &'a Option<String>,
}

impl Resolver<'_> {
    /// How backends are picked, by mapping.
    pub(super) fn balancing(
        &mut self,
        general: &LoadBalancing,
        mappings: &BTreeMap<String, ResourceMapping>,
    ) -> BTreeMap<String, Balancing> {
        let by_general = self.counted_by(general, "loadBalancing");
        let mut balancing = BTreeMap::new();
        let mut lacking = false;
        for (name, mapping) in mappings {
            let key = format!("resourceQueryMapping.{name}");
            let own = mapping.load_balancing.as_ref();
            let counted = match own {
                Some(own) => self.counted_by(own, &format!("{key}.loadBalancing")),
                None => by_general.clone(),
            };
            let written = own.unwrap_or(general);
            let capacity = match &mapping.capacity {
                Some(capacity) => self.capacity(capacity, &format!("{key}.capacity")),
                None => counted,
            };
            let lacks = matches!(written.strategy, document::Strategy::LabelArithmetic)
                && mapping.capacity.is_none()
                && capacity.is_none();
            match own {
                Some(own) if lacks => self.refuse_uncounted(own, &format!("{key}.loadBalancing")),
                _ => lacking |= lacks,
            }
            let strategy = strategy(written.strategy);
            balancing.insert(name.clone(), Balancing { strategy, capacity });
        }
        if lacking {
            self.refuse_uncounted(general, "loadBalancing");
        }
        balancing
    }

    /// What `labelArithmetic` counts by; `None` where something of it is left out, or for another strategy.
    fn counted_by(&mut self, written: &LoadBalancing, key: &str) -> Option<CapacitySource> {
        if !matches!(written.strategy, document::Strategy::LabelArithmetic) {
            self.refuse_numbers(written, key);
            return None;
        }
        let max = self.number(&max_of(written), key);
        let current = self.number(&current_of(written), key);
        Some(CapacitySource { max: max?, current: Some(current?), overlap: written.overlap })
    }

    fn refuse_numbers(&mut self, written: &LoadBalancing, key: &str) {
        let texts = [max_of(written), current_of(written)];
        let given = texts.iter().flat_map(Places::given).map(|(name, _)| name);
        let overlap = (written.overlap != 0).then(|| "overlap".to_owned());
        for name in given.chain(overlap) {
            self.refuse(&format!("{key}.{name}"), "is for the type labelArithmetic alone");
        }
    }

    /// What is missing has been left out of `written`, and no mapping's capacity stands for it.
    fn refuse_uncounted(&mut self, written: &LoadBalancing, key: &str) {
        for places in [current_of(written), max_of(written)] {
            if places.given().next().is_none() {
                let text = format!("the type labelArithmetic needs \"{}Label\"", places.of);
                self.refuse(key, &text);
            }
        }
    }

    fn capacity(&mut self, written: &Capacity, key: &str) -> Option<CapacitySource> {
        let Capacity { max_label, max_annotation, max_path, .. } = written;
        let places = Places { of: "max", label: max_label, annotation: max_annotation, path: max_path };
        let read = self.number(&places, key);
        let max = match (written.max, read) {
            (Some(max), None) if places.given().next().is_none() => NumberSource::Fixed(max),
            (Some(_), _) => return self.refused(key, "takes either \"max\" or a place where it stands"),
            (None, Some(max)) => max,
            (None, None) if places.given().next().is_some() => return None,
            (None, None) => {
                let text = "needs one of \"max\", \"maxLabel\", \"maxAnnotation\" and \"maxPath\"";
                return self.refused(key, text);
            }
        };
        let Capacity { current_label, current_annotation, current_path, .. } = written;
        let places = Places {
            of: "current",
            label: current_label,
            annotation: current_annotation,
            path: current_path,
        };
        Some(CapacitySource { max, current: self.number(&places, key), overlap: written.overlap })
    }

    /// Where a number stands, if that is said once.
    fn number(&mut self, places: &Places<'_>, key: &str) -> Option<NumberSource> {
        let mut given = places.given();
        let (_, first) = given.next()?;
        if let Some((other, _)) = given.next() {
            let text = format!("\"{}\" is said to stand in two places", places.of);
            return self.refused(&format!("{key}.{other}"), &text);
        }
        Some(first)
    }
}

impl<'a> Places<'a> {
    /// Each that is given, with its key.
    fn given(&self) -> impl Iterator<Item = (String, NumberSource)> + use<'a> {
        let of = self.of;
        let place = |text: &'a Option<String>, kind: &'static str, source: fn(String) -> NumberSource| {
            text.as_ref().map(|text| (format!("{of}{kind}"), source(text.clone())))
        };
        let label = place(self.label, "Label", NumberSource::Label);
        let annotation = place(self.annotation, "Annotation", NumberSource::Annotation);
        [label, annotation, place(self.path, "Path", NumberSource::Path)].into_iter().flatten()
    }
}

fn max_of(written: &LoadBalancing) -> Places<'_> {
    let LoadBalancing { max_label, max_annotation, max_path, .. } = written;
    Places { of: "max", label: max_label, annotation: max_annotation, path: max_path }
}

fn current_of(written: &LoadBalancing) -> Places<'_> {
    let LoadBalancing { current_label, current_annotation, current_path, .. } = written;
    Places { of: "current", label: current_label, annotation: current_annotation, path: current_path }
}

fn strategy(written: document::Strategy) -> Strategy {
    match written {
        document::Strategy::First => Strategy::First,
        document::Strategy::Random => Strategy::Random,
        document::Strategy::RoundRobin => Strategy::RoundRobin,
        document::Strategy::LeastSessions => Strategy::LeastSessions,
        document::Strategy::LeastLoaded => Strategy::LeastLoaded,
        document::Strategy::LabelArithmetic => Strategy::LabelArithmetic,
        document::Strategy::Packed => Strategy::Packed,
        document::Strategy::StickyKey => Strategy::StickyKey,
    }
}
