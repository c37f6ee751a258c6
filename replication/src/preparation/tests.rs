//! A server that answers, and what is concluded from its answers.

use wire::Keys;

use super::*;

const HISTORY: &str = "1\t0/500\tno recovery target specified\n";

fn config() -> Config {
    let connect = "postgresql://localhost/app".parse().unwrap();
    Config::new(connect, Keys::new([0; 16]))
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
    version: u32,
}

const SERVER: Server = Server {
    system: "7",
    timeline: 1,
    flushed: Lsn(0x1000),
    copied: Lsn(0x100),
    wal_level: "logical",
    is_standby: false,
    wal_status: Some("reserved"),
    version: 150_018,
};

/// What is flushed when the publication has been found.
const FLUSHED_SINCE: Lsn = Lsn(0x1100);

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
            "SELECT" if sql.contains("pg_publication_tables") => vec![vec![
                some("public"),
                some("Property"),
                some("16400"),
                None,
                None,
            ]],
            "SELECT" if sql.contains("pg_publication") => vec![vec![
                some("16384"),
                some(self.wal_level),
                some(if self.is_standby { "t" } else { "f" }),
                some("t"),
                self.wal_status.map(|_| "tailrace_16384".to_owned()),
                self.wal_status.map(str::to_owned),
                Some(self.version.to_string()),
                (!self.is_standby).then(|| FLUSHED_SINCE.to_string()),
            ]],
            "CREATE_REPLICATION_SLOT" => vec![vec![
                some("tailrace"),
                Some(self.copied.to_string()),
                None,
                some("pgoutput"),
            ]],
            "SELECT" => vec![vec![Some(self.copied.to_string())]],
            _ => Vec::new(),
        }
    }

    /// Asks it everything, and returns what was asked and what followed.
    fn prepare(&self, known: Option<Known>) -> (Vec<String>, Result<Plan, Obstacle>) {
        self.prepare_for(known, &config())
    }

    fn prepare_for(
        &self,
        known: Option<Known>,
        config: &Config,
    ) -> (Vec<String>, Result<Plan, Obstacle>) {
        let (mut preparation, mut sql) = Preparation::new(known);
        let mut asked = Vec::new();
        loop {
            let answer = preparation.handle_answer(Ok(self.answer(&sql)), config, 0xab);
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
        self.resume_within(lineage, resume, lineage.position(Lsn(resume), 0))
    }

    /// The same, where more than that was handed out.
    fn resume_within(
        &self,
        lineage: &Lineage,
        resume: u64,
        emitted: EventId,
    ) -> (Lsn, Option<GapReason>) {
        let known = Known {
            lineage: lineage.clone(),
            resume: Lsn(resume),
            emitted,
            is_unreadable: false,
            may_recreate: true,
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
    assert_eq!(asked.len(), 4);
    assert_eq!(
        plan.sql,
        "START_REPLICATION SLOT \"tailrace_16384_00000000000000ab\" LOGICAL 0/100 \
         (proto_version '1', publication_names '\"tailrace\"', messages 'true')"
    );
}

/// What was asked after the tables.
fn about_slot(asked: &[String]) -> Vec<&str> {
    asked[3..].iter().map(String::as_str).collect()
}

#[track_caller]
fn assert_begin(asked: &[&str], begins: &[&str]) {
    assert_eq!(asked.len(), begins.len(), "{asked:?}");
    for (sql, begin) in asked.iter().zip(begins) {
        assert!(sql.starts_with(begin), "{sql} does not begin with {begin}");
    }
}

#[test]
fn a_missing_anchor_is_created_with_a_bound_on_the_wait_and_stays_where_it_is() {
    let missing = Server {
        wal_status: None,
        ..SERVER
    };
    for (version, option) in [(150_018, "NOEXPORT_SNAPSHOT"), (170_010, "FAILOVER true)")] {
        let (asked, plan) = Server { version, ..missing }.prepare(None);
        assert!(plan.unwrap().anchor_created);
        let begins = [
            "SET lock_timeout = 4000",
            "CREATE_REPLICATION_SLOT \"tailrace_16384\" LOGICAL",
            "SET lock_timeout = 0",
            "SELECT lsn FROM pg_catalog.pg_copy_logical_replication_slot",
        ];
        assert_begin(&about_slot(&asked), &begins);
        assert!(asked[4].ends_with(option), "{}", asked[4]);
    }
}

#[test]
fn a_lost_anchor_is_dropped_and_made_anew_unless_that_was_of_no_use() {
    let lost = Server {
        wal_status: Some("lost"),
        ..SERVER
    };
    let known = |may_recreate| {
        let lineage = SERVER.prepare(None).1.unwrap().lineage;
        Some(Known {
            emitted: lineage.position(Lsn(0x80), 0),
            lineage,
            resume: Lsn(0x80),
            is_unreadable: false,
            may_recreate,
        })
    };
    let (asked, plan) = lost.prepare(known(true));
    let drop = asked
        .iter()
        .position(|sql| sql.contains("pg_drop_replication_slot"));
    let create = asked
        .iter()
        .position(|sql| sql.starts_with("CREATE_REPLICATION_SLOT"));
    assert!(drop.is_some() && drop < create, "{asked:?}");
    assert!(
        asked[drop.unwrap()].ends_with("wal_status = 'lost'"),
        "never another one"
    );
    let plan = plan.unwrap();
    assert_eq!(plan.gap, Some(GapReason::SlotLost));
    assert_eq!(plan.anchor_lost, Some("given up by the server"));
    let reason = lost.prepare(known(false)).1.unwrap_err().reason;
    assert!(
        reason.starts_with("waiting for slot: tailrace_16384 was given up"),
        "{reason}"
    );
    assert!(reason.contains("max_slot_wal_keep_size"), "{reason}");
    let plan = lost.prepare(None).1.unwrap();
    assert_eq!(
        (plan.gap, plan.anchor_lost),
        (None, None),
        "nobody was promised anything"
    );
}

#[test]
fn without_an_anchor_a_temporary_slot_is_all_there_is() {
    let config = Config {
        mode: SlotMode::Temporary,
        ..config()
    };
    let (asked, plan) = SERVER.prepare_for(None, &config);
    let begins = [
        "SET lock_timeout = 4000",
        "CREATE_REPLICATION_SLOT \"tailrace_16384_00000000000000ab\" TEMPORARY LOGICAL pgoutput",
        "SET lock_timeout = 0",
    ];
    assert_begin(&about_slot(&asked), &begins);
    let plan = plan.unwrap();
    assert_eq!((plan.from, plan.anchor_created), (Lsn(0x100), false));
    assert!(
        plan.sql
            .starts_with("START_REPLICATION SLOT \"tailrace_16384_00000000000000ab\"")
    );
}

#[test]
fn what_was_written_without_the_publication_is_left_out() {
    let lineage = SERVER.prepare(None).1.unwrap().lineage;
    let known = Known {
        emitted: lineage.position(Lsn(0x900), 0),
        lineage,
        resume: Lsn(0x900),
        is_unreadable: true,
        may_recreate: true,
    };
    let plan = SERVER.prepare(Some(known)).1.unwrap();
    let expected = (FLUSHED_SINCE, Some(GapReason::PublicationChanged));
    assert_eq!((plan.from, plan.gap), expected);
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
fn a_transaction_that_was_begun_and_never_committed_there_is_a_gap() {
    let lineage = SERVER.prepare(None).1.unwrap().lineage;
    let begun = |server: Server, commit| {
        let emitted = lineage.position(Lsn(commit), 7);
        server.resume_within(&lineage, 0x480, emitted)
    };
    let goes_on = (Lsn(0x480), None);
    let beyond = (Lsn(0x100), Some(GapReason::HistoryChanged));
    let promoted = Server {
        timeline: 2,
        ..SERVER
    };
    assert_eq!(begun(promoted, 0x4ff), goes_on);
    assert_eq!(begun(promoted, 0x500), beyond, "the fork lies before it");
    assert_eq!(begun(SERVER, 0xfff), goes_on);
    assert_eq!(begun(SERVER, 0x1000), beyond, "an older state");
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
