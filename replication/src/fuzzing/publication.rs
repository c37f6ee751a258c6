//! Bodies of publications: what is accepted is taken by the reader of the log as well, is one line of the
//! stream in every format, and says what another reader of JSON finds in the body.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use wire::{Audience, Format, Frame, Keys, Lineage, Lsn, Name, Topic};

use crate::application::Application;
use crate::events::{EventWriter, Place};
use crate::{limits, publishing};

/// The members of an object, as they are written.
type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Reads the bytes as the body of a publication.
pub fn publication(bytes: &[u8]) {
    let keys = Keys::new([0; 16]);
    let Ok(entries) = publishing::entries(bytes, "an id", &keys) else {
        return;
    };
    assert!((1..=limits::PUBLICATION_EVENTS_MAX).contains(&entries.len()));
    let bodies: Vec<Members<'_>> = match serde_json::from_slice(bytes) {
        Ok(several) => several,
        Err(_) => vec![serde_json::from_slice(bytes).expect("it is an object")],
    };
    assert_eq!(bodies.len(), entries.len());
    for ((entry, body), index) in entries.iter().zip(&bodies).zip(1..) {
        let application = Application::parse(&entry.content).expect("it was read before");
        assert_eq!(application.key(&keys), Some(entry.key));
        let id = Lineage::new(1, Vec::new(), 1).position(Lsn(7), index);
        let place = Place { id, commit_ms: 5 };
        let audience = application.audience(&keys);
        let frame = EventWriter::new(0).application(place, &application, audience);
        for (format, lines) in [(Format::Event, 4), (Format::Data, 4), (Format::Named, 5)] {
            let mut block = Vec::new();
            frame.write(format, &mut block);
            let ends = block.iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(ends + 1, lines, "{:?}", String::from_utf8_lossy(&block));
            assert!(block.ends_with(b"\n\n") && !block.contains(&b'\r'));
        }
        check(&frame, body, &keys);
    }
}

/// Whether an event says what its body says, to whom that says it.
fn check(frame: &Frame, body: &Members<'_>, keys: &Keys) {
    let text = |name: &str| -> Option<String> {
        let raw = body.get(name)?.get();
        serde_json::from_str(raw).expect("it is a text or null")
    };
    let event_type = text("type").expect("it has a type");
    let organisation = text("organizationId").or_else(|| text("tenantId"));
    let user = text("userId");
    let channel = text("channel").unwrap_or_else(|| match (&user, &organisation) {
        (Some(user), _) => Name::channel_of_user(user).as_str().to_owned(),
        (None, None) => String::from("global"),
        (None, Some(_)) => event_type.split(['.', ':']).collect::<Vec<_>>()[0].to_owned(),
    });
    let within = organisation.as_ref().map(|name| keys.organisation(name));
    let topic = match (&user, within) {
        (Some(user), _) => Topic::User(keys.user(user)),
        (None, Some(organisation)) => Topic::Organisation(organisation),
        (None, None) => Topic::Global,
    };
    let audience = Audience {
        within: within.filter(|_| user.is_some()),
        ..Audience::of(topic)
    };
    assert_eq!(frame.audience(), &audience);
    assert_eq!(
        (frame.event_type(), frame.channel()),
        (event_type.as_str(), channel.as_str())
    );

    let shown: Members<'_> = serde_json::from_slice(frame.json()).expect("an event is JSON");
    let of = |name: &str| -> String { serde_json::from_str(shown[name].get()).expect("a text") };
    assert_eq!((of("type"), of("channel")), (event_type, channel));
    let payload: Members<'_> = serde_json::from_str(shown["payload"].get()).expect("an object");
    let named = |name: &str| -> Option<String> {
        let raw = payload.get(name)?.get();
        Some(serde_json::from_str(raw).expect("a text"))
    };
    assert_eq!(
        (named("organizationId"), named("userId")),
        (organisation, user)
    );
    let data = body.get("data").or_else(|| body.get("payload"));
    let data = data
        .map_or("null", |raw| raw.get())
        .replace(['\r', '\n'], " ");
    assert_eq!(payload["data"].get(), data);
}
