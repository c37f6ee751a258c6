//! What is done to PostgreSQL: killed, stopped, restarted; no connection left; a long transaction.

use std::time::Duration;

use tokio_postgres::error::SqlState;

use super::{Lane, seen};
use crate::faults::Fault;
use crate::random::Random;
use crate::support::process::Signal;
use crate::support::sql::Sql;
use crate::surroundings::{is_stopped, postmaster, signal_all};
use crate::writers::{ORGANISATIONS, write_long};

/// More connections than PostgreSQL has.
const CONNECTIONS_MAX: usize = 300;

const END_WALSENDERS: &str =
    "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active";

impl Lane<'_> {
    /// Strikes PostgreSQL.
    pub(crate) fn strike_database(&self, mut random: Random) {
        let kinds = [
            Fault::DatabaseKilled,
            Fault::DatabaseRestarted,
            Fault::DatabasePaused,
            Fault::DatabaseFull,
            Fault::WalsendersEnded,
            Fault::LongTransaction,
        ];
        self.strike(&kinds, &mut random, |fault, time, random| {
            let (cluster, database) = (&self.house.cluster, &self.house.database);
            match fault {
                Fault::DatabaseKilled => {
                    cluster.kill();
                    self.pause(random.duration(Duration::from_secs(2)));
                    cluster.restart();
                    Ok(())
                }
                Fault::DatabaseRestarted => {
                    cluster.stop(Signal::INT);
                    self.pause(random.duration(Duration::from_secs(2)));
                    cluster.restart();
                    Ok(())
                }
                Fault::DatabasePaused => {
                    signal_all(cluster, Signal::STOP);
                    self.pause(time);
                    let is_still = is_stopped(postmaster(cluster));
                    signal_all(cluster, Signal::CONT);
                    seen("standstill", is_still.into())
                }
                Fault::DatabaseFull => self.fill_database(),
                Fault::WalsendersEnded => self.end_walsenders(),
                _ => {
                    let organisation = *random.pick(&ORGANISATIONS);
                    let marker = self.house.markers.of(organisation);
                    let number = self.stage.number();
                    let written = write_long(database, organisation, marker, number);
                    written.map_err(|e| e.to_string())
                }
            }
        });
    }

    /// Ends the walsenders, as soon as there is one.
    fn end_walsenders(&self) -> Result<(), String> {
        let own = self.house.database.try_connect();
        let own = own.map_err(|e| e.to_string())?;
        self.seen_soon("walsender", || {
            own.try_rows(END_WALSENDERS)
                .map_or(0, |rows| rows.len() as u64)
        })
    }

    /// Takes every connection that is left, ends the walsenders, and lets those who miss theirs look for
    /// others.
    fn fill_database(&self) -> Result<(), String> {
        let own = self.house.database.try_connect();
        let own = own.map_err(|e| e.to_string())?;
        let url = self.house.database.socket_url();
        let mut all = Vec::new();
        let refusal = loop {
            match Sql::connect(&url) {
                Err(refusal) => break refusal,
                Ok(_) if all.len() == CONNECTIONS_MAX => {
                    return Err("it has more connections than that".to_owned());
                }
                Ok(sql) => all.push(sql),
            }
        };
        if refusal.code() != Some(&SqlState::TOO_MANY_CONNECTIONS) {
            return Err(refusal.to_string());
        }
        own.try_rows(END_WALSENDERS).map_err(|e| e.to_string())?;
        self.pause(Duration::from_secs(2));
        Ok(())
    }
}
