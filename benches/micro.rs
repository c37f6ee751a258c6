//! Micro-benchmarks without sockets: what a request, an event and a sweep cost before the kernel.
//!
//! `cargo bench --bench micro`. A request head and a query as a browser sends them; an event into
//! its SSE block, in every format; and one event
//! swept over 1, 256 and 10,000 connections by the engine, whose driver takes everything and does
//! nothing. `fanout` and `density` measure the same engine over real sockets.

#[path = "micro/decode.rs"]
mod decode;
#[path = "micro/sweep.rs"]
mod sweep;

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use wire::http::{Head, Query};
use wire::{Audience, EventId, Format, Frame, FrameWriter, Lsn, Name, Source, Topic, sse};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    requests(&mut criterion);
    events(&mut criterion);
    decode::bench(&mut criterion);
    sweep::bench(&mut criterion);
    criterion.final_summary();
}

/// What a browser sends for an `EventSource` behind a session cookie.
const HEAD: &[u8] = b"GET /api/realtime/stream?organizationId=clx3k9f0a0000v8l4h2m1q7ab&\
    channel=property,client HTTP/1.1\r\n\
    Host: app.example.com\r\n\
    Connection: keep-alive\r\n\
    sec-ch-ua-platform: \"Linux\"\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/140.0.0.0 Safari/537.36\r\n\
    Accept: text/event-stream\r\n\
    Cache-Control: no-cache\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-Mode: cors\r\n\
    Sec-Fetch-Dest: empty\r\n\
    Referer: https://app.example.com/properties\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9\r\n\
    Cookie: theme=dark; session=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSIsImlhdCI6MTcwMDAwMDAwMCw\
    iZXhwIjoxNzAwMDg2NDAwfQ.3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n\
    Last-Event-ID: be7c4e55.1.3a90002e8.4\r\n\r\n";

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    group.throughput(Throughput::Bytes(HEAD.len() as u64));
    group.bench_function("head", |bencher| {
        bencher.iter(|| Head::parse(black_box(HEAD)).expect("it is a good head"));
    });
    let head = Head::parse(HEAD)
        .ok()
        .flatten()
        .expect("it is a whole head");
    group.throughput(Throughput::Bytes(head.query().len() as u64));
    group.bench_function("query", |bencher| {
        bencher.iter(|| {
            let query = Query::parse(black_box(head.query())).expect("it is a good query");
            black_box(query.names("channel")).expect("they are good names");
        });
    });
    group.finish();
}

/// A row as JSON, 190 bytes: with the event around it some 400.
const RECORD: &str = r#"{"id":"clx3k9f0a0000v8l4h2m1q7ab","organizationId":"clx3k9f0a0001v8l4","name":"Harbour View 12","price":"425000.00","status":"active","notes":"South-facing,\nquiet","updatedAt":"2024-05-01T12:00:00Z"}"#;

fn events(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("event");
    let id = EventId {
        epoch: 0xbe7c_4e55,
        timeline: 1,
        lsn: Lsn(0x3_a900_02e8),
        index: 4,
    };
    let bytes = frame(id).bytes().len() as u64;
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function("serialise a frame", |bencher| bencher.iter(|| frame(id)));

    let frame = frame(id);
    let mut out = Vec::with_capacity(1024);
    for format in [Format::Event, Format::Data, Format::Named] {
        group.bench_function(format!("cut as {format:?}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                black_box(&frame).write(format, &mut out);
            });
        });
    }
    group.bench_function("control event", |bencher| {
        bencher.iter(|| {
            out.clear();
            sse::event(
                &mut out,
                Some("heartbeat"),
                Some(frame.id()),
                black_box(RECORD),
            );
        });
    });
    group.finish();
}

/// A row's change as its frame.
fn frame(id: EventId) -> Frame {
    let name = |text| Name::new(text).expect("it is a good name");
    let (event_type, channel) = (name("property.update"), name("property"));
    let mut writer = FrameWriter::new(
        id,
        &event_type,
        &channel,
        1_700_000_000_123,
        Source::Postgres,
    );
    let json = writer.json();
    json.extend_from_slice(br#"{"table":"Property","action":"update","record":"#);
    let start = json.len();
    json.extend_from_slice(black_box(RECORD).as_bytes());
    writer.mark_data(start);
    writer.json().push(b'}');
    writer.finish(Audience::of(Topic::Global))
}
