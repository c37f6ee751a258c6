//! The search for what a client may never see: the markers of the other organisations, in every byte that
//! arrives, before anything is read from it and however it is cut.

/// How many letters a marker has.
pub(crate) const MARKER_LETTERS: usize = 32;

/// The search in one connection.
#[derive(Clone)]
pub(crate) struct Search {
    /// What must not stand there.
    foreign: Vec<String>,
    /// The last bytes that arrived, in which a marker may begin.
    end_of_last: Vec<u8>,
}

impl Search {
    /// For these markers.
    pub(crate) fn new(foreign: Vec<String>) -> Self {
        assert!(foreign.iter().all(|it| it.len() == MARKER_LETTERS));
        Self {
            foreign,
            end_of_last: Vec::new(),
        }
    }

    /// Another connection begins.
    pub(crate) fn begin(&mut self) {
        self.end_of_last.clear();
    }

    /// Looks through what has arrived. The error says what was found, and in what.
    pub(crate) fn look(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.end_of_last.extend_from_slice(bytes);
        // Markers are ASCII, which no reading changes.
        let text = String::from_utf8_lossy(&self.end_of_last);
        if let Some(foreign) = self.foreign.iter().find(|it| text.contains(it.as_str())) {
            return Err(format!("the marker {foreign} of others: {text}"));
        }
        let kept = (self.end_of_last.len() + 1).saturating_sub(MARKER_LETTERS);
        self.end_of_last.drain(..kept);
        Ok(())
    }
}

#[test]
fn a_marker_is_found_however_it_is_cut() {
    let (own, foreign) = ("a".repeat(MARKER_LETTERS), "0123456789abcdef".repeat(2));
    let mut search = Search::new(vec!["f".repeat(MARKER_LETTERS), foreign.clone()]);
    let text = format!("data: {{\"own\":\"{own}\",\"name\":\"\u{fc}{foreign}\"}}\n\n");
    for first in 0..=text.len() {
        for second in first..=text.len() {
            search.begin();
            let bytes = text.as_bytes();
            let parts = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            let found = parts.iter().any(|part| search.look(part).is_err());
            assert!(found, "cut at {first} and {second}");
        }
    }
    search.begin();
    // What one connection ends with and another begins with is no marker.
    assert!(search.look(&foreign.as_bytes()[..20]).is_ok());
    search.begin();
    assert!(search.look(&foreign.as_bytes()[20..]).is_ok());
    assert!(search.look(own.as_bytes()).is_ok());
}
