//! What stands in for the standard library in the component: an allocator, and a panic that traps.
//!
//! With the standard library, growing a string is enough to make a panic message reachable, and with it come 13 WASI
//! interfaces and 60 KB of code that this policy never uses. Without it, the component imports nothing but the types of
//! its own contract, whatever the decisions are made of. It deliberately has no way to print anything.
#![allow(unsafe_code)] // `cabi_realloc` is called with raw memory by the host; nothing else here is unsafe.

use alloc::alloc::{Layout, alloc, realloc};
use core::panic::PanicInfo;

#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

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
