//! Gathering: what arrives while other work is on its way goes out together.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use lombard_store::Spawner;
use parking_lot::Mutex;

/// Does what was gathered, and tells each who waits.
pub type Work<T> = Arc<dyn Fn(Vec<T>) -> BoxFuture<'static, ()> + Send + Sync>;

/// What may go out together.
pub struct Limits {
    /// Tasks at once.
    pub at_once: usize,
    /// Items that one task takes at a time.
    pub items: usize,
    /// The sum of their weights, about.
    pub weight: usize,
}

/// Something that can be gathered.
pub trait Item: Send + 'static {
    /// Counts against [`Limits::weight`].
    fn weight(&self) -> usize;

    /// What no two of those that go out together may share.
    fn unique(&self) -> Option<Bytes>;
}

/// A queue, and the tasks that empty it: one more begins where something waits and
/// fewer run than may.
pub struct Gather<T> {
    state: Arc<State<T>>,
    spawner: Arc<dyn Spawner>,
}

struct State<T> {
    queue: Mutex<Queue<T>>,
    limits: Limits,
    work: Work<T>,
}

struct Queue<T> {
    waiting: VecDeque<T>,
    running: usize,
}

impl<T: Item> Gather<T> {
    /// Nothing waits yet.
    pub fn new(limits: Limits, spawner: Arc<dyn Spawner>, work: Work<T>) -> Self {
        Self {
            state: Arc::new(State {
                queue: Mutex::new(Queue {
                    waiting: VecDeque::new(),
                    running: 0,
                }),
                limits,
                work,
            }),
            spawner,
        }
    }

    /// Has it done with what else waits.
    pub fn add(&self, item: T) {
        let begins = {
            let mut queue = self.state.queue.lock();
            queue.waiting.push_back(item);
            let begins = queue.running < self.state.limits.at_once;
            if begins {
                queue.running += 1;
            }
            begins
        };
        if begins {
            let task = Running {
                state: self.state.clone(),
                ended: false,
            };
            self.spawner.spawn(Box::pin(task.run()));
        }
    }
}

/// A task that is counted among those that run.
struct Running<T: Item> {
    state: Arc<State<T>>,
    ended: bool,
}

impl<T: Item> Running<T> {
    async fn run(mut self) {
        while let Some(items) = self.next() {
            (self.state.work)(items).await;
        }
    }

    fn next(&mut self) -> Option<Vec<T>> {
        let mut queue = self.state.queue.lock();
        let items = queue.take(&self.state.limits);
        if items.is_empty() {
            // Said under the lock that an arrival takes: it will start another task.
            queue.running -= 1;
            self.ended = true;
            return None;
        }
        Some(items)
    }
}

impl<T: Item> Drop for Running<T> {
    fn drop(&mut self) {
        if !self.ended {
            // Cut short. Those who wait learn it when what they wait on is dropped.
            let mut queue = self.state.queue.lock();
            queue.running -= 1;
            if queue.running == 0 {
                queue.waiting.clear();
            }
        }
    }
}

impl<T: Item> Queue<T> {
    fn take(&mut self, limits: &Limits) -> Vec<T> {
        let mut items = Vec::new();
        let mut weight = 0;
        let mut unique = HashSet::new();
        while let Some(next) = self.waiting.front() {
            weight += next.weight();
            let room = items.is_empty() || (items.len() < limits.items && weight <= limits.weight);
            if !room || next.unique().is_some_and(|key| !unique.insert(key)) {
                break;
            }
            items.extend(self.waiting.pop_front());
        }
        items
    }
}
