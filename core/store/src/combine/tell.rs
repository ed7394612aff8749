//! One teller, many listeners, woken in the order in which they began to listen:
//! so a run over the simulated engine repeats exactly. (`tokio::sync::watch`
//! wakes in an order of its own choice.)

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::Shared;

/// Tells once what became of something. Dropped before that, it ends the waiting, too.
pub(super) struct Teller<T: Clone> {
    sender: oneshot::Sender<T>,
    listener: Listener<T>,
}

/// Waits for what will be told; an error if the teller is gone.
pub(super) type Listener<T> = Shared<oneshot::Receiver<T>>;

impl<T: Clone> Teller<T> {
    /// Nothing is told yet.
    pub fn new() -> Self {
        let (sender, receiver) = oneshot::channel();
        Self {
            sender,
            listener: receiver.shared(),
        }
    }

    /// Another listener.
    pub fn listen(&self) -> Listener<T> {
        self.listener.clone()
    }

    /// Tells all listeners, and those who still come.
    pub fn tell(self, what: T) {
        // It fails only if nobody listens.
        let _ = self.sender.send(what);
    }
}
