//! A single stream that the runner opens itself, where an experiment needs more than the swarm says.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use swarm::Target;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest beginning of a stream in which its place is looked for.
const BEGINNING_BYTES_MAX: usize = 64 * 1024;

/// Asks for the stream with this number; nothing of the answer is read yet.
pub(crate) fn open(target: &Target, stream: u32) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(target.address).context("a stream cannot be opened")?;
    socket.set_nodelay(true).context("a socket's option")?;
    socket
        .write_all(target.request(stream, None).as_bytes())
        .context("a stream cannot be asked for")?;
    Ok(socket)
}

/// The place where a stream begins now: the id of its first event.
pub(crate) fn place(target: &Target, stream: u32) -> Result<String> {
    let mut socket = open(target, stream)?;
    socket
        .set_read_timeout(Some(PATIENCE))
        .context("a socket's option")?;
    let (mut beginning, mut buffer) = (Vec::new(), [0; 4096]);
    while beginning.len() < BEGINNING_BYTES_MAX {
        let count = socket.read(&mut buffer).context("a stream says nothing")?;
        beginning.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&beginning);
        if let Some(place) = id_in(&text) {
            return Ok(place.to_owned());
        }
        if count == 0 {
            bail!("a stream ended with {text:?}");
        }
    }
    bail!("a stream names no place in its first {BEGINNING_BYTES_MAX} bytes")
}

/// The first id, where its line is whole.
fn id_in(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("\nid: ")?;
    let (id, _) = rest.split_once('\n')?;
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_once_its_line_is_whole() {
        let head = "HTTP/1.1 200 OK\r\n\r\nretry: 3000\n\nevent: connected\n";
        assert_eq!(id_in(head), None);
        assert_eq!(id_in(&format!("{head}id: a.1.2")), None);
        assert_eq!(id_in(&format!("{head}id: a.1.2b\ndata: ")), Some("a.1.2b"));
    }
}
