//! Bytes as a script: numbers and pieces are read off its beginning.

use udp_director_wire::{Magic, TokenForm};

/// What is left of the bytes. An end that comes too early reads as zeros.
#[derive(Debug)]
pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Script<'a> {
        Script(bytes)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    /// One of the numbers below `count`.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    /// As many bytes as the next byte says.
    pub(crate) fn piece(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte());
        self.take(length)
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn magic(&mut self) -> Magic {
        let length = Magic::MIN_LEN + self.below(Magic::MAX_LEN - Magic::MIN_LEN + 1);
        let mut bytes = [0; Magic::MAX_LEN];
        let given = self.take(length);
        bytes[..given.len()].copy_from_slice(given);
        Magic::new(&bytes[..length]).expect("4 to 16 bytes")
    }

    pub(crate) fn token_form(&mut self) -> TokenForm {
        [TokenForm::Uuid, TokenForm::Base64Url][self.below(2)]
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
