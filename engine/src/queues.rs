//! Which dirty class is swept next: those of which what remains fits one group go first, then the
//! large ones round robin, a group each. What is sent to them is in `sweep`.

use std::collections::VecDeque;

use crate::limits::GROUP_MAX;

/// Dirty classes, by slot. One that is gone keeps its place until its turn: whoever takes a slot out looks
/// whether its class still waits, which takes no walk through the queue for each class that goes.
#[derive(Debug)]
pub(crate) struct Queues {
    /// Those of which what remains fits one group.
    small: VecDeque<u32>,
    /// Those that are swept a group at a time.
    large: VecDeque<u32>,
    /// How many of the small ones are left of this round, which takes those that are dirty when it
    /// begins, and is followed by a group of a large one. `None` between two rounds.
    left: Option<usize>,
    /// The most sends that remain of a small class: a group.
    small_max: usize,
}

impl Default for Queues {
    fn default() -> Self {
        Self::of_groups(GROUP_MAX)
    }
}

impl Queues {
    fn of_groups(small_max: usize) -> Self {
        Self {
            small: VecDeque::new(),
            large: VecDeque::new(),
            left: None,
            small_max,
        }
    }

    /// From now on a class is small of which so many sends remain at the most. Nothing is in the queue yet.
    pub(crate) fn set_small_max(&mut self, sends: usize) {
        assert!(self.is_empty(), "what stands in a queue stays in it");
        self.small_max = sends;
    }

    /// Puts a class in the queue for what remains of it, in sends of a group.
    pub(crate) fn push(&mut self, class: u32, remaining: usize) {
        match remaining <= self.small_max {
            true => self.small.push_back(class),
            false => self.large.push_back(class),
        }
    }

    /// The next small class of this round, or of a new one.
    pub(crate) fn first_small(&mut self) -> Option<u32> {
        match self.left.get_or_insert(self.small.len()) {
            0 => None,
            _ => self.small.front().copied(),
        }
    }

    /// Removes the class that is the first small one.
    pub(crate) fn pop_small(&mut self) {
        self.small.pop_front().expect("there is a first one");
        let left = self.left.as_mut().expect("a round is under way");
        *left -= 1;
    }

    /// The small classes of the round are swept: a new one begins when it is next asked for.
    pub(crate) fn end_round(&mut self) {
        self.left = None;
    }

    /// Removes the large class whose turn it is.
    pub(crate) fn pop_large(&mut self) -> Option<u32> {
        self.large.pop_front()
    }

    /// Removes them all.
    pub(crate) fn clear(&mut self) {
        *self = Self::of_groups(self.small_max);
    }

    /// Every dirty class, and those that are gone.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.small.iter().chain(&self.large).copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_may_be_smaller() {
        let mut queues = Queues::default();
        queues.set_small_max(2);
        queues.push(1, 2);
        queues.push(2, 3);
        assert_eq!(queues.first_small(), Some(1));
        assert_eq!(queues.pop_large(), Some(2));
        queues.clear();
        queues.push(3, 3);
        assert_eq!(queues.first_small(), None, "they stay as small");
    }

    #[test]
    fn who_comes_during_a_round_waits_for_the_next() {
        let mut queues = Queues::default();
        queues.push(1, 1);
        queues.push(2, GROUP_MAX);
        queues.push(3, GROUP_MAX + 1);
        assert_eq!(queues.first_small(), Some(1));
        queues.pop_small();
        queues.push(4, 0);
        queues.push(1, 1);
        assert_eq!(queues.first_small(), Some(2));
        queues.pop_small();
        assert_eq!(queues.first_small(), None, "a large one is next");
        queues.end_round();
        assert_eq!(queues.pop_large(), Some(3));
        assert_eq!(queues.first_small(), Some(4));
        queues.pop_small();
        assert_eq!(queues.first_small(), Some(1));
    }
}
