//! Threads that write files while the work goes on.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use fer::panics;

type Job = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// Where a job is given, and where the threads take it.
type Jobs = (SyncSender<Job>, Arc<Mutex<Receiver<Job>>>);

/// The threads, one for each core at most. They are started when they are needed, and end when this
/// is dropped, after their last job.
#[derive(Default)]
pub struct Writers {
    /// A job waits here until a thread takes it, so that few are in memory.
    jobs: Option<Jobs>,
    threads: Vec<JoinHandle<()>>,
    /// The first error that was not reported yet.
    failed: Arc<Mutex<Option<io::Error>>>,
}

impl Writers {
    /// Hands a job over.
    ///
    /// # Errors
    /// An earlier job failed, or no thread can be started.
    pub fn add(&mut self, job: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
        self.failure()?;
        let (sender, receiver) = self.jobs.get_or_insert_with(|| {
            let (sender, receiver) = sync_channel(0);
            (sender, Arc::new(Mutex::new(receiver)))
        });
        if self.threads.len() < fer::cores() {
            let (receiver, failed) = (receiver.clone(), self.failed.clone());
            let thread = thread::Builder::new().name("writer".into());
            self.threads
                .push(thread.spawn(move || run(&receiver, &failed))?);
        }
        sender
            .send(Box::new(job))
            .map_err(|_| io::Error::other("the threads that write files have ended"))
    }

    /// Waits for all jobs.
    ///
    /// # Errors
    /// One of them failed.
    pub fn finish(mut self) -> io::Result<()> {
        self.end();
        self.failure()
    }

    fn failure(&self) -> io::Result<()> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.take().map_or(Ok(()), Err)
    }

    fn end(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // Jobs' panics were caught.
            let _ = thread.join();
        }
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.end();
    }
}

/// Does jobs until no more can come.
fn run(jobs: &Mutex<Receiver<Job>>, failed: &Mutex<Option<io::Error>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else {
            return;
        };
        // A thread that ended would leave the others' jobs waiting.
        let result = panics::caught(job).unwrap_or_else(|e| Err(io::Error::other(e)));
        if let Err(e) = result {
            failed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(e);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn all_jobs_are_done_and_an_error_is_reported() {
        let done = Arc::new(AtomicUsize::new(0));
        let mut writers = Writers::default();
        for _ in 0..20 {
            let done = done.clone();
            let job = move || {
                done.fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            writers.add(job).unwrap();
        }
        writers.finish().unwrap();
        assert_eq!(done.load(Ordering::Relaxed), 20);

        let mut writers = Writers::default();
        writers.add(|| Err(io::Error::other("full"))).unwrap();
        let found = writers.finish().unwrap_err();
        assert_eq!(found.to_string(), "full");

        let mut writers = Writers::default();
        writers.add(|| Err(io::Error::other("full"))).unwrap();
        // The next one but few notices.
        let next = (0..1000).find_map(|_| {
            thread::yield_now();
            writers.add(|| Ok(())).err()
        });
        assert_eq!(next.map(|e| e.to_string()).as_deref(), Some("full"));

        assert!(Writers::default().finish().is_ok());
    }
}
