//! The forms that a text in the configuration can have to have.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;
use serde_json::Value;
use udp_director_core::{Path, Seal, Selector};
use udp_director_wire::Magic;

/// The form of a text: the schema's `format`, what is accepted, and how people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Form {
    /// An IP address, by the name that JSON Schema generators use for it.
    Ip,
    /// A network.
    Cidr,
    /// Magic bytes.
    Magic,
    /// The name of a data port.
    ListenerName,
    /// The name of a resource mapping.
    ResourceType,
    /// A label of RFC 1123: a namespace, a version, a plural resource name.
    DnsLabel,
    /// An API group: a subdomain of RFC 1123, or nothing.
    Group,
    /// The key of a Kubernetes label.
    LabelKey,
    /// Where a field stands in an object.
    FieldPath,
    /// The path of a URL.
    HttpPath,
    /// What sealed tokens are good for.
    ClusterId,
}

impl Form {
    const ALL: [Form; 11] = [
        Form::Ip,
        Form::Cidr,
        Form::Magic,
        Form::ListenerName,
        Form::ResourceType,
        Form::DnsLabel,
        Form::Group,
        Form::LabelKey,
        Form::FieldPath,
        Form::HttpPath,
        Form::ClusterId,
    ];

    /// The form of that `format`; `None` for formats that constrain no text here.
    pub(super) fn by_name(format: &Value) -> Option<Form> {
        Form::ALL.into_iter().find(|form| serde_json::to_value(form).is_ok_and(|name| name == *format))
    }

    /// Says whether `text` has this form.
    pub(super) fn admits(self, text: &str) -> bool {
        match self {
            Form::Ip => text.parse::<IpAddr>().is_ok(),
            Form::Cidr => text.parse::<IpNet>().is_ok(),
            Form::Magic => text.parse::<Magic>().is_ok(),
            Form::ListenerName => is_name(text, 63),
            Form::ResourceType => is_name(text, 253),
            Form::DnsLabel => is_dns_label(text),
            Form::Group => text.is_empty() || is_dns_subdomain(text),
            Form::LabelKey => is_label_key(text),
            Form::FieldPath => Path::parse(text).is_ok(),
            Form::HttpPath => text.starts_with('/') && text.parse::<hyper::Uri>().is_ok(),
            Form::ClusterId => text.is_empty() || is_name(text, Seal::MAX_CLUSTER_ID),
        }
    }

    /// The form in words, to follow "is".
    pub(super) fn words(self) -> &'static str {
        match self {
            Form::Ip => "an IP address, such as \"0.0.0.0\"",
            Form::Cidr => "a network in CIDR form, such as \"10.0.0.0/8\"",
            Form::Magic => "4 to 16 bytes in hexadecimal (8 to 32 digits), such as \"FFFFFFFF5245534554\"",
            Form::ListenerName => "a name of 1 to 63 letters, digits, \"-\", \"_\" and \".\"",
            Form::ResourceType => "a name of 1 to 253 letters, digits, \"-\", \"_\" and \".\"",
            Form::DnsLabel => "a Kubernetes name of 1 to 63 lower-case letters, digits and \"-\"",
            Form::Group => "an API group, such as \"agones.dev\", or \"\" for the core group",
            Form::LabelKey => "the key of a label, such as \"example.com/players\"",
            Form::FieldPath => "the path of a field, such as \"status.podIP\"",
            Form::HttpPath => "the path of a URL, such as \"/migrations\"",
            Form::ClusterId => "up to 63 letters, digits, \"-\", \"_\" and \".\"",
        }
    }
}

fn is_name(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn is_dns_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

/// What a selector takes as a key, with the empty value that every label may have.
fn is_label_key(text: &str) -> bool {
    Selector::from_pairs(&BTreeMap::from([(text.to_owned(), String::new())])).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_tells_right_from_wrong() {
        let long = "a".repeat(64);
        for (form, right, wrong) in [
            (Form::Ip, vec!["::", "0.0.0.0", "192.0.2.1"], vec!["", "localhost", "1.2.3", "::1%eth0"]),
            (Form::Cidr, vec!["127.0.0.0/8", "fd00::/8"], vec!["", "127.0.0.1", "10.0.0.0/33"]),
            (
                Form::Magic,
                vec!["FFFFFFFF", "ffffffff5245534554"],
                vec!["", "FFFFFF", "FFFFFFFFF", "GGGGGGGG"],
            ),
            (Form::ListenerName, vec!["game-udp", "a", &long[1..]], vec!["", "a b", "ä", &long]),
            (Form::ResourceType, vec!["game_server.v2", &long], vec!["", "a/b"]),
            (Form::DnsLabel, vec!["pods", "v1", "0"], vec!["", "-a", "a-", "A", "a.b", &long]),
            (Form::Group, vec!["", "agones.dev"], vec![".", "agones..dev", "Agones.dev"]),
            (
                Form::LabelKey,
                vec!["app", "example.com/currentUsers"],
                vec!["", "/app", "a/", "a/b/c", "-app", "app_"],
            ),
            (Form::FieldPath, vec!["status.ports[0].port"], vec!["", "a["]),
            (Form::ClusterId, vec!["", "games-1.eu", &long[1..]], vec!["a b", "a/b", &long]),
        ] {
            right.iter().for_each(|text| assert!(form.admits(text), "{form:?}: {text}"));
            wrong.iter().for_each(|text| assert!(!form.admits(text), "{form:?}: {text}"));
        }
    }

    #[test]
    fn form_is_found_by_the_name_it_has_in_the_schema() {
        for form in Form::ALL {
            assert_eq!(Form::by_name(&serde_json::to_value(form).expect("a name")), Some(form));
        }
        assert_eq!(Form::by_name(&"uint16".into()), None);
    }
}
