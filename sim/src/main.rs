//! The program: `cargo run -p sim -- --seed N`.

fn main() {}
