//! The batch of texts without a photo.

use candle_core::{Result, Tensor};
use tokenizers::Tokenizer;

use crate::memory::MAX_CAPTION_TOKENS;
use crate::model::{BitMar, PlacedText, QuantizedTable};
use crate::random::Random;
use crate::tokenizer::{prompt, CORRECTED};
use crate::train::data::sample::CaptionTokens;
use crate::train::objective::evidence::TextEvidence;
use crate::train::objective::targets::Targets;
use crate::train::objective::Measures;
use crate::train::text::encode::encode;
use crate::train::text::hints::Hint;
use crate::train::text::names::personalize;

/// Most tokens of a text.
const MAX_TOKENS: usize = 30;

/// Texts to predict.
#[derive(Debug, Clone, Default)]
pub struct TextBatch {
    /// Texts without a hint or a recalled caption; some have evidence.
    plain: Targets,
    /// Texts that use the words of a hint.
    hinted: Targets,
    /// Prompts by text index; none at index 0, which the plain texts without evidence share.
    prompts: Vec<Vec<u32>>,
    /// Texts that repeat a recalled caption.
    repeated: Targets,
    /// The captions they repeat.
    recalled: Vec<PlacedText>,
}

impl TextBatch {
    /// Makes targets of `chosen`: a `copied` share of the texts is to be repeated from a recalled
    /// caption, a `hinted` share of the others has a hint. With `evidence`, those have evidence too.
    pub fn new<'a>(
        chosen: impl Iterator<Item = &'a CaptionTokens>,
        copied: f32,
        hinted: f32,
        tokenizer: &Tokenizer,
        evidence: Option<&TextEvidence>,
        random: &mut Random,
    ) -> Self {
        let mut batch = Self { prompts: vec![Vec::new()], ..Self::default() };
        let chosen: Vec<&CaptionTokens> = chosen.collect();
        // Plain texts without evidence share index 0.
        let mut index = 0;
        for (number, CaptionTokens { text, tokens, start, .. }) in chosen.iter().enumerate() {
            if random.uniform() >= copied {
                let has_hint = random.uniform() < hinted;
                let hint = has_hint.then(|| Hint::draw(text, random)).flatten();
                let other = &chosen[(number + 1) % chosen.len()].text;
                let evidence = evidence.map(|evidence| evidence.draw(text, other, random));
                let words = hint.as_ref().map(|hint| encode(tokenizer, &hint.text));
                let prompt = prompt(&words.unwrap_or_default(), &evidence.unwrap_or_default());
                let mut own = 0;
                if !prompt.is_empty() {
                    index += 1;
                    own = index;
                    batch.prompts.resize(index, Vec::new());
                    batch.prompts.push(prompt);
                }
                let (targets, mut caption) = match hint {
                    Some(hint) => (&mut batch.hinted, encode(tokenizer, &hint.caption)),
                    None => (&mut batch.plain, tokens.clone()),
                };
                caption.truncate(MAX_TOKENS);
                targets.push(own, *start, &caption, 1.0);
                continue;
            }
            index += 1;
            let mut caption = if random.uniform() < 0.5 {
                encode(tokenizer, &personalize(text, random).to_lowercase())
            } else {
                tokens.clone()
            };
            caption.truncate(MAX_CAPTION_TOKENS);
            batch.repeated.push(index, *start, &caption, 1.0);
            let tokens = std::iter::once(CORRECTED).chain(caption).collect();
            batch.recalled.push(PlacedText { photo: index, tokens });
        }
        batch
    }

    /// The mean cross entropy of all texts with label smoothing, in nats, and that of each kind of
    /// text as measures. `None` if the batch is empty.
    pub fn loss(
        &self,
        model: &BitMar,
        table: &QuantizedTable,
    ) -> Result<Option<(Tensor, Measures)>> {
        let kinds = [("text", &self.plain), ("hinted", &self.hinted), ("repeat", &self.repeated)];
        let inputs = kinds.map(|(_, targets)| targets.inputs.as_slice()).concat();
        if inputs.is_empty() {
            return Ok(None);
        }
        let logits = model.decode_texts(table, &self.prompts, &self.recalled, &inputs)?;
        let (mut losses, mut measures, mut start) = (Vec::new(), Measures::new(), 0);
        for (name, targets) in kinds {
            let rows = targets.tokens.len();
            if rows > 0 {
                let loss = targets.loss(&logits.narrow(0, start, rows)?)?;
                measures.insert(name, loss.to_scalar()?);
                losses.push((loss * rows as f64)?);
                start += rows;
            }
        }
        let total = Tensor::stack(&losses, 0)?.sum_all()?;
        Ok(Some(((total / start as f64)?, measures)))
    }
}
