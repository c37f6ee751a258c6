//! What was found: each thing by itself, whether it is well, what comes of it, and what mends it. For
//! a person, in aligned columns, or as JSON.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde::Serialize;

/// How well a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// It is well.
    Ok,
    /// It is as it is, and worth knowing; there is nothing to mend.
    Note,
    /// Something is lost, or may be.
    Warn,
    /// A node does not start, or the application is harmed.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    /// What was looked at: `wal_level`, `table Property`.
    pub(crate) about: String,
    /// How it is.
    pub(crate) says: String,
    /// What comes of it, and what a person does about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) because: Vec<String>,
    /// What mends it, as it is to be run: statements for psql, unless `because` says otherwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) mend: Vec<String>,
}

impl Finding {
    fn new(level: Level, about: impl Into<String>, says: impl Into<String>) -> Self {
        Self {
            level,
            about: about.into(),
            says: says.into(),
            because: Vec::new(),
            mend: Vec::new(),
        }
    }

    pub(crate) fn ok(about: impl Into<String>, says: impl Into<String>) -> Self {
        Self::new(Level::Ok, about, says)
    }

    pub(crate) fn note(about: impl Into<String>, says: impl Into<String>) -> Self {
        Self::new(Level::Note, about, says)
    }

    pub(crate) fn warn(about: impl Into<String>, says: impl Into<String>) -> Self {
        Self::new(Level::Warn, about, says)
    }

    pub(crate) fn fail(about: impl Into<String>, says: impl Into<String>) -> Self {
        Self::new(Level::Fail, about, says)
    }

    /// Adds what comes of it, or what to do.
    pub(crate) fn because(mut self, text: impl Into<String>) -> Self {
        self.because.push(text.into());
        self
    }

    /// Adds a statement that mends it.
    pub(crate) fn mend(mut self, statement: impl Into<String>) -> Self {
        self.mend.push(statement.into());
        self
    }

    /// Adds statements that mend it.
    pub(crate) fn mends(mut self, statements: Vec<String>) -> Self {
        self.mend.extend(statements);
        self
    }
}

/// All that was found, in groups.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    groups: Vec<Group>,
}

#[derive(Clone, Debug, Serialize)]
struct Group {
    title: &'static str,
    findings: Vec<Finding>,
}

/// The columns of a line: the level, what it is about, and the rest.
const LEVEL_COLUMN: usize = 2;
const ABOUT_COLUMN: usize = 8;
const TEXT_COLUMN: usize = 34;

/// What stands left of a statement: deeper than any text, so that it is seen, and found.
const STATEMENT_COLUMN: usize = TEXT_COLUMN + 4;

/// Where a line of text ends at the latest.
const LINE_END: usize = 110;

impl Report {
    /// Adds a group, unless it is empty.
    pub(crate) fn add(&mut self, title: &'static str, findings: Vec<Finding>) {
        if !findings.is_empty() {
            self.groups.push(Group { title, findings });
        }
    }

    /// For a person.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for group in &self.groups {
            let _ = writeln!(text, "{}", group.title);
            for finding in &group.findings {
                write_finding(&mut text, finding);
            }
            text.push('\n');
        }
        let count = |level| {
            self.findings()
                .filter(|finding| finding.level == level)
                .count()
        };
        let (warnings, failures) = (count(Level::Warn), count(Level::Fail));
        let _ = match (warnings, failures) {
            (0, 0) => writeln!(text, "All is well."),
            _ => writeln!(text, "{failures} failed, {warnings} warned."),
        };
        text
    }

    /// For a program.
    pub(crate) fn json(&self) -> String {
        let value = serde_json::json!({ "status": self.status(), "groups": self.groups });
        format!("{value:#}\n")
    }

    /// 0 where all is well, 1 with warnings, 2 with failures.
    pub(crate) fn status(&self) -> u8 {
        match self.findings().map(|finding| finding.level).max() {
            Some(Level::Fail) => 2,
            Some(Level::Warn) => 1,
            _ => 0,
        }
    }

    /// The same, for the process.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.status())
    }

    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.groups.iter().flat_map(|group| &group.findings)
    }
}

fn write_finding(text: &mut String, finding: &Finding) {
    let level = match finding.level {
        Level::Ok => "ok",
        Level::Note => "note",
        Level::Warn => "warn",
        Level::Fail => "fail",
    };
    let width = ABOUT_COLUMN - LEVEL_COLUMN;
    let about = printable(&finding.about);
    let mut head = format!("{:LEVEL_COLUMN$}{level:width$}{about}", "");
    let length = head.chars().count();
    if length < TEXT_COLUMN {
        head.extend(std::iter::repeat_n(' ', TEXT_COLUMN - length));
    } else {
        // A long name has the line for itself.
        let _ = writeln!(text, "{head}");
        head = " ".repeat(TEXT_COLUMN);
    }
    for paragraph in std::iter::once(&finding.says).chain(&finding.because) {
        for line in wrapped(&printable(paragraph), LINE_END - TEXT_COLUMN) {
            let _ = writeln!(text, "{head}{line}");
            head = " ".repeat(TEXT_COLUMN);
        }
    }
    for line in finding.mend.iter().flat_map(|statement| statement.lines()) {
        let _ = writeln!(text, "{:STATEMENT_COLUMN$}{line}", "");
    }
}

/// A text in lines of this many characters, broken at blanks.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// Without what would move the terminal's cursor: names may hold anything.
fn printable(text: &str) -> String {
    text.replace(|letter: char| letter.is_control(), " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: Vec<Finding>) -> Report {
        let mut report = Report::default();
        report.add("Server", findings);
        report
    }

    #[test]
    fn the_worst_finding_is_the_status() {
        let (ok, note) = (Finding::ok("a", "b"), Finding::note("a", "b"));
        let (warn, fail) = (Finding::warn("a", "b"), Finding::fail("a", "b"));
        assert_eq!(report(vec![ok.clone(), note.clone()]).status(), 0);
        assert_eq!(report(vec![warn.clone(), ok]).status(), 1);
        assert_eq!(report(vec![fail, warn, note]).status(), 2);
    }

    #[test]
    fn a_finding_is_lines_in_columns() {
        let finding = Finding::fail("wal_level", "it is \u{1b}[2Jreplica")
            .because("x ".repeat(60))
            .mend("ALTER SYSTEM SET wal_level = 'logical';");
        let text = report(vec![finding]).text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[1],
            "  fail  wal_level                 it is [2Jreplica"
        );
        assert!(
            lines[2].len() <= LINE_END && lines[3].trim_start().starts_with("x x"),
            "{text}"
        );
        let statement = lines.iter().find(|line| line.contains("ALTER")).unwrap();
        assert_eq!(statement.find("ALTER"), Some(STATEMENT_COLUMN));
        assert!(text.ends_with("1 failed, 0 warned.\n"), "{text}");
    }
}
