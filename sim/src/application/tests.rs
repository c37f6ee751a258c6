//! What is written is of every kind, and says whose it is.

use std::collections::BTreeSet;

use super::{Application, schema};
use crate::postgres::schema::Row;
use crate::postgres::{Postgres, Record, What};
use crate::random::Random;
use crate::swarm::Swarm;
use crate::time::Time;

/// Lets an application write for a while, and then finish.
fn write(seed: u64) -> (Postgres, Application) {
    let mut random = Random::new(seed);
    let swarm = Swarm::draw(&mut random);
    let mut now = Time(0);
    let mut postgres = Postgres::new(random.fork(), &swarm.database, now);
    let mut application = Application::new(random.fork(), &swarm.writers, now, &mut postgres);
    for step in 0..400 {
        now = application
            .step(now, &mut postgres, false)
            .expect("there is always more");
        postgres.handle_timeout(now);
        if step % 150 == 149 {
            postgres.crash(now, now + Time::from_ms(50));
        }
    }
    while let Some(next) = application.step(now, &mut postgres, true) {
        now = next;
        postgres.handle_timeout(now);
    }
    (postgres, application)
}

/// The organisations that a text says it is of.
fn canaries(text: &str) -> impl Iterator<Item = &str> {
    text.split('@')
        .skip(1)
        .step_by(2)
        .filter_map(|it| Some(it.split_once(',')?.0))
}

fn assert_of(row: &Row, organisation: Option<&str>) {
    for value in row.iter().flatten() {
        for canary in canaries(value) {
            assert!(organisation.is_none_or(|it| it == canary), "{row:?}");
        }
    }
}

#[test]
fn every_text_says_whose_it_is_and_every_kind_of_change_is_written() {
    let mut kinds = BTreeSet::new();
    let mut sizes = BTreeSet::new();
    for seed in 0..60 {
        let (postgres, _) = write(seed);
        for record in postgres.log().records() {
            let Record::Transaction(transaction) = record else {
                continue;
            };
            sizes.insert(transaction.changes.len().min(30));
            for change in &transaction.changes {
                let (kind, rows) = match &change.what {
                    What::Insert { table, new } => (('i', table.0), vec![(*table, new)]),
                    What::Update { table, old, new } => {
                        (('u', table.0), vec![(*table, old), (*table, new)])
                    }
                    What::Delete { table, old } => (('d', table.0), vec![(*table, old)]),
                    What::Truncate(_) => (('t', 0), vec![]),
                    What::Message { meaning, .. } => (('m', u8::from(meaning.is_some())), vec![]),
                };
                kinds.insert(kind);
                for (table, row) in rows {
                    let is_of_organisation = table <= schema::REPORT;
                    assert_of(row, row[1].as_deref().filter(|_| is_of_organisation));
                }
            }
        }
    }
    let expected = ["iud", "iud", "iud", "iud", "iud", "iud", "id", "id"];
    for (table, letters) in expected.iter().enumerate() {
        for letter in letters.chars() {
            assert!(
                kinds.contains(&(letter, table as u8)),
                "no {letter} of table {table}: {kinds:?}"
            );
        }
    }
    assert!(kinds.contains(&('t', 0)) && kinds.contains(&('m', 0)) && kinds.contains(&('m', 1)));
    assert!(sizes.contains(&1) && sizes.contains(&30), "{sizes:?}");
}

#[test]
fn when_all_is_calm_nothing_is_open_and_every_organisation_has_a_last_event() {
    let (mut postgres, application) = write(3);
    let last = postgres
        .log()
        .records()
        .iter()
        .rev()
        .take(super::ORGANISATIONS);
    let is_insert = |record: &Record| match record {
        Record::Transaction(it) => matches!(it.changes[0].what, What::Insert { .. }),
        _ => false,
    };
    assert!(last.into_iter().all(is_insert));
    let xid = postgres.begin().expect("it is up");
    assert!(
        postgres
            .truncate(xid, &[schema::PROPERTY, schema::MEMBER])
            .is_ok(),
        "nobody writes"
    );
    assert_eq!(application.people().len(), 10);
}

#[test]
fn who_logs_in_has_a_session() {
    let (mut postgres, mut application) = write(5);
    let people = application.people().to_vec();
    let mut found = 0;
    for person in people {
        if let Some(token) = application.log_in(Time(0), &mut postgres, &person.user) {
            let row = postgres
                .row(schema::SESSION, &token)
                .expect("it was committed");
            assert_eq!(row[1].as_deref(), Some(person.user.as_str()));
            found += 1;
        }
    }
    assert!(found > 5, "{found}");
}
