//! Messages to the server (PostgreSQL, "Message Formats").

use wire::Lsn;

const COPY_DATA: u8 = b'd';
/// PasswordMessage, SASLInitialResponse and SASLResponse share a tag.
const PASSWORD: u8 = b'p';
const QUERY: u8 = b'Q';

/// Protocol 3.0.
const VERSION: u32 = 3 << 16;

/// Appends a StartupMessage.
pub(crate) fn startup(out: &mut Vec<u8>, parameters: &[(&str, &str)]) {
    write_body(out, |out| {
        out.extend_from_slice(&VERSION.to_be_bytes());
        for (name, value) in parameters {
            write_text(out, name.as_bytes());
            write_text(out, value.as_bytes());
        }
        out.push(0);
    });
}

/// Appends a PasswordMessage.
pub(crate) fn password(out: &mut Vec<u8>, password: &[u8]) {
    write_message(out, PASSWORD, |out| write_text(out, password));
}

/// Appends a SASLInitialResponse.
pub(crate) fn sasl_initial(out: &mut Vec<u8>, mechanism: &str, response: &[u8]) {
    write_message(out, PASSWORD, |out| {
        write_text(out, mechanism.as_bytes());
        let len = u32::try_from(response.len()).expect("a SASL response is short");
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(response);
    });
}

/// Appends a SASLResponse.
pub(crate) fn sasl_response(out: &mut Vec<u8>, response: &[u8]) {
    write_message(out, PASSWORD, |out| out.extend_from_slice(response));
}

/// Appends a simple query.
pub(crate) fn query(out: &mut Vec<u8>, sql: &str) {
    assert!(!sql.contains('\0'), "our own SQL holds no NUL");
    write_message(out, QUERY, |out| write_text(out, sql.as_bytes()));
}

/// A standby status update (PostgreSQL, "Streaming Replication Protocol").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StandbyStatus {
    /// The last position received.
    pub(crate) write: Lsn,
    /// The position that is confirmed; 0 confirms nothing.
    pub(crate) flush: Lsn,
    /// Microseconds since 2000.
    pub(crate) sent_us: i64,
    /// Whether the server is to answer at once.
    pub(crate) ping: bool,
}

impl StandbyStatus {
    /// Appends it as CopyData.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        write_message(out, COPY_DATA, |out| {
            out.push(b'r');
            for lsn in [self.write, self.flush, self.flush] {
                out.extend_from_slice(&lsn.0.to_be_bytes());
            }
            out.extend_from_slice(&self.sent_us.to_be_bytes());
            out.push(u8::from(self.ping));
        });
    }
}

fn write_message(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    write_body(out, body);
}

/// Writes a body behind its length, which counts itself.
fn write_body(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let len = u32::try_from(out.len() - start).expect("what we send is short");
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(text);
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_themselves_and_the_body() {
        let mut out = Vec::new();
        query(&mut out, "SELECT 1");
        assert_eq!(out, b"Q\0\0\0\x0dSELECT 1\0");
        out.clear();
        startup(&mut out, &[("user", "a")]);
        assert_eq!(out, b"\0\0\0\x10\0\x03\0\0user\0a\0\0");
    }

    #[test]
    fn a_status_has_34_bytes() {
        let mut out = Vec::new();
        let status = StandbyStatus {
            write: Lsn(0x10),
            flush: Lsn(0),
            sent_us: 1,
            ping: true,
        };
        status.write(&mut out);
        assert_eq!(out.len(), 5 + 34);
        assert_eq!(&out[..6], b"d\0\0\0\x26r");
        assert_eq!(out[13], 0x10);
        assert!(out[14..30].iter().all(|byte| *byte == 0));
        assert_eq!(out.last(), Some(&1));
    }
}
