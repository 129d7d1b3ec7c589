//! The continuations of a step's beams that the search considers.

/// A beam and the token to add to it.
pub(super) struct Choice {
    pub(super) beam: usize,
    pub(super) token: u32,
    pub(super) log_probability: f32,
    pub(super) model_log_probability: f32,
    pub(super) gain: f32,
}

impl Choice {
    /// Log-probability plus hint bonus, by which choices are ranked.
    fn score(&self) -> f32 {
        self.log_probability + self.gain
    }
}

/// The best choices inserted so far, best first; among equals the earliest.
pub(super) struct Best {
    capacity: usize,
    pub(super) choices: Vec<Choice>,
    /// The score that a new choice must exceed once the list is full; NaN until then.
    pub(super) threshold: f32,
}

impl Best {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, choices: Vec::with_capacity(capacity + 1), threshold: f32::NAN }
    }

    pub(super) fn insert(&mut self, choice: Choice) {
        let is_as_good = |other: &Choice| other.score() >= choice.score();
        let rank = self.choices.partition_point(is_as_good);
        self.choices.insert(rank, choice);
        self.choices.truncate(self.capacity);
        if self.choices.len() == self.capacity {
            self.threshold = self.choices[self.capacity - 1].score();
        }
    }
}
