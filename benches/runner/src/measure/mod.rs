//! What a measurement reads from `/proc`: CPU time and memory of processes, memory of the kernel.
//!
//! Only reads; what is made of the figures is in the experiments.

mod kernel;
mod process;

pub(crate) use kernel::Kernel;
pub(crate) use process::{Sample, Used, open_files};
