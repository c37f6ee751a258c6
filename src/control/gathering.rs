//! Questions to the database, gathered: whoever asks the same waits for the same answer, and all who
//! wait are asked for in one statement. One is under way at a time. Pure: time is an argument.
//!
//! A question that comes alone is asked at once. In a storm the next statement waits until it is full, or for
//! as long as those who gather are worth. Behind a full one a thin one goes as soon as nobody comes any more,
//! where the storm can afford it: they may be the last. A second one waits for longer, since those who come late
//! in a storm come thinly: so ten thousand who come back together cost at most 21 statements.

use std::collections::{HashMap, VecDeque};

/// The most questions of one statement. With [`STORM_QUESTIONS`] a storm could afford no thin one.
pub(super) const QUESTIONS_MAX: usize = 640;

/// A storm costs a statement for each so many questions, and one more.
const STORM_QUESTIONS: usize = 500;

/// How long after the last statement the next one waits at least, in milliseconds, unless it is full:
/// so long a storm may falter. When nobody has come for so long, it is over, or nearly.
const PAUSE_MS: u64 = 100;

/// How much longer for each question that has gathered: at more than 250 questions a second a statement
/// is full before it is due.
const PAUSE_MS_EACH: u64 = 4;

/// How long after a full statement it is a storm still, in milliseconds.
const STORM_MS: u64 = 10_000;

/// How long after the last statement the next one waits in a storm, in milliseconds, unless it is full, or
/// the first behind a full one that the storm can afford.
const STORM_PAUSE_MS: u64 = 2_000;

/// The questions that wait, and those that are under way, with those who ask them.
pub(super) struct Gathering<T> {
    waiting: VecDeque<(String, T)>,
    asked: HashMap<String, Vec<T>>,
    /// When somebody came last.
    came_at_ms: u64,
    asked_at_ms: Option<u64>,
    storm: Option<Storm>,
}

/// Many come at once: a statement was full.
#[derive(Clone, Copy)]
struct Storm {
    /// When the last of its full statements was asked.
    full_at_ms: u64,
    /// Its statements and their questions.
    statements: usize,
    questions: usize,
}

impl Storm {
    /// One that begins with a full statement, behind the thin one of whoever came first.
    fn new(full_at_ms: u64) -> Self {
        Self {
            full_at_ms,
            statements: 1,
            questions: 0,
        }
    }

    fn is_over(&self, asked_at_ms: u64) -> bool {
        asked_at_ms >= self.full_at_ms + STORM_MS
    }

    /// Whether another statement is within what so many questions may cost.
    fn affords(&self, questions: usize) -> bool {
        self.statements * STORM_QUESTIONS <= self.questions + questions
    }
}

impl<T> Default for Gathering<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            asked: HashMap::new(),
            came_at_ms: 0,
            asked_at_ms: None,
            storm: None,
        }
    }
}

impl<T> Gathering<T> {
    /// Lines up with a question.
    pub(super) fn push(&mut self, question: String, who: T, now_ms: u64) {
        self.came_at_ms = now_ms;
        self.waiting.push_back((question, who));
    }

    /// When the next statement is due, where somebody waits for it and none is under way.
    pub(super) fn due_ms(&self) -> Option<u64> {
        if !self.asked.is_empty() || self.waiting.is_empty() {
            return None;
        }
        let Some(asked_at_ms) = self
            .asked_at_ms
            .filter(|_| self.waiting.len() < QUESTIONS_MAX)
        else {
            return Some(0);
        };
        let waiting = self.waiting.len();
        let Some(storm) = self.storm.filter(|storm| !storm.is_over(asked_at_ms)) else {
            return Some(asked_at_ms + PAUSE_MS + PAUSE_MS_EACH * waiting as u64);
        };
        let at_last_ms = asked_at_ms + STORM_PAUSE_MS;
        // Once: whoever comes after that comes late.
        let is_first = storm.full_at_ms == asked_at_ms;
        Some(match is_first && storm.affords(waiting) {
            true => at_last_ms.min(self.came_at_ms.max(asked_at_ms) + PAUSE_MS),
            false => at_last_ms,
        })
    }

    /// The questions of the next statement, where it is due.
    pub(super) fn next_batch(&mut self, now_ms: u64) -> Option<Vec<String>> {
        self.due_ms().filter(|due_ms| *due_ms <= now_ms)?;
        self.asked_at_ms = Some(now_ms);
        while self.asked.len() < QUESTIONS_MAX
            && let Some((question, who)) = self.waiting.pop_front()
        {
            // Nearly always one asks: there is no room for more until there are more.
            let asking = self.asked.entry(question);
            asking.or_insert_with(|| Vec::with_capacity(1)).push(who);
        }
        self.count(now_ms);
        if self.waiting.is_empty() {
            // A storm's table is not kept for calmer days.
            self.waiting = VecDeque::new();
        }
        Some(self.asked.keys().cloned().collect())
    }

    /// Counts the statement that is asked now in its storm, which it may begin.
    fn count(&mut self, now_ms: u64) {
        self.storm = self.storm.filter(|storm| !storm.is_over(now_ms));
        if self.asked.len() == QUESTIONS_MAX {
            let storm = self.storm.get_or_insert_with(|| Storm::new(now_ms));
            storm.full_at_ms = now_ms;
        }
        if let Some(storm) = &mut self.storm {
            storm.statements += 1;
            storm.questions += self.asked.len();
        }
    }

    /// Those whose questions were under way: the statement has come back.
    pub(super) fn finish(&mut self) -> HashMap<String, Vec<T>> {
        std::mem::take(&mut self.asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_the_same_waits_for_the_same_answer() {
        let mut gathering = Gathering::default();
        assert_eq!(gathering.next_batch(0), None);
        gathering.push("ada".into(), 1, 0);
        gathering.push("ada".into(), 2, 0);
        assert_eq!(gathering.next_batch(0), Some(vec!["ada".to_owned()]));
        // What is asked after the statement was sent is not answered by it.
        gathering.push("ada".into(), 3, 0);
        assert_eq!(gathering.next_batch(10_000), None, "one is under way");
        assert_eq!(gathering.finish()["ada"], [1, 2]);
        assert_eq!(gathering.next_batch(10_000), Some(vec!["ada".to_owned()]));
        assert_eq!(gathering.finish()["ada"], [3]);
        assert_eq!(gathering.due_ms(), None);
    }

    #[test]
    fn who_comes_alone_does_not_wait() {
        let mut gathering = Gathering::default();
        for now_ms in (0..2_000).step_by(200) {
            gathering.push(now_ms.to_string(), (), now_ms);
            assert_eq!(
                gathering.next_batch(now_ms).map(|batch| batch.len()),
                Some(1)
            );
            gathering.finish();
        }
    }

    /// The statements of a storm in which so many have come at each millisecond, each statement done at
    /// once; and how long somebody waited for one at most.
    fn storm(questions: usize, come: impl Fn(u64) -> usize) -> (usize, u64) {
        let mut gathering = Gathering::default();
        let (mut asked, mut statements, mut longest_ms) = (0, 0, 0);
        let mut now_ms = 0;
        while asked < questions || gathering.due_ms().is_some() {
            let come = questions.min(come(now_ms) + 1);
            (asked..come).for_each(|n| gathering.push(n.to_string(), now_ms, now_ms));
            asked = come;
            if let Some(batch) = gathering.next_batch(now_ms) {
                assert!(batch.len() <= QUESTIONS_MAX);
                let waited = gathering.finish().into_values().flatten();
                longest_ms = waited
                    .map(|since| now_ms - since)
                    .fold(longest_ms, u64::max);
                statements += 1;
            }
            now_ms += 1;
        }
        (statements, longest_ms)
    }

    #[test]
    fn a_storm_costs_a_statement_for_each_five_hundred_and_one_more() {
        let rates = [(300, 2_700), (1_000, 640), (3_000, 300), (50_000, 120)];
        for (per_second, bound_ms) in rates {
            let (statements, longest_ms) =
                storm(10_000, |now_ms| (now_ms * per_second / 1_000) as usize);
            assert!(statements <= 21, "{statements} at {per_second}/s");
            assert!(longest_ms <= bound_ms, "{longest_ms} ms at {per_second}/s");
        }
    }

    #[test]
    fn so_does_one_whose_last_come_late() {
        // The others come within half a second.
        let lasts = [
            (50, 500, 1),
            (200, 3_600, 1),
            (500, 2_000, 1),
            (500, 8_000, 1),
            // Between them nobody, each time.
            (500, 8_000, 150),
        ];
        for (late, late_ms, every_ms) in lasts {
            let (statements, longest_ms) = storm(10_000, |now_ms| {
                let soon = (10_000 - late) * now_ms.min(500) as usize / 500;
                let since_ms = now_ms.saturating_sub(500) / every_ms * every_ms;
                soon + late * since_ms.min(late_ms) as usize / late_ms as usize
            });
            assert!(
                statements <= 21,
                "{statements} where {late} come in {late_ms} ms"
            );
            assert!(longest_ms <= 2_000, "{longest_ms} ms");
        }
    }

    #[test]
    fn so_does_one_that_comes_in_clumps() {
        for (clump, every_ms) in [(700, 150), (900, 300), (1_300, 500)] {
            let (statements, longest_ms) =
                storm(10_000, |now_ms| clump * (now_ms / every_ms + 1) as usize);
            assert!(statements <= 21, "{statements} of {clump} each");
            assert!(longest_ms <= 2_000, "{longest_ms} ms");
        }
    }

    #[test]
    fn a_storm_is_over_at_some_time() {
        let mut gathering = Gathering::default();
        (0..QUESTIONS_MAX).for_each(|n| gathering.push(n.to_string(), (), 0));
        assert!(gathering.next_batch(0).is_some());
        gathering.finish();
        for (now_ms, waits_ms) in [(1, 1_999), (10_500, 0), (10_501, 103)] {
            gathering.push(now_ms.to_string(), (), now_ms);
            let due_ms = gathering.due_ms().unwrap();
            assert_eq!(due_ms.saturating_sub(now_ms), waits_ms, "at {now_ms}");
            assert!(gathering.next_batch(due_ms.max(now_ms)).is_some());
            gathering.finish();
        }
    }
}
