//! The bytes of the safetensors files we write: models and memory snapshots.

use std::collections::BTreeMap;

use safetensors::tensor::TensorView;
use safetensors::Dtype;

/// One tensor as it lies in the file.
#[derive(Debug, Clone)]
pub(crate) struct RawTensor {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<u8>,
}

/// The bytes of a safetensors file. Unlike `safetensors::serialize` it orders the metadata, so that
/// the same contents are the same file.
pub(crate) fn to_safetensors(
    tensors: &BTreeMap<String, RawTensor>,
    metadata: &BTreeMap<String, String>,
) -> Vec<u8> {
    let views = tensors.iter().map(|(name, RawTensor { dtype, shape, data })| {
        let view = TensorView::new(*dtype, shape.clone(), data);
        (name, view.expect("a tensor's bytes fill its shape"))
    });
    let file = safetensors::serialize(views, None).expect("the header is small");
    let (length, rest) = file.split_at(8);
    let length = u64::from_le_bytes(length.try_into().expect("split at eight bytes"));
    let (header, data) = rest.split_at(usize::try_from(length).expect("the header is in memory"));
    let header = std::str::from_utf8(header).expect("the header is JSON").trim_end();
    let tensors = header.strip_prefix('{').expect("the header is a JSON object");
    let comma = if tensors == "}" { "" } else { "," };
    let metadata = serde_json::to_string(metadata).expect("strings have a JSON form");
    let mut header = format!("{{\"__metadata__\":{metadata}{comma}{tensors}");
    // Padded as `safetensors` pads it: the data begin at a multiple of 8.
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}
