//! What may be asked for: the resource types and their namespaces, as the configuration has them.

use std::collections::HashMap;
use std::sync::Arc;

use udp_director_core::Balancer;
use udp_director_wire::{ErrorCode, Query};

use crate::allocation::Allocating;

/// What may be asked for and how it is answered: immutable, replaced as a whole on a reload.
#[derive(Debug, Default)]
pub struct Catalog {
    /// What may be asked for, by name.
    pub resource_types: HashMap<String, ResourceType>,
    /// Whether tokens are sealed, where there is a key.
    pub seal_tokens: bool,
    /// Whether only the IP that asked may redeem a token.
    pub bind_client_ip: bool,
    /// Whether answers tell the backend's address.
    pub expose_backend: bool,
}

/// One resource mapping, as far as queries see it.
#[derive(Debug)]
pub struct ResourceType {
    /// The namespaces that may be asked for; empty allows every one.
    pub namespaces: Vec<String>,
    /// How one of the backends that match is picked.
    pub balancer: Arc<Balancer>,
    /// How servers are allocated, if they are.
    pub allocating: Option<Arc<Allocating>>,
}

/// Why a query may not be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotListed {
    /// No such resource type, or not in that namespace: the two look the same from outside.
    #[error("Unknown resource type: {0}")]
    Unknown(String),
    /// Nothing says which of several namespaces is meant.
    #[error("Invalid query: resource type {0} is in more than one namespace, so `namespace` is required")]
    NamespaceRequired(String),
}

impl NotListed {
    /// The code to answer with.
    pub fn code(&self) -> ErrorCode {
        match self {
            NotListed::Unknown(_) => ErrorCode::UnknownResourceType,
            NotListed::NamespaceRequired(_) => ErrorCode::InvalidQuery,
        }
    }
}

impl Catalog {
    /// The resource type that the query asks for. Where that has just one namespace and the query
    /// names none, it is filled in.
    ///
    /// # Errors
    /// The query asks for something that is not listed here.
    pub fn admit(&self, query: &mut Query) -> Result<&ResourceType, NotListed> {
        let listed = self.resource_types.get(&query.resource_type);
        let listed =
            listed.filter(|listed| query.namespace.as_ref().is_none_or(|asked| listed.allows(asked)));
        let Some(listed) = listed else {
            return Err(NotListed::Unknown(query.resource_type.clone()));
        };
        if query.namespace.is_none() {
            let [only] = &listed.namespaces[..] else {
                return Err(NotListed::NamespaceRequired(query.resource_type.clone()));
            };
            query.namespace = Some(only.clone());
        }
        Ok(listed)
    }
}

impl ResourceType {
    fn allows(&self, namespace: &String) -> bool {
        self.namespaces.is_empty() || self.namespaces.contains(namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(listed: &[&str], asked: Option<&str>) -> Result<Option<String>, ErrorCode> {
        let namespaces = listed.iter().map(|&name| name.to_owned()).collect();
        let listed = ResourceType { namespaces, balancer: Arc::default(), allocating: None };
        let catalog = Catalog { resource_types: [("gs".to_owned(), listed)].into(), ..Catalog::default() };
        let namespace = asked.map(str::to_owned);
        let mut query = Query { resource_type: "gs".into(), namespace, ..Query::default() };
        catalog.admit(&mut query).map_err(|error| error.code())?;
        Ok(query.namespace)
    }

    #[test]
    fn namespace_may_be_left_out_where_there_is_just_one() {
        let is = |namespace: &str| Ok(Some(namespace.to_owned()));
        for (listed, asked, admitted) in [
            (&["a"][..], None, is("a")),
            (&["a"], Some("a"), is("a")),
            (&["a", "b"], Some("b"), is("b")),
            (&["a", "b"], None, Err(ErrorCode::InvalidQuery)),
            (&[], None, Err(ErrorCode::InvalidQuery)),
            (&[], Some("any"), is("any")),
        ] {
            assert_eq!(admit(listed, asked), admitted, "{listed:?} {asked:?}");
        }
    }

    #[test]
    fn namespace_that_is_not_allowed_looks_like_a_type_that_is_unknown() {
        let catalog = Catalog {
            resource_types: [(
                "gs".to_owned(),
                ResourceType { namespaces: vec!["a".into()], balancer: Arc::default(), allocating: None },
            )]
            .into(),
            ..Catalog::default()
        };
        let refusal = |resource_type: &str, namespace: &str| {
            let mut query = Query {
                resource_type: resource_type.into(),
                namespace: Some(namespace.into()),
                ..Query::default()
            };
            catalog.admit(&mut query).expect_err("not listed").to_string()
        };
        assert_eq!(refusal("gs", "kube-system"), "Unknown resource type: gs");
        assert_eq!(refusal("pods", "a"), "Unknown resource type: pods");
    }
}
