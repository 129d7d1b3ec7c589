//! Sentence embeddings of captions by a network like `all-MiniLM-L6-v2` (Reimers and Gurevych
//! 2019), a distillation target of the vision encoder.
//!
//! BERT (candle-transformers) -> mean of all token vectors -> unit length.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use tokenizers::Tokenizer;

use crate::checkpoint::sha256;
use crate::model::unit_rows;
use crate::train::parallel;

/// Most sentences that pass through the network together.
const BATCH: usize = 64;

/// Why a sentence encoder could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SentencesError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file does not hold what its name implies.
    #[error("{}: {reason}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// A network that embeds a sentence in a vector.
pub struct SentenceEncoder {
    model: BertModel,
    tokenizer: Tokenizer,
    dim: usize,
    sha256: String,
}

impl SentenceEncoder {
    /// Loads `config.json`, `tokenizer.json` and `model.safetensors` of `folder`.
    ///
    /// # Errors
    ///
    /// If one of them cannot be read or belongs to another network.
    pub fn load(folder: &Path) -> std::result::Result<Self, SentencesError> {
        let read = |name: &str| {
            let path = folder.join(name);
            match std::fs::read(&path) {
                Ok(bytes) => Ok((path, bytes)),
                Err(source) => Err(SentencesError::File { path, source }),
            }
        };
        let foreign = |path: &Path, reason: &dyn std::fmt::Display| SentencesError::Foreign {
            path: path.to_owned(),
            reason: reason.to_string(),
        };
        let (path, bytes) = read("config.json")?;
        let config: Config = serde_json::from_slice(&bytes).map_err(|e| foreign(&path, &e))?;
        let (path, bytes) = read("tokenizer.json")?;
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|e| foreign(&path, &e))?;
        // Only sentences of equal length are batched, so none is padded.
        tokenizer.with_padding(None);
        let (path, bytes) = read("model.safetensors")?;
        let sha256 = sha256(&bytes);
        let weights = VarBuilder::from_buffered_safetensors(bytes, DType::F32, &Device::Cpu);
        let model = weights.and_then(|weights| BertModel::load(weights, &config));
        let model = model.map_err(|e| foreign(&path, &e))?;
        Ok(Self { model, tokenizer, dim: config.hidden_size, sha256 })
    }

    /// Length of an embedding.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// SHA-256 of the weights.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The embedding of each of `sentences`, `[dim]` with norm 1. Equal sentences are encoded once.
    pub fn encode<'a>(&self, sentences: &[&'a str]) -> Result<HashMap<&'a str, Vec<f32>>> {
        let mut tokens: HashMap<&str, Vec<u32>> = HashMap::new();
        for &sentence in sentences {
            if !tokens.contains_key(sentence) {
                let encoding = self.tokenizer.encode(sentence, true);
                let encoding = encoding.map_err(|e| candle_core::Error::Msg(e.to_string()))?;
                tokens.insert(sentence, encoding.get_ids().to_vec());
            }
        }
        let mut ordered: Vec<(&str, Vec<u32>)> = tokens.into_iter().collect();
        ordered.sort_unstable_by(|a, b| (a.1.len(), a.0).cmp(&(b.1.len(), b.0)));
        let batches: Vec<&[(&str, Vec<u32>)]> = ordered
            .chunk_by(|a, b| a.1.len() == b.1.len())
            .flat_map(|equal| equal.chunks(BATCH))
            .collect();
        let vectors: Result<Vec<Vec<Vec<f32>>>> =
            parallel::map(&batches, |batch| self.vectors(batch)?.to_vec2::<f32>());
        let sentences = ordered.iter().map(|(sentence, _)| *sentence);
        Ok(sentences.zip(vectors?.into_iter().flatten()).collect())
    }

    /// The embeddings of sentences with the same number of tokens, `[sentences, dim]`.
    fn vectors(&self, batch: &[(&str, Vec<u32>)]) -> Result<Tensor> {
        let shape = (batch.len(), batch[0].1.len());
        let ids: Vec<u32> = batch.iter().flat_map(|(_, tokens)| tokens).copied().collect();
        let ids = Tensor::from_vec(ids, shape, &Device::Cpu)?;
        unit_rows(&self.model.forward(&ids, &ids.zeros_like()?, None)?.mean(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Writes a folder with a network with random weights for the words a, b and c.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("bitmar-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (hidden, inner, vocab) = (8, 16, 5);
        let config = serde_json::json!({
            "vocab_size": vocab, "hidden_size": hidden, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": inner, "hidden_act": "gelu",
            "hidden_dropout_prob": 0.1, "max_position_embeddings": 16, "type_vocab_size": 2,
            "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0,
        });
        std::fs::write(folder.join("config.json"), config.to_string()).expect("a file");
        let tokenizer = serde_json::json!({
            "version": "1.0", "added_tokens": [], "normalizer": null, "post_processor": null,
            "pre_tokenizer": {"type": "Whitespace"}, "decoder": null,
            "truncation": null, "padding": {
                "strategy": {"Fixed": 12}, "direction": "Right", "pad_to_multiple_of": null,
                "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"
            },
            "model": {
                "type": "WordLevel", "unk_token": "[UNK]",
                "vocab": {"[PAD]": 0, "[UNK]": 1, "a": 2, "b": 3, "c": 4}
            },
        });
        std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).expect("a file");
        let mut random = Random::new(1);
        let mut tensors = HashMap::new();
        let mut add = |name: &str, shape: &[usize]| {
            let count = shape.iter().product();
            let values: Vec<f32> = (0..count).map(|_| random.uniform() - 0.5).collect();
            let tensor = Tensor::from_vec(values, shape, &Device::Cpu).expect("a tensor");
            tensors.insert(name.to_owned(), tensor);
        };
        for (table, rows) in
            [("word_embeddings", vocab), ("position_embeddings", 16), ("token_type_embeddings", 2)]
        {
            add(&format!("embeddings.{table}.weight"), &[rows, hidden]);
        }
        let layer = "encoder.layer.0";
        for (linear, outputs, inputs) in [
            ("attention.self.query", hidden, hidden),
            ("attention.self.key", hidden, hidden),
            ("attention.self.value", hidden, hidden),
            ("attention.output.dense", hidden, hidden),
            ("intermediate.dense", inner, hidden),
            ("output.dense", hidden, inner),
        ] {
            add(&format!("{layer}.{linear}.weight"), &[outputs, inputs]);
            add(&format!("{layer}.{linear}.bias"), &[outputs]);
        }
        for norm in [
            "embeddings.LayerNorm",
            "encoder.layer.0.attention.output.LayerNorm",
            "encoder.layer.0.output.LayerNorm",
        ] {
            add(&format!("{norm}.weight"), &[hidden]);
            add(&format!("{norm}.bias"), &[hidden]);
        }
        candle_core::safetensors::save(&tensors, folder.join("model.safetensors")).expect("a file");
        folder
    }

    #[test]
    fn an_embedding_does_not_depend_on_the_other_sentences() {
        let folder = folder("sentences");
        let encoder = SentenceEncoder::load(&folder).expect("an encoder");
        let together = encoder.encode(&["a b", "c", "b a", "a b", "a b c a"]).expect("vectors");
        assert_eq!((together.len(), encoder.dim()), (4, 8));
        for (sentence, vector) in &together {
            let alone = &encoder.encode(&[sentence]).expect("a vector")[sentence];
            let length: f32 = vector.iter().map(|v| v * v).sum();
            assert!((length - 1.0).abs() < 1e-5, "{sentence}: {length}");
            let difference =
                alone.iter().zip(vector).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(difference < 1e-5, "{sentence}: {difference}");
        }
        // The order of the words matters.
        assert_ne!(together["a b"], together["b a"]);
        std::fs::remove_dir_all(&folder).expect("the folder");
    }

    #[test]
    fn files_of_another_network_are_refused() {
        let folder = folder("foreign-sentences");
        let refused = |name: &str, bytes: Option<&[u8]>| {
            let path = folder.join(name);
            let kept = std::fs::read(&path).expect("the file");
            match bytes {
                Some(bytes) => std::fs::write(&path, bytes).expect("a file"),
                None => std::fs::remove_file(&path).expect("the file"),
            }
            let error = SentenceEncoder::load(&folder).err().expect("an error");
            std::fs::write(&path, kept).expect("the file");
            error
        };
        for name in ["config.json", "tokenizer.json", "model.safetensors"] {
            let missing = refused(name, None);
            assert!(matches!(missing, SentencesError::File { .. }), "{missing}");
            let foreign = refused(name, Some(b"another file"));
            assert!(matches!(foreign, SentencesError::Foreign { .. }), "{foreign}");
            assert!(foreign.to_string().contains(name), "{foreign}");
        }
        std::fs::remove_dir_all(&folder).expect("the folder");
    }
}
