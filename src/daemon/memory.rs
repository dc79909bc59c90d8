//! How the allocator is to treat the daemon's memory. Elsewhere than on glibc nothing is asked of it.

/// Keeps the number of heaps down: every thread that answers questions would otherwise get, and keep, one of its own.
pub(super) fn few_heaps() {
    #[cfg(target_env = "gnu")]
    {
        #[expect(unsafe_code, reason = "the allocator's settings have no safe form")]
        // SAFETY: mallopt(3) may be called at any time; an unknown parameter is refused.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
    }
}

/// Gives free memory back to the system.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    {
        #[expect(unsafe_code, reason = "the allocator's functions have no safe form")]
        // SAFETY: malloc_trim(3) may be called at any time.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}
