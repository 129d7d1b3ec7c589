//! Names of the released models. `pkg/model/names.json` is the one list of them, by the SHA-256 of
//! the model file.

use serde::Deserialize;

const NAMES: &str = include_str!("../pkg/model/names.json");
/// Hexadecimal digits that stand for the name of an unreleased model.
const HASH_DIGITS: usize = 12;

#[derive(Deserialize)]
struct Named {
    sha256: String,
    name: String,
}

/// The name of the model file with this SHA-256 (lower-case hexadecimal): `v1`, for example, or the
/// first 12 digits of the hash if the model was never released.
pub fn model_name(sha256: &str) -> String {
    let released = named().into_iter().find(|model| model.sha256 == sha256);
    released.map_or_else(|| sha256.chars().take(HASH_DIGITS).collect(), |model| model.name)
}

fn named() -> Vec<Named> {
    serde_json::from_str(NAMES).expect("names.json is part of the program, and a test reads it")
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::checkpoint::sha256;

    #[test]
    fn the_shipped_model_has_a_name_and_an_unknown_one_its_hash() {
        let shipped = include_bytes!("../pkg/model/model.safetensors");
        assert_eq!(model_name(&sha256(shipped)), "v1");
        assert_eq!(model_name(&sha256(b"another")), "ae448ac86c4e");
    }

    #[test]
    fn no_two_models_share_a_hash_or_a_name() {
        let named = named();
        for (i, one) in named.iter().enumerate() {
            assert!(named[..i].iter().all(|o| o.sha256 != one.sha256 && o.name != one.name));
        }
    }
}
