//! The environment of a process, as a value: what a configuration may read of it.

use std::collections::BTreeMap;
use std::path::Path;

use replication::{ConnectInfo, ConnectInfoError};

/// The variables of other tools that name the database, in the order in which they count.
const DATABASE_VARIABLES: [&str; 2] = ["DIRECT_URL", "DATABASE_URL"];

/// The environment's name of a key.
pub(super) fn variable(table: &str, name: &str) -> String {
    let table = table.replace('.', "_");
    format!("TAILRACE_{}_{}", table.to_uppercase(), name.to_uppercase())
}

/// The environment, as far as a configuration heeds it. Empty values count as absent.
#[derive(Clone, Default)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of this process. What is no UTF-8 is none of ours.
    pub(crate) fn of_process() -> Self {
        let text = |value: std::ffi::OsString| value.into_string().ok();
        std::env::vars_os()
            .filter_map(|(name, value)| Some((text(name)?, text(value)?)))
            .collect()
    }

    /// Adds what a `.env` file says and the environment does not. A file that is not there says
    /// nothing.
    pub(crate) fn with_env_file(mut self, path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        for line in text.lines() {
            let line = line.trim().strip_prefix("export ").unwrap_or(line.trim());
            let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#'))
            else {
                continue;
            };
            self.0
                .entry(name.trim().to_owned())
                .or_insert_with(|| unquoted(value.trim()));
        }
        self
    }

    /// The same, with this URL of the database before any other.
    pub(crate) fn with_database_url(mut self, url: &str) -> Self {
        self.0.insert(variable("database", "url"), url.to_owned());
        self
    }

    /// The URL of the database, ours or another tool's.
    pub(crate) fn database_url(&self) -> Option<String> {
        let ours = variable("database", "url");
        let names = [ours.as_str()].into_iter().chain(DATABASE_VARIABLES);
        names
            .into_iter()
            .find_map(|name| self.get(name))
            .map(str::to_owned)
    }

    /// Where PostgreSQL is: by this URL, and what it leaves out by libpq's variables, or by these
    /// alone; `None` where nothing says so.
    ///
    /// # Errors
    ///
    /// What cannot be meant, or cannot work.
    pub(crate) fn connect_info(
        &self,
        url: Option<&str>,
    ) -> Result<Option<ConnectInfo>, ConnectInfoError> {
        ConnectInfo::read(url, |name| self.get(name).map(str::to_owned))
    }

    /// The names that are set.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// The value of a variable.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

fn unquoted(value: &str) -> String {
    let inner = |mark| {
        value
            .strip_prefix(mark)
            .and_then(|rest: &str| rest.strip_suffix(mark))
    };
    inner('"')
        .or_else(|| inner('\''))
        .unwrap_or(value)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_env_file_says_what_the_environment_does_not() {
        let directory = std::env::temp_dir().join(format!("tailrace-env-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join(".env");
        let text = "# a comment = 1\nexport A=\"one # two\"\nB = 'b'\nDATABASE_URL=file\nbroken\n";
        std::fs::write(&path, text).unwrap();
        let pairs = [("B".to_owned(), "ours".to_owned())];
        let environment = Environment::from_iter(pairs).with_env_file(&path);
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(environment.get("A"), Some("one # two"));
        assert_eq!(environment.get("B"), Some("ours"));
        assert_eq!(environment.database_url().as_deref(), Some("file"));
        let absent = Environment::default().with_env_file(&path);
        assert_eq!(absent.names().count(), 0);
    }
}
