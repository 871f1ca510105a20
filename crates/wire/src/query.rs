//! The JSON documents of the query port.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::token::Token;

/// One document from a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Asks for a server.
    Query(Query),
    /// Moves a running session.
    SessionReset(SessionReset),
}

/// Asks for a server. Field names are camelCase; snake_case is read too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Query {
    /// The name of a resource mapping.
    #[serde(alias = "resource_type")]
    pub resource_type: String,
    /// The Kubernetes namespace; may be left out where the mapping has just one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Which labels a resource must have.
    #[serde(default, alias = "label_selector", skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// Annotations that a resource must have, with exactly these values.
    #[serde(default, alias = "annotation_selector", skip_serializing_if = "Option::is_none")]
    pub annotation_selector: Option<BTreeMap<String, String>>,
    /// What the resource's status must say.
    #[serde(default, alias = "status_query", skip_serializing_if = "Option::is_none")]
    pub status_query: Option<StatusQuery>,
    /// A player or party id: the same key gets the same backend while it matches.
    #[serde(default, alias = "sticky_key", skip_serializing_if = "Option::is_none")]
    pub sticky_key: Option<String>,
    /// Tokens of sessions that run or have just ended: the backends that they led to will not do.
    #[serde(default, with = "token_list", skip_serializing_if = "Vec::is_empty")]
    pub avoid: Vec<Token>,
    /// Whose IP the token is for; only an authorised matchmaker may name another than its own.
    #[serde(default, alias = "client_ip", skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<IpAddr>,
    /// For how many seconds a query that finds nothing is held until something matches; at most
    /// [`Query::MAX_WAIT_SECONDS`]. Left out, it is answered at once.
    #[serde(
        default,
        alias = "wait_seconds",
        deserialize_with = "wait_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub wait_seconds: Option<u8>,
}

impl Query {
    /// The longest that a query may ask to be held, in seconds.
    pub const MAX_WAIT_SECONDS: u8 = 60;
}

/// A label selector as it is written: exact pairs, or the Kubernetes selector syntax.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum LabelSelector {
    /// `{"key": "value", ...}`: every pair must be there.
    Pairs(BTreeMap<String, String>),
    /// `key=value,key2 in (a,b),!key3`, as `kubectl -l` takes it.
    Text(String),
}

/// A condition on a resource's status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StatusQuery {
    /// A JSONPath (RFC 9535); the leading `$.` may be left out.
    #[serde(alias = "json_path")]
    pub json_path: String,
    /// The value that the path must give.
    #[serde(
        default,
        alias = "expected_value",
        deserialize_with = "any_value",
        skip_serializing_if = "Option::is_none"
    )]
    pub expected_value: Option<Value>,
    /// The values of which the path must give one.
    #[serde(default, alias = "expected_values", skip_serializing_if = "Option::is_none")]
    pub expected_values: Option<Vec<Value>>,
}

/// Moves a running session to the backend of a new token, for clients that cannot send a control
/// packet.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionReset {
    /// The token of the running session.
    #[serde(deserialize_with = "token_text", serialize_with = "token_str")]
    pub session: Token,
    /// The token to move to.
    #[serde(deserialize_with = "token_text", serialize_with = "token_str")]
    pub token: Token,
}

/// The answer to a query that found a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The token to send first on a data port.
    #[serde(deserialize_with = "token_text", serialize_with = "token_str")]
    pub token: Token,
    /// For how long the token can be redeemed, in seconds.
    pub expires_in_seconds: u64,
    /// The public port of each listener that the server can be reached on, by listener name.
    pub ports: BTreeMap<String, u16>,
    /// The server's own address; only where the configuration says `exposeBackend: true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
}

/// The answer to a [`SessionReset`] that moved something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetAnswer {
    /// How many sessions were moved.
    pub migrated: usize,
}

/// The answer to a document that got nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorAnswer {
    /// For people.
    pub error: String,
    /// For programs.
    pub code: ErrorCode,
}

/// Why a document got nothing: the closed set of `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not JSON.
    InvalidJson,
    /// JSON, but not a document that this port knows.
    InvalidQuery,
    /// Longer than 64 KiB.
    TooLarge,
    /// No mapping of that name, or one that may not be asked so.
    UnknownResourceType,
    /// Nothing matches now.
    NoMatchingResources,
    /// The token is unknown, expired, used up or not for this client.
    InvalidToken,
    /// The client may not do that.
    Forbidden,
    /// The new server cannot be reached; the session stays where it was.
    BackendUnreachable,
    /// The director is at one of its bounds; trying again later makes sense.
    Overloaded,
    /// The director takes no new players; another one does, at the same address.
    Draining,
    /// The document did not arrive in time.
    Timeout,
    /// No server could be allocated, or it did not show in time; trying again later makes sense.
    AllocationFailed,
}

impl ErrorCode {
    /// Every code, in the order of their declaration.
    pub const ALL: [ErrorCode; 12] = [
        ErrorCode::InvalidJson,
        ErrorCode::InvalidQuery,
        ErrorCode::TooLarge,
        ErrorCode::UnknownResourceType,
        ErrorCode::NoMatchingResources,
        ErrorCode::InvalidToken,
        ErrorCode::Forbidden,
        ErrorCode::BackendUnreachable,
        ErrorCode::Overloaded,
        ErrorCode::Draining,
        ErrorCode::Timeout,
        ErrorCode::AllocationFailed,
    ];

    /// The code as it stands in the answer and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::InvalidJson => "invalid_json",
            ErrorCode::InvalidQuery => "invalid_query",
            ErrorCode::TooLarge => "too_large",
            ErrorCode::UnknownResourceType => "unknown_resource_type",
            ErrorCode::NoMatchingResources => "no_matching_resources",
            ErrorCode::InvalidToken => "invalid_token",
            ErrorCode::Forbidden => "forbidden",
            ErrorCode::BackendUnreachable => "backend_unreachable",
            ErrorCode::Overloaded => "overloaded",
            ErrorCode::Draining => "draining",
            ErrorCode::Timeout => "timeout",
            ErrorCode::AllocationFailed => "allocation_failed",
        }
    }
}

/// Why a document could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Not JSON at all.
    #[error("Invalid JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// JSON with a field missing, unknown or of the wrong type.
    #[error("Invalid query: {0}")]
    Shape(#[source] serde_json::Error),
    /// JSON, but no object, or of an unknown `type`.
    #[error("Invalid query: {0}")]
    Type(String),
}

impl RequestError {
    /// The code to answer with.
    pub fn code(&self) -> ErrorCode {
        match self {
            RequestError::Json(_) => ErrorCode::InvalidJson,
            RequestError::Shape(_) | RequestError::Type(_) => ErrorCode::InvalidQuery,
        }
    }
}

/// Reads one document, without the newline behind it.
///
/// # Errors
/// Names what is wrong: the JSON (with line and column), a field, or the `type`.
pub fn parse_request(document: &[u8]) -> Result<Request, RequestError> {
    let mut value: Value = serde_json::from_slice(document).map_err(RequestError::Json)?;
    let Some(object) = value.as_object_mut() else {
        return Err(RequestError::Type("a document is a JSON object".into()));
    };
    // serde would take a list as the fields in their order.
    if ["statusQuery", "status_query"].iter().any(|key| object.get(*key).is_some_and(Value::is_array)) {
        return Err(RequestError::Type("statusQuery is an object".into()));
    }
    let kind = object.remove("type").unwrap_or_else(|| "query".into());
    match kind.as_str() {
        Some("query") => Query::deserialize(value).map(Request::Query).map_err(RequestError::Shape),
        Some("sessionReset" | "session_reset") => {
            SessionReset::deserialize(value).map(Request::SessionReset).map_err(RequestError::Shape)
        }
        _ => Err(RequestError::Type(format!("type is \"query\" or \"sessionReset\", not {kind}"))),
    }
}

impl<'de> Deserialize<'de> for LabelSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LabelSelectorVisitor)
    }
}

struct LabelSelectorVisitor;

impl<'de> Visitor<'de> for LabelSelectorVisitor {
    type Value = LabelSelector;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a label selector: an object of strings, or a text such as \"app=lobby,tier in (a,b)\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<LabelSelector, E> {
        Ok(LabelSelector::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LabelSelector, A::Error> {
        BTreeMap::deserialize(de::value::MapAccessDeserializer::new(map)).map(LabelSelector::Pairs)
    }
}

/// `null` is a value to compare with, not a field that is left out.
fn any_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

fn wait_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
    let seconds = u64::deserialize(deserializer)?;
    let within = u8::try_from(seconds).ok().filter(|seconds| *seconds <= Query::MAX_WAIT_SECONDS);
    let refusal = || format!("waitSeconds is at most {}, not {seconds}", Query::MAX_WAIT_SECONDS);
    within.map(Some).ok_or_else(|| de::Error::custom(refusal()))
}

fn token_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Token, D::Error> {
    let text = String::deserialize(deserializer)?;
    Token::from_bytes(text.as_bytes())
        .ok_or_else(|| de::Error::custom("a token has 36 visible ASCII characters"))
}

fn token_str<S: serde::Serializer>(token: &Token, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token.as_str())
}

/// Tokens as a list of texts, or one alone.
mod token_list {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Token, token_text};

    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a token of 36 visible ASCII characters, or a list of such tokens")]
    enum Tokens {
        One(#[serde(deserialize_with = "token_text")] Token),
        Many(Vec<Text>),
    }

    #[derive(Deserialize)]
    struct Text(#[serde(deserialize_with = "token_text")] Token);

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Token>, D::Error> {
        Ok(match Tokens::deserialize(deserializer)? {
            Tokens::One(token) => vec![token],
            Tokens::Many(texts) => texts.into_iter().map(|Text(token)| token).collect(),
        })
    }

    pub(super) fn serialize<S: Serializer>(tokens: &[Token], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(tokens.iter().map(Token::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        match parse_request(text.as_bytes()) {
            Ok(Request::Query(query)) => query,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn refusal(text: &str) -> (String, ErrorCode) {
        let error = parse_request(text.as_bytes()).expect_err(text);
        (error.to_string(), error.code())
    }

    #[test]
    fn both_spellings_read_the_same() {
        let camel = query(
            r#"{"type":"query","resourceType":"gs","namespace":"n","labelSelector":{"a":"b"},
                "annotationSelector":{"c":"d"},"statusQuery":{"jsonPath":"status.state","expectedValue":"Ready"},
                "stickyKey":"k","clientIp":"192.0.2.1","waitSeconds":5}"#,
        );
        let snake = query(
            r#"{"resource_type":"gs","namespace":"n","label_selector":{"a":"b"},
                "annotation_selector":{"c":"d"},"status_query":{"json_path":"status.state","expected_value":"Ready"},
                "sticky_key":"k","client_ip":"192.0.2.1","wait_seconds":5}"#,
        );
        assert_eq!(camel, snake);
        assert_eq!(camel.sticky_key.as_deref(), Some("k"));
    }

    #[test]
    fn label_selector_is_an_object_or_a_text() {
        let text = query(r#"{"resourceType":"gs","labelSelector":"a in (b,c)"}"#);
        assert_eq!(text.label_selector, Some(LabelSelector::Text("a in (b,c)".into())));
        let (error, _) = refusal(r#"{"resourceType":"gs","labelSelector":7}"#);
        assert!(error.contains("an object of strings"), "{error}");
    }

    #[test]
    fn avoided_is_one_token_or_a_list() {
        let (a, b) = ("a".repeat(36), "b".repeat(36));
        let avoided = |written: &str| {
            let avoid = query(&format!(r#"{{"resourceType":"gs","avoid":{written}}}"#)).avoid;
            avoid.iter().map(|token| token.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(avoided(&format!("{a:?}")), std::slice::from_ref(&a));
        assert_eq!(avoided(&format!("[{a:?},{b:?}]")), [a, b]);
        for wrong in ["7", r#""short""#, r#"["short"]"#, "null"] {
            let (error, _) = refusal(&format!(r#"{{"resourceType":"gs","avoid":{wrong}}}"#));
            assert!(error.contains("a token of 36 visible ASCII characters"), "{error}");
        }
    }

    #[test]
    fn null_is_a_value_to_expect() {
        let status = |text: &str| query(text).status_query.expect("a status query").expected_value;
        let null = r#"{"resourceType":"gs","statusQuery":{"jsonPath":"a","expectedValue":null}}"#;
        assert_eq!(status(null), Some(Value::Null));
        assert_eq!(status(r#"{"resourceType":"gs","statusQuery":{"jsonPath":"a"}}"#), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        use ErrorCode::{InvalidJson, InvalidQuery};
        for (document, text, code) in [
            ("{", "Invalid JSON: ", InvalidJson),
            ("", "Invalid JSON: ", InvalidJson),
            ("\u{ff}", "Invalid JSON: ", InvalidJson),
            ("[]", "a document is a JSON object", InvalidQuery),
            ("{}", "missing field `resourceType`", InvalidQuery),
            (r#"{"type":"dance"}"#, "not \"dance\"", InvalidQuery),
            (r#"{"resourceType":"a","labelselector":{}}"#, "unknown field `labelselector`", InvalidQuery),
            (r#"{"resourceType":1}"#, "expected a string", InvalidQuery),
            (r#"{"resourceType":"a","waitSeconds":-1}"#, "expected u64", InvalidQuery),
            (r#"{"resourceType":"a","waitSeconds":61}"#, "at most 60, not 61", InvalidQuery),
            (r#"{"resourceType":"a","wait_seconds":9999999}"#, "at most 60, not 9999999", InvalidQuery),
            (r#"{"resourceType":"a","waitSeconds":"5"}"#, "expected u64", InvalidQuery),
            (r#"{"resourceType":"a","statusQuery":["b","c",null]}"#, "is an object", InvalidQuery),
            (r#"{"type":"sessionReset","session":"x","token":"y"}"#, "36 visible", InvalidQuery),
        ] {
            let (error, got) = refusal(document);
            assert!(error.contains(text), "{document}: {error}");
            assert_eq!(got, code, "{document}");
        }
    }

    #[test]
    fn deeply_nested_input_is_refused_and_not_followed() {
        let deep = "[".repeat(60_000);
        assert_eq!(refusal(&deep).1, ErrorCode::InvalidJson);
    }

    #[test]
    fn code_reads_the_same_in_json_and_in_metrics() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).expect("a string"), code.as_str());
        }
    }
}
