//! The machine that the figures are of.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::cores::cores_of_machine;

/// What the report says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    pub(crate) system: String,
}

impl Machine {
    /// This machine.
    pub(crate) fn this() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let kilobytes = value(&read("/proc/meminfo"), "MemTotal", ':');
        let kilobytes = kilobytes
            .trim_end_matches(" kB")
            .parse::<u64>()
            .unwrap_or(0);
        let kernel = read("/proc/sys/kernel/osrelease");
        Self {
            processor: value(&read("/proc/cpuinfo"), "model name", ':'),
            cores: cores_of_machine(),
            memory_gib: kilobytes.div_ceil(1024 * 1024),
            kernel: kernel
                .split('-')
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned(),
            system: value(&read("/etc/os-release"), "PRETTY_NAME", '=')
                .trim_matches('"')
                .to_owned(),
        }
    }

    /// One line of it.
    pub(crate) fn in_words(&self) -> String {
        let Self {
            processor,
            cores,
            memory_gib,
            kernel,
            system,
        } = self;
        format!("{processor}, {cores} cores, {memory_gib} GiB, Linux {kernel}, {system}, loopback")
    }
}

/// The value of the first line that begins with a name.
fn value(text: &str, name: &str, separator: char) -> String {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.split_once(separator));
    line.map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stands_behind_its_name() {
        assert_eq!(
            value(
                "a\t: 1\nmodel name\t: Some CPU @ 2 GHz\n",
                "model name",
                ':'
            ),
            "Some CPU @ 2 GHz"
        );
        assert_eq!(value("a: 1\n", "b", ':'), "");
    }

    #[test]
    fn this_machine_is_known() {
        let machine = Machine::this();
        assert!(machine.cores > 0 && machine.memory_gib > 0 && !machine.kernel.is_empty());
    }
}
