//! What stands in for the standard library in the component: an allocator made for calls, and a panic that traps.
//!
//! With the standard library, growing a string is enough to make a panic message reachable, and with it come 13 WASI
//! interfaces and 60 KB of code that this policy never uses. Without it, the component imports nothing but the types of
//! its own contract, whatever the decisions are made of. It deliberately has no way to print anything.
#![allow(unsafe_code)] // `cabi_realloc` is called with raw memory by the host; and allocators are unsafe by nature.

use alloc::alloc::{alloc, realloc};
use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::panic::PanicInfo;

/// Bytes of a page of memory, and how many pages are asked for at once, at least.
const PAGE: usize = 64 << 10;
const PAGES: usize = 8;
/// Blocks of 16 bytes, 32, and so on to 64 KiB have a list of free ones each. They begin at multiples of the first.
const SMALLEST: usize = 16;
const SIZES: usize = 13;

/// Gives out memory in a row, blocks that are free again first, and begins at the start once nothing is in use: after each
/// call, since the policy keeps nothing. With a general allocator decisions take twice as long.
struct Row {
    start: Cell<usize>,
    next: Cell<usize>,
    end: Cell<usize>,
    /// Blocks in use.
    blocks: Cell<usize>,
    /// The first free block of each size, which begins with the address of the next; 0: there is none.
    free: [Cell<usize>; SIZES],
}

#[global_allocator]
static ALLOCATOR: Row = Row {
    start: Cell::new(0),
    next: Cell::new(0),
    end: Cell::new(0),
    blocks: Cell::new(0),
    free: [const { Cell::new(0) }; SIZES],
};

// SAFETY: a component has one thread.
unsafe impl Sync for Row {}

impl Row {
    /// The free blocks that are as this one is to be, and their size; `None`: it is too large for that.
    fn blocks_like(&self, layout: Layout) -> Option<(&Cell<usize>, usize)> {
        let size = layout.size().max(SMALLEST).checked_next_power_of_two()?;
        let list = self.free.get((size / SMALLEST).trailing_zeros() as usize)?;
        (layout.align() <= SMALLEST).then_some((list, size))
    }

    /// A block at the end of the row. What the memory grows by follows what is there: nobody else makes it grow.
    fn at_the_end(&self, size: usize, align: usize) -> Option<usize> {
        if self.end.get() == 0 {
            let end = core::arch::wasm32::memory_size::<0>() * PAGE;
            (self.start.set(end), self.next.set(end), self.end.set(end));
        }
        let block = self.next.get().checked_next_multiple_of(align.max(SMALLEST))?;
        let end = block.checked_add(size)?;
        if end > self.end.get() {
            let pages = (end - self.end.get()).div_ceil(PAGE).max(PAGES);
            core::arch::wasm32::memory_grow::<0>(pages).checked_add(1)?; // usize::MAX: there is no more
            self.end.set(self.end.get() + pages * PAGE);
        }
        self.next.set(end);
        Some(block)
    }
}

// SAFETY: each block is a part of the memory that no other block in use has.
unsafe impl GlobalAlloc for Row {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = match self.blocks_like(layout) {
            Some((list, _)) if list.get() != 0 => {
                let block = list.get();
                // SAFETY: a free block of the list; `dealloc` has written the next one's address into it.
                list.set(unsafe { core::ptr::with_exposed_provenance::<usize>(block).read() });
                Some(block)
            }
            Some((_, size)) => self.at_the_end(size, SMALLEST),
            None => self.at_the_end(layout.size(), layout.align()),
        };
        let Some(block) = block else { return core::ptr::null_mut() };
        self.blocks.set(self.blocks.get() + 1);
        core::ptr::with_exposed_provenance_mut(block)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.blocks.set(self.blocks.get() - 1);
        if self.blocks.get() == 0 {
            self.next.set(self.start.get());
            self.free.iter().for_each(|list| list.set(0));
        } else if let Some((list, _)) = self.blocks_like(layout) {
            // SAFETY: the block is free, long enough, and begins at a multiple of 16.
            unsafe { block.cast::<usize>().write(list.get()) };
            list.set(block.expose_provenance());
        } else if block.addr() + layout.size() == self.next.get() {
            self.next.set(block.addr());
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller says that the new size and the alignment make a layout.
        let wanted = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        let size = |layout| self.blocks_like(layout).map(|(_, size)| size);
        if size(layout).is_some() && size(layout) == size(wanted) {
            return block;
        }
        // SAFETY: both blocks are at least as long as what is copied, and they are not the same.
        unsafe {
            let new = self.alloc(wanted);
            if !new.is_null() {
                core::ptr::copy_nonoverlapping(block, new, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

// The compiler expects a C library for `memcmp`; nothing else of it is linked.
#[link(name = "c")]
unsafe extern "C" {}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

/// Where the host puts arguments (canonical ABI, `realloc`). It has to use the allocator that frees them later, so the
/// one of the C library will not do.
///
/// # Safety
///
/// Only the canonical ABI calls it: `old` is null with `old_len` 0, or came from here with the same alignment.
#[unsafe(no_mangle)]
unsafe extern "C" fn cabi_realloc(old: *mut u8, old_len: usize, align: usize, new_len: usize) -> *mut u8 {
    if new_len == 0 {
        return core::ptr::without_provenance_mut(align);
    }
    let Ok(layout) = Layout::from_size_align(if old_len == 0 { new_len } else { old_len }, align) else {
        core::arch::wasm32::unreachable()
    };
    // SAFETY: the size of `layout` is not 0, and `old` was allocated with it if there is one.
    let new = unsafe { if old_len == 0 { alloc(layout) } else { realloc(old, layout, new_len) } };
    if new.is_null() {
        core::arch::wasm32::unreachable()
    }
    new
}
