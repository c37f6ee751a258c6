//! A reader of Server-Sent Events, written from the standard alone (WHATWG HTML, section 9.2.6), as
//! the judge of what we write. It takes a whole stream at once; no product code uses it.

/// What was read of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The events that a page would see, in order.
    pub events: Vec<Event>,
    /// The reconnection times that were set, in milliseconds.
    pub retry_ms: Vec<u64>,
    /// What a reconnect would send as `Last-Event-ID`.
    pub last_event_id: String,
}

/// An event as a page sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its type; `message` where the stream names none.
    pub event_type: String,
    /// Its data, with a line feed between the lines.
    pub data: String,
    /// The last id up to and with its block.
    pub last_event_id: String,
}

/// The fields of the block that is being read.
#[derive(Default)]
struct Block {
    event_type: String,
    data: String,
    id: Option<String>,
}

/// Reads a stream from its first character. A block that is not ended is dropped.
pub fn read(stream: &str) -> Reading {
    let mut reading = Reading::default();
    let mut block = Block::default();
    let stream = stream.strip_prefix('\u{feff}').unwrap_or(stream);
    // With one kind of line end, the last piece is what no line end follows: no line.
    let text = stream.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<&str> = text.split('\n').collect();
    lines.pop();
    for line in lines {
        if line.is_empty() {
            dispatch(&mut reading, std::mem::take(&mut block));
        } else {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            take_field(
                &mut reading,
                &mut block,
                name,
                value.strip_prefix(' ').unwrap_or(value),
            );
        }
    }
    reading
}

fn take_field(reading: &mut Reading, block: &mut Block, name: &str, value: &str) {
    match name {
        "event" => block.event_type = value.to_owned(),
        "data" => {
            block.data.push_str(value);
            block.data.push('\n');
        }
        "id" if !value.contains('\0') => block.id = Some(value.to_owned()),
        "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
            reading.retry_ms.extend(value.parse::<u64>());
        }
        _ => {}
    }
}

/// Ends a block: its id counts in any case, its event only with data.
fn dispatch(reading: &mut Reading, block: Block) {
    if let Some(id) = block.id {
        reading.last_event_id = id;
    }
    let Some(data) = block.data.strip_suffix('\n') else {
        return;
    };
    let named = (!block.event_type.is_empty()).then_some(block.event_type);
    reading.events.push(Event {
        event_type: named.unwrap_or_else(|| "message".to_owned()),
        data: data.to_owned(),
        last_event_id: reading.last_event_id.clone(),
    });
}
