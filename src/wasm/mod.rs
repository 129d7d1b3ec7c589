//! The browser's side of [`crate::captioner`]: types are translated here, nothing is decided.

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

/// A caption being written. Freeing it leaves no trace in the memory.
#[wasm_bindgen]
pub struct Generation {
    captioner: Rc<RefCell<captioner::Captioner>>,
    generation: captioner::Generation,
}

/// Another model's memory that is being encoded anew.
#[wasm_bindgen]
pub struct Adoption {
    captioner: Rc<RefCell<captioner::Captioner>>,
    adoption: captioner::Adoption,
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

/// A line of `listMemory`.
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

/// What `memoryStats` gives.
#[derive(Serialize)]
struct Stats {
    slots: usize,
    used: usize,
    corrected: usize,
    bytes: usize,
}

/// Bytes as a `Uint8Array` and not as an array of numbers.
mod bytes {
    pub(super) fn serialize<S: serde::Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }
}

/// Width and height as a photo file's header states them; `undefined` if they cannot be told.
#[wasm_bindgen(js_name = photoSize)]
pub fn photo_size(photo: &[u8]) -> Option<Vec<u32>> {
    preprocess::dimensions(photo).map(|(width, height)| vec![width, height])
}

/// The most pixels a photo may have.
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

    /// Ends a generation with the user's caption in the place of the model's; returns its slot.
    pub fn teach(&self, generation: Generation, text: &str) -> Result<usize, JsValue> {
        self.0.borrow_mut().finish_with(generation.generation, text).map_err(js_error)
    }

    /// Teaches what the photo of a recent caption shows; returns its slot.
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

    /// The memory as bytes.
    #[wasm_bindgen(js_name = exportMemory)]
    pub fn export_memory(&self) -> Vec<u8> {
        self.0.borrow().export_memory()
    }

    /// Puts exported bytes in the memory's place.
    #[wasm_bindgen(js_name = importMemory)]
    pub fn import_memory(&self, snapshot: &[u8]) -> Result<(), JsValue> {
        self.0.borrow_mut().import_memory(snapshot).map_err(js_error)
    }

    /// Puts exported bytes beside what is remembered.
    #[wasm_bindgen(js_name = mergeMemory)]
    pub fn merge_memory(&self, snapshot: &[u8]) -> Result<(), JsValue> {
        self.0.borrow_mut().merge_memory(snapshot).map_err(js_error)
    }

    /// Takes up what was stored: unlike an import, `undoMemory` does not take it back.
    #[wasm_bindgen(js_name = reloadMemory)]
    pub fn reload_memory(&self, snapshot: &[u8]) -> Result<(), JsValue> {
        self.0.borrow_mut().reload_memory(snapshot).map_err(js_error)
    }

    /// Whether exported bytes are of this model.
    #[wasm_bindgen(js_name = isOwnMemory)]
    pub fn is_own_memory(&self, snapshot: &[u8]) -> Result<bool, JsValue> {
        self.0.borrow().is_own_memory(snapshot).map_err(js_error)
    }

    /// Starts to encode another model's exported bytes anew.
    #[wasm_bindgen(js_name = adoptMemory)]
    pub fn adopt_memory(&self, snapshot: &[u8]) -> Result<Adoption, JsValue> {
        let adoption = self.0.borrow().begin_adoption(snapshot).map_err(js_error)?;
        Ok(Adoption { captioner: self.0.clone(), adoption })
    }

    /// Forgets everything.
    #[wasm_bindgen(js_name = clearMemory)]
    pub fn clear_memory(&self) {
        self.0.borrow_mut().clear_memory();
    }

    /// Forgets one episode.
    #[wasm_bindgen(js_name = deleteMemory)]
    pub fn delete_memory(&self, slot: usize) -> Result<(), JsValue> {
        self.0.borrow_mut().delete_memory(slot).map_err(js_error)
    }

    /// Takes back the latest correction, deletion, clearing or import; returns whether there was
    /// one.
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

    /// When what a slot holds was written, in milliseconds since 1970; `undefined` if it is free.
    #[wasm_bindgen(js_name = writtenAt)]
    pub fn written_at(&self, slot: usize) -> Option<f64> {
        self.0.borrow().memory().get(slot).map(|record| record.written_at as f64)
    }

    /// How full the memory is: `{ slots, used, corrected, bytes }`.
    #[wasm_bindgen(js_name = memoryStats)]
    pub fn memory_stats(&self) -> Result<JsValue, JsValue> {
        let captioner = self.0.borrow();
        let MemoryStats { num_slots, len, corrected } = captioner.memory().stats();
        let bytes = captioner.export_memory().len();
        to_js(&Stats { slots: num_slots, used: len, corrected, bytes })
    }

    /// What is loaded: `{ name, sha256, config, commit, trained, version, kernels }`.
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
impl Adoption {
    /// Encodes the next photo; returns whether there was one.
    pub fn step(&mut self) -> Result<bool, JsValue> {
        self.captioner.borrow().adopt_next(&mut self.adoption).map_err(js_error)
    }

    /// How many photos there are.
    pub fn total(&self) -> usize {
        self.adoption.total()
    }

    /// Those that could not be encoded.
    pub fn left(&self) -> usize {
        self.adoption.left()
    }

    /// What has been encoded, as this model's exported bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        self.captioner.borrow().adopted_memory(&self.adoption)
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
    coded_error(error.code(), &error.to_string())
}

/// A js `Error` with our `code`: `JsError` would keep the text only.
fn coded_error(code: &str, message: &str) -> JsValue {
    let js = js_sys::Error::new(message);
    js_sys::Reflect::set(&js, &"code".into(), &code.into()).expect("a new object takes properties");
    js.into()
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
    // Every value is ours, so a failure is a bug of ours.
    value.serialize(&serializer).map_err(|error| coded_error("internal", &error.to_string()))
}
