//! Scripts: lines of what happens, and beside them what each client then receives.
//!
//! | line | what happens |
//! | --- | --- |
//! | `accept a` | a connection from `a` |
//! | `> a GET /stream` | `a` sends this request, with a `Host` and the blank line |
//! | `grant a acme alice [after=ID] [unknown] [since=ID] [expires=60s] [channel=x] [*]` | its verdict |
//! | `stream a acme alice …` | all three at once |
//! | `page a acme alice [after=ID] [at=MS] [limit=2] [wait=10s] …` | a request for a page, and its verdict |
//! | `commit 10 acme:property alice@acme:inbox alice@:inbox *:news [bytes=1000] [times=9]` | a transaction |
//! | `past 40` | the stream of changes starts again, with the past up to there to be read |
//! | `progress 20`, `gap 50`, `revoke alice acme`, `flushed 20` | what the names say |
//! | `takes a 10`, `takes a all` | how much more the socket of `a` takes |
//! | `subscribe a alice x,y`, `add a alice x`, `end a alice` | what the user asks of a stream |
//! | `sign-out alice`, `sign-out-of fresh` | a session ends: the one of a grant, or the one named |
//! | `renew a alice fresh 60s`, `extend alice 60s` | a fresh session, a session that lasts longer |
//! | `hangup a`, `close-all draining 10s`, `tick 30s` | what the names say |
//!
//! Every event a client receives is a line `< a <event> <id>`; what lies after the last whole event
//! is `< a … n bytes`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use engine::{Close, Command, Notice, SubscriptionChange};
use expect_test::Expect;
use wire::{
    Audience, Batch, Claimed, CloseReason, Extension, Filter, Gap, GapReason, Grant, Lsn, Name,
    PageRequest, PageSince, Purpose, Renewal, Resume, Revocation, RevocationScope, Scope, Start,
    Topic,
};

use crate::world::{World, commit, frame, grant, key, name, organisation, position};

/// Runs a script on an engine whose log is large, and compares everything that was seen.
pub(crate) fn check(script: &str, expect: Expect) {
    expect.assert_eq(&run(World::new(1 << 24), script));
}

/// The same with a log of this many bytes.
pub(crate) fn check_with_log(log_bytes_max: usize, script: &str, expect: Expect) {
    expect.assert_eq(&run(World::new(log_bytes_max), script));
}

/// The same where streams are closed that are sent no data event for so many seconds.
pub(crate) fn check_closing_idle(idle_close_s: u64, script: &str, expect: Expect) {
    let world = World::closing_idle(1 << 24, idle_close_s * 1_000);
    expect.assert_eq(&run(world, script));
}

/// A script that is being played.
struct Play {
    world: World,
    /// Descriptor of each client, and how much of what it received has been told.
    clients: BTreeMap<String, (i32, usize)>,
    next_descriptor: i32,
    told_notices: usize,
    out: String,
}

fn run(world: World, script: &str) -> String {
    let mut play = Play {
        world,
        clients: BTreeMap::new(),
        next_descriptor: 10,
        told_notices: 0,
        out: String::new(),
    };
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        writeln!(play.out, "{line}").unwrap();
        play.perform(line);
        play.world.settle();
        play.tell();
    }
    play.out
}

impl Play {
    fn perform(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["accept", client] => self.accept(client),
            [">", client, ..] => {
                let request = line.splitn(3, ' ').nth(2).unwrap();
                self.request(client, request);
            }
            ["grant", client, ref terms @ ..] => self.grant(client, terms),
            ["stream", client, ref terms @ ..] => {
                self.accept(client);
                self.request(client, "GET /stream");
                self.grant(client, terms);
            }
            ["page", client, ref terms @ ..] => {
                self.accept(client);
                self.request(client, "GET /history");
                self.page(client, terms);
            }
            ["commit", lsn, ref frames @ ..] => self.commit(lsn, frames),
            ["progress", lsn] => self.world.batch(Batch::Progress(position(hex(lsn), 0))),
            ["past", lsn] => {
                let start = Start {
                    lineage: self.world.lineage.clone(),
                    floor: position(0, 0),
                    caught_up: position(hex(lsn), 0),
                };
                self.world.batch(Batch::Start(start.into()));
            }
            ["gap", lsn] => {
                let (lineage, floor) = (self.world.lineage.clone(), position(hex(lsn), 0));
                let gap = Gap {
                    lineage,
                    floor,
                    reason: GapReason::SlotLost,
                };
                self.world.batch(Batch::Gap(gap.into()));
            }
            ["revoke", user, organisation] => {
                let (user, organisation) = (key(user), key(organisation));
                let scope = RevocationScope::Member { user, organisation };
                let reason = CloseReason::MembershipRevoked;
                self.world
                    .batch(Batch::Revoke(Revocation { scope, reason }));
            }
            ["flushed", lsn] => self.world.command(Command::Flushed(Lsn(hex(lsn)))),
            ["overloaded"] => self.world.kernel.is_overloaded = true,
            ["takes", client, room] => {
                let room = (room != "all").then(|| room.parse().unwrap());
                self.world.make_room(self.clients[client].0, room);
            }
            ["hangup", client] => self.world.hang_up(self.clients[client].0),
            ["eof", client] => self.world.bytes(self.clients[client].0, b""),
            ["subscribe" | "add", client, user, channels] => {
                let channels = channels.split(',').map(name).collect();
                self.subscribe(client, user, channels, words[0] == "add");
            }
            ["sign-out", user] => self.sign_out(&format!("session of {user}")),
            ["sign-out-of", session] => self.sign_out(session),
            ["end", client, user] => {
                let connection = self.world.id_of(self.clients[client].0);
                self.world.command(Command::End {
                    ticket: 2,
                    connection,
                    owner: Some(key(user)),
                    reason: CloseReason::Done,
                });
            }
            ["renew", client, user, session, time, ref claims @ ..] => {
                // Such as `acme:owner`; one that is not there claims nothing.
                let claims = claims.iter().map(|claim| {
                    let (organisation, role) = claim.split_once(':').unwrap_or((claim, ""));
                    Claimed {
                        organisation: key(organisation),
                        roles: Name::new(role).ok().into_iter().collect(),
                    }
                });
                let claims: Vec<Claimed> = claims.collect();
                let renewal = Renewal {
                    connection: self.world.id_of(self.clients[client].0),
                    ticket: 3,
                    user: key(user),
                    session: key(session),
                    expires_ms: Some(self.world.now.wall_ms + seconds(time) * 1000),
                    claims: (!claims.is_empty()).then_some(claims),
                };
                self.world.batch(Batch::Renew(Box::new(renewal)));
            }
            ["extend", user, time] => self.world.batch(Batch::Extend(Extension {
                session: key(&format!("session of {user}")),
                user: None,
                expires_ms: self.world.now.wall_ms + seconds(time) * 1000,
            })),
            ["close-all", "draining", time] => {
                let (reason, spread_ms) = (CloseReason::Draining, seconds(time) * 1000);
                self.world.command(Command::CloseAll { reason, spread_ms });
            }
            ["tick", time] => self.world.pass(seconds(time) * 1000),
            _ => panic!("no such line: {line}"),
        }
    }

    fn accept(&mut self, client: &str) {
        self.next_descriptor += 1;
        self.clients
            .insert(client.into(), (self.next_descriptor, 0));
        self.world.accept(self.next_descriptor);
    }

    fn request(&mut self, client: &str, request: &str) {
        let text = format!("{request} HTTP/1.1\r\nhost: tailrace.test\r\n\r\n");
        self.world.bytes(self.clients[client].0, text.as_bytes());
    }

    fn grant(&mut self, client: &str, terms: &[&str]) {
        let grant = self.granted(client, terms);
        self.world.batch(Batch::Grant(Box::new(grant)));
    }

    fn page(&mut self, client: &str, terms: &[&str]) {
        let (mut since, mut limit, mut wait_ms) = (PageSince::Newest, 50, 0);
        let rest: Vec<&str> = terms
            .iter()
            .copied()
            .filter(|option| {
                match option.split_once('=').unwrap_or((option, "")) {
                    ("after", id) => since = PageSince::After(id.parse().unwrap()),
                    ("at", ms) => since = PageSince::At(ms.parse().unwrap()),
                    ("unknown", _) => since = PageSince::Unknown,
                    ("limit", count) => limit = count.parse().unwrap(),
                    ("wait", time) => wait_ms = (seconds(time) * 1000) as u32,
                    _ => return true,
                }
                false
            })
            .collect();
        let mut grant = self.granted(client, &rest);
        grant.head = "access-control-allow-origin: https://a.example\r\n".into();
        grant.purpose = Purpose::Page(PageRequest {
            since,
            limit,
            wait_ms,
        });
        self.world.batch(Batch::Grant(Box::new(grant)));
    }

    fn granted(&self, client: &str, terms: &[&str]) -> Grant {
        let [organisation, user, ref options @ ..] = terms[..] else {
            panic!("grant to whom?")
        };
        let connection = self.world.id_of(self.clients[client].0);
        let mut grant = grant(connection, organisation, user);
        let mut channels = Vec::new();
        for option in options {
            match option.split_once('=').unwrap_or((option, "")) {
                ("after", id) => grant.resume = Resume::After(id.parse().unwrap()),
                ("unknown", _) => grant.resume = Resume::Unknown,
                ("since", id) => grant.since = Some(id.parse().unwrap()),
                ("expires", time) => {
                    grant.expires_ms = Some(self.world.now.wall_ms + seconds(time) * 1000);
                }
                ("channel", channel) => channels.push(name(channel)),
                ("*", _) => (grant.scope, grant.user) = (Scope::Everything, None),
                _ => panic!("no such option: {option}"),
            }
        }
        grant.filter = Filter::new(channels, Vec::new(), Vec::new());
        grant
    }

    fn sign_out(&mut self, session: &str) {
        let scope = RevocationScope::Session(key(session));
        let reason = CloseReason::SessionRevoked;
        self.world
            .batch(Batch::Revoke(Revocation { scope, reason }));
    }

    fn subscribe(&mut self, client: &str, user: &str, channels: Vec<Name>, is_added: bool) {
        let types = Vec::new();
        let change = match is_added {
            true => SubscriptionChange::Add { channels, types },
            false => SubscriptionChange::Replace { channels, types },
        };
        let connection = self.world.id_of(self.clients[client].0);
        self.world.command(Command::Subscribe {
            ticket: 1,
            connection,
            owner: Some(key(user)),
            change,
        });
    }

    fn commit(&mut self, lsn: &str, words: &[&str]) {
        let bytes = words.iter().find_map(|word| word.strip_prefix("bytes="));
        let bytes = bytes.map_or(1, |bytes| bytes.parse().unwrap());
        let times = words.iter().find_map(|word| word.strip_prefix("times="));
        let times = times.map_or(1, |times| times.parse().unwrap());
        let words = words.iter().filter_map(|word| word.split_once(':'));
        let words = words.flat_map(|word| std::iter::repeat_n(word, times));
        let frames = (1..).zip(words);
        let frames = frames.map(|(index, (to, channel))| {
            frame(audience(to), channel, position(hex(lsn), index), bytes)
        });
        self.world.batch(commit(hex(lsn), frames.collect()));
    }

    /// Tells what everybody received since the last line.
    fn tell(&mut self) {
        for (client, (descriptor, told)) in &mut self.clients {
            let Some(socket) = self.world.kernel.sockets.get(descriptor) else {
                continue;
            };
            tell_client(client, &socket.received, told, &mut self.out);
            if let (Some(close), true) = (socket.closed, *told != usize::MAX) {
                *told = usize::MAX;
                let how = if close == Close::Reset {
                    "reset"
                } else {
                    "closed"
                };
                writeln!(self.out, "  {client} is {how}").unwrap();
            } else if socket.is_finished && *told < usize::MAX / 2 {
                *told += usize::MAX / 2;
                writeln!(self.out, "  {client} is finished").unwrap();
            }
        }
        for notice in &self.world.kernel.notices[self.told_notices..] {
            match notice {
                Notice::Opened { .. } => {}
                Notice::Closed {
                    reason,
                    events,
                    open_ms,
                    ..
                } => {
                    let reason = reason.as_str();
                    writeln!(
                        self.out,
                        "  closed: {reason}, {events} events, {open_ms} ms"
                    )
                    .unwrap();
                }
                Notice::Held => writeln!(self.out, "  held").unwrap(),
                Notice::Answered { ticket, outcome } => {
                    writeln!(self.out, "  ticket {ticket}: {outcome:?}").unwrap();
                }
            }
        }
        self.told_notices = self.world.kernel.notices.len();
    }
}

fn tell_client(client: &str, received: &[u8], told: &mut usize, out: &mut String) {
    if *told >= usize::MAX / 2 {
        return;
    }
    let text = std::str::from_utf8(&received[*told..]).unwrap();
    for block in text
        .split_inclusive("\n\n")
        .filter(|block| block.ends_with("\n\n"))
    {
        *told += block.len();
        let block = match block.split_once("\r\n\r\n") {
            Some((head, rest)) => {
                writeln!(out, "< {client} {}", head.lines().next().unwrap()).unwrap();
                rest
            }
            None => block,
        };
        tell_block(client, block, out);
    }
    let rest = std::str::from_utf8(&received[*told..]).unwrap();
    if let Some((head, body)) = rest.split_once("\r\n\r\n") {
        let body = page_of(head, body).unwrap_or_else(|| body.to_owned());
        writeln!(out, "< {client} {} {body}", head.lines().next().unwrap()).unwrap();
        *told = received.len();
    } else if !rest.is_empty() {
        writeln!(out, "< {client} … {} bytes", rest.len()).unwrap();
    }
}

/// What a page of history says: its verdict and position, and the channel and id of each event.
fn page_of(head: &str, body: &str) -> Option<String> {
    let field = |name| head.lines().find_map(|line| line.strip_prefix(name));
    let verdict = field("x-tailrace-resume: ")?;
    let position = field("x-tailrace-position: ")?;
    let events: Vec<serde_json::Value> = serde_json::from_str(body).unwrap();
    let mut told = format!("{verdict} {position}:");
    for event in events {
        let (channel, id) = (event["channel"].as_str(), event["id"].as_str());
        write!(told, " {} {}", channel.unwrap(), id.unwrap()).unwrap();
    }
    Some(told)
}

fn tell_block(client: &str, block: &str, out: &mut String) {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
    let data = field("data: ");
    let quoted = |name: &str| {
        let rest = data?.split_once(&format!("\"{name}\":\""))?.1;
        Some(rest.split_once('"')?.0)
    };
    let (id, event) = (field("id: "), field("event: "));
    let what = match event {
        Some("connected") => format!("connected {}", quoted("resume").unwrap()),
        Some(event @ ("reset" | "bye")) => format!("{event} {}", quoted("reason").unwrap()),
        Some(event) => event.into(),
        None if data.is_none() => return,
        None => quoted("channel").unwrap().into(),
    };
    writeln!(
        out,
        "< {client} {what}{}",
        id.map_or(String::new(), |id| format!(" {id}"))
    )
    .unwrap();
}

fn audience(text: &str) -> Audience {
    match text.split_once('@') {
        Some((user, within)) => Audience {
            topic: Topic::User(key(user)),
            within: (!within.is_empty()).then(|| key(within)),
            roles: None,
        },
        None if text == "*" => Audience::of(Topic::Global),
        None => organisation(text),
    }
}

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap()
}

fn seconds(text: &str) -> u64 {
    text.strip_suffix('s').unwrap().parse().unwrap()
}
