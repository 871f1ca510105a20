//! What a mapping allocates.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use udp_director_core::{Selector, Unclaimed};
use udp_director_inventory::kubernetes::{
    AllocationSpec, CounterAction, CounterChange, CounterRange, GameServerState, ListAction, ListFilter,
    MetaPatch, Order, PlayerRange, Priority, PriorityType, Scheduling, ServerSelector,
};

use super::Resolver;
use crate::config::document::{Inventory, LabelSelector, ResourceMapping, allocate};
use crate::config::{Allocate, Condition};

impl Resolver<'_> {
    /// What is allocated, by resource type.
    pub(super) fn allocations(
        &mut self,
        mappings: &BTreeMap<String, ResourceMapping>,
        inventory: Option<&Inventory>,
    ) -> BTreeMap<Arc<str>, Allocate> {
        let mut allocations = BTreeMap::new();
        for (name, mapping) in mappings {
            let Some(written) = &mapping.allocate else { continue };
            let key = format!("resourceQueryMapping.{name}.allocate");
            self.check_allocates(mapping, inventory, &key);
            if let Some(allocate) = self.allocate(written, &key) {
                allocations.insert(name.as_str().into(), allocate);
            }
        }
        allocations
    }

    /// Only Agones allocates, only in a cluster, and only where it is said in which namespaces.
    fn check_allocates(&mut self, mapping: &ResourceMapping, inventory: Option<&Inventory>, key: &str) {
        let resource = (mapping.group.as_str(), mapping.resource.as_str());
        if !matches!(resource, ("agones.dev", "gameservers" | "gameserver")) {
            self.refuse(key, "only \"gameservers\" of the group \"agones.dev\" can be allocated");
        }
        if inventory.is_some_and(|inventory| inventory.file.is_some()) {
            self.refuse(
                key,
                "servers are allocated in a cluster: it needs \"inventory\" to be \"kubernetes\"",
            );
        }
        if mapping.namespaces.is_empty() {
            self.refuse(key, "needs \"namespaces\" beside it: it grants the director to allocate there");
        }
    }

    /// A sealed token is good on every director that has the key: one that sees no session cannot say
    /// that nobody plays.
    pub(super) fn refuse_unclaimed(&mut self, allocations: &BTreeMap<Arc<str>, Allocate>) {
        for (name, allocate) in allocations {
            if allocate.unclaimed != Unclaimed::Keep {
                self.refuse(
                    &format!("resourceQueryMapping.{name}.allocate.unclaimed"),
                    "must be \"keep\" with sealed tokens: another director may have let a player in",
                );
            }
        }
    }

    fn allocate(&mut self, written: &allocate::Allocate, key: &str) -> Option<Allocate> {
        let selectors = self.selectors(&written.selectors, key);
        let is_shared =
            written.selectors.iter().any(|one| one.game_server_state == allocate::GameServerState::Allocated);
        if is_shared && written.unclaimed != allocate::Unclaimed::Keep {
            self.refuse(
                &format!("{key}.unclaimed"),
                "must be \"keep\" where servers are allocated that were allocated before: others may play there",
            );
        }
        let counters = self.counter_actions(&written.counters, key);
        let spec = AllocationSpec {
            selectors: selectors?,
            priorities: written.priorities.iter().map(priority).collect(),
            scheduling: match written.scheduling {
                allocate::Scheduling::Packed => Scheduling::Packed,
                allocate::Scheduling::Distributed => Scheduling::Distributed,
            },
            metadata: self.metadata(&written.metadata, key)?,
            counters,
            lists: written.lists.iter().map(|(name, action)| (name.clone(), list_action(action))).collect(),
        };
        Some(Allocate {
            spec,
            deadline: Duration::from_millis(written.deadline_ms.into()),
            unclaimed: match written.unclaimed {
                allocate::Unclaimed::Keep => Unclaimed::Keep,
                allocate::Unclaimed::Delete => Unclaimed::Delete,
                allocate::Unclaimed::Ready => Unclaimed::Ready,
            },
        })
    }

    fn selectors(&mut self, written: &[allocate::ServerSelector], key: &str) -> Option<Vec<ServerSelector>> {
        if written.is_empty() {
            return Some(vec![ServerSelector::default()]);
        }
        let selector = |(index, one)| self.selector(one, &format!("{key}.selectors[{index}]"));
        written.iter().enumerate().map(selector).collect()
    }

    fn selector(&mut self, written: &allocate::ServerSelector, key: &str) -> Option<ServerSelector> {
        let counters = written.counters.iter().map(|(name, range)| (name.clone(), counter_range(range)));
        let lists = written.lists.iter().map(|(name, filter)| (name.clone(), list_filter(filter)));
        let mut selector = ServerSelector {
            game_server_state: match written.game_server_state {
                allocate::GameServerState::Ready => GameServerState::Ready,
                allocate::GameServerState::Allocated => GameServerState::Allocated,
            },
            players: written.players.map(|range| PlayerRange {
                min_available: range.min_available,
                max_available: range.max_available,
            }),
            counters: counters.collect(),
            lists: lists.collect(),
            ..ServerSelector::default()
        };
        self.check_ranges(&selector, key);
        let labels = match &written.label_selector {
            None => return Some(selector),
            Some(LabelSelector::Pairs(pairs)) => Selector::from_pairs(pairs),
            Some(LabelSelector::Text(text)) => Selector::parse(text),
        };
        let key = format!("{key}.labelSelector");
        let labels = self.noted(&key, labels)?;
        self.noted(&key, selector.require(&labels))?;
        Some(selector)
    }

    /// A maximum of 0 is none.
    fn check_ranges(&mut self, selector: &ServerSelector, key: &str) {
        let mut check = |key: String, min: u64, max: u64| {
            if max != 0 && max < min {
                self.refuse(&key, "its least is more than its most");
            }
        };
        if let Some(range) = selector.players {
            check(format!("{key}.players"), range.min_available, range.max_available);
        }
        for (name, range) in &selector.counters {
            let key = format!("{key}.counters.{name}");
            check(key.clone(), range.min_count, range.max_count);
            check(key, range.min_available, range.max_available);
        }
        for (name, filter) in &selector.lists {
            check(format!("{key}.lists.{name}"), filter.min_available, filter.max_available);
        }
    }

    fn counter_actions(
        &mut self,
        written: &BTreeMap<String, allocate::CounterAction>,
        key: &str,
    ) -> BTreeMap<String, CounterAction> {
        let mut actions = BTreeMap::new();
        for (name, action) in written {
            if action.action.is_some() != action.amount.is_some() {
                self.refuse(
                    &format!("{key}.counters.{name}"),
                    "needs both \"action\" and \"amount\", or neither",
                );
            }
            let change = action.action.map(|change| match change {
                allocate::CounterChange::Increment => CounterChange::Increment,
                allocate::CounterChange::Decrement => CounterChange::Decrement,
            });
            let action = CounterAction { action: change, amount: action.amount, capacity: action.capacity };
            actions.insert(name.clone(), action);
        }
        actions
    }

    fn metadata(&mut self, written: &allocate::Metadata, key: &str) -> Option<MetaPatch> {
        self.noted(&format!("{key}.metadata.labels"), Selector::from_pairs(&written.labels))?;
        Some(MetaPatch { labels: written.labels.clone(), annotations: written.annotations.clone() })
    }
}

/// Of servers that are to be allocated only those take players that are.
pub(super) fn is_allocated() -> Condition {
    Condition { json_path: "status.state".to_owned(), expected: vec!["Allocated".into()] }
}

fn counter_range(written: &allocate::CounterRange) -> CounterRange {
    CounterRange {
        min_count: written.min_count,
        max_count: written.max_count,
        min_available: written.min_available,
        max_available: written.max_available,
    }
}

fn list_filter(written: &allocate::ListFilter) -> ListFilter {
    ListFilter {
        contains_value: written.contains_value.clone().unwrap_or_default(),
        min_available: written.min_available,
        max_available: written.max_available,
    }
}

fn priority(written: &allocate::Priority) -> Priority {
    Priority {
        priority_type: match written.kind {
            allocate::PriorityType::Counter => PriorityType::Counter,
            allocate::PriorityType::List => PriorityType::List,
        },
        key: written.key.clone(),
        order: match written.order {
            allocate::Order::Ascending => Order::Ascending,
            allocate::Order::Descending => Order::Descending,
        },
    }
}

fn list_action(written: &allocate::ListAction) -> ListAction {
    ListAction { add_values: written.add_values.clone(), capacity: written.capacity }
}
