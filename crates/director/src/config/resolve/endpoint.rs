//! The default endpoint.

use std::collections::BTreeMap;

use udp_director_core::{Query, QueryError};
use udp_director_wire as wire;

use super::Resolver;
use crate::config::document::{DefaultEndpoint, LabelSelector, ResourceMapping};
use crate::config::schema::quoted;
use crate::config::shape::{cut, nearest};

impl Resolver<'_> {
    /// The query of the default endpoint, if there is one.
    pub(super) fn default_endpoint(
        &mut self,
        written: Option<DefaultEndpoint>,
        mappings: &BTreeMap<String, ResourceMapping>,
    ) -> Option<Query> {
        let written = written?;
        let query = wire::Query {
            namespace: self.endpoint_namespace(&written, mappings),
            resource_type: written.resource_type,
            label_selector: written.label_selector.map(label_selector),
            annotation_selector: written.annotation_selector,
            status_query: written.status_query.map(|query| wire::StatusQuery {
                json_path: query.json_path,
                expected_value: query.expected_value,
                expected_values: query.expected_values,
            }),
            ..wire::Query::default()
        };
        Query::compile(&query).map_err(|error| self.refuse_query(&error)).ok()
    }

    /// The namespace that it names, or the only one of its mapping.
    fn endpoint_namespace(
        &mut self,
        endpoint: &DefaultEndpoint,
        mappings: &BTreeMap<String, ResourceMapping>,
    ) -> Option<String> {
        let Some(mapping) = mappings.get(&endpoint.resource_type) else {
            let known: Vec<&str> = mappings.keys().map(String::as_str).collect();
            let advice = nearest(&endpoint.resource_type, &known).map_or_else(
                || format!("there are {}", quoted(&known)),
                |name| format!("did you mean \"{name}\"?"),
            );
            let text =
                format!("{} is no key of resourceQueryMapping; {advice}", cut(&endpoint.resource_type));
            return self.refused("defaultEndpoint.resourceType", &text);
        };
        match (&endpoint.namespace, mapping.namespaces.as_slice()) {
            (Some(namespace), []) => Some(namespace.clone()),
            (Some(namespace), known) if known.contains(namespace) => Some(namespace.clone()),
            (Some(namespace), _) => {
                let text = format!("{} is none of the mapping's namespaces", cut(namespace));
                self.refused("defaultEndpoint.namespace", &text)
            }
            (None, [only]) => Some(only.clone()),
            (None, _) => self.refused("defaultEndpoint", "needs \"namespace\": its mapping has not just one"),
        }
    }

    fn refuse_query(&mut self, error: &QueryError) {
        let (key, text) = match error {
            QueryError::Labels(error) => ("defaultEndpoint.labelSelector", error.to_string()),
            QueryError::Path(error) => ("defaultEndpoint.statusQuery.jsonPath", error.to_string()),
            error => ("defaultEndpoint", error.to_string()),
        };
        self.refuse(key, &text);
    }
}

fn label_selector(written: LabelSelector) -> wire::LabelSelector {
    match written {
        LabelSelector::Pairs(pairs) => wire::LabelSelector::Pairs(pairs),
        LabelSelector::Text(text) => wire::LabelSelector::Text(text),
    }
}
