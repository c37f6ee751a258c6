//! Questions to the database, gathered: whoever asks the same waits for the same answer, and all who
//! wait are asked for in one statement. One is under way at a time. Pure: time is an argument.
//!
//! A question that comes alone is asked at once. In a storm the next statement waits until it is full,
//! or for as long as those who gather are worth: so ten thousand who come back together cost
//! a statement for each [`QUESTIONS_MAX`], and one more.

use std::collections::{HashMap, VecDeque};

/// The most questions of one statement.
pub(super) const QUESTIONS_MAX: usize = 500;

/// How long after the last statement the next one waits at least, in milliseconds, unless it is full:
/// so long a storm may falter.
const PAUSE_MS: u64 = 100;

/// How much longer for each question that has gathered: at more than 250 questions a second a statement
/// is full before it is due, and nobody waits for much longer than two seconds.
const PAUSE_MS_EACH: u64 = 4;

/// The questions that wait, and those that are under way, with those who ask them.
pub(super) struct Gathering<T> {
    waiting: VecDeque<(String, T)>,
    asked: HashMap<String, Vec<T>>,
    asked_at_ms: Option<u64>,
}

impl<T> Default for Gathering<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            asked: HashMap::new(),
            asked_at_ms: None,
        }
    }
}

impl<T> Gathering<T> {
    /// Lines up with a question.
    pub(super) fn push(&mut self, question: String, who: T) {
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
        Some(asked_at_ms + PAUSE_MS + PAUSE_MS_EACH * self.waiting.len() as u64)
    }

    /// The questions of the next statement, where it is due.
    pub(super) fn next_batch(&mut self, now_ms: u64) -> Option<Vec<String>> {
        self.due_ms().filter(|due_ms| *due_ms <= now_ms)?;
        self.asked_at_ms = Some(now_ms);
        while self.asked.len() < QUESTIONS_MAX
            && let Some((question, who)) = self.waiting.pop_front()
        {
            self.asked.entry(question).or_default().push(who);
        }
        if self.waiting.is_empty() {
            // A storm's table is not kept for calmer days.
            self.waiting = VecDeque::new();
        }
        Some(self.asked.keys().cloned().collect())
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
        gathering.push("ada".into(), 1);
        gathering.push("ada".into(), 2);
        assert_eq!(gathering.next_batch(0), Some(vec!["ada".to_owned()]));
        // What is asked after the statement was sent is not answered by it.
        gathering.push("ada".into(), 3);
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
            gathering.push(now_ms.to_string(), ());
            assert_eq!(
                gathering.next_batch(now_ms).map(|batch| batch.len()),
                Some(1)
            );
            gathering.finish();
        }
    }

    /// The statements of a storm: so many questions a millisecond, each statement done at once.
    fn statements(questions: usize, per_second: u64) -> usize {
        let mut gathering = Gathering::default();
        let (mut asked, mut statements, mut now_ms) = (0, 0, 0);
        while asked < questions || gathering.due_ms().is_some() {
            let come = questions.min((now_ms * per_second / 1_000) as usize + 1);
            (asked..come).for_each(|n| gathering.push(n.to_string(), ()));
            asked = come;
            if let Some(batch) = gathering.next_batch(now_ms) {
                assert!(batch.len() <= QUESTIONS_MAX);
                gathering.finish();
                statements += 1;
            }
            now_ms += 1;
        }
        statements
    }

    #[test]
    fn a_storm_costs_a_statement_for_each_five_hundred_and_one_more() {
        for per_second in [300, 1_000, 3_000, 50_000] {
            let statements = statements(10_000, per_second);
            assert!(
                statements <= 1 + 10_000 / QUESTIONS_MAX,
                "{statements} at {per_second}/s"
            );
        }
    }
}
