//! Values of every built-in type, with PostgreSQL's own `to_jsonb` as the judge.

mod built_in;
mod random;

use replication::{Numbers, Rules, Style, Timestamps};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::drive::Drive;
use built_in::{OTHERS, TYPES, WITHOUT_INPUT};

const SCHEMA: &str = r#"
    CREATE TYPE mood AS ENUM ('sad', 'so "so"');
    CREATE TYPE floatrange AS RANGE (subtype = float8);
    CREATE DOMAIN small AS int4 CHECK (value > 0);
    CREATE DOMAIN smaller AS small;
    CREATE DOMAIN smalls AS int4[];
    CREATE DOMAIN documented AS jsonb;
    CREATE DOMAIN big AS int8;
    CREATE DOMAIN exact AS numeric[];
    CREATE DOMAIN feeling AS mood;
    CREATE DOMAIN moment AS timestamp;
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

/// Values as `to_jsonb` has them, without any exception.
const AS_TO_JSONB: Style = Style {
    numbers: Numbers::Number,
    timestamps: Timestamps::Local,
};

/// A server with a table of a column for each of the types, and the publication.
fn cluster(types: &[String]) -> Cluster {
    let cluster = Cluster::start(SCHEMA);
    let columns: Vec<String> = types
        .iter()
        .enumerate()
        .map(|(at, ty)| format!("c{at} {ty}"))
        .collect();
    cluster.sql(&format!(
        "CREATE TABLE types (id serial PRIMARY KEY, tenant_id text DEFAULT 'acme', {});
         CREATE PUBLICATION tailrace FOR TABLE types",
        columns.join(", ")
    ));
    cluster
}

fn drive(cluster: &Cluster, style: Style) -> Drive {
    let rules = Rules {
        style,
        ..Rules::default()
    };
    Drive::streaming(cluster, rules)
}

/// The rows of the table from an id on, as `to_jsonb` has them. In hexadecimal on the way, since psql
/// leaves out characters that it cannot show.
fn judged(cluster: &Cluster, from: usize) -> Vec<Value> {
    let sql = format!(
        "{SETTINGS} SELECT encode(convert_to(to_jsonb(t)::text, 'UTF8'), 'hex')
         FROM types t WHERE id >= {from} ORDER BY id"
    );
    let lines = cluster.sql(&sql);
    let rows = lines.lines().map(|line| {
        let digits = line.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        serde_json::from_slice(&digits.map(byte).collect::<Vec<u8>>())
    });
    rows.collect::<Result<_, _>>().unwrap()
}

/// What the default style makes of a value that `to_jsonb` gave: told by the type of the column alone.
fn excepted(ty: &str, value: &Value) -> Value {
    let element = ty.strip_suffix("[]").unwrap_or(ty);
    let is_number = ["int8", "numeric", "numeric(10,2)", "big", "exact"].contains(&element);
    let is_moment = ["timestamp", "timestamp(3)", "moment"].contains(&element);
    match value {
        Value::Array(list) => list.iter().map(|value| excepted(element, value)).collect(),
        Value::Number(number) if is_number => json!(number.to_string()),
        Value::String(text) if is_moment => match text.strip_suffix(" BC") {
            Some(moment) => json!(format!("{moment}Z BC")),
            None if text.contains('T') => json!(format!("{text}Z")),
            None => value.clone(),
        },
        value => value.clone(),
    }
}

/// Whether two values are equal: `to_jsonb` prints the same number with other digits (`1e+30`, `-0`,
/// `1.50`), and a number that is a string here keeps PostgreSQL's.
fn is_equal(one: &Value, two: &Value) -> bool {
    let is_equal_list = |one: &[&Value], two: &[&Value]| {
        one.len() == two.len() && one.iter().zip(two).all(|(one, two)| is_equal(one, two))
    };
    match (one, two) {
        (Value::Number(one), Value::Number(two)) => one == two || one.as_f64() == two.as_f64(),
        (Value::String(one), Value::String(two)) if one != two => {
            let number = |text: &str| serde_json::from_str::<Value>(text).ok();
            let is_number = |it: &Option<Value>| it.as_ref().is_some_and(Value::is_number);
            let (one, two) = (number(one), number(two));
            is_number(&one) && is_number(&two) && is_equal(&one.unwrap(), &two.unwrap())
        }
        (Value::Array(one), Value::Array(two)) => {
            is_equal_list(&Vec::from_iter(one), &Vec::from_iter(two))
        }
        (Value::Object(one), Value::Object(two)) => {
            one.keys().eq(two.keys())
                && is_equal_list(&Vec::from_iter(one.values()), &Vec::from_iter(two.values()))
        }
        (one, two) => one == two,
    }
}

/// Compares the events of two drives, one of each style, with PostgreSQL's answer.
fn compare(types: &[String], drives: [&Drive; 2], expected: &[Value]) {
    let [plain, excepting] = drives.map(|drive| drive.events("acme"));
    assert_eq!(
        (plain.len(), excepting.len()),
        (expected.len(), expected.len())
    );
    for (expected, (plain, excepting)) in expected.iter().zip(plain.iter().zip(&excepting)) {
        for (at, ty) in types.iter().enumerate() {
            let column = format!("c{at}");
            let value = |event: &Value| event["payload"]["record"][&column].clone();
            let expected = &expected[&column];
            let plain = value(plain);
            assert!(is_equal(&plain, expected), "{ty}: {plain} {expected}");
            let expected = excepted(ty, expected);
            let value = value(excepting);
            assert!(is_equal(&value, &expected), "{ty}: {value} {expected}");
        }
    }
}

// Case: 34
#[test]
fn a_value_of_every_type_equals_what_to_jsonb_gives_for_it() {
    let mut columns: Vec<(String, Vec<String>)> = Vec::new();
    for (ty, values) in TYPES {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        let list = format!("ARRAY[{}, NULL]::{ty}[]", values.join(", "));
        let nested = format!("ARRAY[ARRAY[{0}], ARRAY[{0}]]::{ty}[]", values.join(", "));
        columns.push(((*ty).to_owned(), values));
        columns.push((format!("{ty}[]"), vec![list, nested]));
    }
    let own = OTHERS.iter().map(|(ty, values)| {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        ((*ty).to_owned(), values)
    });
    columns.extend(own);
    let types: Vec<String> = columns.iter().map(|(ty, _)| ty.clone()).collect();
    let cluster = cluster(&types);
    let mut drives = [AS_TO_JSONB, Style::default()].map(|style| drive(&cluster, style));
    let mut sql = String::from("INSERT INTO types DEFAULT VALUES;");
    for (at, (_, values)) in columns.iter().enumerate() {
        for value in values {
            sql += &format!("INSERT INTO types (c{at}) VALUES ({value});");
        }
    }
    cluster.sql(&format!("{SETTINGS} {sql}"));
    drives.iter_mut().for_each(|drive| drive.catch_up(&cluster));
    let [plain, excepting] = &drives;
    compare(&types, [plain, excepting], &judged(&cluster, 1));
}

#[test]
fn no_built_in_type_is_forgotten() {
    let cluster = Cluster::start("");
    let types = cluster.sql(
        r"SELECT typname FROM pg_type WHERE typtype IN ('b', 'r', 'm')
          AND typnamespace = 'pg_catalog'::regnamespace
          AND NOT (typcategory = 'A' AND typname LIKE '\_%')",
    );
    let known = |ty: &&str| {
        TYPES
            .iter()
            .any(|(known, _)| known.trim_matches('"') == *ty)
            || WITHOUT_INPUT.contains(ty)
    };
    let forgotten: Vec<&str> = types.lines().filter(|ty| !known(ty)).collect();
    assert_eq!(forgotten, [""; 0]);
    assert!(types.lines().count() > 70);
}

/// Values that differ from `to_jsonb` by rule, to the letter.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("int8", "9007199254740993", r#""9007199254740993""#),
    ("int8", "-9223372036854775808", r#""-9223372036854775808""#),
    (
        "numeric",
        "12345678901234567890.12345678901234567890",
        r#""12345678901234567890.12345678901234567890""#,
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
    ("exact", "'{1.50}'", r#"["1.50"]"#),
    (
        "timestamp[]",
        "'{2026-01-05 00:00:00}'",
        r#"["2026-01-05T00:00:00Z"]"#,
    ),
];

// Case: 35
#[test]
fn long_numbers_are_strings_and_bare_timestamps_are_utc() {
    let types: Vec<String> = EXCEPTIONS.iter().map(|(ty, ..)| (*ty).to_owned()).collect();
    let cluster = cluster(&types);
    let mut drive = drive(&cluster, Style::default());
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

// Case: 35
#[test]
fn long_numbers_may_be_numbers_and_lose_nothing_on_the_way() {
    let types = ["int8", "numeric"].map(str::to_owned);
    let cluster = cluster(&types);
    let mut drive = drive(&cluster, AS_TO_JSONB);
    cluster.sql("INSERT INTO types VALUES (1, 'acme', 9007199254740993, 1.50)");
    drive.catch_up(&cluster);
    let text = String::from_utf8(drive.frames[0].bytes().to_vec()).unwrap();
    assert!(
        text.contains(r#""c0":9007199254740993,"c1":1.50}"#),
        "{text}"
    );
}

// Case: 36
#[test]
fn a_text_of_any_characters_is_one_line_of_json() {
    let cluster = cluster(&["text".to_owned(), "json".to_owned()]);
    let mut drive = drive(&cluster, Style::default());
    let text = "🐢 \u{2028}\u{2029} \"quoted\" \\ /\u{7f}\u{1}\u{1f}\r\n\r\tid: 1\ndata: x\n\n é";
    cluster.sql(&format!(
        "INSERT INTO types VALUES (1, 'acme', $${text}$$, to_json($${text}$$::text))"
    ));
    drive.catch_up(&cluster);
    // The reader of the block refuses more than one line of data.
    let record = &drive.events("acme")[0]["payload"]["record"];
    assert_eq!((&record["c0"], &record["c1"]), (&json!(text), &json!(text)));
}

// Case: 34
#[test]
fn what_the_server_does_not_describe_is_a_string_of_its_text() {
    let cluster = Cluster::start(
        "CREATE EXTENSION hstore;
         CREATE DOMAIN small AS int4; CREATE TYPE pair AS (a int, b text);
         CREATE TABLE types (
             id int PRIMARY KEY, tenant_id text, one pair, many pair[], small small[], h hstore,
             hs hstore[]
         );
         CREATE PUBLICATION tailrace FOR TABLE types",
    );
    let mut drive = drive(&cluster, Style::default());
    cluster.sql(
        r#"INSERT INTO types VALUES (1, 'acme', '(1,"x, y")', ARRAY['(1,x)', NULL]::pair[], '{1,2}',
           '"k 1"=>"v", "n"=>NULL', ARRAY['a=>1'::hstore])"#,
    );
    drive.catch_up(&cluster);
    let record = &drive.events("acme")[0]["payload"]["record"];
    assert_eq!(record["one"], r#"(1,"x, y")"#);
    assert_eq!(record["many"], json!(["(1,x)", null]));
    assert_eq!(record["small"], json!(["1", "2"]));
    assert_eq!(record["h"], json!({"k 1": "v", "n": null}));
    assert_eq!(record["hs"], json!([{"a": "1"}]));
    let judged = &judged(&cluster, 1)[0];
    assert_eq!((&record["h"], &record["hs"]), (&judged["h"], &judged["hs"]));
}
