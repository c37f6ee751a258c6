//! Messages of pgoutput, protocol version 1 (PostgreSQL, "Logical Replication Message Formats").
//!
//! Read in place: a row is a view of the message it came in. Everything of a later version is an
//! error, since nothing of it was asked for.

use wire::Lsn;

use crate::protocol::Malformed;
use crate::protocol::fields::Fields;

const BEGIN: u8 = b'B';
const COMMIT: u8 = b'C';
const DELETE: u8 = b'D';
const INSERT: u8 = b'I';
const MESSAGE: u8 = b'M';
const ORIGIN: u8 = b'O';
const RELATION: u8 = b'R';
const TRUNCATE: u8 = b'T';
const TYPE: u8 = b'Y';
const UPDATE: u8 = b'U';

/// What a row's old tuple holds.
const OLD_KEY: u8 = b'K';
const OLD_ROW: u8 = b'O';
const NEW_ROW: u8 = b'N';

/// What our own framing writes in place of a value of a row that is too long to be kept (`condense`);
/// its length follows. No server sends it.
pub(crate) const OVERSIZED: u8 = b'o';

/// A message of pgoutput.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message<'a> {
    Begin {
        commit: Lsn,
        commit_us: i64,
        xid: u32,
    },
    Commit {
        commit: Lsn,
        end: Lsn,
        commit_us: i64,
    },
    /// The transaction came from another server; the order of rows is what counts here.
    Origin,
    Relation(Relation),
    Type {
        oid: u32,
        namespace: &'a str,
        name: &'a str,
    },
    Insert {
        relation: u32,
        new: Tuple<'a>,
    },
    Update {
        relation: u32,
        old: Option<Old<'a>>,
        new: Tuple<'a>,
    },
    Delete {
        relation: u32,
        old: Old<'a>,
    },
    Truncate {
        relations: Vec<u32>,
    },
    Application {
        transactional: bool,
        prefix: &'a str,
        content: &'a [u8],
    },
}

/// A table as the server describes it before its first change, and again after every alteration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) oid: u32,
    /// Empty for `pg_catalog`.
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// `d`efault, `n`othing, `f`ull or `i`ndex.
    pub(crate) replica_identity: u8,
    pub(crate) columns: Vec<RelationColumn>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RelationColumn {
    /// Whether it is part of the replica identity; where that is full, all are.
    pub(crate) key: bool,
    pub(crate) name: String,
    pub(crate) type_oid: u32,
}

/// What is known of a row before its change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Old<'a> {
    /// Whether every column is there; if not, those outside the replica identity read as NULL, which
    /// means *not sent*.
    pub(crate) whole: bool,
    pub(crate) tuple: Tuple<'a>,
}

/// The columns of a row. It was checked when it was read, so that walking it cannot fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tuple<'a> {
    /// Whether a value was left out because it did not change; few rows have such.
    pub(crate) has_unchanged: bool,
    columns: u16,
    bytes: &'a [u8],
}

/// The value of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    /// Stored out of line and not changed, so it was not sent (TOAST).
    Unchanged,
    /// It was sent, but dropped as it arrived, since its row is too long to be kept.
    Oversized,
    Text(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Reads one message.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::new(bytes);
        let message = match fields.u8()? {
            BEGIN => {
                let (commit, commit_us) = (Lsn(fields.u64()?), fields.i64()?);
                let xid = fields.u32()?;
                Self::Begin {
                    commit,
                    commit_us,
                    xid,
                }
            }
            COMMIT => {
                let _flags = fields.u8()?;
                let (commit, end) = (Lsn(fields.u64()?), Lsn(fields.u64()?));
                Self::Commit {
                    commit,
                    end,
                    commit_us: fields.i64()?,
                }
            }
            ORIGIN => {
                let (_origin_commit, _name) = (fields.u64()?, fields.text()?);
                Self::Origin
            }
            RELATION => Self::Relation(relation(&mut fields)?),
            TYPE => {
                let oid = fields.u32()?;
                Self::Type {
                    oid,
                    namespace: fields.text()?,
                    name: fields.text()?,
                }
            }
            INSERT => {
                let relation = fields.u32()?;
                expect(&mut fields, NEW_ROW)?;
                Self::Insert {
                    relation,
                    new: tuple(&mut fields)?,
                }
            }
            UPDATE => update(&mut fields)?,
            DELETE => {
                let relation = fields.u32()?;
                let tag = fields.u8()?;
                Self::Delete {
                    relation,
                    old: old(tag, &mut fields)?,
                }
            }
            TRUNCATE => truncate(&mut fields)?,
            MESSAGE => {
                let transactional = fields.u8()? & 1 != 0;
                let _lsn = fields.u64()?;
                let prefix = fields.text()?;
                let len = fields.len32()?;
                Self::Application {
                    transactional,
                    prefix,
                    content: fields.take(len)?,
                }
            }
            tag => return Err(Malformed::Tag(tag)),
        };
        fields.end()?;
        Ok(message)
    }
}

impl<'a> Tuple<'a> {
    /// How many columns it has.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.columns)
    }

    /// The columns in the order of the table's.
    pub(crate) fn values(&self) -> Values<'a> {
        Values {
            left: self.columns,
            fields: Fields::new(self.bytes),
        }
    }

    /// One column. Walks over those before it.
    pub(crate) fn value(&self, index: usize) -> Value<'a> {
        self.values()
            .nth(index)
            .expect("a tuple has as many columns as its table")
    }
}

/// The columns of a row, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Values<'a> {
    left: u16,
    fields: Fields<'a>,
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.left = self.left.checked_sub(1)?;
        Some(value(&mut self.fields).expect("a tuple is checked when it is read"))
    }
}

fn relation(fields: &mut Fields<'_>) -> Result<Relation, Malformed> {
    let oid = fields.u32()?;
    let (namespace, name) = (fields.text()?.to_owned(), fields.text()?.to_owned());
    let replica_identity = fields.u8()?;
    let count = fields.u16()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        let flags = fields.u8()?;
        let (name, type_oid) = (fields.text()?.to_owned(), fields.u32()?);
        let _modifier = fields.u32()?;
        columns.push(RelationColumn {
            key: flags & 1 != 0,
            name,
            type_oid,
        });
    }
    Ok(Relation {
        oid,
        namespace,
        name,
        replica_identity,
        columns,
    })
}

fn update<'a>(fields: &mut Fields<'a>) -> Result<Message<'a>, Malformed> {
    let relation = fields.u32()?;
    let old = match fields.u8()? {
        NEW_ROW => None,
        tag => {
            let old = old(tag, fields)?;
            expect(fields, NEW_ROW)?;
            Some(old)
        }
    };
    Ok(Message::Update {
        relation,
        old,
        new: tuple(fields)?,
    })
}

fn truncate<'a>(fields: &mut Fields<'a>) -> Result<Message<'a>, Malformed> {
    let count = fields.len32()?;
    let _options = fields.u8()?;
    let mut relations = Vec::new();
    for _ in 0..count {
        relations.push(fields.u32()?);
    }
    Ok(Message::Truncate { relations })
}

fn old<'a>(tag: u8, fields: &mut Fields<'a>) -> Result<Old<'a>, Malformed> {
    let whole = match tag {
        OLD_KEY => false,
        OLD_ROW => true,
        tag => return Err(Malformed::Tag(tag)),
    };
    Ok(Old {
        whole,
        tuple: tuple(fields)?,
    })
}

fn tuple<'a>(fields: &mut Fields<'a>) -> Result<Tuple<'a>, Malformed> {
    let columns = fields.u16()?;
    let bytes = fields.rest();
    let mut has_unchanged = false;
    for _ in 0..columns {
        has_unchanged |= value(fields)? == Value::Unchanged;
    }
    Ok(Tuple {
        has_unchanged,
        columns,
        bytes: &bytes[..bytes.len() - fields.rest().len()],
    })
}

fn value<'a>(fields: &mut Fields<'a>) -> Result<Value<'a>, Malformed> {
    match fields.u8()? {
        b'n' => Ok(Value::Null),
        b'u' => Ok(Value::Unchanged),
        b't' => {
            let len = fields.len32()?;
            fields.take(len).map(Value::Text)
        }
        OVERSIZED => fields.len32().map(|_| Value::Oversized),
        // Binary values were not asked for.
        tag => Err(Malformed::Tag(tag)),
    }
}

fn expect(fields: &mut Fields<'_>, tag: u8) -> Result<(), Malformed> {
    match fields.u8()? {
        found if found == tag => Ok(()),
        found => Err(Malformed::Tag(found)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_in_place() {
        let bytes = b"I\0\0\0\x07N\0\x03t\0\0\0\x02abnu";
        let Ok(Message::Insert { relation: 7, new }) = Message::parse(bytes) else {
            panic!("an insert");
        };
        let values: Vec<_> = new.values().collect();
        assert_eq!(values, [Value::Text(b"ab"), Value::Null, Value::Unchanged]);
        assert_eq!((new.len(), new.value(1)), (3, Value::Null));
    }

    #[test]
    fn an_update_may_bring_the_key_or_the_whole_row() {
        for (tag, whole) in [(b'K', false), (b'O', true)] {
            let bytes = [
                b"U\0\0\0\x01".as_slice(),
                &[tag],
                b"\0\x01nN\0\x01t\0\0\0\0",
            ]
            .concat();
            let Ok(Message::Update {
                old: Some(old),
                new,
                ..
            }) = Message::parse(&bytes)
            else {
                panic!("an update");
            };
            assert_eq!((old.whole, old.tuple.value(0)), (whole, Value::Null));
            assert_eq!(new.value(0), Value::Text(b""));
        }
    }

    #[test]
    fn every_beginning_of_a_message_is_an_error() {
        let whole: [&[u8]; 5] = [
            b"B\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\x03",
            b"C\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03",
            b"R\0\0\0\x01public\0T\0d\0\x01\x01id\0\0\0\0\x19\xff\xff\xff\xff",
            b"T\0\0\0\x01\0\0\0\0\x07",
            b"M\x01\0\0\0\0\0\0\0\x01tailrace\0\0\0\0\x02{}",
        ];
        for bytes in whole {
            assert!(Message::parse(bytes).is_ok(), "{bytes:?}");
            for len in 0..bytes.len() {
                assert!(Message::parse(&bytes[..len]).is_err(), "{len} of {bytes:?}");
            }
            let longer = [bytes, b"x"].concat();
            assert_eq!(Message::parse(&longer), Err(Malformed::Long));
        }
    }

    #[test]
    fn later_protocol_versions_and_binary_values_are_errors() {
        for tag in *b"SEcAbPKrp" {
            assert_eq!(Message::parse(&[tag, 0, 0]), Err(Malformed::Tag(tag)));
        }
        let binary = b"I\0\0\0\x07N\0\x01b\0\0\0\x01x";
        assert_eq!(Message::parse(binary), Err(Malformed::Tag(b'b')));
        let negative = b"I\0\0\0\x07N\0\x01t\xff\xff\xff\xff";
        assert_eq!(Message::parse(negative), Err(Malformed::Length));
    }
}
