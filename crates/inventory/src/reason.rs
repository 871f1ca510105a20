//! Why an object that a mapping claims does not become a backend.

use std::fmt;
use std::net::IpAddr;

use serde_json::Value;

use crate::mapping::MappingError;

/// Why an object is no backend.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Reason {
    #[error("{0}")]
    Mapping(#[from] MappingError),
    #[error("{0} is missing, empty or no text")]
    NotAText(&'static str),
    #[error("{0} is no mapping of texts")]
    NotTexts(&'static str),
    #[error("{field}[{key:?}] is no text; a number or boolean has to stand in quotes")]
    NotAQuotedText { field: &'static str, key: String },
    #[error("an object of that kind, namespace and name came before")]
    Duplicate,
    #[error("an object of that UID came before")]
    DuplicateUid,
    #[error("{what} takes {bytes} bytes, of which at most {most} are read")]
    TooLarge { what: &'static str, bytes: usize, most: usize },
    #[error("the Pod has ended, and its address may be another's")]
    Ended,
    #[error("the mapping has no addressPath, which only pods and gameservers can do without")]
    NoAddressPath,
    #[error("there is no address at {0}")]
    NoAddress(String),
    #[error("an IP address is due at {place}, not {found}")]
    NotAnAddress { place: String, found: Brief },
    #[error("{address} is {what}, and no allowed CIDR contains it")]
    Target { address: IpAddr, what: &'static str },
    #[error("{address} is no address of {holder} that the API knows; trustAddresses would do without")]
    Unproven { address: IpAddr, holder: &'static str },
    #[error("there is no port: looked for {0}")]
    NoPort(String),
    #[error("a port from 1 to 65535 is due at {place}, not {found}")]
    NotAPort { place: String, found: Brief },
    #[error("there is no Service with the label {label}={name}")]
    NoService { label: String, name: String },
    #[error("Service {service} has no endpoint address with a port named {port:?} in any EndpointSlice")]
    NoEndpoint { service: String, port: String },
}

/// A value from outside as it is shown: its beginning alone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Brief(String);

impl Brief {
    pub(crate) fn new(value: &Value) -> Brief {
        let text = match value {
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "a mapping".to_owned(),
            Value::String(text) => format!("{:?}", text.chars().take(SHOWN_CHARACTERS).collect::<String>()),
            scalar => scalar.to_string(),
        };
        Brief(text)
    }
}

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const SHOWN_CHARACTERS: usize = 64;
