//! Where the core of a server spends its time while a load lasts: `perf` samples it, and what it
//! found is a text beside the results. Only on demand, since sampling is itself some load.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::cores::Cores;
use crate::process::Process;

/// How often a core is sampled, in Hz: odd, so that nothing that is done every millisecond is always
/// or never seen.
const FREQUENCY: &str = "997";

/// How long `perf` may take to write what it has, and to read it again.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);

/// A profile in the making.
pub(crate) struct Profile {
    sampler: Process,
    samples: PathBuf,
    text: PathBuf,
}

impl Profile {
    /// Begins to sample the server's cores once `after` has passed, for so long; what is found will be in
    /// this file, whose directory is made.
    pub(crate) fn begin(
        text: &Path,
        cores: &Cores,
        after: Duration,
        measured: Duration,
    ) -> Result<Self> {
        if let Some(directory) = text.parent() {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let samples = text.with_extension("data");
        let list: Vec<String> = cores.server.iter().map(usize::to_string).collect();
        let mut command = Command::new("perf");
        // Without hardware counters, as on a virtual machine, the clock is what there is.
        command.args(["record", "--quiet", "--event", "cpu-clock"]);
        command.args(["--freq", FREQUENCY, "--all-cpus", "--cpu", &list.join(",")]);
        command.args(["--delay", &after.as_millis().to_string(), "--output"]);
        command.arg(&samples);
        let seconds = (after + measured).as_secs_f64();
        command.args(["--", "sleep", &seconds.to_string()]);
        let sampler =
            Process::start(command, &cores.load).context("a profile needs perf (linux-perf)")?;
        Ok(Self {
            sampler,
            samples,
            text: text.to_owned(),
        })
    }

    /// Waits until the time is over, and writes what was found.
    pub(crate) fn end(mut self) -> Result<()> {
        let ended = self.sampler.wait(WRITTEN_WITHIN)?;
        if !ended.success() {
            bail!("perf record ended with {ended}");
        }
        let by_thread = self.report("overhead,comm,dso", "0.1")?;
        let by_symbol = self.report("overhead,comm,dso,symbol", "0.3")?;
        fs::write(&self.text, by_thread + "\n" + &by_symbol)
            .with_context(|| format!("cannot write {}", self.text.display()))?;
        fs::remove_file(&self.samples).context("the samples are read")
    }

    /// These fields of what was sampled at least so many times of a hundred.
    fn report(&self, fields: &str, percent: &str) -> Result<String> {
        let output = Command::new("perf")
            .args(["report", "--stdio", "--no-children", "--input"])
            .arg(&self.samples)
            .args(["--fields", fields, "--percent-limit", percent])
            .stderr(Stdio::null())
            .output()
            .context("perf does not start")?;
        if !output.status.success() {
            bail!("perf report ended with {}", output.status);
        }
        Ok(without_blanks(&String::from_utf8_lossy(&output.stdout)))
    }
}

/// The lines that say something of the samples.
fn without_blanks(text: &str) -> String {
    let lines = text.lines().map(str::trim_end);
    let is_said = |line: &&str| !line.is_empty() && *line != "#" && !line.starts_with("# (Tip: ");
    let lines = lines.filter(is_said);
    lines.fold(String::new(), |all, line| all + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_its_lines() {
        let text =
            "\n#\n# Samples: 3  \n#\n    98.70%  engine-0  [kernel]   \n\n# (Tip: read more)\n";
        assert_eq!(
            without_blanks(text),
            "# Samples: 3\n    98.70%  engine-0  [kernel]\n"
        );
    }
}
