//! JavaScript bindings of [`crate::captioner`]: converts types and contains no logic.

use std::cell::RefCell;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;

use crate::captioner;
use crate::error::Error;
use crate::generate::Length;
use crate::memory::MemoryStats;
use crate::preprocess;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn since_origin() -> f64;

    #[wasm_bindgen(thread_local_v2, js_namespace = performance, js_name = timeOrigin)]
    static TIME_ORIGIN: f64;
}

/// A model, its tokenizer and its memory.
#[wasm_bindgen]
pub struct Captioner(Rc<RefCell<captioner::Captioner>>);

/// A caption that is being generated. Freeing it leaves no trace in the memory.
#[wasm_bindgen]
pub struct Generation {
    captioner: Rc<RefCell<captioner::Captioner>>,
    generation: captioner::Generation,
}

/// Another model's memory that is being migrated to this model.
#[wasm_bindgen]
pub struct Migration {
    captioner: Rc<RefCell<captioner::Captioner>>,
    migration: captioner::Migration,
}

/// Caption options, each of which may be absent or `undefined`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Options {
    length: Option<Length>,
    hint: Option<String>,
    beams: Option<usize>,
    recall: Option<bool>,
    remember: Option<bool>,
    count_recalls: Option<bool>,
    attention: Option<bool>,
}

/// An element of the array that `listMemory` returns.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Remembered<'a> {
    slot: usize,
    text: &'a str,
    corrected: bool,
    written_at: f64,
    recalls: f64,
    #[serde(with = "bytes")]
    thumbnail: &'a [u8],
}

/// The object that `memoryStats` returns.
#[derive(Serialize)]
struct Stats {
    slots: usize,
    used: usize,
    corrected: usize,
    bytes: usize,
}

/// Serializes bytes as a `Uint8Array` instead of an array of numbers.
mod bytes {
    pub(super) fn serialize<S: serde::Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }
}

/// Whether the browser's decoder is to be asked for a photo file's pixels first.
#[wasm_bindgen(js_name = isForBrowser)]
pub fn is_for_browser(photo: &[u8]) -> bool {
    preprocess::is_for_browser(photo)
}

/// Maximum number of pixels of a photo.
#[wasm_bindgen(js_name = maxPixels)]
pub fn max_pixels() -> f64 {
    preprocess::MAX_PIXELS as f64
}

#[wasm_bindgen]
impl Captioner {
    /// Loads a model file and its tokenizer.json.
    #[wasm_bindgen(constructor)]
    pub fn new(model: &[u8], tokenizer: &[u8]) -> Result<Captioner, JsValue> {
        std::panic::set_hook(Box::new(|panic| {
            web_sys::console::error_1(&panic.to_string().into());
        }));
        let captioner = captioner::Captioner::new(model, tokenizer, now).map_err(js_error)?;
        Ok(Self(Rc::new(RefCell::new(captioner))))
    }

    /// Starts the caption of a photo file.
    pub fn begin(&self, photo: &[u8], options: JsValue) -> Result<Generation, JsValue> {
        let options = parsed(options)?;
        self.generation(self.0.borrow().begin(photo, &options))
    }

    /// Starts the caption of RGBA pixels, as a canvas gives them.
    #[wasm_bindgen(js_name = beginRgba)]
    pub fn begin_rgba(
        &self,
        width: u32,
        height: u32,
        pixels: &[u8],
        options: JsValue,
    ) -> Result<Generation, JsValue> {
        let options = parsed(options)?;
        let photo = preprocess::from_rgba(width, height, pixels);
        let photo = photo.map_err(|error| js_error(error.into()))?;
        self.generation(self.0.borrow().begin_pixels(&photo, &options))
    }

    /// Ends a generation, remembers the caption and returns it.
    pub fn finish(&self, generation: Generation) -> Result<JsValue, JsValue> {
        let caption = self.0.borrow_mut().finish(generation.generation).map_err(js_error)?;
        to_js(&caption)
    }

    /// Ends a generation with the user's caption instead of the model's; returns its slot.
    pub fn teach(&self, generation: Generation, text: &str) -> Result<usize, JsValue> {
        self.0.borrow_mut().finish_with(generation.generation, text).map_err(js_error)
    }

    /// Replaces the caption of a recent photo by the user's; returns its slot.
    pub fn correct(&self, id: f64, text: &str) -> Result<usize, JsValue> {
        #[allow(clippy::cast_possible_truncation, reason = "a float cast to an integer saturates")]
        #[allow(clippy::cast_sign_loss, reason = "a float cast to an integer saturates")]
        let id = id as u64;
        self.0.borrow_mut().correct(id, text).map_err(js_error)
    }

    /// Gives a remembered photo another caption.
    #[wasm_bindgen(js_name = correctMemory)]
    pub fn correct_memory(&self, slot: usize, text: &str) -> Result<(), JsValue> {
        self.0.borrow_mut().correct_memory(slot, text).map_err(js_error)
    }

    /// The memory as a snapshot.
    #[wasm_bindgen(js_name = exportMemory)]
    pub fn export_memory(&self) -> Vec<u8> {
        self.0.borrow().export_memory()
    }

    /// Replaces the memory by a snapshot's.
    #[wasm_bindgen(js_name = importMemory)]
    pub fn import_memory(&self, snapshot: &[u8]) -> Result<(), JsValue> {
        self.0.borrow_mut().import_memory(snapshot).map_err(js_error)
    }

    /// Adds a snapshot's episodes to the memory.
    #[wasm_bindgen(js_name = mergeMemory)]
    pub fn merge_memory(&self, snapshot: &[u8]) -> Result<(), JsValue> {
        self.0.borrow_mut().merge_memory(snapshot).map_err(js_error)
    }

    /// Loads the stored snapshot. Unlike an import, this is not a change that `undoMemory` undoes.
    #[wasm_bindgen(js_name = reloadMemory)]
    pub fn reload_memory(&self, snapshot: &[u8]) -> Result<(), JsValue> {
        self.0.borrow_mut().reload_memory(snapshot).map_err(js_error)
    }

    /// Whether a snapshot was written by this model.
    #[wasm_bindgen(js_name = isOwnMemory)]
    pub fn is_own_memory(&self, snapshot: &[u8]) -> Result<bool, JsValue> {
        self.0.borrow().is_own_memory(snapshot).map_err(js_error)
    }

    /// Starts to migrate another model's snapshot to this model.
    #[wasm_bindgen(js_name = migrateMemory)]
    pub fn migrate_memory(&self, snapshot: &[u8]) -> Result<Migration, JsValue> {
        let migration = self.0.borrow().begin_migration(snapshot).map_err(js_error)?;
        Ok(Migration { captioner: self.0.clone(), migration })
    }

    /// Deletes every episode.
    #[wasm_bindgen(js_name = clearMemory)]
    pub fn clear_memory(&self) {
        self.0.borrow_mut().clear_memory();
    }

    /// Deletes one episode.
    #[wasm_bindgen(js_name = deleteMemory)]
    pub fn delete_memory(&self, slot: usize) -> Result<(), JsValue> {
        self.0.borrow_mut().delete_memory(slot).map_err(js_error)
    }

    /// Undoes the latest correction, deletion, clearing or import; returns whether there was one.
    #[wasm_bindgen(js_name = undoMemory)]
    pub fn undo_memory(&self) -> bool {
        self.0.borrow_mut().undo_memory()
    }

    /// Every remembered episode: `{ slot, text, corrected, writtenAt, recalls, thumbnail }`.
    #[wasm_bindgen(js_name = listMemory)]
    pub fn list_memory(&self) -> Result<JsValue, JsValue> {
        let captioner = self.0.borrow();
        let lines = captioner.memory().iter().map(|(slot, record)| Remembered {
            slot,
            text: &record.caption,
            corrected: record.corrected,
            written_at: record.written_at as f64,
            recalls: captioner.memory().recalls(slot) as f64,
            thumbnail: &record.thumbnail,
        });
        to_js(&lines.collect::<Vec<_>>())
    }

    /// When a slot's caption was written, in milliseconds since 1970; `undefined` if the slot is
    /// free.
    #[wasm_bindgen(js_name = writtenAt)]
    pub fn written_at(&self, slot: usize) -> Option<f64> {
        self.0.borrow().memory().get(slot).map(|record| record.written_at as f64)
    }

    /// The occupancy of the memory: `{ slots, used, corrected, bytes }`.
    #[wasm_bindgen(js_name = memoryStats)]
    pub fn memory_stats(&self) -> Result<JsValue, JsValue> {
        let captioner = self.0.borrow();
        let MemoryStats { num_slots, len, corrected } = captioner.memory().stats();
        let bytes = captioner.export_memory().len();
        to_js(&Stats { slots: num_slots, used: len, corrected, bytes })
    }

    /// The loaded model: `{ name, sha256, config, commit, trained, version, kernels }`.
    #[wasm_bindgen(js_name = modelInfo)]
    pub fn model_info(&self) -> Result<JsValue, JsValue> {
        to_js(&self.0.borrow().info())
    }

    fn generation(
        &self,
        generation: Result<captioner::Generation, Error>,
    ) -> Result<Generation, JsValue> {
        let generation = generation.map_err(js_error)?;
        Ok(Generation { captioner: self.0.clone(), generation })
    }
}

#[wasm_bindgen]
impl Migration {
    /// Re-encodes the next episode; returns whether there was one.
    pub fn step(&mut self) -> Result<bool, JsValue> {
        self.captioner.borrow().migrate_next(&mut self.migration).map_err(js_error)
    }

    /// Number of episodes to re-encode.
    pub fn total(&self) -> usize {
        self.migration.total()
    }

    /// Number of episodes that could not be re-encoded.
    pub fn left(&self) -> usize {
        self.migration.left()
    }

    /// The episodes re-encoded so far, as a snapshot of this model.
    pub fn snapshot(&self) -> Vec<u8> {
        self.captioner.borrow().migrated_memory(&self.migration)
    }
}

#[wasm_bindgen]
impl Generation {
    /// Adds a token; returns whether there is more to do.
    pub fn step(&mut self) -> Result<bool, JsValue> {
        self.captioner.borrow().step(&mut self.generation).map_err(js_error)
    }

    /// The best text so far.
    pub fn text(&self) -> Result<String, JsValue> {
        self.captioner.borrow().text(&self.generation).map_err(js_error)
    }
}

fn now() -> f64 {
    TIME_ORIGIN.with(|origin| *origin) + since_origin()
}

fn js_error(error: Error) -> JsValue {
    let js = coded_error(error.code(), &error.to_string());
    if let Error::Photo(photo) = error {
        set(&js, "reason", photo.reason());
        if let Some(format) = photo.format() {
            set(&js, "format", format);
        }
    }
    js
}

/// A JavaScript `Error` with our `code`; `JsError` would keep the text only.
fn coded_error(code: &str, message: &str) -> JsValue {
    let js = js_sys::Error::new(message).into();
    set(&js, "code", code);
    js
}

fn set(object: &JsValue, name: &str, value: &str) {
    js_sys::Reflect::set(object, &name.into(), &value.into())
        .expect("a new object takes properties");
}

fn parsed(options: JsValue) -> Result<captioner::CaptionOptions, JsValue> {
    let given: Option<Options> = serde_wasm_bindgen::from_value(options)
        .map_err(|error| js_error(Error::Option(error.to_string())))?;
    let Options { length, hint, beams, recall, remember, count_recalls, attention } =
        given.unwrap_or_default();
    let default = captioner::CaptionOptions::default();
    Ok(captioner::CaptionOptions {
        length: length.unwrap_or(default.length),
        hint: hint.unwrap_or(default.hint),
        beams: beams.unwrap_or(default.beams),
        recall: recall.unwrap_or(default.recall),
        remember: remember.unwrap_or(default.remember),
        count_recalls: count_recalls.unwrap_or(default.count_recalls),
        attention: attention.unwrap_or(default.attention),
        repeat: default.repeat,
    })
}

fn to_js(value: &impl Serialize) -> Result<JsValue, JsValue> {
    // Maps become plain objects, as the types in index.d.ts say.
    let serializer =
        serde_wasm_bindgen::Serializer::json_compatible().serialize_bytes_as_arrays(false);
    // All values are our own types, so a failure is a bug.
    value.serialize(&serializer).map_err(|error| coded_error("internal", &error.to_string()))
}
