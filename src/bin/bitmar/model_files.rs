//! The model's two files: embedded in the program, unless a folder is given.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::CodedError;

const MODEL: &[u8] = include_bytes!("../../../pkg/model/model.safetensors");
const TOKENIZER: &[u8] = include_bytes!("../../../pkg/model/tokenizer.json");
/// Environment variable that names the folder if no option does.
const FOLDER_VARIABLE: &str = "BITMAR_MODEL_DIR";

/// Location of the model's files.
pub(crate) struct ModelFiles {
    folder: Option<PathBuf>,
}

impl ModelFiles {
    /// The given folder, else the folder in the environment, else the embedded files.
    pub(crate) fn find(folder: Option<&Path>) -> Self {
        let variable = || std::env::var_os(FOLDER_VARIABLE).filter(|folder| !folder.is_empty());
        Self { folder: folder.map(Path::to_owned).or_else(|| variable().map(PathBuf::from)) }
    }

    /// The bytes of model.safetensors.
    pub(crate) fn model(&self) -> Result<Vec<u8>, CodedError> {
        self.read("model.safetensors", MODEL, "model")
    }

    /// The bytes of tokenizer.json.
    pub(crate) fn tokenizer(&self) -> Result<Vec<u8>, CodedError> {
        self.read("tokenizer.json", TOKENIZER, "tokenizer")
    }

    fn read(&self, name: &str, own: &[u8], code: &'static str) -> Result<Vec<u8>, CodedError> {
        // A copy, because the heap learns from it: after glibc's malloc has freed a block of this size,
        // it takes the stem's large buffers from the heap instead of mapping new pages for each
        // caption, which costs 0.8 of 16 ms.
        let Some(folder) = &self.folder else { return Ok(own.to_vec()) };
        let path = folder.join(name);
        fs::read(&path).map_err(|error| CodedError::of_file(code, &path, &error))
    }
}
