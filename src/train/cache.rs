//! Features of the training photos, computed once and kept in files: the frozen stem's, which the model
//! is trained on, and the teacher's, which the vision encoder is distilled from.
//!
//! A cache is one file of int8 rows, a row a photo, for each set and [`View`], beside a JSON index that
//! names the photos and the network. It is computed anew when the network changes or a photo is missing.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use image::imageops::{crop_imm, flip_horizontal};
use image::RgbImage;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::data::{load_index, DataError, Photo, PhotoArchive, PhotoSet, Split};
use super::efficientnet::{EfficientNet, Features};
use crate::config::ConfigError;
use crate::preprocess::{decode, to_pixels, PhotoError};
use crate::random::Random;
use crate::stem::{Stem, StemConfig, StemError, StemTensor};

/// Photos decoded and run at once: the cores the trainer is planned for.
const WORKERS: usize = 2;
/// Photos between two progress lines.
const PROGRESS_INTERVAL: usize = 500;
/// Least area of a jittered photo that stays, and the most its colours change.
const LEAST_CROP: f32 = 0.9;
const COLOUR_CHANGE: f32 = 0.2;
/// Side of the photos that the teacher sees.
pub const TEACHER_INPUT_SIZE: usize = 224;
/// Photos that the teacher's means and deviations are measured on.
const MEASURED_PHOTOS: usize = 500;
/// Int8 steps of a standard deviation of the teacher's features: eight deviations fit.
pub const STEPS_PER_DEVIATION: f32 = 16.0;

/// Why features could not be computed, written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// A photo set could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A photo could not be decoded.
    #[error("{}/{name}: {source}", set.file_stem())]
    Photo {
        /// Its set.
        set: PhotoSet,
        /// Its name.
        name: String,
        /// What is wrong with it.
        source: PhotoError,
    },
    /// A file is missing or cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// An index is not the JSON it should be.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the JSON reader said.
        source: serde_json::Error,
    },
    /// A file of rows is not as long as its index says.
    #[error("{} has {found} bytes, expected {expected}", path.display())]
    WrongLength {
        /// The file.
        path: PathBuf,
        /// What the index says.
        expected: usize,
        /// What there is.
        found: usize,
    },
    /// A stem file is not safetensors.
    #[error("stem file: {0}")]
    Container(#[from] SafeTensorError),
    /// A stem file has no configuration.
    #[error("stem file has no metadata entry config")]
    MissingConfig,
    /// The stem's configuration breaks a rule.
    #[error("stem file: {0}")]
    Config(#[from] ConfigError),
    /// The stem's tensors do not fit.
    #[error("stem file: {0}")]
    Stem(#[from] StemError),
}

/// A way to look at a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    /// As it is.
    Original,
    /// Left and right exchanged; not for captions that say left or right.
    Mirrored,
    /// A little cropped, in slightly other colours; odd numbers are mirrored too.
    Jittered(u8),
}

impl View {
    /// Whether left and right are exchanged.
    pub fn is_mirrored(self) -> bool {
        matches!(self, Self::Mirrored) || matches!(self, Self::Jittered(number) if number % 2 == 1)
    }

    /// `photo` seen this way; the same each time for the same `name`.
    pub fn of(self, photo: RgbImage, name: &str) -> RgbImage {
        let photo = match self {
            Self::Original | Self::Mirrored => photo,
            Self::Jittered(number) => jittered(&photo, &mut Random::named(number.into(), name)),
        };
        if self.is_mirrored() {
            flip_horizontal(&photo)
        } else {
            photo
        }
    }

    /// Its name in file names.
    fn file_stem(self) -> String {
        match self {
            Self::Original => "original".into(),
            Self::Mirrored => "mirrored".into(),
            Self::Jittered(number) => format!("jittered{number}"),
        }
    }
}

/// The stem's features of some photos in one view.
#[derive(Debug)]
pub struct FeatureCache {
    rows: Rows,
}

impl FeatureCache {
    /// Reads the features of `photos` in the data folder `data` from `cache_dir`, or computes and keeps
    /// them there.
    pub fn open_or_build(
        data: &Path,
        cache_dir: &Path,
        stem: &Stem,
        set: PhotoSet,
        photos: &[Photo],
        view: View,
    ) -> Result<Self, CacheError> {
        let config = stem.config();
        let row_len = config.output_grid() * config.output_grid() * config.output_channels();
        let network = stem_hash(stem);
        let job = Job { data, cache_dir, kind: "stem", network, set, photos, view, row_len };
        let rows =
            job.open_or_build(&|photo| stem.forward(&to_pixels(photo, config.input_size)))?;
        Ok(Self { rows })
    }

    /// Features of the photo at this place in `photos`, `[grid * grid, channels]`, in steps of the stem's
    /// output scale.
    pub fn features(&self, photo: usize) -> &[i8] {
        self.rows.row(photo)
    }

    /// How many photos there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// No photos at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Mean and deviation of each of the teacher's features, which make them comparable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherScales {
    /// Hash of the teacher.
    network: String,
    grid: Standardisation,
    pooled: Standardisation,
}

/// Mean and standard deviation of each channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Standardisation {
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

impl TeacherScales {
    /// Reads the scales of `teacher` from `cache_dir`, or measures them on Flickr8k's first 500 training
    /// photos and keeps them there. One measure serves all sets.
    pub fn open_or_measure(
        data: &Path,
        cache_dir: &Path,
        teacher: &EfficientNet,
    ) -> Result<Self, CacheError> {
        let path = cache_dir.join("teacher-scales.json");
        let network = network_hash(teacher);
        let kept: Option<Self> = read_json(&path)?;
        if let Some(scales) = kept.filter(|scales| scales.network == network) {
            return Ok(scales);
        }
        let scales = Self::measure(data, teacher, network)?;
        fs::create_dir_all(cache_dir).map_err(at(cache_dir))?;
        write_json(&path, &scales)?;
        Ok(scales)
    }

    fn measure(data: &Path, teacher: &EfficientNet, network: String) -> Result<Self, CacheError> {
        let archive = PhotoArchive::open(data, PhotoSet::Flickr8k)?;
        let photos = load_index(data, PhotoSet::Flickr8k)?;
        let (mut grid, mut pooled) = (ChannelSums::default(), ChannelSums::default());
        let train = photos.iter().filter(|photo| photo.split == Split::Train);
        for photo in train.take(MEASURED_PHOTOS) {
            let features = teach(teacher, &read_photo(&archive, photo)?);
            grid.add(&features.grid, teacher.grid_channels());
            pooled.add(&features.pooled, features.pooled.len());
        }
        Ok(Self { network, grid: grid.standardisation(), pooled: pooled.standardisation() })
    }

    /// The row of a photo: grid, then pooled.
    fn row(&self, features: &Features) -> Vec<i8> {
        let mut row = self.grid.quantize(&features.grid);
        row.extend(self.pooled.quantize(&features.pooled));
        row
    }
}

impl Standardisation {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "clamped to the range of i8 before the cast"
    )]
    fn quantize(&self, values: &[f32]) -> Vec<i8> {
        let channels = self.mean.iter().zip(&self.deviation).cycle();
        let quantized = values.iter().zip(channels).map(|(value, (mean, deviation))| {
            let steps = (value - mean) / deviation * STEPS_PER_DEVIATION;
            steps.round().clamp(-127.0, 127.0) as i8
        });
        quantized.collect()
    }
}

/// Sums over photos and cells, for mean and deviation of each channel.
#[derive(Default)]
struct ChannelSums {
    count: f64,
    sums: Vec<(f64, f64)>,
}

impl ChannelSums {
    fn add(&mut self, values: &[f32], channels: usize) {
        self.sums.resize(channels, (0.0, 0.0));
        for row in values.chunks_exact(channels) {
            self.count += 1.0;
            for ((sum, squares), &value) in self.sums.iter_mut().zip(row) {
                *sum += f64::from(value);
                *squares += f64::from(value) * f64::from(value);
            }
        }
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "f32 is precise enough for what is measured"
    )]
    fn standardisation(&self) -> Standardisation {
        let mean = |sum: f64| sum / self.count;
        // A channel that never changes keeps the value zero.
        let deviation =
            |(sum, squares): (f64, f64)| (mean(squares) - mean(sum) * mean(sum)).max(1e-12).sqrt();
        Standardisation {
            mean: self.sums.iter().map(|&(sum, _)| mean(sum) as f32).collect(),
            deviation: self.sums.iter().map(|&sums| deviation(sums) as f32).collect(),
        }
    }
}

/// The teacher's standardised features of some photos in one view.
#[derive(Debug)]
pub struct TeacherCache {
    rows: Rows,
    grid_len: usize,
}

impl TeacherCache {
    /// As [`FeatureCache::open_or_build`], with the scales of the same teacher.
    pub fn open_or_build(
        data: &Path,
        cache_dir: &Path,
        (teacher, scales): (&EfficientNet, &TeacherScales),
        set: PhotoSet,
        photos: &[Photo],
        view: View,
    ) -> Result<Self, CacheError> {
        let cells = (TEACHER_INPUT_SIZE / 32).pow(2);
        let grid_len = cells * teacher.grid_channels();
        let row_len = grid_len + scales.pooled.mean.len();
        let network = format!("{} {}", scales.network, scales_hash(scales));
        let job = Job { data, cache_dir, kind: "teacher", network, set, photos, view, row_len };
        let rows = job.open_or_build(&|photo| scales.row(&teach(teacher, photo)))?;
        Ok(Self { rows, grid_len })
    }

    /// The last block's output for the photo at this place in `photos`, `[7 * 7, channels]`, in
    /// [`STEPS_PER_DEVIATION`]ths of each channel's deviation from its mean.
    pub fn grid(&self, photo: usize) -> &[i8] {
        &self.rows.row(photo)[..self.grid_len]
    }

    /// The pooled vector, `[1280]`, in the same steps.
    pub fn pooled(&self, photo: usize) -> &[i8] {
        &self.rows.row(photo)[self.grid_len..]
    }

    /// How many photos there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// No photos at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn teach(teacher: &EfficientNet, photo: &RgbImage) -> Features {
    teacher.forward(&to_pixels(photo, TEACHER_INPUT_SIZE), TEACHER_INPUT_SIZE)
}

/// Writes the stem that caches are computed with: its tensors, and its configuration as metadata.
pub fn save_stem(stem: &Stem, path: &Path) -> Result<(), CacheError> {
    let config = serde_json::to_string(stem.config()).map_err(json_at(path))?;
    let tensors: Vec<_> = stem.tensors().into_iter().map(raw_tensor).collect();
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes)?))
    });
    let views = views.collect::<Result<Vec<_>, SafeTensorError>>()?;
    let metadata = HashMap::from([("config".to_owned(), config)]);
    write_file(path, &safetensors::serialize(views, Some(metadata))?)
}

/// Reads what [`save_stem`] wrote.
pub fn load_stem(path: &Path) -> Result<Stem, CacheError> {
    let bytes = fs::read(path).map_err(at(path))?;
    let (_, header) = SafeTensors::read_metadata(&bytes)?;
    let config = header.metadata().as_ref().and_then(|entries| entries.get("config"));
    let config = config.ok_or(CacheError::MissingConfig)?;
    let config: StemConfig = serde_json::from_str(config).map_err(json_at(path))?;
    config.validate()?;
    let tensors = SafeTensors::deserialize(&bytes)?;
    Stem::from_tensors(&config, &mut |name, _shape| {
        let tensor = tensors.tensor(name)?;
        // The stem checks the lengths, and refuses either type where it needs the other.
        Ok(match tensor.dtype() {
            Dtype::I8 => StemTensor::I8(to_i8(tensor.data())),
            _ => StemTensor::F32(to_f32(tensor.data())),
        })
    })
}

fn raw_tensor(
    (name, shape, tensor): (String, Vec<usize>, StemTensor),
) -> (String, Dtype, Vec<usize>, Vec<u8>) {
    let (dtype, bytes) = match tensor {
        StemTensor::I8(values) => (Dtype::I8, to_bytes(&values)),
        StemTensor::F32(values) => {
            (Dtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect())
        }
    };
    (name, dtype, shape, bytes)
}

/// SHA-256 of the stem's configuration and tensors.
pub fn stem_hash(stem: &Stem) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{:?}", stem.config()));
    for (name, dtype, shape, bytes) in stem.tensors().into_iter().map(raw_tensor) {
        hash.update(format!("{name} {dtype:?} {shape:?}"));
        hash.update(bytes);
    }
    format!("{:x}", hash.finalize())
}

/// SHA-256 of the teacher's convolutions.
fn network_hash(network: &EfficientNet) -> String {
    let mut hash = Sha256::new();
    let mut update = |values: &[f32]| values.iter().for_each(|v| hash.update(v.to_le_bytes()));
    update(&network.stem().weight);
    for block in network.blocks() {
        update(&block.depthwise.weight);
        update(&block.project.weight);
        update(&block.project.bias);
    }
    format!("{:x}", hash.finalize())
}

fn scales_hash(scales: &TeacherScales) -> String {
    let mut hash = Sha256::new();
    for part in [&scales.grid, &scales.pooled] {
        part.mean.iter().chain(&part.deviation).for_each(|v| hash.update(v.to_le_bytes()));
    }
    format!("{:x}", hash.finalize())
}

/// Int8 rows of one length, one a photo.
#[derive(Debug)]
struct Rows {
    row_len: usize,
    values: Vec<i8>,
}

impl Rows {
    fn row(&self, index: usize) -> &[i8] {
        &self.values[index * self.row_len..][..self.row_len]
    }

    fn len(&self) -> usize {
        self.values.len() / self.row_len
    }
}

/// What stands beside a file of rows.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RowsIndex {
    /// Hash of what computed the rows.
    network: String,
    row_len: usize,
    /// The photo of each row.
    names: Vec<String>,
}

/// One file of rows, to be read or made.
struct Job<'a> {
    data: &'a Path,
    cache_dir: &'a Path,
    kind: &'static str,
    network: String,
    set: PhotoSet,
    photos: &'a [Photo],
    view: View,
    row_len: usize,
}

impl Job<'_> {
    fn open_or_build(
        &self,
        compute: &(dyn Fn(&RgbImage) -> Vec<i8> + Sync),
    ) -> Result<Rows, CacheError> {
        match self.open()? {
            Some(rows) => Ok(rows),
            None => self.build(compute),
        }
    }

    /// The file's name without its ending.
    fn name(&self) -> String {
        format!("{}-{}-{}", self.kind, self.set.file_stem(), self.view.file_stem())
    }

    fn path(&self, ending: &str) -> PathBuf {
        self.cache_dir.join(format!("{}.{ending}", self.name()))
    }

    /// The rows of the photos, if the files are there, from this network, and have them all.
    fn open(&self) -> Result<Option<Rows>, CacheError> {
        let Some(index) = read_json::<RowsIndex>(&self.path("json"))? else { return Ok(None) };
        if index.network != self.network || index.row_len != self.row_len {
            return Ok(None);
        }
        let places: HashMap<&str, usize> =
            index.names.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
        let places: Option<Vec<usize>> =
            self.photos.iter().map(|photo| places.get(photo.name.as_str()).copied()).collect();
        let Some(places) = places else { return Ok(None) };
        let path = self.path("bin");
        let bytes = fs::read(&path).map_err(at(&path))?;
        let (expected, found) = (index.names.len() * self.row_len, bytes.len());
        if found != expected {
            return Err(CacheError::WrongLength { path, expected, found });
        }
        let mut values = Vec::with_capacity(places.len() * self.row_len);
        for place in places {
            values.extend(to_i8(&bytes[place * self.row_len..][..self.row_len]));
        }
        Ok(Some(Rows { row_len: self.row_len, values }))
    }

    fn build(&self, compute: &(dyn Fn(&RgbImage) -> Vec<i8> + Sync)) -> Result<Rows, CacheError> {
        fs::create_dir_all(self.cache_dir).map_err(at(self.cache_dir))?;
        let archive = PhotoArchive::open(self.data, self.set)?;
        let mut values = vec![0; self.photos.len() * self.row_len];
        let progress = Progress::new(self.name(), self.photos.len());
        let rows = Mutex::new(values.chunks_exact_mut(self.row_len).zip(self.photos));
        let work = || -> Result<(), CacheError> {
            loop {
                let next = rows.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((row, photo)) = next else { return Ok(()) };
                let image = read_photo(&archive, photo)?;
                row.copy_from_slice(&compute(&self.view.of(image, &photo.name)));
                progress.advance();
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
            let join = |worker: std::thread::ScopedJoinHandle<'_, _>| {
                worker.join().expect("a worker reports its errors")
            };
            workers.into_iter().try_for_each(join)
        })?;
        self.write(&values)?;
        Ok(Rows { row_len: self.row_len, values })
    }

    fn write(&self, values: &[i8]) -> Result<(), CacheError> {
        // An index of other rows must not stand beside the new ones.
        let index_path = self.path("json");
        if index_path.exists() {
            fs::remove_file(&index_path).map_err(at(&index_path))?;
        }
        write_file(&self.path("bin"), &to_bytes(values))?;
        let names = self.photos.iter().map(|photo| photo.name.clone()).collect();
        let index = RowsIndex { network: self.network.clone(), row_len: self.row_len, names };
        write_json(&index_path, &index)
    }
}

/// Reads and decodes a photo.
pub fn read_photo(archive: &PhotoArchive, photo: &Photo) -> Result<RgbImage, CacheError> {
    let (set, name) = (photo.set, photo.name.clone());
    decode(&archive.read(&photo.name)?).map_err(|source| CacheError::Photo { set, name, source })
}

/// Says how far a job is.
struct Progress {
    name: String,
    total: usize,
    done: AtomicUsize,
    start: Instant,
}

impl Progress {
    fn new(name: String, total: usize) -> Self {
        Self { name, total, done: AtomicUsize::new(0), start: Instant::now() }
    }

    fn advance(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(PROGRESS_INTERVAL) || done == self.total {
            let seconds = self.start.elapsed().as_secs_f64();
            let rate = done as f64 / seconds;
            let left = (self.total - done) as f64 / rate;
            let (name, total) = (&self.name, self.total);
            eprintln!(
                "{name}: {done}/{total}, {rate:.0} photos/s, {seconds:.0} s, {left:.0} s left"
            );
        }
    }
}

/// `photo` cropped and in other colours.
fn jittered(photo: &RgbImage, random: &mut Random) -> RgbImage {
    let mut photo = random_crop(photo, random);
    let mut factor = || 1.0 + COLOUR_CHANGE * (2.0 * random.uniform() - 1.0);
    let (brightness, contrast, saturation) = (factor(), factor(), factor());
    let sum: f64 = photo.pixels().map(|pixel| f64::from(luma(pixel.0.map(f32::from)))).sum();
    #[allow(clippy::cast_possible_truncation, reason = "a mean of bytes")]
    let mean = brightness * (sum / f64::from(photo.width() * photo.height())) as f32;
    for pixel in photo.pixels_mut() {
        let lit = pixel.0.map(|value| mean + contrast * (brightness * f32::from(value) - mean));
        let grey = luma(lit);
        pixel.0 = lit.map(|value| to_byte(grey + saturation * (value - grey)));
    }
    photo
}

/// A part of `photo` of its own shape, with 90 to 100 % of its area.
fn random_crop(photo: &RgbImage, random: &mut Random) -> RgbImage {
    let share = (LEAST_CROP + (1.0 - LEAST_CROP) * random.uniform()).sqrt();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most the length"
    )]
    let cut = |length: u32| ((share * length as f32).round() as u32).clamp(1, length);
    let (width, height) = (cut(photo.width()), cut(photo.height()));
    let mut place = |slack: u32| {
        let place = random.below(slack as usize + 1);
        u32::try_from(place).expect("at most the slack")
    };
    let (x, y) = (place(photo.width() - width), place(photo.height() - height));
    crop_imm(photo, x, y, width, height).to_image()
}

/// Brightness of a pixel (ITU-R BT.601).
fn luma([red, green, blue]: [f32; 3]) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped before the cast"
)]
fn to_byte(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

fn to_i8(bytes: &[u8]) -> Vec<i8> {
    bytes.iter().map(|&byte| i8::from_le_bytes([byte])).collect()
}

fn to_bytes(values: &[i8]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn to_f32(bytes: &[u8]) -> Vec<f32> {
    let word = |word: &[u8]| f32::from_le_bytes(word.try_into().expect("chunks of four bytes"));
    bytes.chunks_exact(4).map(word).collect()
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CacheError + '_ {
    move |source| CacheError::File { path: path.to_owned(), source }
}

fn json_at(path: &Path) -> impl FnOnce(serde_json::Error) -> CacheError + '_ {
    move |source| CacheError::Json { path: path.to_owned(), source }
}

/// What the file holds, if there is one.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, CacheError> {
    if !path.exists() {
        return Ok(None);
    }
    let json = fs::read(path).map_err(at(path))?;
    serde_json::from_slice(&json).map(Some).map_err(json_at(path))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), CacheError> {
    write_file(path, &serde_json::to_vec(value).map_err(json_at(path))?)
}

/// Writes beside `path`, then renames.
fn write_file(path: &Path, bytes: &[u8]) -> Result<(), CacheError> {
    let part = path.with_extension("part");
    fs::write(&part, bytes).map_err(at(&part))?;
    fs::rename(&part, path).map_err(at(path))
}

#[cfg(test)]
mod tests;
