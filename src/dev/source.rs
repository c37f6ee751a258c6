//! Which node the commands beside it speak of: the one of `dev`, or one with a configuration.

use super::files;
use crate::config::{Config, ConfigError, Environment};
use std::path::{Path, PathBuf};

/// Where `dev` keeps its files if nothing else is said.
const DATA_DIR: &str = ".tailrace";

/// The configuration of a `run` if nothing else is said.
const CONFIGURATION: &str = "tailrace.toml";

/// The options that name a node.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Source {
    /// The data directory of `tailrace dev`; without it and --config, `.tailrace` if there is one.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "config")]
    data_dir: Option<PathBuf>,
    /// The configuration of a node; without it, `tailrace.toml` if there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Source {
    /// Reads the configuration of that node.
    ///
    /// # Errors
    ///
    /// Where there is none, or it cannot be used.
    pub(crate) fn read(&self) -> Result<Config, ConfigError> {
        let environment = Environment::of_process();
        match (&self.config, &self.data_dir) {
            (Some(config), _) => Config::load(Some(config), &environment),
            (None, Some(data_dir)) => files::read_configuration(data_dir),
            (None, None) => {
                let data_dir = Path::new(DATA_DIR);
                if files::configuration_path(data_dir).exists() {
                    return files::read_configuration(data_dir);
                }
                let path = Some(Path::new(CONFIGURATION)).filter(|path| path.exists());
                Config::load(path, &environment)
            }
        }
    }
}
