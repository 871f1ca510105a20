//! The way to the task of one session: a mailbox with room for one letter.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::net::TcpStream;
use tokio::sync::oneshot;
use udp_director_core::{BackendAddr, MovedBy, Refusal, Seat};

use crate::Taken;

/// What a session's task is asked to do.
#[derive(Debug)]
pub(super) enum Letter {
    /// Migrate to a backend that is connected to already.
    Switch(Box<Switch>),
    /// End, unless the session has left that seat: its backend is gone.
    Close(Arc<Seat>),
    /// Look at the settings again.
    Reconsider,
}

/// A migration that lacks nothing but the session's own step.
#[derive(Debug)]
pub(super) struct Switch {
    /// The connection to the new backend; `None` where the session stays on its backend.
    pub(super) beside: Option<Beside>,
    /// Where that is.
    pub(super) addr: BackendAddr,
    /// What allows it.
    pub(super) by: MovedBy,
    /// Who waits for the outcome.
    pub(super) reply: oneshot::Sender<Result<(), Refusal>>,
}

/// A connection to a second backend, beside the one that the session still has.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) stream: TcpStream,
    pub(super) descriptor: Taken,
}

/// Room for one letter: what a task has not read yet is replaced by what matters more, and else the
/// newcomer is refused. (A channel would cost a kilobyte for each idle connection.)
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    /// Guards the letter and who waits for one.
    post: Mutex<Post>,
}

#[derive(Debug, Default)]
struct Post {
    letter: Option<Letter>,
    reader: Option<Waker>,
}

impl Mailbox {
    /// Leaves a letter for the task. Closing comes before all else, migrating before reconsidering.
    ///
    /// # Errors
    /// A letter that matters as much or more waits already.
    pub(super) fn post(&self, letter: Letter) -> Result<(), Refusal> {
        let mut post = self.lock();
        match (&post.letter, &letter) {
            (None | Some(Letter::Reconsider), _) | (Some(_), Letter::Close(_)) => post.letter = Some(letter),
            (Some(_), Letter::Switch(_) | Letter::Reconsider) => return Err(Refusal::WorkerBusy),
        }
        let reader = post.reader.take();
        drop(post);
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    /// Waits for a letter. For the session's one task alone.
    pub(super) async fn next(&self) -> Letter {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Letter> {
        let mut post = self.lock();
        if let Some(letter) = post.letter.take() {
            return Poll::Ready(letter);
        }
        match &mut post.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Post> {
        self.post.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
