//! The server of `density`'s Tailrace columns, with mimalloc. It measures nothing: `density` builds
//! and starts it, because a program has one allocator.

#[path = "support/in_process.rs"]
mod in_process;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // Without a role it was started by hand.
    if let Ok(role) = std::env::var("TAILRACE_BENCH_ROLE") {
        in_process::serve(&role);
    }
}
