//! A server that answers, and what is concluded from its answers.

use wire::Keys;

use super::*;
use crate::Rules;

const HISTORY: &str = "1\t0/500\tno recovery target specified\n";

fn config() -> Config {
    Config {
        connect: "postgresql://localhost/app".parse().unwrap(),
        publication: "tailrace".to_owned(),
        slot: Config::SLOT_DEFAULT.to_owned(),
        generation: 0,
        window_ms: Config::WINDOW_MS_DEFAULT,
        rules: Rules::default(),
        keys: Keys::new([0; 16]),
    }
}

/// The server that answers.
#[derive(Clone, Copy)]
struct Server {
    system: &'static str,
    timeline: u32,
    flushed: Lsn,
    copied: Lsn,
    wal_level: &'static str,
    is_standby: bool,
    wal_status: Option<&'static str>,
}

const SERVER: Server = Server {
    system: "7",
    timeline: 1,
    flushed: Lsn(0x1000),
    copied: Lsn(0x100),
    wal_level: "logical",
    is_standby: false,
    wal_status: Some("reserved"),
};

impl Server {
    fn answer(&self, sql: &str) -> Vec<Row> {
        let some = |text: &str| Some(text.to_owned());
        match sql.split_whitespace().next().unwrap() {
            "IDENTIFY_SYSTEM" => vec![vec![
                some(self.system),
                Some(self.timeline.to_string()),
                Some(self.flushed.to_string()),
                some("app"),
            ]],
            "TIMELINE_HISTORY" => vec![vec![some("00000002.history"), some(HISTORY)]],
            "SELECT" if sql.contains("pg_publication") => vec![vec![
                some("16384"),
                some(self.wal_level),
                some(if self.is_standby { "t" } else { "f" }),
                some("t"),
                self.wal_status.map(|_| "tailrace_16384".to_owned()),
                self.wal_status.map(str::to_owned),
            ]],
            "SELECT" => vec![vec![Some(self.copied.to_string())]],
            _ => Vec::new(),
        }
    }

    /// Asks it everything, and returns what was asked and what followed.
    fn prepare(&self, known: Option<Known>) -> (Vec<String>, Result<Plan, Obstacle>) {
        let (mut preparation, mut sql) = Preparation::new(known);
        let mut asked = Vec::new();
        loop {
            let answer = preparation.handle_answer(Ok(self.answer(&sql)), &config(), 0xab);
            asked.push(sql);
            match answer {
                Ok(Next::Ask(next)) => sql = next,
                Ok(Next::Stream(plan)) => return (asked, Ok(plan)),
                Err(obstacle) => return (asked, Err(obstacle)),
            }
        }
    }

    /// Where it is read from after a connection that ended at a position, and what is missing.
    fn resume(&self, lineage: &Lineage, resume: u64) -> (Lsn, Option<GapReason>) {
        let known = Known {
            lineage: lineage.clone(),
            resume: Lsn(resume),
        };
        let plan = self.prepare(Some(known)).1.unwrap();
        (plan.from, plan.gap)
    }
}

#[test]
fn the_first_connection_begins_where_the_anchor_is() {
    let (asked, plan) = SERVER.prepare(None);
    let plan = plan.unwrap();
    assert_eq!(
        (plan.from, plan.gap, plan.anchor_created),
        (Lsn(0x100), None, false)
    );
    assert_eq!(asked.len(), 3);
    assert_eq!(
        plan.sql,
        "START_REPLICATION SLOT \"tailrace_16384_00000000000000ab\" LOGICAL 0/100 \
         (proto_version '1', publication_names '\"tailrace\"', messages 'true')"
    );
}

#[test]
fn a_missing_anchor_is_created_with_a_bound_on_the_wait() {
    let (asked, plan) = Server {
        wal_status: None,
        ..SERVER
    }
    .prepare(None);
    assert!(plan.unwrap().anchor_created);
    let begins = [
        "SET lock_timeout = 4000",
        "CREATE_REPLICATION_SLOT",
        "SET lock_timeout = 0",
    ];
    for (sql, begin) in asked[2..].iter().zip(begins) {
        assert!(sql.starts_with(begin), "{sql}");
    }
}

#[test]
fn a_later_one_goes_on_where_the_last_ended_unless_that_is_gone() {
    let lineage = SERVER.prepare(None).1.unwrap().lineage;
    assert_eq!(SERVER.resume(&lineage, 0x900), (Lsn(0x900), None));
    assert_eq!(SERVER.resume(&lineage, 0x1000), (Lsn(0x1000), None));
    let beyond = (Lsn(0x100), Some(GapReason::HistoryChanged));
    assert_eq!(SERVER.resume(&lineage, 0x1001), beyond);
    let other = Server {
        system: "8",
        ..SERVER
    };
    assert_eq!(other.resume(&lineage, 0x900), beyond);
    let moved = Server {
        copied: Lsn(0x901),
        ..SERVER
    };
    assert_eq!(
        moved.resume(&lineage, 0x900),
        (Lsn(0x901), Some(GapReason::SlotLost))
    );
}

#[test]
fn a_promotion_is_a_gap_only_for_who_read_beyond_the_fork() {
    let lineage = SERVER.prepare(None).1.unwrap().lineage;
    let promoted = Server {
        timeline: 2,
        ..SERVER
    };
    assert_eq!(promoted.resume(&lineage, 0x500), (Lsn(0x500), None));
    let beyond = (Lsn(0x100), Some(GapReason::HistoryChanged));
    assert_eq!(promoted.resume(&lineage, 0x501), beyond);
    let timelines = [0x4ff, 0x500].map(|lsn| {
        promoted
            .prepare(None)
            .1
            .unwrap()
            .lineage
            .position(Lsn(lsn), 1)
            .timeline
    });
    assert_eq!(timelines, [1, 2]);
}

#[test]
fn what_is_in_the_way_is_said_with_its_mend() {
    let obstacle = |server: Server| server.prepare(None).1.unwrap_err();
    let level = obstacle(Server {
        wal_level: "replica",
        ..SERVER
    });
    assert!(
        level.fatal
            && level
                .reason
                .contains("ALTER SYSTEM SET wal_level = 'logical'")
    );
    let standby = obstacle(Server {
        is_standby: true,
        ..SERVER
    });
    assert!(!standby.fatal && standby.reason.contains("standby"));
    let lost = obstacle(Server {
        wal_status: Some("lost"),
        ..SERVER
    });
    assert!(
        lost.reason.starts_with("waiting for slot: "),
        "{}",
        lost.reason
    );
    assert!(
        lost.reason
            .ends_with("SELECT pg_drop_replication_slot('tailrace_16384')")
    );
}

#[test]
fn an_answer_of_another_shape_is_an_obstacle() {
    for rows in [
        vec![],
        vec![vec![None]],
        vec![vec![Some("x".to_owned()); 4]],
    ] {
        let (mut preparation, _) = Preparation::new(None);
        assert!(preparation.handle_answer(Ok(rows), &config(), 0).is_err());
    }
    for text in ["x", "1", "1 0", "2\t0/5\tx\n1\t0/4\tx"] {
        assert_eq!(parse_history(text), None, "{text:?}");
    }
    assert_eq!(parse_history("# x\n\n1\t0/5\tx\n"), Some(vec![(1, Lsn(5))]));
}

#[test]
fn the_longest_names_fit_where_postgresql_would_cut_them() {
    let slot = "x".repeat(Config::SLOT_BYTES_MAX);
    let config = Config {
        slot,
        generation: u32::MAX,
        ..config()
    };
    let copy = format!("{}_{:016x}", anchor_name(&config, u32::MAX), u64::MAX);
    assert_eq!(copy.len(), 63);
}
