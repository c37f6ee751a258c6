//! What a bench is asked to do.

/// Whether `cargo bench` asks for measurements. `cargo test --all-targets` runs the same binary
/// without this flag, and then only shows that it starts.
pub(crate) fn is_asked_to_measure() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// The number after `name` on the command line (`cargo bench --bench fanout -- --rounds 5`).
pub(crate) fn option(name: &str, default: usize) -> usize {
    match text_option(name) {
        None => default,
        Some(value) => value
            .parse()
            .unwrap_or_else(|_| panic!("{name} takes a number, not {value:?}")),
    }
}

/// The word after `name` on the command line.
pub(crate) fn text_option(name: &str) -> Option<String> {
    let mut arguments = std::env::args()
        .skip_while(|argument| argument != name)
        .skip(1);
    arguments.next()
}

/// How many cores there are, and the kernel: for the line above every table.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    format!("{cores} cores, Linux {kernel}")
}
