//! Captions photos with the model of this checkout.
//!
//! ```text
//! cargo run --release --example caption tests/photos/cat.jpg
//! ```

use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

use bitmar::{CaptionOptions, Captioner};

fn main() -> Result<(), Box<dyn Error>> {
    let model = std::fs::read("pkg/model/model.safetensors")?;
    let tokenizer = std::fs::read("pkg/model/tokenizer.json")?;
    let mut captioner = Captioner::new(&model, &tokenizer, now)?;
    for path in std::env::args().skip(1) {
        let caption = captioner.caption(&std::fs::read(&path)?, &CaptionOptions::default())?;
        println!("{path}: {} ({:.0} %)", caption.text, 100.0 * caption.confidence);
    }
    Ok(())
}

/// Milliseconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}
