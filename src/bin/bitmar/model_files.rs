//! The model's two files: part of the program, unless another folder is named.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::CodedError;

const MODEL: &[u8] = include_bytes!("../../../pkg/model/model.safetensors");
const TOKENIZER: &[u8] = include_bytes!("../../../pkg/model/tokenizer.json");
/// Names the folder if no option does.
const FOLDER_VARIABLE: &str = "BITMAR_MODEL_DIR";

/// Where the model's files are.
pub(crate) struct ModelFiles {
    folder: Option<PathBuf>,
}

impl ModelFiles {
    /// In the folder given, or in that of the environment, or in this program.
    pub(crate) fn find(folder: Option<&Path>) -> Self {
        let variable = || std::env::var_os(FOLDER_VARIABLE).filter(|folder| !folder.is_empty());
        Self { folder: folder.map(Path::to_owned).or_else(|| variable().map(PathBuf::from)) }
    }

    /// The bytes of model.safetensors.
    pub(crate) fn model(&self) -> Result<Cow<'static, [u8]>, CodedError> {
        self.read("model.safetensors", MODEL, "model")
    }

    /// The bytes of tokenizer.json.
    pub(crate) fn tokenizer(&self) -> Result<Cow<'static, [u8]>, CodedError> {
        self.read("tokenizer.json", TOKENIZER, "tokenizer")
    }

    fn read(
        &self,
        name: &str,
        own: &'static [u8],
        code: &'static str,
    ) -> Result<Cow<'static, [u8]>, CodedError> {
        let Some(folder) = &self.folder else { return Ok(own.into()) };
        let path = folder.join(name);
        let read = fs::read(&path).map_err(|error| CodedError::of_file(code, &path, &error));
        Ok(read?.into())
    }
}
