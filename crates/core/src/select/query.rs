//! A query, checked and compiled.

use std::collections::BTreeMap;

use udp_director_wire as wire;
use wire::{LabelSelector, StatusQuery};

use super::explain::Filter;
use super::labels::{Selector, SelectorError};
use super::path::{Path, PathError};
use super::status::StatusMatch;
use crate::inventory::BackendSpec;

/// What a backend must be, checked and ready to match.
///
/// Bounds: [`Selector::MAX_BYTES`] and [`Selector::MAX_REQUIREMENTS`] on labels,
/// [`Query::MAX_ANNOTATIONS`], [`Query::MAX_EXPECTED`], [`Query::MAX_AVOIDED`],
/// [`Query::MAX_STICKY_KEY_BYTES`], and those of [`Path`]. A query beyond one of them is refused, never cut.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    resource_type: String,
    namespace: Option<String>,
    labels: Selector,
    annotations: BTreeMap<String, String>,
    status: Option<StatusMatch>,
    sticky_key: Option<String>,
}

/// What is wrong with a query. The client is at fault, and repeating the query makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The label selector.
    #[error("labelSelector: {0}")]
    Labels(#[from] SelectorError),
    /// More annotations than [`Query::MAX_ANNOTATIONS`].
    #[error("annotationSelector has more than {} entries", Query::MAX_ANNOTATIONS)]
    TooManyAnnotations,
    /// The JSONPath.
    #[error("statusQuery.jsonPath: {0}")]
    Path(#[from] PathError),
    /// Neither `expectedValue` nor `expectedValues`, or both, or no value.
    #[error("statusQuery takes either expectedValue, or expectedValues with at least one value")]
    Expected,
    /// More values than [`Query::MAX_EXPECTED`].
    #[error("statusQuery.expectedValues has more than {} values", Query::MAX_EXPECTED)]
    TooManyExpected,
    /// More tokens than [`Query::MAX_AVOIDED`].
    #[error("avoid has more than {} tokens", Query::MAX_AVOIDED)]
    TooManyAvoided,
    /// Longer than [`Query::MAX_STICKY_KEY_BYTES`], or empty, which would send everybody to one backend.
    #[error("stickyKey has 1 to {max} bytes, not {0}", max = Query::MAX_STICKY_KEY_BYTES)]
    StickyKey(usize),
}

impl Query {
    /// The largest number of annotations.
    pub const MAX_ANNOTATIONS: usize = 64;
    /// The largest number of expected values.
    pub const MAX_EXPECTED: usize = 64;
    /// The largest number of backends to avoid.
    pub const MAX_AVOIDED: usize = 8;
    /// The longest sticky key, in bytes.
    pub const MAX_STICKY_KEY_BYTES: usize = 256;

    /// Checks and compiles a query as a client sent it.
    ///
    /// # Errors
    /// Names the field, what is wrong there and what is right.
    pub fn compile(query: &wire::Query) -> Result<Query, QueryError> {
        if query.avoid.len() > Query::MAX_AVOIDED {
            return Err(QueryError::TooManyAvoided);
        }
        Ok(Query {
            resource_type: query.resource_type.clone(),
            namespace: query.namespace.clone(),
            labels: query.label_selector.as_ref().map_or(Ok(Selector::default()), labels)?,
            annotations: query.annotation_selector.as_ref().map_or(Ok(BTreeMap::new()), annotations)?,
            status: query.status_query.as_ref().map(status).transpose()?,
            sticky_key: query.sticky_key.as_deref().map(sticky_key).transpose()?,
        })
    }

    /// The name of the resource mapping that is asked for.
    pub fn resource_type(&self) -> &str {
        &self.resource_type
    }

    /// The namespace that is asked for; `None` means every one.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The labels that are asked for.
    pub fn labels(&self) -> &Selector {
        &self.labels
    }

    /// The player or party that is to get the same backend each time.
    pub fn sticky_key(&self) -> Option<&str> {
        self.sticky_key.as_deref()
    }

    /// The same without a sticky key.
    #[must_use]
    pub fn for_anyone(self) -> Query {
        Query { sticky_key: None, ..self }
    }

    /// Whether any backend of the type and namespace that has the labels which are looked up will do.
    pub(super) fn asks_for_labels_that_are_looked_up(&self) -> bool {
        self.labels.is_looked_up() && self.annotations.is_empty() && self.status.is_none()
    }

    /// The first thing that is asked for and that a backend is not; `None` where it is what is asked for.
    pub(super) fn first_mismatch(&self, spec: &BackendSpec) -> Option<Filter> {
        if let Some(requirement) = self.labels.first_failing(&spec.labels) {
            return Some(Filter::Label(requirement));
        }
        let lacks = |(key, value): &(&String, &String)| spec.annotations.get(*key) != Some(*value);
        if let Some((key, _)) = self.annotations.iter().find(lacks) {
            return Some(Filter::Annotation(key.clone()));
        }
        let status = self.status.as_ref().is_none_or(|status| status.matches(&spec.view));
        (!status).then_some(Filter::Status)
    }

    /// Whether a backend is what is asked for, whether or not it accepts players.
    pub fn matches(&self, spec: &BackendSpec) -> bool {
        *self.resource_type == *spec.resource_type
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == spec.namespace)
            && self.labels.matches(&spec.labels)
            && self.annotations.iter().all(|(key, value)| spec.annotations.get(key) == Some(value))
            && self.status.as_ref().is_none_or(|status| status.matches(&spec.view))
    }
}

fn labels(selector: &LabelSelector) -> Result<Selector, SelectorError> {
    match selector {
        LabelSelector::Pairs(pairs) => Selector::from_pairs(pairs),
        LabelSelector::Text(text) => Selector::parse(text),
    }
}

fn annotations(pairs: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, QueryError> {
    if pairs.len() > Query::MAX_ANNOTATIONS {
        return Err(QueryError::TooManyAnnotations);
    }
    Ok(pairs.clone())
}

fn status(query: &StatusQuery) -> Result<StatusMatch, QueryError> {
    let expected = match (&query.expected_value, &query.expected_values) {
        (Some(value), None) => vec![value.clone()],
        (None, Some(values)) if values.len() > Query::MAX_EXPECTED => {
            return Err(QueryError::TooManyExpected);
        }
        (None, Some(values)) if !values.is_empty() => values.clone(),
        _ => return Err(QueryError::Expected),
    };
    Ok(StatusMatch { path: Path::parse(&query.json_path)?, expected })
}

fn sticky_key(key: &str) -> Result<String, QueryError> {
    match key.len() {
        1..=Query::MAX_STICKY_KEY_BYTES => Ok(key.to_owned()),
        length => Err(QueryError::StickyKey(length)),
    }
}

#[cfg(test)]
mod tests;
