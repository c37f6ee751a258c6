//! Ending the process where unwinding would do harm.

/// Ends the process where the thread that holds it panics.
///
/// On an engine thread: the other engines would go on as half a node. While sends are in the ring:
/// unwinding would free what the kernel still reads.
pub(crate) struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("an engine thread panicked; the process ends");
            std::process::abort();
        }
    }
}
