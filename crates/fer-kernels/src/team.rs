//! Loops over all threads: those of rayon's pool, or a team of them that stays together for many
//! short loops, as those of a network of small layers.
//!
//! A thread pool's threads sleep between two loops. To wake one takes as long as a small layer, and
//! on a busy machine far longer. [`together`] keeps all of the pool's threads but one in a loop, in
//! which they wait for the next work, until all of it is done. The calling thread leads and works
//! too. It waits for nobody to begin: of threads that are late, the others do the part.
//!
//! The thread that is left does what the leader, or another thread of the program, asks of the pool
//! meanwhile. So there is one team at a time: two might keep all threads, and each leader wait for
//! one.

use std::cell::Cell;
use std::mem::transmute;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::threads;

/// After this many looks for work, a thread lets others run before each look.
const PATIENCE: usize = 4_000;

/// Tasks of a loop: their number, and the next one, have 16 bits each in a ticket.
const MOST: usize = u16::MAX as usize;

/// Whether there is a team.
static TAKEN: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The team that this thread leads.
    static LED: Cell<*const Team> = const { Cell::new(ptr::null()) };
    /// Whether this thread helps a team.
    static HELPS: Cell<bool> = const { Cell::new(false) };
}

/// Runs `body`, whose loops by [`parallel`] the pool's threads join. If there is a team already, or
/// on the pool itself, they are the pool's loops.
pub(super) fn together<R>(body: impl FnOnce() -> R) -> R {
    if !LED.get().is_null() {
        return body();
    }
    threads::start(None);
    // A thread of the pool that leads would do its helpers' work while it waits for the pool, and
    // so wait for itself.
    if rayon::current_thread_index().is_some() || TAKEN.swap(true, Ordering::Acquire) {
        return body();
    }
    let team = Arc::new(Team::default());
    for _ in 1..tasks() {
        let team = team.clone();
        rayon::spawn(move || team.help());
    }
    LED.set(&*team);
    // Also if the body panics.
    let _end = End(&team);
    body()
}

/// Calls `body` with 0..`count`, on all threads of the team that this thread leads, or of the pool.
pub(super) fn parallel(count: usize, body: impl Fn(usize) + Sync + Send) {
    let led = LED.get();
    match count {
        0 => (),
        1 => body(0),
        2..=MOST if !led.is_null() => {
            // A loop in a task is the pool's.
            LED.set(ptr::null());
            // SAFETY: `together` has the team for as long as this thread leads it.
            unsafe { &*led }.run(count, &body);
            LED.set(led);
        }
        _ => (0..count).into_par_iter().for_each(body),
    }
}

/// Into how many tasks work is best cut, on the thread pool.
pub(super) fn tasks() -> usize {
    rayon::current_num_threads()
}

/// Runs where [`parallel`] loops start fastest: here, if this thread leads a team, else on the
/// pool.
pub(super) fn on_pool<R: Send>(body: impl FnOnce() -> R + Send) -> R {
    if !LED.get().is_null() {
        return body();
    }
    threads::start(None);
    rayon::join(body, || ()).0
}

/// The end of a team's work.
struct End<'a>(&'a Team);

impl Drop for End<'_> {
    fn drop(&mut self) {
        LED.set(ptr::null());
        self.0.done.store(true, Ordering::Release);
        TAKEN.store(false, Ordering::Release);
    }
}

type Body<'a> = &'a (dyn Fn(usize) + Sync);

/// What a team works on.
#[derive(Default)]
struct Team {
    /// The number of the loop (32 bits), of its tasks (16), and of the next task (16).
    ticket: AtomicU64,
    /// The loop's body, a `Body` of the leader's.
    body: AtomicPtr<Body<'static>>,
    /// The finished tasks of the loop.
    finished: AtomicUsize,
    /// Whether a task of another thread panicked.
    failed: AtomicBool,
    done: AtomicBool,
}

impl Team {
    /// All tasks of a loop, by the leader.
    fn run(&self, count: usize, body: Body) {
        // SAFETY: this returns when all tasks are finished, and only who took a task reads it.
        let mut body: Body<'static> = unsafe { transmute(body) };
        self.body.store(&raw mut body, Ordering::Relaxed);
        self.finished.store(0, Ordering::Relaxed);
        let number = (self.ticket.load(Ordering::Relaxed) >> 32) + 1;
        let first = number << 32 | (count as u64) << 16;
        self.ticket.store(first, Ordering::Release);
        // If a task panics here, others may still be busy with theirs.
        let wait = Wait(self, count);
        while self.step() {}
        drop(wait);
        if self.failed.load(Ordering::Relaxed) {
            resume_unwind(Box::new("another thread of the team panicked"));
        }
    }

    /// Takes a task and does it, if there is one.
    fn step(&self) -> bool {
        let ticket = self.ticket.load(Ordering::Acquire);
        let (count, next) = (ticket >> 16 & 0xffff, ticket & 0xffff);
        if next >= count {
            return false;
        }
        let taken = self.ticket.compare_exchange_weak(
            ticket,
            ticket + 1,
            Ordering::Acquire,
            Ordering::Relaxed,
        );
        if taken.is_ok() {
            let mut finished = Finished(self, true);
            // SAFETY: the loop is not over before this task of it is finished.
            let body = unsafe { *self.body.load(Ordering::Relaxed) };
            body(next as usize);
            finished.1 = false;
        }
        true
    }

    /// The tasks of all loops that are left, by another thread.
    fn help(&self) {
        // A thread that waits for the pool in a task may be given another helper's part, which has
        // no end before the task has.
        if HELPS.replace(true) {
            return;
        }
        let mut looks = 0;
        while !self.done.load(Ordering::Acquire) {
            let worked = catch_unwind(AssertUnwindSafe(|| self.step()));
            match worked {
                Ok(true) => looks = 0,
                Ok(false) => pause(&mut looks),
                Err(_) => looks = 0,
            }
        }
        HELPS.set(false);
    }
}

/// A task that is finished when this is dropped, also if it panics (`true`): the leader passes that
/// on.
struct Finished<'a>(&'a Team, bool);

impl Drop for Finished<'_> {
    fn drop(&mut self) {
        if self.1 {
            self.0.failed.store(true, Ordering::Relaxed);
        }
        self.0.finished.fetch_add(1, Ordering::Release);
    }
}

/// Waits for a loop's tasks when it is dropped.
struct Wait<'a>(&'a Team, usize);

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut looks = 0;
        // After a panic, nobody takes the tasks that are left but this and the helpers.
        while self.0.finished.load(Ordering::Acquire) < self.1 {
            if !std::thread::panicking() || !self.skip() {
                pause(&mut looks);
            }
        }
    }
}

impl Wait<'_> {
    /// Takes a task and leaves it out.
    fn skip(&self) -> bool {
        let ticket = self.0.ticket.load(Ordering::Acquire);
        let (count, next) = (ticket >> 16 & 0xffff, ticket & 0xffff);
        let taken = next < count && {
            let (taken, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
            let exchanged = (self.0.ticket).compare_exchange(ticket, ticket + 1, taken, relaxed);
            exchanged.is_ok()
        };
        if taken {
            drop(Finished(self.0, true));
        }
        taken
    }
}

fn pause(looks: &mut usize) {
    *looks += 1;
    if *looks < PATIENCE {
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn counted(count: usize) -> Vec<usize> {
        let done: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
        on_pool(|| {
            parallel(count, |i| {
                done[i].fetch_add(1, Ordering::Relaxed);
            });
        });
        done.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn each_task_of_many_loops_is_done_once() {
        for _ in 0..50 {
            let all = together(|| {
                let mut all = true;
                for count in (0..200).chain([MOST + 1]) {
                    all &= counted(count) == vec![1; count];
                }
                // A loop in a loop.
                let inner = AtomicUsize::new(0);
                parallel(20, |_| {
                    parallel(10, |_| {
                        inner.fetch_add(1, Ordering::Relaxed);
                    });
                });
                all &= inner.into_inner() == 200;
                // A team in a team is the same.
                all && together(|| counted(30)) == [1; 30]
            });
            assert!(all);
        }
        assert_eq!(counted(9), [1; 9], "without a team");
    }

    #[test]
    fn many_threads_use_the_pool_in_their_teams() {
        let (ended, end) = std::sync::mpsc::channel();
        for _ in 0..4 {
            let ended = ended.clone();
            std::thread::spawn(move || {
                for _ in 0..300 {
                    let sum = together(|| {
                        let all = counted(30) == [1; 30];
                        // As an operation of Burn's does.
                        let sum: usize = (0..1_000).into_par_iter().sum();
                        let inner = AtomicUsize::new(0);
                        parallel(8, |_| {
                            let sum: usize = (0..100).into_par_iter().sum();
                            inner.fetch_add(sum, Ordering::Relaxed);
                        });
                        all && inner.into_inner() == 8 * 4_950 && sum == 499_500
                    });
                    assert!(sum);
                    // On a thread of the pool.
                    assert!(rayon::join(|| together(|| counted(30) == [1; 30]), || ()).0);
                }
                ended.send(()).unwrap();
            });
        }
        for _ in 0..4 {
            // A thread that fails sends nothing.
            end.recv_timeout(std::time::Duration::from_secs(120))
                .expect("a team that ends");
        }
    }

    #[test]
    fn a_panic_ends_the_team() {
        for bad in [0, 5, 63] {
            let run = || {
                together(|| parallel(64, |i| assert_ne!(i, bad)));
            };
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
            assert!(together(|| counted(64)) == [1; 64]);
        }
    }
}
