//! What a process before this one has left, from rows to records.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use udp_director_core::{
    Backend, BackendId, BackendSpec, Inventory, Moment, SessionRecord, StickyRecord, TokenRecord, Wanted,
};
use udp_director_wire::Token;

use super::form::{BackendForm, SessionForm, StickyForm, Today, TokenForm};
use super::store::{FORMAT, Row, Rows};

/// What a process before this one has left, as far as it can be read.
#[derive(Debug, Default)]
pub(crate) struct Left {
    backends: HashMap<u64, BackendSpec>,
    wants: HashMap<u64, String>,
    sessions: Vec<(u64, SessionForm)>,
    tokens: HashMap<u64, (Token, TokenForm)>,
    sticky: Vec<(String, StickyForm)>,
    /// How many rows cannot be read.
    pub(crate) unreadable: usize,
    /// A newer process wrote it: what that knew beyond this one is lost.
    pub(crate) is_newer: bool,
}

/// Makes what was asked for out of its text again; `None` where it cannot be asked any more.
type Wanting<'a> = dyn FnMut(&str) -> Option<Arc<Wanted>> + 'a;

/// Records ready to be restored, on backends as they were.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) sessions: Vec<SessionRecord>,
    pub(crate) tokens: Vec<TokenRecord>,
    pub(crate) sticky: Vec<StickyRecord>,
    /// How many name a backend that is not there.
    pub(crate) unreadable: usize,
}

impl From<Rows> for Left {
    fn from(rows: Rows) -> Left {
        let mut left = Left { is_newer: rows.format > FORMAT, ..Left::default() };
        for Row(number, row) in rows.backends {
            if let Some(form) = left.parsed::<BackendForm>(row) {
                left.backends.insert(number, form.spec());
            }
        }
        for Row(number, row) in rows.wants {
            let text = row.and_then(|row| String::from_utf8(row).ok());
            left.wants.extend(text.map(|text| (number, text)));
        }
        for Row(id, row) in rows.sessions {
            let form = left.unpacked(row);
            left.sessions.extend(form.map(|form| (id, form)));
        }
        for Row(number, row) in rows.tokens {
            let form = left.unpacked::<TokenForm>(row);
            left.tokens.extend(form.and_then(|form| Some((number, (form.token()?, form)))));
        }
        for Row(key, row) in rows.sticky {
            let form = left.parsed(row);
            left.sticky.extend(form.map(|form| (key, form)));
        }
        left
    }
}

impl Left {
    /// There is something, and none of it can be read.
    pub(super) fn unreadable() -> Left {
        Left { unreadable: 1, ..Left::default() }
    }

    fn unpacked<T: DeserializeOwned>(&mut self, row: Option<Vec<u8>>) -> Option<T> {
        let form = row.and_then(|row| postcard::from_bytes(&row).ok());
        self.unreadable += usize::from(form.is_none());
        form
    }

    fn parsed<T: DeserializeOwned>(&mut self, row: Option<Vec<u8>>) -> Option<T> {
        let form = row.and_then(|row| serde_json::from_slice(&row).ok());
        self.unreadable += usize::from(form.is_none());
        form
    }

    /// Whether there is nothing to restore.
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.tokens.is_empty() && self.sticky.is_empty()
    }

    /// The backends as they were. None of them takes new players.
    pub(crate) fn inventory(&self) -> Inventory {
        Inventory::default().next(self.backends.values().cloned().collect(), Vec::new())
    }

    /// The records, on the backends of that inventory.
    pub(crate) fn records(self, inventory: &Inventory, now: Moment, wanting: &mut Wanting<'_>) -> Records {
        let today = Today { moment: now, time: SystemTime::now() };
        let ids: HashMap<u64, BackendId> =
            self.backends.into_iter().map(|(number, spec)| (number, spec.id)).collect();
        let backend =
            |number: u64| -> Option<Arc<Backend>> { inventory.by_id(ids.get(&number)?).map(Arc::clone) };
        let wants: HashMap<u64, Option<Arc<Wanted>>> =
            self.wants.iter().map(|(number, text)| (*number, wanting(text))).collect();
        let all = self.sessions.len() + self.tokens.len();
        let names: HashMap<u64, Token> =
            self.tokens.iter().map(|(number, (token, _))| (*number, *token)).collect();
        let session = |(id, form): (u64, SessionForm)| {
            let (backend, token) = (backend(form.backend)?, form.token);
            form.record(id, backend, token.and_then(|number| names.get(&number).copied()))
        };
        let token = |(token, form): (Token, TokenForm)| {
            let (backend, wanted) = (backend(form.backend)?, form.wanted);
            let wanted = wanted.and_then(|number| wants.get(&number)?.clone());
            Some(TokenRecord { wanted, ..form.record(token, backend, &today) })
        };
        let sessions: Vec<_> = self.sessions.into_iter().filter_map(session).collect();
        let tokens: Vec<_> = self.tokens.into_values().filter_map(token).collect();
        let sticky = self.sticky.into_iter().map(|(key, form)| form.record(&key, &today)).collect();
        let unreadable = all - sessions.len() - tokens.len();
        Records { sessions, tokens, sticky, unreadable }
    }
}
