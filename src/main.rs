//! The program: what it does is in the library beside it.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

use std::process::ExitCode;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tailrace::run()
}
