//! Training on texts without photos: the decoder learns the language of captions, to repeat a
//! corrected caption that the text encoder has encoded, and to use the words of a hint.

use candle_core::{Result, Tensor};
use tokenizers::Tokenizer;

use crate::random::Random;
use crate::train::data::sample::CaptionTokens;
use crate::train::objective::captioning::TrainedModel;
use crate::train::objective::dev::{mean_loss, DevScore};
use crate::train::objective::evidence::TextEvidence;
use crate::train::objective::targets::Targets;
use crate::train::objective::text_batch::TextBatch;
use crate::train::objective::{Measures, Objective, StepContext};

/// Language modeling on texts without photos.
pub struct Language {
    /// The model.
    pub trained: TrainedModel,
    /// The texts.
    pub texts: Vec<CaptionTokens>,
    /// Captions of dev photos, which are only measured.
    pub dev: Vec<CaptionTokens>,
    /// Encodes the hints and names that are drawn.
    pub tokenizer: Tokenizer,
    /// Draws the evidence of texts, if they have any.
    pub evidence: Option<TextEvidence>,
    /// Share of texts to be repeated from a recalled caption.
    pub copied: f32,
    /// Share of the other texts that have a hint.
    pub hinted: f32,
}

impl Objective for Language {
    type Batch = TextBatch;

    fn pools(&self) -> Vec<(usize, f32)> {
        vec![(self.texts.len(), 1.0)]
    }

    fn batch(&self, examples: &[(usize, usize)], random: &mut Random) -> TextBatch {
        let chosen = examples.iter().map(|&(_, index)| &self.texts[index]);
        let evidence = self.evidence.as_ref();
        TextBatch::new(chosen, self.copied, self.hinted, &self.tokenizer, evidence, random)
    }

    fn loss(&self, batch: &TextBatch, _: StepContext) -> Result<(Tensor, Measures)> {
        let model = &self.trained.model;
        Ok(batch.loss(model, &model.table()?)?.expect("a batch has at least one text"))
    }

    /// Nats a token of captions on their own: no hint, nothing to repeat.
    fn dev(&self) -> Result<Option<DevScore>> {
        const BATCH: usize = 32;
        let model = &self.trained.model;
        mean_loss(&self.dev, BATCH, |captions| {
            let mut targets = Targets::default();
            captions
                .iter()
                .for_each(|caption| targets.push(0, caption.start, &caption.tokens, 1.0));
            let logits = model.decode_texts(&model.table()?, &[], &[], &targets.inputs)?;
            Ok((targets.plain_loss(&logits)?, targets.tokens.len()))
        })
    }
}
