//! Training on text alone, without a photo: the decoder learns the language of captions, and to repeat
//! what the text encoder hands it of a corrected caption, and to take up the words of a hint.

use candle_core::{Result, Tensor};
use tokenizers::Tokenizer;

use crate::random::Random;
use crate::train::data::sample::CaptionTokens;
use crate::train::objective::captioning::TrainedModel;
use crate::train::objective::dev::{dev_loss, DevScore, DEV_SEED};
use crate::train::objective::text_batch::TextBatch;
use crate::train::objective::{Measures, Objective, StepContext};

/// Texts as examples of their own.
pub struct Language {
    /// The model.
    pub trained: TrainedModel,
    /// The texts.
    pub texts: Vec<CaptionTokens>,
    /// Texts that nothing is trained on, to choose the best checkpoint by.
    pub dev: Vec<CaptionTokens>,
    /// For the words that are put into captions.
    pub tokenizer: Tokenizer,
    /// Share of texts that are to be repeated.
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
        let chosen = examples.iter().map(|&(_, number)| &self.texts[number]);
        TextBatch::new(chosen, self.copied, self.hinted, &self.tokenizer, random)
    }

    fn loss(&self, batch: &TextBatch, _: StepContext) -> Result<(Tensor, Measures)> {
        let model = &self.trained.model;
        Ok(batch.loss(model, &model.table()?)?.expect("a batch has texts"))
    }

    /// The dev texts, without hints or captions to repeat.
    fn dev(&self) -> Result<Option<DevScore>> {
        let context = StepContext { progress: 1.0, alignment_factor: 1.0 };
        dev_loss(&self.dev, "text", |texts| {
            let mut random = Random::new(DEV_SEED);
            let batch = TextBatch::new(texts.iter(), 0.0, 0.0, &self.tokenizer, &mut random);
            self.loss(&batch, context).map(|(_, measures)| measures)
        })
    }
}
