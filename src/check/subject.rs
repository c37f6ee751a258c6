//! What is looked at: a configuration that need not be complete, of this directory or named.

use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigError, Environment};

/// The configuration if nothing else is said.
const CONFIGURATION: &str = "tailrace.toml";

/// A configuration, and how it was found.
pub(crate) struct Subject {
    pub(crate) config: Config,
    /// The file, where there is one.
    pub(crate) path: Option<PathBuf>,
    /// Why nobody could open a stream with it, if so.
    pub(crate) locked_out: Option<ConfigError>,
}

impl Subject {
    /// Reads it; the URL, where one is given, counts before all others.
    ///
    /// # Errors
    ///
    /// The first key that cannot be used, with its mend.
    pub(crate) fn read(path: Option<&Path>, url: Option<&str>) -> Result<Self, String> {
        let path = path.map(Path::to_owned);
        let path = path.or_else(|| Some(PathBuf::from(CONFIGURATION)).filter(|path| path.exists()));
        let mut environment = Environment::of_process().with_env_file(Path::new(".env"));
        if let Some(url) = url {
            environment = environment.with_database_url(url);
        }
        let (config, locked_out) =
            Config::survey(path.as_deref(), &environment).map_err(|error| error.to_string())?;
        Ok(Self {
            config,
            path,
            locked_out,
        })
    }
}
