//! `[database]`: where PostgreSQL is, from the file or from the environment.

use replication::{ChannelBinding, ConnectInfo, Tls, Verify};

use super::{ConfigError, Environment, raw};

/// `[database]`.
#[derive(Clone)]
pub(crate) struct Database {
    /// The server and the database.
    pub(crate) connect: ConnectInfo,
    /// The publication.
    pub(crate) publication: String,
}

impl Database {
    /// Checks the table, with what other tools' variables say beside it.
    pub(super) fn check(
        raw: &raw::Database,
        environment: &Environment,
        warnings: &mut Vec<String>,
    ) -> Result<Self, ConfigError> {
        let url = Some(raw.url.as_str()).filter(|url| !url.is_empty());
        let connect = environment
            .connect_info(url)
            .map_err(|error| ConfigError::about("database.url", error.to_string()))?;
        let Some(connect) = connect else {
            let mend = "missing: say where PostgreSQL is, such as \
                        \"postgresql://user@host:5432/database\", here, in TAILRACE_DATABASE_URL or by \
                        PGHOST and PGDATABASE";
            return Err(ConfigError::about("database.url", mend));
        };
        if !connect.ignored.is_empty() {
            let names = connect.ignored.join(", ");
            warnings.push(format!(
                "database.url: these parameters are other tools' and ignored: {names}"
            ));
        }
        let is_anybodys = matches!(
            connect.tls,
            Tls::On {
                verify: Verify::Nothing,
                ..
            }
        );
        if is_anybodys && connect.channel_binding != ChannelBinding::Require {
            warnings.push(
                "database.url: sslmode=require encrypts and does not look for whom: write \
                 verify-full, or add channel_binding=require"
                    .to_owned(),
            );
        }
        // PostgreSQL cuts names at 63 bytes ("Identifiers and Key Words").
        if raw.publication.is_empty() || raw.publication.len() > 63 {
            let mend = "write the name of the publication, of at most 63 bytes";
            return Err(ConfigError::new(
                "database.publication",
                &raw.publication,
                mend,
            ));
        }
        Ok(Self {
            connect,
            publication: raw.publication.clone(),
        })
    }
}
