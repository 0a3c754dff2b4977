//! What waits, bounded in requests and in bytes. Room is given back when what took it is dropped,
//! so a request that is cancelled leaves the queue.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;
use crate::settings::Limits;

/// The room of a service.
pub(crate) struct Admission {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    decoders: Arc<Semaphore>,
    queue: usize,
    queue_bytes: usize,
}

/// Room that is taken until it is dropped.
pub(crate) type Room = OwnedSemaphorePermit;

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        let semaphore = |n: usize| Arc::new(Semaphore::new(n.clamp(1, Semaphore::MAX_PERMITS)));
        Self {
            requests: semaphore(limits.queue),
            bytes: semaphore(limits.queue_bytes as usize),
            streams: semaphore(limits.streams),
            decoders: semaphore(limits.decoders),
            queue: limits.queue.max(1),
            queue_bytes: (limits.queue_bytes as usize).max(1),
        }
    }

    /// Room for a request.
    pub(crate) fn request(&self) -> Result<Room, Problem> {
        let room = self.requests.clone().try_acquire_owned();
        room.map_err(|_| Problem::busy("waiting requests"))
    }

    /// Room for a request of a stream, whose frames wait for it.
    pub(crate) async fn frame(&self) -> Option<Room> {
        self.requests.clone().acquire_owned().await.ok()
    }

    /// Room for so many bytes more.
    pub(crate) fn bytes(&self, count: usize) -> Result<Room, Problem> {
        let full = || Problem::busy("bytes in memory");
        let count = u32::try_from(count).map_err(|_| full())?;
        let room = self.bytes.clone().try_acquire_many_owned(count);
        room.map_err(|_| full())
    }

    /// Room for a stream.
    pub(crate) fn stream(&self) -> Result<Room, Problem> {
        let room = self.streams.clone().try_acquire_owned();
        room.map_err(|_| Problem::busy("streams"))
    }

    /// Waits for a thread to decode on.
    pub(crate) async fn decoder(&self) -> Option<Room> {
        self.decoders.clone().acquire_owned().await.ok()
    }

    /// How many requests wait or run.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.saturating_sub(self.requests.available_permits())
    }

    /// How many bytes are held.
    pub(crate) fn held(&self) -> usize {
        self.queue_bytes
            .saturating_sub(self.bytes.available_permits())
    }
}
