//! An allocator that keeps large freed blocks for the next request.
//!
//! A training step requests some hundred blocks of megabytes and frees them, with the same sizes in
//! every step. The system's allocators return such blocks to the operating system, which then has
//! to zero and map each page again. That takes a fifth of the step. A program that trains sets this
//! one as its global allocator. Small blocks go to the system's allocator.
//!
//! For new blocks of 2 MiB and more, Linux is asked for huge pages, and for smaller ones for all
//! pages at once. A program's first result waits for thousands of pages, and a network's kernels
//! are read faster from few.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The smallest block that is kept.
const LARGE: usize = 64 << 10;

/// The most blocks that are kept, and the most bytes.
const BLOCKS: usize = 512;
const BYTES: usize = 768 << 20;

/// The size of a cache line.
const LINE: usize = 64;

/// The size of a huge page, and the smallest block that has them.
const HUGE: usize = 2 << 20;

/// The alignment of kept blocks of so many bytes.
const fn alignment(size: usize) -> usize {
    if size < HUGE { LINE } else { HUGE }
}

/// The system's allocator, except that freed large blocks are kept, up to 768 MiB.
pub struct Reuse {
    kept: Mutex<Kept>,
}

/// The free blocks as address and size, the least recently used first.
struct Kept {
    blocks: [(usize, usize); BLOCKS],
    count: usize,
    bytes: usize,
}

impl Reuse {
    /// An allocator that has kept no block yet.
    pub const fn new() -> Self {
        Self {
            kept: Mutex::new(Kept {
                blocks: [(0, 0); BLOCKS],
                count: 0,
                bytes: 0,
            }),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Reuse {
    fn default() -> Self {
        Self::new()
    }
}

impl Kept {
    /// Takes the most recently used block of this size.
    fn take(&mut self, size: usize) -> Option<*mut u8> {
        let found = self.blocks[..self.count]
            .iter()
            .rposition(|block| block.1 == size)?;
        Some(self.remove(found) as *mut u8)
    }

    fn remove(&mut self, at: usize) -> usize {
        let (address, size) = self.blocks[at];
        self.blocks.copy_within(at + 1..self.count, at);
        self.count -= 1;
        self.bytes -= size;
        address
    }

    /// Takes the least recently used block if there is no room for one of `size`.
    fn crowded(&mut self, size: usize) -> Option<(*mut u8, usize)> {
        let full = self.count == BLOCKS || self.bytes + size > BYTES;
        let oldest = self.blocks[..self.count]
            .first()
            .copied()
            .filter(|_| full)?;
        Some((self.remove(0) as *mut u8, oldest.1))
    }

    fn put(&mut self, address: *mut u8, size: usize) {
        self.blocks[self.count] = (address as usize, size);
        self.count += 1;
        self.bytes += size;
    }
}

/// The block for a large request: its size rounded up by at most an eighth, so that similar sizes
/// share blocks.
fn block(layout: Layout) -> Option<Layout> {
    let size = layout.size();
    if !(LARGE..=BYTES).contains(&size) || layout.align() > LINE {
        return None;
    }
    let step = 1 << (size.ilog2() - 3);
    let size = size.next_multiple_of(step);
    Layout::from_size_align(size, alignment(size)).ok()
}

/// A new block of the system's for a request of `size` bytes, which are taken to be used soon.
fn new(block: Layout, size: usize) -> *mut u8 {
    // SAFETY: a block has a size.
    let address = unsafe { System.alloc(block) };
    if !address.is_null() {
        provide(address, block, size);
    }
    address
}

/// Asks for few pages, or else for many at once: each page that is missing when it is touched is an
/// interrupt. An older system may know neither.
#[cfg(target_os = "linux")]
fn provide(address: *mut u8, block: Layout, size: usize) {
    const PAGE: usize = 4 << 10;
    let (size, advice) = match size < HUGE {
        true => (size, libc::MADV_POPULATE_WRITE),
        false => (block.size(), libc::MADV_HUGEPAGE),
    };
    // The whole pages among these bytes.
    let start = address.align_offset(PAGE);
    let len = size.saturating_sub(start) / PAGE * PAGE;
    // SAFETY: neither advice changes the bytes, which are the caller's.
    unsafe { libc::madvise(address.wrapping_add(start).cast(), len, advice) };
}

#[cfg(not(target_os = "linux"))]
fn provide(_: *mut u8, _: Layout, _: usize) {}

/// Whether [`widen_heap`] may change the system's allocator, and has not yet.
static MAY_WIDEN: AtomicBool = AtomicBool::new(false);

/// Allows [`widen_heap`]: for a program, not for a library in another one's process.
pub fn allow_wide_heap() {
    MAY_WIDEN.store(true, Ordering::Relaxed);
}

/// Lets glibc's allocator, which has the small blocks and those of other libraries, take memory
/// from one heap in huge pages, and keep what is freed, if the program allows it. ONNX Runtime
/// builds a session from many blocks of some megabytes, which it frees again: without this, it
/// waits for 12,000 pages. Elsewhere than in Linux with glibc, nothing is changed.
pub fn widen_heap() {
    if !MAY_WIDEN.swap(false, Ordering::Relaxed) {
        return;
    }
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// The largest block that may come from the heap.
        const LARGEST: i32 = 32 << 20;
        /// How much the heap grows at a time.
        const GROWTH: i32 = 64 << 20;
        // SAFETY: settings of the allocator. The advice is for the heap from the block, which is
        // still there, to the heap's end, and changes no bytes.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST);
            libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
            libc::mallopt(libc::M_TOP_PAD, GROWTH);
            let block = libc::malloc(HUGE);
            if block.is_null() {
                return;
            }
            let start = block.cast::<u8>().wrapping_add(block.align_offset(HUGE));
            let end = libc::sbrk(0);
            if let Some(len) = (end as usize).checked_sub(start as usize) {
                libc::madvise(start.cast(), len, libc::MADV_HUGEPAGE);
            }
            libc::free(block);
        }
    }
}

// SAFETY: small blocks are the system's; a large one is the system's of the size and alignment that
// `block` computes from the request's layout, the same on the way back, and is handed out only
// while it is not in use.
unsafe impl GlobalAlloc for Reuse {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe {
            match block(layout) {
                None => System.alloc(layout),
                Some(block) => {
                    let kept = self.kept().take(block.size());
                    kept.unwrap_or_else(|| new(block, layout.size()))
                }
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`; a kept block has room for the layout's size.
        unsafe {
            match block(layout) {
                None => System.alloc_zeroed(layout),
                Some(block) => {
                    let kept = self.kept().take(block.size());
                    let address = kept.unwrap_or_else(|| new(block, layout.size()));
                    if !address.is_null() {
                        address.write_bytes(0, layout.size());
                    }
                    address
                }
            }
        }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: `block` gives the layout that `alloc` asked the system for; what is crowded out
        // was kept, so it has its own size and this alignment.
        unsafe {
            let Some(block) = block(layout) else {
                return System.dealloc(address, layout);
            };
            loop {
                let mut kept = self.kept();
                let Some((oldest, size)) = kept.crowded(block.size()) else {
                    kept.put(address, block.size());
                    return;
                };
                drop(kept);
                let oldest_block = Layout::from_size_align_unchecked(size, alignment(size));
                System.dealloc(oldest, oldest_block);
            }
        }
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise that the new size is not an overflow; both blocks have room
        // for what is copied.
        unsafe {
            let new_layout = Layout::from_size_align_unchecked(new_size, layout.align());
            match (block(layout), block(new_layout)) {
                (None, None) => System.realloc(address, layout, new_size),
                (old, new) if old == new => address,
                _ => {
                    let new = self.alloc(new_layout);
                    if !new.is_null() {
                        new.copy_from_nonoverlapping(address, layout.size().min(new_size));
                        self.dealloc(address, layout);
                    }
                    new
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 4).unwrap()
    }

    #[test]
    fn a_block_that_came_back_is_given_out_again_and_cleared_if_asked() {
        let memory = Reuse::new();
        // SAFETY: every block is given back once, with its layout, and written within its size.
        unsafe {
            let first = memory.alloc(layout(1_000_000));
            first.write_bytes(7, 1_000_000);
            let second = memory.alloc(layout(1_000_000));
            assert_ne!(first, second);
            memory.dealloc(first, layout(1_000_000));
            assert_eq!(memory.kept().bytes, 1_048_576);
            let zeroed = memory.alloc_zeroed(layout(990_000));
            assert_eq!(zeroed, first, "of nearly the same size");
            assert!(
                std::slice::from_raw_parts(zeroed, 990_000)
                    .iter()
                    .all(|b| *b == 0)
            );
            // A block that grows within its room keeps its address. A block that grows beyond it
            // moves with its contents, to a huge page's beginning if it has become so large.
            zeroed.write_bytes(9, 990_000);
            assert_eq!(memory.realloc(zeroed, layout(990_000), 1_010_000), zeroed);
            let moved = memory.realloc(zeroed, layout(1_010_000), 3_000_000);
            assert_eq!(moved.align_offset(HUGE), 0);
            assert!(
                std::slice::from_raw_parts(moved, 990_000)
                    .iter()
                    .all(|b| *b == 9)
            );
            let small = memory.realloc(moved, layout(3_000_000), 1_000);
            assert!(
                std::slice::from_raw_parts(small, 1_000)
                    .iter()
                    .all(|b| *b == 9)
            );
            memory.dealloc(small, layout(1_000));
            memory.dealloc(second, layout(1_000_000));
        }
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes_and_number() {
        let memory = Reuse::new();
        // SAFETY: as above; nothing is written.
        unsafe {
            for (size, count) in [(100 << 20, 12), (LARGE, 2 * BLOCKS)] {
                let blocks: Vec<_> = (0..count).map(|_| memory.alloc(layout(size))).collect();
                for address in blocks {
                    memory.dealloc(address, layout(size));
                    let kept = memory.kept();
                    assert!(kept.bytes <= BYTES && kept.count <= BLOCKS);
                    assert_eq!(
                        kept.bytes,
                        kept.blocks[..kept.count].iter().map(|b| b.1).sum::<usize>()
                    );
                }
            }
            assert!(memory.kept().count == BLOCKS);
        }
    }

    #[test]
    fn no_two_have_the_same_block() {
        let memory = Reuse::new();
        std::thread::scope(|scope| {
            for thread in 0..4u8 {
                let memory = &memory;
                scope.spawn(move || {
                    for round in 0..200usize {
                        let sizes =
                            [70_000, 71_000, 200_000, 1_000].map(|s| s + round * 13 % 5_000);
                        // SAFETY: as above.
                        unsafe {
                            let blocks = sizes.map(|size| memory.alloc(layout(size)));
                            for (block, size) in blocks.iter().zip(sizes) {
                                block.write_bytes(thread + 1, size);
                            }
                            for (block, size) in blocks.into_iter().zip(sizes) {
                                let bytes = std::slice::from_raw_parts(block, size);
                                assert!(bytes.iter().all(|b| *b == thread + 1));
                                memory.dealloc(block, layout(size));
                            }
                        }
                    }
                });
            }
        });
    }
}
