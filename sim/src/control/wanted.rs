//! What a request wants, read as the product reads it.

use wire::http::{Head, Method, Query, Refusal, RefusalCode};
use wire::{ConnectionId, Name, Resume, TypePattern};

/// What is wanted.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) organisation: String,
    pub(super) channels: Vec<Name>,
    pub(super) types: Vec<TypePattern>,
    pub(super) resume: Resume,
    pub(super) token: String,
    /// The stream that is to change, and whether names are added.
    pub(super) change: Option<(ConnectionId, bool)>,
}

/// What a request wants, read as the product reads it.
pub(super) fn parse(head: &Head) -> Result<Wanted, Refusal> {
    let query = Query::parse(head.query()).map_err(|error| error.refusal())?;
    let no = |code| move |_| Refusal::new(code, "no");
    let change = match head.method() {
        Method::Get => None,
        Method::Put | Method::Post => {
            let id = query
                .text("connectionId")
                .map_err(|error| error.refusal())?;
            let id = id.unwrap_or_default().parse();
            let id = id.map_err(no(RefusalCode::InvalidParameter))?;
            Some((id, head.method() == Method::Post))
        }
        _ => return Err(Refusal::new(RefusalCode::MethodNotAllowed, "no")),
    };
    let id = head.field("last-event-id").filter(|id| !id.is_empty());
    let resume = match id.map(str::parse) {
        None => Resume::Live,
        Some(Ok(id)) => Resume::After(id),
        Some(Err(_)) => Resume::Unknown,
    };
    let organisation = query
        .text_or_alias("organizationId", "tenantId")
        .map_err(|error| error.refusal())?;
    let cookie = head.field("cookie").unwrap_or_default();
    Ok(Wanted {
        organisation: organisation.unwrap_or_default().to_owned(),
        channels: query.names("channel").map_err(|error| error.refusal())?,
        types: query.patterns("type").map_err(|error| error.refusal())?,
        resume,
        token: cookie
            .strip_prefix("session=")
            .unwrap_or_default()
            .to_owned(),
        change,
    })
}
