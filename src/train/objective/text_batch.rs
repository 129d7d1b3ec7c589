//! The batch of texts without a photo.

use candle_core::{Result, Tensor};
use tokenizers::Tokenizer;

use crate::memory::MAX_CAPTION_TOKENS;
use crate::model::{BitMar, PlacedText, QuantizedTable};
use crate::random::Random;
use crate::tokenizer::CORRECTED;
use crate::train::data::sample::CaptionTokens;
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
    /// Texts without a hint or a recalled caption.
    plain: Targets,
    /// Texts that use the words of a hint.
    hinted: Targets,
    /// Hint tokens by text index; none at index 0, which all plain texts share.
    hints: Vec<Vec<u32>>,
    /// Texts that repeat a recalled caption.
    repeated: Targets,
    /// The captions they repeat.
    recalled: Vec<PlacedText>,
}

impl TextBatch {
    /// Makes targets of `chosen`: a `copied` share of the texts is to be repeated from a recalled
    /// caption, a `hinted` share of the others has a hint.
    pub fn new<'a>(
        chosen: impl Iterator<Item = &'a CaptionTokens>,
        copied: f32,
        hinted: f32,
        tokenizer: &Tokenizer,
        random: &mut Random,
    ) -> Self {
        let mut batch = Self { hints: vec![Vec::new()], ..Self::default() };
        // Plain texts share index 0.
        let mut index = 0;
        for CaptionTokens { text, tokens, start, .. } in chosen {
            if random.uniform() >= copied {
                let has_hint = random.uniform() < hinted;
                if let Some(hint) = has_hint.then(|| Hint::draw(text, random)).flatten() {
                    index += 1;
                    let mut caption = encode(tokenizer, &hint.caption);
                    caption.truncate(MAX_TOKENS);
                    batch.hinted.push(index, *start, &caption, 1.0);
                    batch.hints.resize(index, Vec::new());
                    batch.hints.push(hint.prompt(tokenizer));
                } else {
                    batch.plain.push(0, *start, &tokens[..tokens.len().min(MAX_TOKENS)], 1.0);
                }
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
        let logits = model.decode_texts(table, &self.hints, &self.recalled, &inputs)?;
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
