//! Captions from logits: beam search, and [`Sampler`] for random captions.
//!
//! The model is a function that feeds token i to state i and returns logits `[vocab]` for each, so
//! this file handles no tensors. The same logits give the same caption: ties go to the better beam,
//! then to the lower token.

use serde::{Deserialize, Serialize};

use crate::control_tokens::{EOS, FIRST_TEXT_TOKEN, LONG, MEDIUM, SHORT};
use crate::nn::vector::{exp, largest, ln, sum};

mod choices;
mod hint_bonus;
mod sampler;

use choices::{Best, Choice};
pub use hint_bonus::HintBonus;
use hint_bonus::Next;
pub use sampler::Sampler;

/// Maximum length of a caption in tokens.
pub const MAX_TOKENS: usize = 40;
/// Maximum number of beams.
pub const MAX_BEAMS: usize = 8;
/// Default number of beams.
pub const DEFAULT_BEAMS: usize = 3;
/// Exponent of the length normalization (Wu et al. 2016 found 0.6 to 0.7 best).
pub const LENGTH_EXPONENT: f32 = 0.7;
/// Weight of a caption's agreement with its photo (-1 to 1) relative to its score; see
/// [`BeamSearch::weigh`].
pub const AGREEMENT_WEIGHT: f32 = 2.0;

/// Length of a caption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Length {
    /// A few words.
    Short,
    /// A sentence.
    #[default]
    Medium,
    /// As detailed as possible.
    Long,
}

impl Length {
    /// The token that starts a caption of this length.
    pub fn start_token(self) -> u32 {
        match self {
            Self::Short => SHORT,
            Self::Medium => MEDIUM,
            Self::Long => LONG,
        }
    }
}

/// A corrected caption that the search may copy whole: the user wrote it for what is most likely
/// the same photo.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyCandidate {
    /// Its text tokens.
    pub tokens: Vec<u32>,
    /// The weight w_i of its slot in READ, 0 to 1.
    pub weight: f32,
}

impl CopyCandidate {
    /// The token that follows `tokens` in the caption, [`EOS`] at its end; `None` if the caption
    /// does not start with `tokens`.
    fn after(&self, tokens: &[u32]) -> Option<u32> {
        let rest = self.tokens.strip_prefix(tokens)?;
        Some(rest.first().copied().unwrap_or(EOS))
    }
}

/// A search for the most probable caption, one token of every beam at a time.
///
/// With captions to copy, the probability of a caption y is the mixture that READ's weights make of
/// the model and the memory: `p(y) = (1 - sum w_i) p_model(y) + sum w_i [y is caption i]`. A
/// nearest-neighbor language model mixes in the same way, but token by token (Khandelwal et al.
/// 2020).
///
/// `S` is the model's state of one text; a beam that forks clones it.
#[derive(Debug, Clone)]
pub struct BeamSearch<S> {
    num_beams: usize,
    start_token: u32,
    /// `states[i]` has seen all tokens of `running[i]` but the last.
    states: Vec<S>,
    /// Best first.
    running: Vec<Hypothesis>,
    finished: Vec<Hypothesis>,
    copies: Vec<CopyCandidate>,
    hint_bonus: HintBonus,
}

/// A caption, finished or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Hypothesis {
    /// Its text tokens.
    pub tokens: Vec<u32>,
    /// Sum of its tokens' log-probabilities, including that of [`EOS`] if it has ended.
    pub log_probability: f32,
    /// Whether the model ended it with [`EOS`].
    pub has_ended: bool,
    /// The model's part of `log_probability`.
    model_log_probability: f32,
    /// The bonus for words of the hint.
    gain: f32,
    /// Its agreement with the photo; 0 until [`BeamSearch::weigh`] sets it.
    agreement: f32,
}

impl Hypothesis {
    /// Geometric mean of the probabilities of its tokens and its end, 0 to 1.
    pub fn confidence(&self) -> f32 {
        exp(self.log_probability / self.num_choices() as f32).clamp(0.0, 1.0)
    }

    /// Length-normalized score, by which hypotheses are ranked.
    fn score(&self) -> f32 {
        let length = exp(LENGTH_EXPONENT * ln(self.num_choices() as f32));
        let normalized = (self.log_probability + self.gain) / length;
        normalized + AGREEMENT_WEIGHT * self.agreement
    }

    fn num_choices(&self) -> usize {
        (self.tokens.len() + usize::from(self.has_ended)).max(1)
    }
}

impl<S: Clone> BeamSearch<S> {
    /// A search from `state`, which has seen the prefix but not `start_token`.
    ///
    /// # Panics
    ///
    /// If `num_beams` is not between 1 and [`MAX_BEAMS`].
    pub fn new(state: S, start_token: u32, num_beams: usize) -> Self {
        assert!((1..=MAX_BEAMS).contains(&num_beams), "{num_beams} beams");
        let empty = Hypothesis {
            tokens: Vec::new(),
            log_probability: 0.0,
            has_ended: false,
            model_log_probability: 0.0,
            gain: 0.0,
            agreement: 0.0,
        };
        Self {
            num_beams,
            start_token,
            states: vec![state],
            running: vec![empty],
            finished: Vec::new(),
            copies: Vec::new(),
            hint_bonus: HintBonus::default(),
        }
    }

    /// Adds captions to copy, whose weights sum to at most 1.
    #[must_use]
    pub fn with_copies(mut self, copies: Vec<CopyCandidate>) -> Self {
        let rest = 1.0 - copies.iter().map(|caption| caption.weight).sum::<f32>();
        for hypothesis in &mut self.running {
            hypothesis.model_log_probability = ln(rest.max(f32::MIN_POSITIVE));
        }
        self.copies = copies;
        self
    }

    /// Prefers captions that contain the words of a hint.
    #[must_use]
    pub fn with_hint(mut self, hint_bonus: HintBonus) -> Self {
        self.hint_bonus = hint_bonus;
        self
    }

    /// Adds a token to every beam; returns whether there is more to do.
    ///
    /// `advance` feeds token i to state i and returns logits `[vocab]` for each.
    pub fn step<E>(
        &mut self,
        mut advance: impl FnMut(&mut [S], &[u32]) -> Result<Vec<Vec<f32>>, E>,
    ) -> Result<bool, E> {
        if self.is_done() {
            return Ok(false);
        }
        let last = |beam: &Hypothesis| beam.tokens.last().copied().unwrap_or(self.start_token);
        let tokens: Vec<u32> = self.running.iter().map(last).collect();
        let logits = advance(&mut self.states, &tokens)?;
        assert_eq!(logits.len(), self.running.len(), "one row of logits a beam");
        let choices = self.choices(&logits);
        self.take(&choices);
        Ok(!self.is_done())
    }

    /// The best caption so far.
    pub fn best(&self) -> &Hypothesis {
        let candidates = self.finished.iter().chain(&self.running);
        // `max_by` returns the last of equal elements; reversed, it returns the first.
        let best = candidates.collect::<Vec<_>>().into_iter().rev();
        best.max_by(|a, b| a.score().total_cmp(&b.score())).expect("a search has a hypothesis")
    }

    /// Whether the search is over: no running beam scores better than the best finished caption
    /// (one could still overtake it by many near-certain tokens, which captions do not have), and
    /// there are as many finished captions as beams. A copy ends the search without rivals.
    pub fn is_done(&self) -> bool {
        if self.running.is_empty() || self.finished.is_empty() {
            return self.running.is_empty();
        }
        let best = self.best();
        let is_last = best.has_ended || best.tokens.len() == MAX_TOKENS;
        is_last && (self.finished.len() >= self.num_beams || self.is_copy(best))
    }

    /// The finished captions, in the order in which they ended.
    pub fn finished(&self) -> &[Hypothesis] {
        &self.finished
    }

    /// Ends the search and adds to each caption's score [`AGREEMENT_WEIGHT`] times its agreement
    /// with the photo. `agreements` has one element for each of [`finished`](Self::finished). Does
    /// nothing if the best caption is a copy, because the user's words are not weighed against the
    /// photo.
    pub fn weigh(&mut self, agreements: &[f32]) {
        assert_eq!(agreements.len(), self.finished.len(), "one agreement a caption");
        if self.finished.is_empty() || self.is_copy(self.best()) {
            return;
        }
        self.running.clear();
        self.states.clear();
        for (hypothesis, &agreement) in self.finished.iter_mut().zip(agreements) {
            hypothesis.agreement = agreement;
        }
    }

    fn is_copy(&self, hypothesis: &Hypothesis) -> bool {
        self.copies.iter().any(|copy| copy.tokens == hypothesis.tokens)
    }

    /// The best continuations of all beams, best first: twice as many as beams, because up to half
    /// of them may end a caption.
    fn choices(&self, logits: &[Vec<f32>]) -> Vec<Choice> {
        let mut best = Best::new(2 * self.num_beams);
        for (beam, (hypothesis, logits)) in self.running.iter().zip(logits).enumerate() {
            let log_sum = log_sum_exp(logits);
            let next = self.hint_bonus.next(&hypothesis.tokens);
            let most = hypothesis.gain + next.most();
            for (token, weight) in self.copied_tokens(&hypothesis.tokens) {
                let model_log_probability =
                    hypothesis.model_log_probability + logits[token as usize] - log_sum;
                let log_probability = ln_of_sum(model_log_probability, ln(weight));
                let gain = hypothesis.gain;
                best.insert(Choice { beam, token, log_probability, model_log_probability, gain });
            }
            for (token, &logit) in (0..).zip(logits) {
                let log_probability = hypothesis.model_log_probability + logit - log_sum;
                // Nearly every token ends here: the vocabulary is a thousand times larger than the
                // list.
                if log_probability + most <= best.threshold {
                    continue;
                }
                let Some(gained) = self.hint_bonus.gain(&next, token, logit - log_sum) else {
                    continue;
                };
                let gain = hypothesis.gain + gained;
                // A hint word is spelled as given, even with a repeated trigram.
                if !matches!(next, Next::FinishWord(_)) && !is_allowed(&hypothesis.tokens, token) {
                    continue;
                }
                if self.copied_tokens(&hypothesis.tokens).any(|(copied, _)| copied == token) {
                    continue;
                }
                // NaN logits rank last.
                let is_number = !log_probability.is_nan();
                let log_probability = if is_number { log_probability } else { f32::NEG_INFINITY };
                let model_log_probability = log_probability;
                best.insert(Choice { beam, token, log_probability, model_log_probability, gain });
            }
        }
        best.choices
    }

    /// The tokens that follow `tokens` in captions to copy, each once with the sum of its weights.
    fn copied_tokens<'a>(&'a self, tokens: &'a [u32]) -> impl Iterator<Item = (u32, f32)> + 'a {
        let next = |caption: &CopyCandidate| Some((caption.after(tokens)?, caption.weight));
        self.copies.iter().enumerate().filter_map(move |(index, caption)| {
            let (token, weight) = next(caption)?;
            let is_same = |other: &&CopyCandidate| other.after(tokens) == Some(token);
            if self.copies[..index].iter().any(|other| is_same(&other)) {
                return None;
            }
            let others = self.copies[index + 1..].iter().filter(is_same);
            Some((token, weight + others.map(|other| other.weight).sum::<f32>()))
        })
    }

    fn take(&mut self, choices: &[Choice]) {
        let mut running = Vec::with_capacity(self.num_beams);
        let mut parents = Vec::with_capacity(self.num_beams);
        for (rank, choice) in choices.iter().enumerate() {
            let mut hypothesis = self.running[choice.beam].clone();
            (hypothesis.log_probability, hypothesis.model_log_probability, hypothesis.gain) =
                (choice.log_probability, choice.model_log_probability, choice.gain);
            if choice.token == EOS {
                // Only an end among the `num_beams` best continuations finishes a caption.
                if rank < self.num_beams {
                    hypothesis.has_ended = true;
                    self.finished.push(hypothesis);
                }
                continue;
            }
            hypothesis.tokens.push(choice.token);
            if hypothesis.tokens.len() == MAX_TOKENS {
                self.finished.push(hypothesis);
            } else if running.len() < self.num_beams {
                running.push(hypothesis);
                parents.push(choice.beam);
            }
        }
        self.running = running;
        self.fork(&parents);
    }

    /// Gives every running beam its parent's state; the last child takes it without a clone.
    fn fork(&mut self, parents: &[usize]) {
        let mut sources: Vec<Option<S>> = self.states.drain(..).map(Some).collect();
        for (child, &parent) in parents.iter().enumerate() {
            let is_last = !parents[child + 1..].contains(&parent);
            let source = &mut sources[parent];
            let state = if is_last { source.take() } else { source.clone() };
            self.states.push(state.expect("a state is moved to its last child only"));
        }
    }
}

/// Whether `token` may follow: text, or the end of a text that has begun; no trigram twice.
fn is_allowed(tokens: &[u32], token: u32) -> bool {
    if token < FIRST_TEXT_TOKEN {
        return token == EOS && !tokens.is_empty();
    }
    let Some(&[first, second]) = tokens.last_chunk() else { return true };
    !tokens.windows(3).any(|trigram| trigram == [first, second, token])
}

/// `ln(e^a + e^b)`; `a` may be NaN.
fn ln_of_sum(a: f32, b: f32) -> f32 {
    let (less, more) = if a < b { (a, b) } else { (b, a) };
    if a.is_nan() || less == f32::NEG_INFINITY {
        return b.max(a);
    }
    more + ln(1.0 + exp(less - more))
}

/// `ln(sum of e^logit)`.
fn log_sum_exp(logits: &[f32]) -> f32 {
    let largest = largest(logits);
    let exponentials: Vec<f32> = logits.iter().map(|logit| exp(logit - largest)).collect();
    largest + ln(sum(&exponentials))
}

#[cfg(test)]
mod tests;
