//! What is looked at beside the streams themselves: how soon those end that have to, and that nobody is refused who
//! has the right.

use super::World;
use crate::clients::{Stream, position};
use crate::invariants;
use crate::model::{Position, Viewer};
use crate::node::Admitted;
use crate::time::Time;

impl World {
    /// Streams that have to end do: those of a node that has told everybody that it ends, and those whose right has
    /// ended by what their engine has applied.
    pub(super) fn check_ends(&mut self, node: u32, core: u32) -> Result<(), String> {
        let now = self.now;
        let alive = self.nodes[node as usize].alive.as_deref();
        let alive = alive.expect("it had its turn");
        let engine = &alive.cores[core as usize];
        for number in &engine.live {
            let connection = &self.network.connections[*number as usize];
            let handle = connection.handle;
            let admitted = handle.and_then(|it| engine.shelf.admitted(it.slot, it.generation));
            let Some(admitted) = admitted else { continue };
            // Whoever was let in on the way is not told.
            let is_late = |(at, by): (Time, Time)| admitted.at <= at && now > by;
            let why = match engine.farewells.is_some_and(is_late) {
                true => Some(String::from("its node ends, and has told everybody")),
                false => {
                    let client = &self.clients[connection.client as usize];
                    let stream = client.stream.as_ref();
                    let stream = stream.filter(|it| it.connection == *number);
                    let applied = engine.shelf.applied().map(position);
                    // Of what was missed nobody can tell whose right it ended, if the next word gave it back.
                    let missed = engine.shelf.missed_since(admitted.at).next();
                    let stream = stream.filter(|_| missed.is_none());
                    stream.and_then(|stream| self.lost_right(stream, admitted, applied))
                }
            };
            invariants::check_end(now, why, engine, &mut self.network, *number)?;
        }
        Ok(())
    }

    /// Where the right of a stream has ended, by what its engine has applied.
    pub(super) fn lost_right(
        &self,
        stream: &Stream,
        admitted: Admitted,
        applied: Option<Position>,
    ) -> Option<String> {
        let (applied, viewer) = (applied?, stream.oracle.viewer());
        let applied_then = position(admitted.applied);
        // The node may have known of a change that it had not handed over, and have let in by that.
        let changed = |known| self.model.changed_within(viewer, applied_then, known);
        let known = admitted.since.map(position).and_then(changed);
        let since = known.unwrap_or(applied_then);
        // What was missed, or is no more, nobody has to have applied.
        let model = &self.model;
        if model.is_abandoned(since) || model.is_abandoned(applied) {
            return None;
        }
        let cut = model.revoked_after(viewer, since)?;
        let is_applied = (cut.lsn, cut.index) <= (applied.lsn, applied.index);
        is_applied
            .then(|| format!("{viewer:?} has lost its right at {cut}, and {applied} is applied"))
    }

    /// Nobody is refused who has had the right since before it came, of whom nothing was said meanwhile, and
    /// whose session goes on.
    pub(super) fn check_refusal(
        &self,
        number: u32,
        status: u16,
        (viewer, applied, is_known): (Viewer, Option<Position>, bool),
    ) -> Result<(), String> {
        let connection = &self.network.connections[number as usize];
        let node = self.nodes[connection.node as usize].alive.as_deref();
        let node = node.filter(|node| node.boot == connection.boot);
        let (Some(applied), Some(node), true) = (applied, node, is_known) else {
            return Ok(());
        };
        // What the server said that was left may be so no more.
        let is_other = |loss: &super::Loss| loss.is_failover && loss.at >= connection.made;
        if self.losses.iter().any(is_other) {
            return Ok(());
        }
        let ends = self.model.session_ends(&viewer.session);
        // A node that has not heard yet of a server that has taken over knows what is no more.
        let known = node.reader.applied().map(position);
        if known.is_none_or(|known| self.model.is_abandoned(known)) {
            return Ok(());
        }
        let (_, latest_ms) = node.unix_range_ms(self.now);
        let goes_on = ends.is_some_and(|(earliest_ms, _)| earliest_ms > latest_ms);
        if !goes_on || !self.model.is_settled(&viewer, applied) {
            return Ok(());
        }
        Err(format!(
            "{viewer:?} is refused with {status}, and has had the right since {applied}; the node: {:?}",
            node.reader.status(node.now_ms(self.now))
        ))
    }
}
