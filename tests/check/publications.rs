//! Publications that send too much or too little, their lists and partitions, and routes to what is not
//! in them.

use super::*;

#[test]
fn all_tables_at_once() {
    let subject = Subject::new();
    subject.run("DROP PUBLICATION tailrace; DROP TABLE \"Weather\"; CREATE PUBLICATION tailrace FOR ALL TABLES");
    subject.is_mended(1, "it is FOR ALL TABLES");
}

#[test]
fn kinds_of_changes_that_are_not_sent() {
    let subject = Subject::new();
    subject.run("ALTER PUBLICATION tailrace SET (publish = 'insert, update, delete')");
    // A membership that ends that way would not be seen, so that nobody is let in.
    subject.is_mended(2, "it does not send: truncate");
}

#[test]
fn partitions_with_identities_of_their_own() {
    let subject = Subject::new();
    subject.run(
        r#"CREATE TABLE "Visit" (id int, "organizationId" text NOT NULL, at date, PRIMARY KEY (id, at))
               PARTITION BY RANGE (at);
           CREATE TABLE "Visit_old" PARTITION OF "Visit" FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
           CREATE TABLE "Visit_new" PARTITION OF "Visit" FOR VALUES FROM ('2026-01-01') TO (MAXVALUE);
           ALTER PUBLICATION tailrace ADD TABLE "Visit";"#,
    );
    let looked = subject.look();
    looked.says(1, "changes are sent under the partitions' own names");
    subject.mend(&looked);
    // Now it is one table to us.
    subject.is_mended(1, "a deleted row does not say its organizationId");
    subject.run(r#"CREATE TABLE "Visit_x" (LIKE "Visit" INCLUDING ALL)"#);
    subject.run(
        r#"ALTER TABLE "Visit" DETACH PARTITION "Visit_new";
           ALTER TABLE "Visit" ATTACH PARTITION "Visit_x" FOR VALUES FROM ('2026-01-01') TO (MAXVALUE);"#,
    );
    // The new partition has the index, and not the identity.
    subject.is_mended(1, "a deleted row does not say its organizationId");
}

/// Row filters and column lists come with PostgreSQL 15.
fn has_lists(subject: &Subject) -> bool {
    let version = subject.database.connect().value("SHOW server_version_num");
    version.parse::<u32>().expect("a number") >= 150_000
}

#[test]
fn lists_and_filters_that_stop_the_applications_writes() {
    let subject = Subject::new();
    if !has_lists(&subject) {
        return;
    }
    subject.run(
        r#"ALTER PUBLICATION tailrace DROP TABLE "Property", "Client";
           ALTER PUBLICATION tailrace ADD TABLE "Property" (id, name),
               "Client" WHERE (name <> 'x');
           INSERT INTO "Client" ("organizationId", name) VALUES ('acme', 'a');
           INSERT INTO "Property" ("organizationId", name) VALUES ('acme', 'a');"#,
    );
    let application = subject.database.connect();
    let deletes = [r#"DELETE FROM "Client""#, r#"DELETE FROM "Property""#];
    for delete in deletes {
        assert!(fails(&application, delete), "{delete}");
    }
    let looked = subject.look();
    looked.says(
        2,
        "its column list leaves out columns of the replica identity",
    );
    looked.says(
        2,
        "its row filter asks for columns that are not in the replica identity",
    );
    subject.mend(&looked);
    subject.look().is_content();
    for delete in deletes {
        application.run(delete);
    }
}

#[test]
fn routes_that_name_what_is_not_there() {
    let subject = Subject::new();
    let routed = |route: &str| look(&subject.config.clone().with(route));
    routed("\n[[route]]\ntable = \"property\"\n").says(1, "there is no such table");
    routed("\n[[route]]\ntable = \"Property\"\ncolumns = [\"id\", \"colour\"]\n")
        .says(1, "its table has no column colour");
    subject.run(r#"CREATE TABLE "Lease" (id int PRIMARY KEY, "organizationId" text NOT NULL)"#);
    let subject = subject.with(|config| config.with("\n[[route]]\ntable = \"Lease\"\n"));
    subject.is_mended(1, "its table is not in the publication");
    // One statement mends it, also where the route names the columns.
    subject.run(r#"CREATE TABLE "Task" (id int PRIMARY KEY, "teamId" text NOT NULL, "ownerId" text NOT NULL)"#);
    let route = "\n[[route]]\ntable = \"Task\"\norganization = \"teamId\"\nuser = \"ownerId\"\n";
    let subject = subject.with(|config| config.with(route));
    subject.is_mended(1, "its table is not in the publication");
}
