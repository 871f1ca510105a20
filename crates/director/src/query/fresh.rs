//! Fresh tokens, of either kind.

use std::net::IpAddr;

use udp_director_core::{BackendId, Contents};
use udp_director_wire::Token;
use uuid::Uuid;

use super::answer::Responder;
use super::asking::Present;
use super::catalog::Catalog;

impl Responder {
    /// A token for that backend, which only that IP may redeem, or any. Where tokens are sealed, it is a
    /// random one all the same while another backend has the same handle: better that it is good on this
    /// replica alone than on none.
    pub(super) fn fresh_token(
        &self,
        catalog: &Catalog,
        present: &Present,
        backend: &BackendId,
        bound_to: Option<IpAddr>,
    ) -> Token {
        let sealed = catalog.seal_tokens.then(|| self.sealed_token(present, backend, bound_to));
        sealed.flatten().unwrap_or_else(random_token)
    }

    fn sealed_token(
        &self,
        present: &Present,
        backend: &BackendId,
        bound_to: Option<IpAddr>,
    ) -> Option<Token> {
        let seal = present.settings.seal.as_ref()?;
        let contents = Contents {
            expires: present.wall + present.settings.token_ttl,
            backend: present.inventory.handle_of(backend)?,
            nonce: self.nonces.draw(),
        };
        Some(seal.seal(&contents, bound_to))
    }
}

fn random_token() -> Token {
    let mut text = Uuid::encode_buffer();
    let text = Uuid::new_v4().hyphenated().encode_lower(&mut text);
    Token::from_bytes(text.as_bytes()).expect("the text form of a UUID has 36 visible characters")
}
