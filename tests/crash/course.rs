//! What the runs of crashes and of chaos have in common, but for who acts in them: how long is waited, how
//! they are broken off, which bug they may have to find, and whose mistake an error is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::stage::Stage;
use crate::support::becomes_true;

/// How long the first streams may take to stand, and the last events to arrive after the last strike.
/// A client may be told several times to come back in 15 s.
pub(crate) const ARRIVAL_MAX: Duration = Duration::from_secs(180);

/// The bug that is built in, if one is: then the run must find it.
pub(crate) const PLANTED: Option<&str> = if cfg!(planted = "confirm_before_hand_over") {
    Some("confirm_before_hand_over")
} else {
    None
};

/// Waits until everybody has got to the last event. Who does not get there has missed something, which
/// the verdict says.
pub(crate) fn wait_for_all(stage: &Stage, is_done: impl FnMut() -> bool) {
    if !becomes_true(ARRIVAL_MAX, is_done) {
        stage.say("not everybody has got to the last event");
        stage.break_off();
    }
}

/// Ctrl-C and SIGTERM end the run like a failure: everything that was started is ended, and every
/// directory, namespace and control group of it removed. When the run is over, which whoever has the answer says,
/// and at the second time, they end the process as they always do.
pub(crate) fn break_off_on_signals(stage: &Arc<Stage>) -> Arc<AtomicBool> {
    use tokio::signal::unix::{SignalKind, signal};
    let is_over = Arc::new(AtomicBool::new(false));
    let (stage, own) = (Arc::clone(stage), Arc::clone(&is_over));
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime on the current thread needs only descriptors");
        runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt()).expect("it can be handled");
            let mut terminate = signal(SignalKind::terminate()).expect("it can be handled");
            loop {
                let number = tokio::select! {
                    _ = interrupt.recv() => SignalKind::interrupt(),
                    _ = terminate.recv() => SignalKind::terminate(),
                };
                if own.load(Ordering::Relaxed) || stage.is_interrupted() {
                    // What it started ends with it.
                    std::process::exit(128 + number.as_raw_value());
                }
                stage.interrupt();
            }
        });
    });
    is_over
}

/// What came of an actor; its panic goes on here.
pub(crate) fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Whether it is the statement that is wrong, and not the server that goes away: classes 22, 23 and
/// 42.
pub(crate) fn is_our_mistake(error: &tokio_postgres::error::DbError) -> bool {
    ["22", "23", "42"].contains(&&error.code().code()[..2])
}
