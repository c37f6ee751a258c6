//! Memory that was freed goes back to the system.

/// Gives back what the allocator keeps of memory that was freed, for whoever has just freed a good deal of
/// it and will not need it again soon. It takes a moment for each MiB, in which threads that want memory
/// beyond what they have at hand may wait: not for an engine's thread, and not often.
pub fn give_memory_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    trim();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a function of the C library")]
fn trim() {
    // SAFETY: it takes no pointer and touches only what is free. Any thread may call it at any time
    // (malloc_trim(3): MT-Safe). That nothing could be given back is no error.
    let _ = unsafe { libc::malloc_trim(0) };
}
