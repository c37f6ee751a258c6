//! Values of the common types, with PostgreSQL's own `to_jsonb` as the judge.

use replication::Rules;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::drive::Drive;

/// The columns of the table, and for each some values in SQL.
const COLUMNS: &[(&str, &[&str])] = &[
    ("bool", &["true", "false"]),
    ("int2", &["-32768", "32767"]),
    ("int4", &["-2147483648", "0"]),
    (
        "float4",
        &["0.1", "1e30", "'NaN'", "'-Infinity'", "3.4028235e38"],
    ),
    (
        "float8",
        &[
            "0.1",
            "1e300",
            "5e-324",
            "'NaN'",
            "'Infinity'",
            "-1.5",
            "123456789.125",
        ],
    ),
    ("oid", &["42"]),
    (
        "text",
        &[
            r#"E'a "quoted" \\ back\nline\ttab\u0001 🐢 \u2028 é'"#,
            "''",
            "'NULL'",
        ],
    ),
    ("varchar(9)", &["'Żółw 🐢'"]),
    ("char(5)", &["'ab'"]),
    ("name", &["'pg'"]),
    ("uuid", &["'00000000-0000-4000-8000-0000000000ff'"]),
    (
        "json",
        &[
            r#"E'{\r\n "b" : [1, 2.50, null],\n "a": "x"}'"#,
            "'null'",
            "'\"s\"'",
        ],
    ),
    (
        "jsonb",
        &[
            r#"'{"b": [1, 2.50], "a": {"c": "\u0041"}}'"#,
            "'[]'",
            "'true'",
        ],
    ),
    (
        "date",
        &[
            "'2026-01-05'",
            "'infinity'",
            "'0044-03-15 BC'",
            "'12345-01-01'",
        ],
    ),
    ("time", &["'12:34:56.123456'", "'24:00'"]),
    ("timetz", &["'12:34:56.5+02'"]),
    (
        "timestamptz",
        &[
            "'2026-01-05 12:34:56.123456+02'",
            "'2026-01-05'",
            "'infinity'",
            "'-infinity'",
            "'0044-03-15 12:00 BC'",
            "'12345-01-01'",
        ],
    ),
    ("interval", &["'1 year 2 days 03:04:05.6'", "'-1 mon'"]),
    ("bytea", &[r"'\xdeadbeef'", "''"]),
    ("inet", &["'10.0.0.1/8'"]),
    ("bit(3)", &["B'101'"]),
    ("int4range", &["'[1,5)'"]),
    ("point", &["'(1.5,2)'"]),
    ("mood", &["'so \"so\"'"]),
    ("small", &["7"]),
    ("smalls", &["'{1,2}'"]),
    ("documented", &["'{\"a\": 1}'"]),
    ("bool[]", &["'{t,NULL,f}'"]),
    (
        "int4[]",
        &["'{1,NULL,3}'", "'{{1,2},{3,4}}'", "'{}'", "'[0:1]={7,8}'"],
    ),
    ("float8[]", &["'{1.5,NaN}'"]),
    (
        "text[]",
        &[r#"ARRAY['a', 'b,c', 'd"e', 'f\g', NULL, 'NULL', '', ' x ', '{y}']"#],
    ),
    ("uuid[]", &["'{00000000-0000-4000-8000-0000000000ff}'"]),
    (
        "jsonb[]",
        &[
            r#"ARRAY['{"a": [1, "x"]}', 'null', '"s"']::jsonb[]"#,
            "'{{\"1\"},{\"2\"}}'",
        ],
    ),
    ("date[]", &["'{2026-01-05,NULL}'"]),
    ("timestamptz[]", &["'{2026-01-05 12:34:56+00}'"]),
    ("bytea[]", &[r#"ARRAY['\x00ff'::bytea]"#]),
    ("mood[]", &["ARRAY['sad', 'so \"so\"', NULL]::mood[]"]),
    ("box[]", &["'{(1,1),(0,0);(2,2),(0,0)}'"]),
];

/// Types that differ from `to_jsonb` by rule: their value there, and the value here.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("int8", "9007199254740993", r#""9007199254740993""#),
    (
        "numeric",
        "12345678901234567890.50",
        r#""12345678901234567890.50""#,
    ),
    ("numeric", "'NaN'", r#""NaN""#),
    ("money", "1234.5", r#""$1,234.50""#),
    (
        "timestamp",
        "'2026-01-05 12:34:56.5'",
        r#""2026-01-05T12:34:56.5Z""#,
    ),
    ("timestamp", "'infinity'", r#""infinity""#),
    ("timestamp(3)", "'2026-01-05'", r#""2026-01-05T00:00:00Z""#),
    ("big", "5", r#""5""#),
    ("int8[]", "'{1,NULL}'", r#"["1",null]"#),
    ("numeric[]", "'{1.50}'", r#"["1.50"]"#),
    (
        "timestamp[]",
        "'{2026-01-05 00:00:00}'",
        r#"["2026-01-05T00:00:00Z"]"#,
    ),
];

const SCHEMA: &str = r#"
    CREATE TYPE mood AS ENUM ('sad', 'so "so"');
    CREATE DOMAIN small AS int4 CHECK (value > 0);
    CREATE DOMAIN smalls AS int4[];
    CREATE DOMAIN documented AS jsonb;
    CREATE DOMAIN big AS int8;
    ALTER DATABASE app SET datestyle = 'German';
    ALTER DATABASE app SET bytea_output = 'escape';
    ALTER DATABASE app SET intervalstyle = 'iso_8601';
    ALTER DATABASE app SET timezone = 'Asia/Tokyo';
    ALTER DATABASE app SET extra_float_digits = 0;
    ALTER DATABASE app SET lc_monetary = 'C';
"#;

/// The settings under which PostgreSQL is asked for its answer.
const SETTINGS: &str = "SET timezone = 'UTC'; SET intervalstyle = 'postgres'; \
    SET bytea_output = 'hex'; SET extra_float_digits = 3; SET datestyle = 'ISO';";

/// A server with a table of a column for each of the types, and the publication.
fn cluster(types: &[&str]) -> Cluster {
    let cluster = Cluster::start(SCHEMA);
    let columns: Vec<String> = types
        .iter()
        .enumerate()
        .map(|(at, ty)| format!("c{at} {ty}"))
        .collect();
    cluster.sql(&format!(
        "CREATE TABLE types (id int PRIMARY KEY, tenant_id text DEFAULT 'acme', {});
         CREATE PUBLICATION tailrace FOR TABLE types",
        columns.join(", ")
    ));
    cluster
}

#[test]
fn a_value_equals_what_to_jsonb_gives_for_it() {
    let types: Vec<&str> = COLUMNS.iter().map(|(ty, _)| *ty).collect();
    let cluster = cluster(&types);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    let mut sql = String::from("INSERT INTO types (id) VALUES (0);");
    let mut names = vec!["id 0".to_owned()];
    for (at, (ty, values)) in COLUMNS.iter().enumerate() {
        for value in *values {
            sql += &format!(
                "INSERT INTO types (id, c{at}) VALUES ({}, {value});",
                names.len()
            );
            names.push(format!("{ty} {value}"));
        }
    }
    cluster.sql(&format!("{SETTINGS} {sql}"));
    drive.catch_up(&cluster);
    let expected = cluster.sql(&format!(
        "{SETTINGS} SELECT to_jsonb(t) FROM types t ORDER BY id"
    ));
    let expected: Vec<Value> = expected
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let events = drive.events("acme");
    assert_eq!((events.len(), expected.len()), (names.len(), names.len()));
    for ((event, expected), name) in events.iter().zip(&expected).zip(&names) {
        assert_eq!(&event["payload"]["record"], expected, "{name}");
    }
}

#[test]
fn long_numbers_are_strings_and_bare_timestamps_are_utc() {
    let types: Vec<&str> = EXCEPTIONS.iter().map(|(ty, ..)| *ty).collect();
    let cluster = cluster(&types);
    let mut drive = Drive::streaming(&cluster, Rules::default());
    let values: Vec<&str> = EXCEPTIONS.iter().map(|(_, value, _)| *value).collect();
    cluster.sql(&format!(
        "INSERT INTO types VALUES (1, 'acme', {})",
        values.join(", ")
    ));
    drive.catch_up(&cluster);
    let event = &drive.events("acme")[0];
    for (at, (ty, value, expected)) in EXCEPTIONS.iter().enumerate() {
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(
            event["payload"]["record"][format!("c{at}")],
            expected,
            "{ty} {value}"
        );
    }
}
