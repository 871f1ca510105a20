//! Where documents end in a stream of bytes.
//!
//! ```text
//!  {"resourceType": "lobby"}\n   {\n  "resourceType": "lobby"\n}\n   nonsense\n   {"cut": \n{"next"...
//!  |-------- object -------|     |---------- object ----------|    |-line-|     |-line-| |-- ...
//! ```
//! An object ends with its closing brace, wherever that stands: a client that waits for its answer
//! without having sent a newline gets it at once, and an object may be spread over lines. Everything
//! else ends with its line, and so does an object that cannot go on: a newline inside a string, or
//! the next line begins with a brace. Where documents end does not depend on how the bytes arrive.
//!
//! Each byte is looked at once. Whether a document is valid JSON is for the parser to say.

use std::ops::Range;

/// The longest document, in bytes, without the newline behind it.
pub(super) const MAX_DOCUMENT_BYTES: usize = 65_536;

/// Cuts a stream of bytes into documents.
///
/// Holds no more than one incomplete document and what was pushed since the last one was taken out.
#[derive(Debug, Default)]
pub(super) struct Framer {
    bytes: Vec<u8>,
    /// Where the document at hand begins; before it, all is done with.
    start: usize,
    /// Up to where bytes have been looked at.
    scanned: usize,
    shape: Shape,
}

/// A document is longer than [`MAX_DOCUMENT_BYTES`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// What has been received of a document that is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pending {
    /// Nothing.
    Nothing,
    /// Its beginning.
    Begun,
    /// Its beginning, up to the end of a line: an object that goes on in the next line, or is cut.
    Lines,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Shape {
    #[default]
    Blank,
    Line,
    Object {
        depth: u32,
        within: Within,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Structure,
    /// Just behind a newline.
    NewLine,
    String,
    /// Behind a backslash in a string.
    Escape,
}

/// What a byte is to the document at hand.
enum Step {
    Goes(Shape),
    /// The document has ended before this byte.
    EndsBefore,
    /// This byte is the document's last.
    EndsWith,
}

impl Framer {
    /// Takes what was received.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.forget_done();
        self.bytes.extend_from_slice(bytes);
    }

    /// The next complete document; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The document at hand is too long. There is no next one.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, TooLarge> {
        while let Some(&byte) = self.bytes.get(self.scanned) {
            match self.shape.step(byte) {
                Step::Goes(shape) => self.advance(shape)?,
                Step::EndsBefore => return Ok(Some(self.take(self.scanned))),
                Step::EndsWith => {
                    self.advance(Shape::Blank)?;
                    return Ok(Some(self.take(self.scanned)));
                }
            }
        }
        Ok(None)
    }

    /// What is left, as the last document; `None` when nothing is. For the end of the stream, or of
    /// the wait for the next line.
    pub(super) fn rest(&mut self) -> Option<&[u8]> {
        match self.pending() {
            Pending::Nothing => None,
            Pending::Begun | Pending::Lines => Some(self.take(self.scanned)),
        }
    }

    /// What has been received of a document that is not complete, after [`Framer::next`] gave `None`.
    pub(super) fn pending(&self) -> Pending {
        match self.shape {
            Shape::Blank => Pending::Nothing,
            Shape::Object { within: Within::NewLine, .. } => Pending::Lines,
            Shape::Line | Shape::Object { .. } => Pending::Begun,
        }
    }

    /// How many bytes are held that have not been taken out.
    pub(super) fn held(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Gives memory back, all but `bytes`, when nothing is held.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        self.forget_done();
        self.bytes.shrink_to(bytes);
    }

    /// The memory held, in bytes.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    fn advance(&mut self, shape: Shape) -> Result<(), TooLarge> {
        let blank = self.shape == Shape::Blank && shape == Shape::Blank;
        self.shape = shape;
        self.scanned += 1;
        if blank {
            self.start = self.scanned;
        }
        if self.scanned - self.start > MAX_DOCUMENT_BYTES { Err(TooLarge) } else { Ok(()) }
    }

    fn take(&mut self, end: usize) -> &[u8] {
        let document = Range { start: self.start, end };
        self.start = end;
        self.shape = Shape::Blank;
        &self.bytes[document]
    }

    fn forget_done(&mut self) {
        self.bytes.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
    }
}

impl Shape {
    fn step(self, byte: u8) -> Step {
        match (self, byte) {
            (Shape::Blank, b' ' | b'\t' | b'\r' | b'\n') => Step::Goes(Shape::Blank),
            (Shape::Blank, b'{') => Step::Goes(Shape::Object { depth: 1, within: Within::Structure }),
            (Shape::Blank, _) => Step::Goes(Shape::Line),
            (Shape::Line, b'\n') => Step::EndsBefore,
            (Shape::Line, _) => Step::Goes(Shape::Line),
            (Shape::Object { depth, within }, byte) => within.step(depth, byte),
        }
    }
}

impl Within {
    fn step(self, depth: u32, byte: u8) -> Step {
        let goes = |depth, within| Step::Goes(Shape::Object { depth, within });
        match (self, byte) {
            (Within::String | Within::Escape, b'\n') => Step::EndsBefore,
            (Within::String, b'\\') => goes(depth, Within::Escape),
            (Within::String, b'"') => goes(depth, Within::Structure),
            (Within::String | Within::Escape, _) => goes(depth, Within::String),
            (Within::NewLine, b'{') => Step::EndsBefore,
            (_, b'{') => goes(depth + 1, Within::Structure),
            (_, b'}') if depth == 1 => Step::EndsWith,
            (_, b'}') => goes(depth - 1, Within::Structure),
            (_, b'"') => goes(depth, Within::String),
            (_, b'\n') => goes(depth, Within::NewLine),
            _ => goes(depth, Within::Structure),
        }
    }
}

#[cfg(test)]
mod tests;
