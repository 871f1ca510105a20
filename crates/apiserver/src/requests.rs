//! What the server has been asked, read from its metrics.

use std::collections::BTreeMap;

/// How many requests the server has answered, and how many watches are open. The server's own are among
/// them: it watches Nodes, Pods, Namespaces and everything of RBAC for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// By verb (`LIST`, `GET`, `WATCH`, `PATCH`...) and resource. A watch counts when it ends.
    pub answered: BTreeMap<(String, String), u64>,
    /// Watches that are open now, by resource.
    pub open_watches: BTreeMap<String, u64>,
}

impl RequestCounts {
    /// Requests answered for `resource`: `pods`, `pods/status`, `gameservers.agones.dev`.
    pub fn answered(&self, verb: &str, resource: &str) -> u64 {
        self.answered.get(&(verb.to_owned(), resource.to_owned())).copied().unwrap_or(0)
    }

    /// Watches of `resource` that are open now.
    pub fn open_watches(&self, resource: &str) -> u64 {
        self.open_watches.get(resource).copied().unwrap_or(0)
    }

    /// What has been answered since `earlier`, without what has not grown; the watches that are open now.
    pub fn since(&self, earlier: &Self) -> Self {
        let grown = self.answered.iter().filter_map(|(key, count)| {
            let more = count.saturating_sub(earlier.answered.get(key).copied().unwrap_or(0));
            (more > 0).then(|| (key.clone(), more))
        });
        Self { answered: grown.collect(), open_watches: self.open_watches.clone() }
    }

    /// Reads metrics in the text format of Prometheus.
    pub(crate) fn read(metrics: &str) -> Self {
        let mut counts = Self::default();
        for (name, labels, value) in metrics.lines().filter_map(sample) {
            let verb = label(labels, "verb").to_owned();
            match name {
                "apiserver_request_total" => {
                    *counts.answered.entry((verb, resource(labels))).or_default() += value;
                }
                "apiserver_longrunning_requests" if verb == "WATCH" => {
                    *counts.open_watches.entry(resource(labels)).or_default() += value;
                }
                _ => {}
            }
        }
        counts
    }
}

/// The parts of `NAME{LABELS} VALUE`. Values of the metrics that are read here are whole.
fn sample(line: &str) -> Option<(&str, &str, u64)> {
    let (name, rest) = line.split_once('{')?;
    let (labels, value) = rest.rsplit_once("} ")?;
    Some((name, labels, value.parse::<f64>().ok()? as u64))
}

/// `RESOURCE[.GROUP][/SUBRESOURCE]`.
fn resource(labels: &str) -> String {
    let with = |separator: &str, value: &str| match value {
        "" => String::new(),
        value => format!("{separator}{value}"),
    };
    let (group, subresource) = (label(labels, "group"), label(labels, "subresource"));
    format!("{}{}{}", label(labels, "resource"), with(".", group), with("/", subresource))
}

/// A label's value; no label that is asked for here has a quote or a comma in it.
fn label<'a>(labels: &'a str, name: &str) -> &'a str {
    let value = labels.split(',').find_map(|label| label.strip_prefix(name)?.strip_prefix("=\""));
    value.map_or("", |value| value.trim_end_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_summed_over_codes_and_scopes() {
        let metrics = "\
# TYPE apiserver_request_total counter
apiserver_request_total{code=\"200\",group=\"\",resource=\"pods\",scope=\"a\",subresource=\"\",verb=\"LIST\"} 3
apiserver_request_total{code=\"403\",group=\"\",resource=\"pods\",scope=\"b\",subresource=\"\",verb=\"LIST\"} 1
apiserver_request_total{code=\"200\",group=\"agones.dev\",resource=\"gameservers\",subresource=\"status\",verb=\"PATCH\"} 1e+06
apiserver_longrunning_requests{group=\"\",resource=\"pods\",subresource=\"\",verb=\"WATCH\"} 2
other{verb=\"LIST\"} 7
";
        let counts = RequestCounts::read(metrics);
        assert_eq!(counts.answered("LIST", "pods"), 4);
        assert_eq!(counts.answered("PATCH", "gameservers.agones.dev/status"), 1_000_000);
        assert_eq!(counts.answered("LIST", "nodes"), 0);
        assert_eq!(counts.open_watches("pods"), 2);
        assert!(counts.since(&counts).answered.is_empty());
        assert_eq!(counts.since(&RequestCounts::default()), counts);
    }
}
