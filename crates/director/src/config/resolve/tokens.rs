//! Tokens: their kind and their keys.

use std::path::Path;

use super::Resolver;
use crate::config::Tokens;
use crate::config::document::{self, TokenKind};

impl Resolver<'_> {
    /// What tokens are, and what they are sealed by.
    pub(super) fn tokens(&mut self, written: document::Tokens, directory: &Path) -> Option<Tokens> {
        let keys = written.keys.map(|keys| directory.join(keys.dir));
        let sealed = match (written.kind, &keys) {
            (Some(TokenKind::Sealed), None) => {
                return self
                    .refused("tokens", "sealed tokens need \"keys\", such as {dir: /etc/udp-director/keys}");
            }
            (Some(TokenKind::Random), _) | (None, None) => false,
            (Some(TokenKind::Sealed) | None, Some(_)) => true,
        };
        Some(Tokens { sealed, bind_client_ip: written.bind_client_ip, keys, cluster_id: written.cluster_id })
    }
}
