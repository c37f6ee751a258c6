//! The reader that judges our event streams, itself judged: by vectors of what browsers read.

use wire::fuzzing::sse_reader::{Event, Reading, read};

#[test]
fn reads_what_browsers_read() {
    let vectors = include_str!("vectors/sse-parse.json");
    let vectors: Vec<serde_json::Value> = serde_json::from_str(vectors).unwrap();
    assert!(vectors.len() > 40, "the vectors are there");
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    for vector in vectors {
        let event = |event: &serde_json::Value| Event {
            event_type: text(&event["type"]),
            data: text(&event["data"]),
            last_event_id: text(&event["lastEventId"]),
        };
        let expected = Reading {
            events: vector["events"]
                .as_array()
                .unwrap()
                .iter()
                .map(event)
                .collect(),
            retry_ms: serde_json::from_value(vector["retry"].clone()).unwrap(),
            last_event_id: text(&vector["lastEventId"]),
        };
        assert_eq!(
            read(&text(&vector["input"])),
            expected,
            "{}",
            vector["name"]
        );
    }
}
