//! What a browser's `EventSource` does with the bytes of a stream (WHATWG HTML, 9.2.5 and 9.2.6):
//! written from the standard, for these tests alone.

/// What an application is given.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// The name of the event; empty for `onmessage`.
    pub(crate) event: String,
    pub(crate) data: String,
    pub(crate) id: String,
}

/// The interpretation of one stream.
pub(crate) struct Interpreter {
    /// Bytes of a line that has not ended.
    line: Vec<u8>,
    event: String,
    data: String,
    id: String,
    /// The id with which the next connection would begin.
    pub(crate) last_event_id: String,
    /// The reconnection time, in milliseconds, if the stream has set one.
    pub(crate) retry_ms: Option<u64>,
}

impl Interpreter {
    pub(crate) fn new(last_event_id: &str) -> Self {
        Self {
            line: Vec::new(),
            event: String::new(),
            data: String::new(),
            id: last_event_id.to_owned(),
            last_event_id: last_event_id.to_owned(),
            retry_ms: None,
        }
    }

    /// Reads bytes, and calls `dispatch` for each message they complete.
    pub(crate) fn read(&mut self, bytes: &[u8], mut dispatch: impl FnMut(Message)) {
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = str::from_utf8(&line).expect("streams are UTF-8");
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.is_empty() {
                if let Some(message) = self.complete() {
                    dispatch(message);
                }
            } else {
                self.field(line);
            }
        }
    }

    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => self.event = value.to_owned(),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.id = value.to_owned(),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry_ms = value.parse().ok();
            }
            // Comments, and what the standard does not know.
            _ => {}
        }
    }

    fn complete(&mut self) -> Option<Message> {
        self.last_event_id.clone_from(&self.id);
        let event = std::mem::take(&mut self.event);
        let mut data = std::mem::take(&mut self.data);
        // Removes the last line end; without any there was no data, and nothing is dispatched.
        data.pop()?;
        Some(Message {
            event,
            data,
            id: self.id.clone(),
        })
    }
}
