//! Random values, which `to_jsonb` judges too.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use replication::Style;

use super::{AS_TO_JSONB, cluster, compare, drive, judged};

/// A row: an expression in SQL for each of the columns of [`TYPES`].
type Row = Vec<String>;

const TYPES: &[&str] = &[
    "bool",
    "int2",
    "int4",
    "int8",
    "float4",
    "float8",
    "numeric",
    "text",
    "bytea",
    "date",
    "timestamp",
    "timestamptz",
    "interval",
    "json",
    "jsonb",
    "int8[]",
    "numeric[]",
    "text[]",
    "timestamptz[]",
    "int8range",
    "inet",
];

fn row() -> impl Strategy<Value = Row> {
    let plain = |text: String| quoted(&text);
    let number = || "-?[1-9][0-9]{0,40}(\\.[0-9]{1,40})?".prop_map(|text| quoted(&text));
    let small = (any::<bool>(), any::<i16>(), any::<i32>(), any::<i64>());
    let small = small.prop_map(|(a, b, c, d)| {
        // The type first: otherwise the minus sign stands outside of the smallest number.
        [
            a.to_string(),
            quoted(&b.to_string()),
            quoted(&c.to_string()),
            quoted(&d.to_string()),
        ]
    });
    let float4 = any::<f32>().prop_map(|it| quoted(&it.to_string()));
    let float8 = any::<f64>().prop_map(|it| quoted(&it.to_string()));
    let bytes = proptest::collection::vec(any::<u8>(), 0..40)
        .prop_map(|bytes| format!("decode('{}', 'hex')", hex(&bytes)));
    let days =
        (-2_400_000..2_000_000_000_i32).prop_map(|days| format!("date '2000-01-01' + {days}"));
    let days = days.prop_filter("beyond the last date", |text| text.len() < 30);
    let moment = |ty: &'static str| {
        // The whole range of a timestamp, in microseconds from 2000.
        (-211_813_488_000_000_000_i64..9_223_371_331_200_000_000).prop_map(move |us| {
            format!("{ty} '2000-01-01' + interval '1 microsecond' * ({us}::float8)")
        })
    };
    let interval = (any::<i16>(), any::<i16>(), any::<i32>()).prop_map(|(months, days, us)| {
        quoted(&format!("{months} months {days} days {us} microseconds"))
    });
    let list = |element: BoxedStrategy<String>, ty: &'static str| {
        proptest::collection::vec(element, 0..4)
            .prop_map(move |list| format!("ARRAY[{}]::{ty}[]", list.join(", ")))
    };
    let int8 = any::<i64>().prop_map(|it| quoted(&it.to_string())).boxed();
    let range = (any::<i32>(), 0..1_000_i64)
        .prop_map(|(from, len)| quoted(&format!("[{from},{})", i64::from(from) + len)));
    let inet = any::<std::net::IpAddr>().prop_map(|it| quoted(&it.to_string()));
    let first = (
        small,
        float4,
        float8,
        number(),
        text().prop_map(plain),
        bytes,
        days,
    );
    let second = (
        moment("timestamp"),
        moment("timestamptz"),
        interval,
        json().prop_map(plain),
        json().prop_map(plain),
        list(int8, "int8"),
    );
    let third = (
        list(number().boxed(), "numeric"),
        list(
            prop_oneof![text().prop_map(plain), Just("NULL".to_owned())].boxed(),
            "text",
        ),
        list(moment("timestamptz").boxed(), "timestamptz"),
        range,
        inet,
    );
    (first, second, third).prop_map(|(first, second, third)| {
        let ([a, b, c, d], e, f, g, h, i, j) = first;
        let (k, l, m, n, o, p) = second;
        let (q, r, s, t, u) = third;
        vec![
            a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u,
        ]
    })
}

/// Text without NUL, which PostgreSQL does not hold.
fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>(), 0..20).prop_map(|characters| {
        let is_held = |character: &char| *character != '\0';
        characters.into_iter().filter(is_held).collect()
    })
}

/// JSON with line ends and spaces between its tokens.
fn json() -> impl Strategy<Value = String> {
    let string = text()
        .prop_map(|text| serde_json::to_string(&text).unwrap())
        .boxed();
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?[1-9][0-9]{0,14}(\\.[0-9]{1,5})?",
        string.clone(),
    ];
    leaf.prop_recursive(3, 20, 4, move |inner| {
        let member = (string.clone(), inner.clone());
        prop_oneof![
            proptest::collection::vec(inner, 0..4)
                .prop_map(|list| format!("[{}]", list.join(" ,\r\n\t"))),
            proptest::collection::vec(member, 0..4).prop_map(|members| {
                let member = |(name, value)| format!("{name}\n:\r{value}");
                let members: Vec<String> = members.into_iter().map(member).collect();
                format!("{{ {} }}", members.join("\n,"))
            }),
        ]
    })
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

// Case: 34
#[test]
fn random_values_equal_what_to_jsonb_gives_for_them() {
    let types: Vec<String> = TYPES.iter().map(|ty| (*ty).to_owned()).collect();
    let cluster = cluster(&types);
    let drives = [AS_TO_JSONB, Style::default()].map(|style| drive(&cluster, style));
    let drives = RefCell::new(drives);
    let names: Vec<String> = (0..TYPES.len()).map(|at| format!("c{at}")).collect();
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 8,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let rows = proptest::collection::vec(row(), 12);
    let checked = runner.run(&rows, |rows| {
        cluster.sql("TRUNCATE types RESTART IDENTITY");
        let mut drives = drives.borrow_mut();
        drives.iter_mut().for_each(|drive| {
            drive.catch_up(&cluster);
            drive.frames.clear();
        });
        let rows: Vec<String> = rows
            .iter()
            .map(|row| format!("({})", row.join(", ")))
            .collect();
        let (names, rows) = (names.join(", "), rows.join(", "));
        cluster.sql(&format!("INSERT INTO types ({names}) VALUES {rows}"));
        drives.iter_mut().for_each(|drive| drive.catch_up(&cluster));
        let [plain, excepting] = &*drives;
        compare(&types, [plain, excepting], &judged(&cluster, 1));
        Ok(())
    });
    if let Err(error) = checked {
        panic!("{error}");
    }
}
