//! The word that tasks are to end.
//!
//! It is given once the calls in progress have been answered, so that a task may
//! serve them until then; drain hooks run after it.

use tokio::sync::watch;

/// Says when a task that runs for ever is to end. Cheap to clone; clones are the same word.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Sender<bool>);

impl Shutdown {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Asks every task to end. Asking again changes nothing.
    pub fn request(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was asked for.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends when it is asked for.
    pub async fn requested(&self) {
        let mut word = self.0.subscribe();
        // The sender is `self`, so that this cannot fail.
        let _ = word.wait_for(|&requested| requested).await;
    }

    /// For a loop that must not borrow.
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }
}
