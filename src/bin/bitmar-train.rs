//! The trainer's command line: makes the tokenizer, the feature caches and the model.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bitmar::config::Config;
use bitmar::preprocess::to_pixels;
use bitmar::stem::Stem;
use bitmar::train::cache::{
    load_stem, read_photo, save_stem, stem_hash, CacheError, FeatureCache, TeacherCache,
    TeacherScales, View,
};
use bitmar::train::data::{
    load_caption_text, load_index, normalize_caption, Photo, PhotoArchive, PhotoSet, Split,
};
use bitmar::train::efficientnet::EfficientNet;
use bitmar::train::stem_builder::build_stem;
use bitmar::train::tokenizer::{train_tokenizer, VOCAB_SIZE};
use lexopt::prelude::*;

const USAGE: &str = "\
usage: bitmar-train tokenizer --data DIR --out FILE
       bitmar-train cache     --data DIR --out DIR    stem and its features, into DIR and DIR/cache
       bitmar-train teacher   --data DIR --out DIR    the teacher's features, into DIR/cache";

/// Caption texts without photos, beside the photo sets' own captions.
const CAPTION_TEXTS: [&str; 3] =
    ["flickr30k_captions.txt.gz", "coco_captions.txt.gz", "commongen_captions.txt.gz"];
/// Training photos of each set that the stem is calibrated on: 250 together.
const CALIBRATION_PHOTOS: usize = 50;

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    // One graph a core is faster than one graph over all cores (design, section 8).
    std::env::set_var("RAYON_NUM_THREADS", "1");
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bitmar-train: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome {
    let mut parser = lexopt::Parser::from_env();
    let command = match parser.next()? {
        Some(Value(command)) => command.string()?,
        Some(Long("help") | Short('h')) => {
            println!("{USAGE}");
            return Ok(());
        }
        _ => return Err(USAGE.into()),
    };
    match command.as_str() {
        "tokenizer" => tokenizer(&Paths::parse(parser)?),
        "cache" => cache(&Paths::parse(parser)?),
        "teacher" => teacher(&Paths::parse(parser)?),
        _ => Err(USAGE.into()),
    }
}

/// Where a command reads and writes.
struct Paths {
    data: PathBuf,
    out: PathBuf,
}

impl Paths {
    fn parse(mut parser: lexopt::Parser) -> Result<Self, Box<dyn Error>> {
        let (mut data, mut out) = (None::<OsString>, None::<OsString>);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("data") => data = Some(parser.value()?),
                Long("out") => out = Some(parser.value()?),
                other => return Err(other.unexpected().into()),
            }
        }
        let needed = |path: Option<OsString>, name| path.ok_or(format!("--{name} is missing"));
        Ok(Self { data: needed(data, "data")?.into(), out: needed(out, "out")?.into() })
    }
}

/// Trains the tokenizer on every caption a model may be trained on.
fn tokenizer(paths: &Paths) -> Outcome {
    let mut texts = Vec::new();
    for set in PhotoSet::ALL {
        let photos = load_index(&paths.data, set)?;
        let photos = photos.into_iter().filter(|photo| photo.split == Split::Train);
        texts.extend(photos.flat_map(|photo| photo.captions));
    }
    for file in CAPTION_TEXTS {
        texts.extend(load_caption_text(&paths.data, file)?);
    }
    let texts = texts.iter().map(|caption| normalize_caption(caption));
    let tokenizer = train_tokenizer(texts, VOCAB_SIZE).map_err(|error| error.to_string())?;
    let json = tokenizer.to_string(false).map_err(|error| error.to_string())?;
    let part = paths.out.with_extension("part");
    fs::write(&part, json)?;
    fs::rename(&part, &paths.out)?;
    eprintln!("{}: {} tokens", paths.out.display(), tokenizer.get_vocab_size(true));
    Ok(())
}

/// Builds the stem unless it is there, and fills its caches.
fn cache(paths: &Paths) -> Outcome {
    fs::create_dir_all(&paths.out)?;
    let stem = open_or_build_stem(paths)?;
    let cache_dir = paths.out.join("cache");
    for set in PhotoSet::ALL {
        let photos = load_index(&paths.data, set)?;
        for &view in views(set) {
            let cache =
                FeatureCache::open_or_build(&paths.data, &cache_dir, &stem, set, &photos, view)?;
            eprintln!("{} {view:?}: {} photos", set.file_stem(), cache.len());
        }
    }
    Ok(())
}

/// The views that are worth their time: captions written by people are few.
fn views(set: PhotoSet) -> &'static [View] {
    match set {
        PhotoSet::Flickr8k => {
            &[View::Original, View::Mirrored, View::Jittered(1), View::Jittered(2)]
        }
        _ => &[View::Original, View::Jittered(1)],
    }
}

/// A stem that is there is kept: models and caches were made with it.
fn open_or_build_stem(paths: &Paths) -> Result<Stem, Box<dyn Error>> {
    let path = paths.out.join("stem.safetensors");
    if path.exists() {
        return Ok(load_stem(&path)?);
    }
    let lite0 = EfficientNet::load(&fs::read(paths.data.join("efficientnet_lite0.safetensors"))?)?;
    let config = Config::small().stem;
    let calibration = calibration_pixels(&paths.data, config.input_size)?;
    let stem = build_stem(&lite0, &config, calibration.into_iter());
    save_stem(&stem, &path)?;
    eprintln!("{}: {}", path.display(), stem_hash(&stem));
    Ok(stem)
}

/// Training photos spread evenly over every set.
fn calibration_pixels(data: &Path, size: usize) -> Result<Vec<Vec<u8>>, CacheError> {
    let mut pixels = Vec::new();
    for set in PhotoSet::ALL {
        let archive = PhotoArchive::open(data, set)?;
        let photos: Vec<Photo> = load_index(data, set)?
            .into_iter()
            .filter(|photo| photo.split == Split::Train)
            .collect();
        let spacing = (photos.len() / CALIBRATION_PHOTOS).max(1);
        for photo in photos.iter().step_by(spacing).take(CALIBRATION_PHOTOS) {
            pixels.push(to_pixels(&read_photo(&archive, photo)?, size));
        }
    }
    Ok(pixels)
}

/// Fills the teacher's caches.
fn teacher(paths: &Paths) -> Outcome {
    let lite2 = EfficientNet::load(&fs::read(paths.data.join("efficientnet_lite2.safetensors"))?)?;
    let cache_dir = paths.out.join("cache");
    let scales = TeacherScales::open_or_measure(&paths.data, &cache_dir, &lite2)?;
    for view in [View::Original, View::Mirrored] {
        for set in PhotoSet::ALL {
            let photos = load_index(&paths.data, set)?;
            let teacher = (&lite2, &scales);
            TeacherCache::open_or_build(&paths.data, &cache_dir, teacher, set, &photos, view)?;
        }
    }
    Ok(())
}
