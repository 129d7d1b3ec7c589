//! The tag head in the model file: the tensors `tags.*`, and the names as JSON in the metadata.

use std::collections::{BTreeMap, BTreeSet};

use safetensors::{Dtype, SafeTensors};

use super::{f32_bytes, i8_bytes, put, put_stem, read_header, ModelFile, Tensors};
use crate::config::{Config, HEAD_CHANNELS};
use crate::stem::Stem;
use crate::tag_head::TagHead;
use crate::tensor_file::{to_safetensors, RawTensor};
use crate::weights::{ModelError, Weights};

/// Scope of the head's tensors in the file.
pub(super) const SCOPE: &str = "tags";
/// Name of the metadata entry that lists the names.
const NAMES: &str = "tag_names";
/// Characters of the longest name, more than any noun needs.
const MAX_NAME: usize = 64;

/// Takes the tag head, if the configuration has one.
pub(super) fn read(
    weights: &Weights,
    config: &Config,
    metadata: &BTreeMap<String, String>,
) -> Result<Option<TagHead>, ModelError> {
    if config.num_tags == 0 {
        return Ok(None);
    }
    let names = metadata.get(NAMES).ok_or(ModelError::MissingMetadata { name: NAMES })?;
    let names = parsed(names, config.num_tags).ok_or_else(|| ModelError::InvalidMetadata {
        name: NAMES,
        found: names.chars().take(MAX_NAME).collect(),
        expected: "a JSON array of num_tags distinct names",
    })?;
    Ok(Some(TagHead::from_weights(&weights.pp(SCOPE), names, HEAD_CHANNELS)?))
}

fn parsed(names: &str, count: usize) -> Option<Vec<String>> {
    let names: Vec<String> = serde_json::from_str(names).ok()?;
    let is_name = |name: &String| !name.is_empty() && name.chars().count() <= MAX_NAME;
    let distinct: BTreeSet<&String> = names.iter().filter(|name| is_name(name)).collect();
    (names.len() == count && distinct.len() == count).then_some(names)
}

impl TagHead {
    /// The head in a file of its own, with the tensors and the metadata entry of a model file.
    pub fn to_file(&self) -> Vec<u8> {
        let mut tensors = Tensors::new();
        put_head(&mut tensors, self);
        to_safetensors(&tensors, &BTreeMap::from([names_entry(self)]))
    }

    /// Reads what [`TagHead::to_file`] wrote.
    ///
    /// # Errors
    ///
    /// If the file holds something else.
    pub fn from_file(bytes: &[u8]) -> Result<Self, ModelError> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let count = header.info("tags.bias").map_or(0, |info| info.shape.iter().product());
        let config = Config { num_tags: count, ..Config::small() };
        let weights = Weights::from_safetensors(&SafeTensors::deserialize(bytes)?);
        let head = read(&weights, &config, &metadata.into_iter().collect())?;
        weights.expect_empty()?;
        head.ok_or(ModelError::MissingTensor { name: "tags.bias".into() })
    }
}

impl ModelFile {
    /// A model file with `stem`, which extends its own stem, and `head` in place of a head that it
    /// may have.
    ///
    /// # Errors
    ///
    /// If `bytes` is no model file.
    ///
    /// # Panics
    ///
    /// If `stem` has no extension or another output than the file's stem.
    pub fn with_tags(bytes: &[u8], stem: &Stem, head: &TagHead) -> Result<Vec<u8>, ModelError> {
        let own = ModelFile::read(bytes)?.stem;
        assert!(stem.has_extension(), "the head reads the features of an extension");
        assert_eq!(own.output_sha256(), stem.output_sha256(), "the model has another stem");
        let (config, mut metadata) = read_header(bytes)?;
        let mut tensors: Tensors = SafeTensors::deserialize(bytes)?
            .tensors()
            .into_iter()
            .map(|(name, view)| {
                let (shape, data) = (view.shape().to_vec(), view.data().to_vec());
                (name, RawTensor { dtype: view.dtype(), shape, data })
            })
            .collect();
        put_stem(&mut tensors, stem);
        put_head(&mut tensors, head);
        let config = Config { has_stem_extension: true, num_tags: head.names().len(), ..config };
        let config = serde_json::to_string(&config).expect("a configuration is plain data");
        metadata.insert("config".into(), config);
        metadata.extend([names_entry(head)]);
        Ok(to_safetensors(&tensors, &metadata))
    }
}

fn names_entry(head: &TagHead) -> (String, String) {
    let names = serde_json::to_string(head.names()).expect("names are strings");
    (NAMES.into(), names)
}

fn put_head(tensors: &mut Tensors, head: &TagHead) {
    let rows = head.names().len();
    let layer = head.layer();
    let shape = vec![rows, layer.weight.len() / rows];
    put(tensors, format!("{SCOPE}.weight"), Dtype::I8, shape, i8_bytes(&layer.weight));
    for (name, values) in [("weight_scale", &layer.weight_scale), ("bias", &layer.bias)] {
        put(tensors, format!("{SCOPE}.{name}"), Dtype::F32, vec![rows], f32_bytes(values));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
pub(crate) mod tests {
    use super::*;
    use crate::random::Random;
    use crate::tag_head::TagLayer;

    /// A head with these names and random weights.
    pub(crate) fn any_head(names: &[&str]) -> TagHead {
        let mut random = Random::new(1);
        let mut weight = |_| i8::try_from(random.below(128)).expect("below 128") - 64;
        let layer = TagLayer {
            weight: (0..names.len() * HEAD_CHANNELS).map(&mut weight).collect(),
            weight_scale: vec![1e-4; names.len()],
            bias: (0..names.len()).map(|name| name as f32 - 1.0).collect(),
        };
        TagHead::new(names.iter().map(|name| (*name).to_owned()).collect(), layer)
    }

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let head = any_head(&["cat", "dog", "fire hydrant"]);
        let read = TagHead::from_file(&head.to_file()).unwrap();
        assert_eq!((read.names(), read.layer()), (head.names(), head.layer()));
    }

    #[test]
    fn names_must_be_distinct_and_as_many_as_the_configuration_says() {
        assert!(parsed(r#"["cat","dog"]"#, 2).is_some());
        for names in [r#"["cat"]"#, r#"["cat","cat"]"#, r#"["cat",""]"#, r#"["cat",1]"#, "cat"] {
            assert!(parsed(names, 2).is_none(), "{names}");
        }
        assert!(parsed(&format!(r#"["cat","{}"]"#, "x".repeat(65)), 2).is_none());
    }
}
