//! Limits how far the workers may run ahead of the model, in items and in bytes.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Hands out the items in order, while there is room for their tensors.
pub(super) struct Window<I> {
    /// The remaining items. The thread that takes the next one holds the lock, even if that takes
    /// long.
    items: Mutex<I>,
    state: Mutex<State>,
    room: Condvar,
    /// The most items in progress.
    most_items: usize,
    /// The most bytes of waiting tensors. The item that is needed next is always handed out.
    most_bytes: usize,
}

#[derive(Default)]
struct State {
    /// There are no more items, or the work was ended.
    closed: bool,
    next: usize,
    taken: usize,
    bytes: usize,
}

impl<I: Iterator> Window<I> {
    pub(super) fn new(items: I, most_items: usize, most_bytes: usize) -> Self {
        Self {
            items: Mutex::new(items),
            state: Mutex::default(),
            room: Condvar::new(),
            most_items: most_items.max(1),
            most_bytes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next item and its index, once there is room for it; `None` at the end.
    pub(super) fn claim(&self) -> Option<(usize, I::Item)> {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |s: &mut State| {
            let ahead = s.next - s.taken;
            !s.closed && ahead > 0 && (ahead >= self.most_items || s.bytes >= self.most_bytes)
        };
        let state = self.room.wait_while(self.lock(), full);
        if state.unwrap_or_else(PoisonError::into_inner).closed {
            return None;
        }
        let Some(item) = items.next() else {
            self.close();
            return None;
        };
        let mut state = self.lock();
        state.next += 1;
        Some((state.next - 1, item))
    }

    /// Adds bytes that wait for the model.
    pub(super) fn holds(&self, bytes: usize) {
        self.lock().bytes += bytes;
    }

    /// Removes one item and its bytes.
    pub(super) fn taken(&self, bytes: usize) {
        let mut state = self.lock();
        state.taken += 1;
        state.bytes -= bytes;
        drop(state);
        self.room.notify_all();
    }

    /// Ends the work: no more items are handed out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.room.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_handed_out_while_there_is_room() {
        let window = Window::new(0..10, 3, 100);
        assert_eq!(window.claim(), Some((0, 0)));
        window.holds(99);
        assert_eq!(window.claim(), Some((1, 1)));
        window.holds(1);
        // Full by bytes: the third item waits until the first is taken.
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| window.claim());
            window.taken(99);
            assert_eq!(waiting.join().ok().flatten(), Some((2, 2)));
        });
        window.close();
        assert_eq!(window.claim(), None);
    }

    #[test]
    fn the_item_that_is_needed_next_always_passes() {
        let window = Window::new(0..2, 1, 10);
        assert_eq!(window.claim(), Some((0, 0)));
        window.holds(1000);
        window.taken(1000);
        window.holds(50);
        assert_eq!(window.claim(), Some((1, 1)), "nothing else is in hand");
        window.taken(50);
        assert_eq!(window.claim(), None);
    }
}
