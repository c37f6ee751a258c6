//! What ends sessions, users and organisations, and our own table of revocations.

use std::time::Duration;

use replication::limits::BANS_MAX;
use replication::{
    Admission, Identity, MembershipSource, MembershipTable, OrganisationTable, Question, Rules,
    SessionTable, UserTable, Wanted,
};
use wire::{Batch, CloseReason, EventId, Key, RevocationScope};

use crate::cluster::Cluster;
use crate::drive::{Drive, UNIX_MS};

const SCHEMA: &str = r#"
    CREATE TABLE horse (id serial PRIMARY KEY, tenant_id text DEFAULT 'acme');
    CREATE TABLE "User" (id text PRIMARY KEY, name text, banned boolean, until timestamptz);
    CREATE TABLE "Organization" (id text PRIMARY KEY, name text);
    CREATE TABLE "Session" (
        id text PRIMARY KEY, token text, "userId" text REFERENCES "User" ON DELETE CASCADE, expires timestamp(3)
    );
    CREATE TABLE "Member" (
        id serial PRIMARY KEY, "userId" text REFERENCES "User" ON DELETE CASCADE,
        "orgId" text REFERENCES "Organization" ON DELETE CASCADE
    );
    CREATE SCHEMA tailrace;
    CREATE TABLE tailrace.revocation (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "user" text, session text, organization text,
        issued_before timestamptz, until timestamptz NOT NULL, created_at timestamptz DEFAULT now()
    );
    INSERT INTO "User" VALUES ('ada'), ('bob');
    INSERT INTO "Organization" VALUES ('acme'), ('globex');
    INSERT INTO "Member" ("userId", "orgId") VALUES ('ada', 'acme'), ('bob', 'acme'), ('bob', 'globex');
    INSERT INTO "Session" VALUES ('s1', 't1', 'ada', '2100-01-01'), ('s2', 't2', 'bob', '2100-01-01');
    CREATE PUBLICATION tailrace FOR ALL TABLES;
"#;

fn rules() -> Rules {
    let text = str::to_owned;
    Rules {
        identity: Identity {
            membership: MembershipSource::Table(MembershipTable::new("Member", "userId", "orgId")),
            session: Some(SessionTable {
                table: text("Session"),
                id: text("id"),
                user: text("userId"),
                expires: Some(text("expires")),
            }),
            user: Some(UserTable {
                table: text("User"),
                id: text("id"),
                banned: Some(text("banned")),
                banned_until: Some(text("until")),
            }),
            organisation: Some(OrganisationTable {
                table: text("public.Organization"),
                id: text("id"),
            }),
            revocation: true,
        },
        ..Rules::default()
    }
}

/// What was revoked since the last time, in order.
fn revoked(drive: &mut Drive) -> Vec<(RevocationScope, CloseReason)> {
    let batches = std::mem::take(&mut drive.batches).into_iter();
    let revocations = batches.filter_map(|batch| match batch {
        Batch::Revoke(revocation) => Some((revocation.scope, revocation.reason)),
        _ => None,
    });
    revocations.collect()
}

fn after(drive: &mut Drive, cluster: &Cluster, sql: &str) -> Vec<(RevocationScope, CloseReason)> {
    cluster.sql(sql);
    drive.catch_up(cluster);
    revoked(drive)
}

fn question(drive: &Drive, user: &str, session: Key, judged: EventId) -> Question {
    let _ = drive;
    Question {
        user: user.to_owned(),
        session,
        issued_ms: Some(UNIX_MS),
        organisation: Wanted::Named("acme".to_owned()),
        judged,
        judged_ms: UNIX_MS,
        claims: None,
    }
}

/// The verdict at a time when what was judged before is judged long ago.
fn verdict(drive: &Drive, question: &Question) -> Admission {
    drive.reader.admit(question, drive.now_ms(), UNIX_MS)
}

fn is_admitted(admission: &Admission) -> bool {
    matches!(admission, Admission::Admitted(_))
}

#[test]
fn a_session_that_ends_is_revoked_and_one_that_goes_on_is_extended() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, rules());
    let session = |drive: &Drive, id| drive.keys.session(id);
    let (one, two) = (session(&drive, "s1"), session(&drive, "s2"));
    let judged = drive.status().applied.unwrap();
    assert!(is_admitted(&verdict(
        &drive,
        &question(&drive, "ada", one, judged)
    )));
    let gone = |key| vec![(RevocationScope::Session(key), CloseReason::SessionRevoked)];
    assert_eq!(
        after(
            &mut drive,
            &cluster,
            r#"DELETE FROM "Session" WHERE id = 's1'"#
        ),
        gone(one)
    );
    // Who was judged before is judged again; that is nobody else's trouble.
    let asked = question(&drive, "ada", one, judged);
    assert_eq!(verdict(&drive, &asked), Admission::JudgeAgain);
    // However long others see the row: the commit may wait for a standby.
    let judged_now = drive.status().applied.unwrap();
    let much_later = |drive: &Drive| {
        let asked = question(drive, "ada", one, judged_now);
        drive.reader.admit(&asked, drive.now_ms() + 60_000, UNIX_MS)
    };
    assert_eq!(much_later(&drive), Admission::JudgeAgain);
    cluster.sql(r#"INSERT INTO "Session" VALUES ('s1', 't1', 'ada', '2100-01-01')"#);
    drive.catch_up(&cluster);
    assert!(is_admitted(&much_later(&drive)));
    cluster.sql(r#"DELETE FROM "Session" WHERE id = 's1'"#);
    drive.catch_up(&cluster);
    revoked(&mut drive);
    assert!(is_admitted(&verdict(
        &drive,
        &question(&drive, "bob", two, judged)
    )));
    cluster.sql(r#"UPDATE "Session" SET expires = '2100-01-02 00:00:01.5' WHERE id = 's2'"#);
    drive.catch_up(&cluster);
    let extended = drive.batches.iter().find_map(|batch| match batch {
        Batch::Extend(extension) => Some(*extension),
        _ => None,
    });
    let extended = extended.expect("it lasts longer");
    assert_eq!(
        (extended.session, extended.user),
        (two, Some(drive.keys.user("bob")))
    );
    assert_eq!(extended.expires_ms, 4_102_531_201_500);
    // Whoever reads the row gets the end that it has now, however long others see the end before.
    let ends_ms = |drive: &Drive, judged| {
        let asked = question(drive, "bob", two, judged);
        match drive.reader.admit(&asked, drive.now_ms() + 60_000, UNIX_MS) {
            Admission::Admitted(place) => place.session_ends_ms,
            why => panic!("{why:?}"),
        }
    };
    assert_eq!(ends_ms(&drive, judged), Some(4_102_531_201_500));
    let judged_now = drive.status().applied.unwrap();
    assert_eq!(ends_ms(&drive, judged_now), Some(4_102_531_201_500));
    assert_eq!(revoked(&mut drive), []);
    // An end that was near when it was said, and has passed: whoever sees a later one is judged again.
    let soon = r#"UPDATE "Session" SET expires = '2027-02-01' WHERE id = 's2'"#;
    assert_eq!(after(&mut drive, &cluster, soon), []);
    let later = |drive: &Drive, unix_ms| {
        let asked = question(drive, "bob", two, drive.status().applied.unwrap());
        drive.reader.admit(&asked, drive.now_ms() + 60_000, unix_ms)
    };
    assert!(is_admitted(&later(&drive, UNIX_MS)));
    assert_eq!(later(&drive, 1_810_000_000_000), Admission::JudgeAgain);
    let past = r#"UPDATE "Session" SET expires = '2020-01-01' WHERE id = 's2'"#;
    assert_eq!(after(&mut drive, &cluster, past), gone(two));
    // However long others see that it has not ended.
    let judged_now = drive.status().applied.unwrap();
    let of_two = |drive: &Drive| {
        let asked = question(drive, "bob", two, judged_now);
        drive.reader.admit(&asked, drive.now_ms() + 60_000, UNIX_MS)
    };
    assert_eq!(of_two(&drive), Admission::JudgeAgain);
    let back = r#"UPDATE "Session" SET expires = '2100-01-01' WHERE id = 's2'"#;
    assert_eq!(after(&mut drive, &cluster, back), []);
    assert!(is_admitted(&of_two(&drive)));
    let renamed = r#"UPDATE "Session" SET id = 's3', expires = '2100-01-01' WHERE id = 's2'"#;
    assert_eq!(after(&mut drive, &cluster, renamed), gone(two));
    let everybody = |reason| vec![(RevocationScope::Everybody, reason)];
    let emptied = after(&mut drive, &cluster, r#"TRUNCATE "Session""#);
    assert_eq!(emptied, everybody(CloseReason::SessionRevoked));
    // Where the row that is gone does not say which it was, it may have been anybody's.
    cluster.sql(
        r#"INSERT INTO "Session" VALUES ('s4', 't4', 'bob'); ALTER TABLE "Session" ALTER token SET NOT NULL;
           CREATE UNIQUE INDEX by_token ON "Session" (token);
           ALTER TABLE "Session" REPLICA IDENTITY USING INDEX by_token"#,
    );
    let unknown = after(&mut drive, &cluster, r#"DELETE FROM "Session""#);
    assert_eq!(unknown, everybody(CloseReason::FeedStale));
}

// Case: 65
#[test]
fn a_user_who_is_deleted_or_banned_loses_every_stream() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, rules());
    let (ada, bob) = (drive.keys.user("ada"), drive.keys.user("bob"));
    let out = |user| (RevocationScope::User(user), CloseReason::SessionRevoked);
    assert_eq!(
        after(&mut drive, &cluster, r#"UPDATE "User" SET name = 'x'"#),
        []
    );
    let banned = after(
        &mut drive,
        &cluster,
        r#"UPDATE "User" SET banned = true WHERE id = 'ada'"#,
    );
    assert_eq!(banned, [out(ada)]);
    let judged = drive.status().applied.unwrap();
    let much_later = |drive: &Drive| {
        let asked = question(drive, "ada", drive.keys.session("s9"), judged);
        drive.reader.admit(&asked, drive.now_ms() + 60_000, UNIX_MS)
    };
    // However long others see that she is not: the commit may wait for a standby.
    assert_eq!(much_later(&drive), Admission::JudgeAgain);
    // A ban that is over keeps nobody out, and throws nobody out when anything else changes.
    let over = r#"UPDATE "User" SET until = now() - interval '1 s' WHERE id = 'ada'"#;
    assert_eq!(after(&mut drive, &cluster, over), []);
    assert!(is_admitted(&much_later(&drive)));
    let longer = r#"UPDATE "User" SET until = now() + interval '1 h' WHERE id = 'ada'"#;
    assert_eq!(after(&mut drive, &cluster, longer), [out(ada)]);
    let mut all = after(
        &mut drive,
        &cluster,
        r#"DELETE FROM "User" WHERE id = 'bob'"#,
    );
    let organisation = |name| drive.keys.organisation(name);
    let member = |name| {
        let scope = RevocationScope::Member {
            user: bob,
            organisation: organisation(name),
        };
        (scope, CloseReason::MembershipRevoked)
    };
    let session = drive.keys.session("s2");
    for expected in [
        out(bob),
        member("acme"),
        member("globex"),
        (
            RevocationScope::Session(session),
            CloseReason::SessionRevoked,
        ),
    ] {
        let at = all.iter().position(|it| *it == expected);
        all.swap_remove(at.unwrap_or_else(|| panic!("{expected:?}")));
    }
    assert_eq!(all, []);
    assert_eq!(drive.admit("bob", Wanted::Only), Admission::JudgeAgain);
}

/// Where ada is let in from, who was judged a moment ago.
fn since(drive: &Drive) -> Option<EventId> {
    let judged = drive.status().applied.unwrap();
    let asked = question(drive, "ada", drive.keys.session("s9"), judged);
    match drive.reader.admit(&asked, drive.now_ms() + 60_000, UNIX_MS) {
        Admission::Admitted(place) => place.since,
        other => panic!("{other:?}"),
    }
}

const BAN: &str = r#"UPDATE "User" SET banned = true WHERE id = 'ada'"#;
const LIFT: &str = r#"UPDATE "User" SET banned = false WHERE id = 'ada'"#;

#[test]
fn who_was_banned_before_the_node_began_is_back_where_the_ban_is_lifted() {
    let cluster = Cluster::start(SCHEMA);
    cluster.sql(BAN);
    let mut drive = Drive::streaming(&cluster, rules());
    // Who sees that the ban was lifted is ahead of the log.
    let judged = drive.status().applied.unwrap();
    let asked = question(&drive, "ada", drive.keys.session("s9"), judged);
    let verdict = drive.reader.admit(&asked, drive.now_ms() + 60_000, UNIX_MS);
    assert_eq!(verdict, Admission::JudgeAgain);
    after(&mut drive, &cluster, "INSERT INTO horse DEFAULT VALUES");
    let banned = drive.status().applied;
    after(&mut drive, &cluster, LIFT);
    let back = since(&drive);
    assert!(back > banned, "{back:?}, and banned still at {banned:?}");
    // What changes of the row later takes nothing away.
    after(&mut drive, &cluster, r#"UPDATE "User" SET name = 'x'"#);
    assert_eq!(since(&drive), back);
}

#[test]
fn a_ban_that_was_lifted_before_a_node_began_is_found_in_what_it_still_reads() {
    let cluster = Cluster::start(SCHEMA);
    cluster.sql(BAN);
    let mut first = Drive::streaming(&cluster, rules());
    after(&mut first, &cluster, LIFT);
    let back = since(&first);
    drop(first);
    let mut again = Drive::streaming(&cluster, rules());
    again.catch_up(&cluster);
    assert_eq!(since(&again), back);
    // By now it knows who is banned, and a row that says nothing of it counts for nothing.
    after(&mut again, &cluster, r#"UPDATE "User" SET name = 'x'"#);
    assert_eq!(since(&again), back);
    let bob = again.admit("bob", Wanted::Named("acme".to_owned()));
    assert!(matches!(bob, Admission::Admitted(place) if place.since.is_none()));
}

#[test]
fn who_is_banned_is_read_only_where_the_role_may_read_it() {
    let cluster = Cluster::start(SCHEMA);
    cluster.sql(
        r#"CREATE ROLE node LOGIN REPLICATION; GRANT SELECT ON "Member", "Organization" TO node;
           GRANT USAGE ON SCHEMA tailrace TO node; GRANT SELECT ON tailrace.revocation TO node;
           GRANT SELECT (id, banned) ON "User" TO node"#,
    );
    let mut drive = Drive::with(&cluster, |config| {
        config.rules = rules();
        config.connect.user = "node".to_owned();
    });
    drive.until("ready", |drive| drive.status().ready);
    drive.catch_up(&cluster);
    // Nobody can tell whether she was banned until some time.
    assert_eq!(since(&drive), None);
    after(&mut drive, &cluster, r#"UPDATE "User" SET name = 'x'"#);
    assert!(since(&drive).is_some());
}

#[test]
fn of_more_banned_users_than_are_read_nobody_can_tell() {
    let cluster = Cluster::start(SCHEMA);
    let ban = |from: usize, to: usize| {
        format!(
            r#"INSERT INTO "User" SELECT 'u' || n, 'x', true FROM generate_series({from}, {to}) AS n"#
        )
    };
    let change = r#"UPDATE "User" SET name = 'x' WHERE id = 'ada'"#;
    cluster.sql(&ban(1, BANS_MAX));
    let mut drive = Drive::streaming(&cluster, rules());
    after(&mut drive, &cluster, change);
    assert_eq!(since(&drive), None);
    drop(drive);
    cluster.sql(&ban(BANS_MAX + 1, BANS_MAX + 1));
    let mut again = Drive::streaming(&cluster, rules());
    again.catch_up(&cluster);
    let seen = since(&again);
    after(&mut again, &cluster, change);
    assert!(since(&again) > seen, "each change counts");
}

#[test]
fn memberships_that_were_read_do_not_wait_for_who_is_banned() {
    let cluster = Cluster::start(SCHEMA);
    // Its anchor could not be made while another transaction is open.
    drop(Drive::streaming(&cluster, rules()));
    let mut holder =
        cluster.sql_in_background(r#"BEGIN; LOCK TABLE "User"; SELECT pg_sleep(60); COMMIT"#);
    let asked = r#"SELECT pid FROM pg_locks WHERE relation = '"User"'::regclass AND granted
                   AND mode = 'AccessExclusiveLock'"#;
    let pid = loop {
        match cluster.sql(asked).trim() {
            "" => std::thread::sleep(Duration::from_millis(20)),
            pid => break pid.to_owned(),
        }
    };
    let mut drive = Drive::new(&cluster, rules());
    drive.until("ready", |drive| drive.status().ready);
    cluster.sql(&format!("SELECT pg_terminate_backend({pid})"));
    holder.wait().expect("psql ends with its session");
    assert_eq!(drive.status().memberships.bans, None);
    assert!(drive.has_said("bans=unread"));
    assert!(is_admitted(
        &drive.admit("bob", Wanted::Named("acme".to_owned()))
    ));
}

#[test]
fn an_organisation_that_is_deleted_has_no_streams_and_no_members() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, rules());
    assert_eq!(
        after(
            &mut drive,
            &cluster,
            r#"UPDATE "Organization" SET name = 'x'"#
        ),
        []
    );
    let gone = after(
        &mut drive,
        &cluster,
        r#"DELETE FROM "Organization" WHERE id = 'acme'"#,
    );
    let acme = RevocationScope::Organisation(drive.keys.organisation("acme"));
    assert_eq!(gone[0], (acme, CloseReason::OrganizationDeleted));
    let named = |name: &str| Wanted::Named(name.to_owned());
    assert_eq!(drive.admit("ada", named("acme")), Admission::NotAMember);
    assert!(is_admitted(&drive.admit("bob", named("globex"))));
}

#[test]
fn whom_our_own_table_names_is_out_until_its_time_on_every_node_and_after_a_start() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, rules());
    // Long over by the clock of these verdicts, or not at all.
    let insert = |columns: &str, values: &str| {
        format!("INSERT INTO tailrace.revocation ({columns}, until) VALUES ({values}, 'infinity')")
    };
    let user = after(&mut drive, &cluster, &insert("\"user\"", "'ada'"));
    let ada = drive.keys.user("ada");
    assert_eq!(
        user,
        [(RevocationScope::User(ada), CloseReason::SessionRevoked)]
    );
    let session = after(&mut drive, &cluster, &insert("session", "'s2'"));
    let two = drive.keys.session("s2");
    assert_eq!(
        session,
        [(RevocationScope::Session(two), CloseReason::SessionRevoked)]
    );
    after(&mut drive, &cluster, &insert("organization", "'globex'"));
    // Whose session is a newer one comes back.
    let older = after(
        &mut drive,
        &cluster,
        &insert("\"user\", issued_before", "'eve', now()"),
    );
    let eve = drive.keys.user("eve");
    assert_eq!(
        older,
        [(RevocationScope::User(eve), CloseReason::Reauthorize)]
    );
    // Nothing of it leaves, and nobody is told that it is nobody's.
    assert_eq!((drive.frames.len(), drive.status().unroutable), (0, vec![]));
    let check = |drive: &Drive| {
        let judged = drive.status().applied.unwrap();
        let of = |user, session, organisation: &str, judged_ms| {
            let question = Question {
                organisation: Wanted::Named(organisation.to_owned()),
                judged_ms,
                ..question(drive, user, session, judged)
            };
            drive
                .reader
                .admit(&question, drive.now_ms() + 10_000, UNIX_MS)
        };
        let other = drive.keys.session("s9");
        let now = UNIX_MS;
        assert_eq!(of("ada", other, "acme", now), Admission::Revoked);
        assert_eq!(of("bob", two, "acme", now), Admission::Revoked);
        assert_eq!(of("bob", other, "globex", now), Admission::Revoked);
        assert!(is_admitted(&of("bob", other, "acme", now)));
    };
    check(&drive);
    let mut again = Drive::streaming(&cluster, rules());
    again.catch_up(&cluster);
    check(&again);
    // A row that is taken back lets in again.
    for drive in [&mut drive, &mut again] {
        cluster.sql("DELETE FROM tailrace.revocation WHERE \"user\" = 'ada'");
        drive.catch_up(&cluster);
        let judged = drive.status().applied.unwrap();
        let session = drive.keys.session("s9");
        let asked = question(drive, "ada", session, judged);
        let verdict = drive.reader.admit(&asked, drive.now_ms() + 10_000, UNIX_MS);
        assert!(is_admitted(&verdict), "{verdict:?}");
    }
}

#[test]
fn after_a_gap_nobody_stays_whose_session_may_have_ended() {
    let cluster = Cluster::start(SCHEMA);
    let mut drive = Drive::streaming(&cluster, rules());
    cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication");
    cluster.sql(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT temporary",
    );
    let judged = drive.status().applied.unwrap();
    drive.until("a gap", |drive| {
        !drive.gaps().is_empty() && drive.status().ready
    });
    assert_eq!(
        revoked(&mut drive),
        [(RevocationScope::Everybody, CloseReason::FeedStale)]
    );
    let session = drive.keys.session("s1");
    let asked = question(&drive, "ada", session, judged);
    assert_eq!(
        drive.reader.admit(&asked, drive.now_ms() + 10_000, UNIX_MS),
        Admission::JudgeAgain
    );
}
