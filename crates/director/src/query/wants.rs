//! What players asked for, kept once for all who asked alike: a director with a hundred thousand
//! players has a handful of questions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use udp_director_core::{Balancer, Query, Wanted};
use udp_director_wire as wire;

/// What is asked for, by the text of the question.
#[derive(Debug, Default)]
pub(super) struct Wants(Mutex<HashMap<String, Arc<Wanted>>>);

impl Wants {
    /// What `compiled` asks for, but for whom. Shared with others who want the same as `written`, as
    /// long as the balancer is the same.
    pub(super) fn of(
        &self,
        written: &wire::Query,
        compiled: &Query,
        balancer: &Arc<Balancer>,
    ) -> Arc<Wanted> {
        let anyone = wire::Query {
            sticky_key: None,
            client_ip: None,
            avoid: Vec::new(),
            wait_seconds: None,
            ..written.clone()
        };
        let text = serde_json::to_string(&anyone).expect("a query's keys are texts");
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wanted) = known.get(&text).filter(|wanted| Arc::ptr_eq(&wanted.balancer, balancer)) {
            return Arc::clone(wanted);
        }
        if known.len() >= MOST {
            known.retain(|_, wanted| Arc::strong_count(wanted) > 1);
        }
        let query = compiled.clone().for_anyone();
        let balancer = Arc::clone(balancer);
        let wanted = Arc::new(Wanted { query, balancer, text: text.as_str().into() });
        if known.len() < MOST {
            known.insert(text, Arc::clone(&wanted));
        }
        wanted
    }
}

/// How many are kept: beyond that, each player who asks for something else keeps it for himself.
const MOST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(resource_type: String, sticky_key: Option<&str>) -> wire::Query {
        wire::Query { resource_type, sticky_key: sticky_key.map(str::to_owned), ..wire::Query::default() }
    }

    fn want(wants: &Wants, written: &wire::Query, balancer: &Arc<Balancer>) -> Arc<Wanted> {
        wants.of(written, &Query::compile(written).expect("a query"), balancer)
    }

    #[test]
    fn who_asks_alike_shares_whoever_asks() {
        let (wants, balancer) = (Wants::default(), Arc::default());
        let first = want(&wants, &written("gs".into(), Some("party")), &balancer);
        assert!(Arc::ptr_eq(&first, &want(&wants, &written("gs".into(), None), &balancer)));
        assert_eq!(first.query.sticky_key(), None, "who moves is not drawn back by a key");
        assert!(!Arc::ptr_eq(&first, &want(&wants, &written("lobby".into(), None), &balancer)));
        assert!(!Arc::ptr_eq(&first, &want(&wants, &written("gs".into(), None), &Arc::default())));
    }

    #[test]
    fn what_nobody_wants_any_more_makes_room() {
        let (wants, balancer) = (Wants::default(), Arc::default());
        let kept = want(&wants, &written("0".into(), None), &balancer);
        (1..=MOST).for_each(|n| drop(want(&wants, &written(n.to_string(), None), &balancer)));
        assert_eq!(wants.0.lock().expect("no panic").len(), 2);
        assert!(Arc::ptr_eq(&kept, &want(&wants, &written("0".into(), None), &balancer)));
    }
}
