//! Tasks that someone waits for.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use lombard_telemetry::{Gauge, panic_message};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// The tasks of a process beside its calls. Cheap to clone; clones are the same set.
///
/// A task has a name, is counted, and its panic is logged. At the end all are waited
/// for: a task that runs for ever watches [`super::Shutdown`].
#[derive(Clone)]
pub struct Tasks(Arc<Inner>);

struct Inner {
    running: Mutex<Running>,
    ended: Notify,
    gauge: Gauge,
}

#[derive(Default)]
struct Running {
    next: u64,
    tasks: BTreeMap<u64, (&'static str, Option<AbortHandle>)>,
    /// No task is started any more.
    stopped: bool,
}

impl Tasks {
    pub(super) fn new(gauge: Gauge) -> Self {
        Self(Arc::new(Inner {
            running: Mutex::default(),
            ended: Notify::new(),
            gauge,
        }))
    }

    /// Runs a task on the runtime of the caller. After the end of the process has begun
    /// (see [`Tasks::stop`]) nothing is run any more.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the set that waits for tasks and logs their panics"
    )]
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let id = {
            let mut running = self.0.running.lock();
            if running.stopped {
                tracing::debug!(task = name, "not started: the process is stopping");
                return;
            }
            let id = running.next;
            running.next += 1;
            running.tasks.insert(id, (name, None));
            id
        };
        self.0.gauge.inc();
        let ending = Ending {
            inner: Arc::clone(&self.0),
            id,
        };
        let trace = lombard_telemetry::trace::current();
        let task = async move {
            let _ending = ending;
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                tracing::error!(
                    task = name,
                    panic = panic_message(panic.as_ref()),
                    "a task panicked"
                );
            }
        };
        let handle = match trace {
            Some(trace) => tokio::spawn(lombard_telemetry::trace::scope(trace, task)),
            None => tokio::spawn(task),
        };
        // It may have ended already.
        if let Some((_, abort)) = self.0.running.lock().tasks.get_mut(&id) {
            *abort = Some(handle.abort_handle());
        }
    }

    /// How many run.
    pub fn count(&self) -> usize {
        self.0.running.lock().tasks.len()
    }

    /// Takes no more tasks, waits for those that run, at most this long, and ends the
    /// rest; their names are returned.
    pub async fn stop(&self, patience: Duration) -> Vec<&'static str> {
        self.0.running.lock().stopped = true;
        let all_ended = async {
            loop {
                let ended = self.0.ended.notified();
                if self.count() == 0 {
                    return;
                }
                ended.await;
            }
        };
        if tokio::time::timeout(patience, all_ended).await.is_ok() {
            return Vec::new();
        }
        let left: Vec<_> = self.0.running.lock().tasks.values().cloned().collect();
        left.into_iter()
            .map(|(name, handle)| {
                if let Some(handle) = handle {
                    handle.abort();
                }
                name
            })
            .collect()
    }
}

/// Takes the task off the list when it ends, however it ends.
struct Ending {
    inner: Arc<Inner>,
    id: u64,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.inner.running.lock().tasks.remove(&self.id);
        self.inner.gauge.dec();
        self.inner.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_waits_for_tasks_and_ends_those_that_hang() {
        let tasks = Tasks::new(Gauge::default());
        let (tell, told) = tokio::sync::oneshot::channel();
        tasks.spawn("quick", async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            tell.send(()).unwrap();
        });
        tasks.spawn("panics", async { panic!("on purpose") });
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, Vec::<&str>::new());
        told.await.unwrap();
        assert_eq!(tasks.count(), 0);

        let tasks = Tasks::new(Gauge::default());
        tasks.spawn("hangs", std::future::pending());
        assert_eq!(tasks.stop(Duration::from_millis(5)).await, ["hangs"]);
        tasks.spawn("late", async {});
        tokio::task::yield_now().await;
        assert_eq!(tasks.count(), 0);
    }
}
