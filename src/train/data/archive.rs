//! Reads the files of the data folder: the index and the tar of a [photo set](super::photo_set),
//! and caption texts without photos.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use crate::train::data::photo_set::{HeldOut, Photo, PhotoSet, Split};

/// Why a training set could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file is missing, cut short, without the member asked for, or not tar or gzip at all.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system or the decoder.
        source: io::Error,
    },
    /// A line of an index is not a JSON object with the expected fields.
    #[error("{} line {line}: {source}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// The line, counted from one.
        line: usize,
        /// The error of the JSON reader.
        source: serde_json::Error,
    },
}

/// The fields of an index line that the trainer reads; `details`, `source` and `cc` are ignored.
#[derive(Deserialize)]
struct IndexLine {
    image: String,
    split: Split,
    #[serde(default)]
    captions: Vec<String>,
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    fine: Option<String>,
}

/// Reads the index of `set` in the data folder `dir`, in the order of the file. The photos that the
/// set holds out get [`Split::Dev`].
pub fn load_index(dir: &Path, set: &'static PhotoSet) -> Result<Vec<Photo>, DataError> {
    let path = dir.join(set.name).with_extension("jsonl");
    let file = File::open(&path).map_err(at(&path))?;
    let mut photos = Vec::new();
    for (line, number) in BufReader::new(file).lines().zip(1..) {
        let line = line.map_err(at(&path))?;
        if line.trim().is_empty() {
            continue;
        }
        let IndexLine { image, split, captions, label, labels, fine } = serde_json::from_str(&line)
            .map_err(|source| DataError::Index { path: path.clone(), line: number, source })?;
        photos.push(Photo { set, name: image, split, captions, label, labels, fine });
    }
    hold_out(set.held_out, &mut photos);
    Ok(photos)
}

fn hold_out(held_out: HeldOut, photos: &mut [Photo]) {
    let labeled = photos.iter_mut().filter(|photo| photo.label.is_some());
    let labeled: Vec<&mut Photo> = labeled.collect();
    let count = labeled.len();
    let is_held_out = |number: usize| match held_out {
        HeldOut::Nothing => false,
        HeldOut::EveryTwentieth => number % 20 == 19,
        HeldOut::LastTenth => number >= count - count / 10,
    };
    for (number, photo) in labeled.into_iter().enumerate() {
        if is_held_out(number) {
            photo.split = Split::Dev;
        }
    }
}

/// Files of caption texts without photos; none of the texts describes a dev photo.
pub const CAPTION_TEXTS: [&str; 3] =
    ["flickr30k_captions.txt.gz", "coco_captions.txt.gz", "commongen_captions.txt.gz"];

/// Reads `file` (gzip, one caption a line) in the data folder `dir`. Captions are trimmed but not
/// normalized; blank lines are left out.
pub fn load_caption_text(dir: &Path, file: &str) -> Result<Vec<String>, DataError> {
    let path = dir.join(file);
    let compressed = File::open(&path).map_err(at(&path))?;
    let mut captions = Vec::new();
    for line in BufReader::new(flate2::read::GzDecoder::new(compressed)).lines() {
        let line = line.map_err(at(&path))?;
        let caption = line.trim();
        if !caption.is_empty() {
            captions.push(caption.to_owned());
        }
    }
    Ok(captions)
}

/// The photos of one set, read from its tar by name. Threads may share it: a lock is held only
/// while a member's bytes are read.
#[derive(Debug)]
pub struct PhotoArchive {
    path: PathBuf,
    file: Mutex<File>,
    members: HashMap<String, Member>,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    offset: u64,
    len: u64,
}

impl PhotoArchive {
    /// Opens the tar of `set` in the data folder `dir` and indexes its members by name.
    pub fn open(dir: &Path, set: &PhotoSet) -> Result<Self, DataError> {
        let path = dir.join(set.name).with_extension("tar");
        let file = File::open(&path).map_err(at(&path))?;
        let members = index_members(&file).map_err(at(&path))?;
        Ok(Self { path, file: Mutex::new(file), members })
    }

    /// The bytes of the member `name`.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, DataError> {
        self.read_member(name).map_err(at(&self.path))
    }

    fn read_member(&self, name: &str) -> io::Result<Vec<u8>> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no member {name:?}"));
        let member = *self.members.get(name).ok_or_else(missing)?;
        let mut bytes = Vec::new();
        // Every read seeks first, so the position at which a thread panicked does not matter.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(member.offset))?;
        // No buffer of `len` bytes is allocated: the header's length may exceed the file.
        let found = (&mut *file).take(member.len).read_to_end(&mut bytes)?;
        if (found as u64) < member.len {
            let reason = format!("{name:?} has {found} bytes of {}", member.len);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
        }
        Ok(bytes)
    }
}

fn index_members(file: &File) -> io::Result<HashMap<String, Member>> {
    let mut archive = tar::Archive::new(BufReader::new(file));
    let mut members = HashMap::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        if entry.header().entry_type().is_file() {
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            members.insert(name, Member { offset: entry.raw_file_position(), len: entry.size() });
        }
    }
    Ok(members)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> DataError + '_ {
    move |source| DataError::File { path: path.to_owned(), source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
pub(crate) mod tests {
    use super::*;
    use std::io::Write;

    /// A temporary folder for one test, removed when the test ends.
    pub(crate) struct Folder(pub(crate) PathBuf);

    impl Folder {
        pub(crate) fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("bitmar-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
            std::fs::write(self.0.join(name), bytes).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn tar_of(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            builder.append_data(&mut header, name, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn index_keeps_captions_labels_and_splits_and_ignores_unknown_fields() {
        let folder = Folder::new("index");
        let lines = concat!(
            r#"{"image": "a.webp", "split": "train", "captions": ["One .", "Two"], "cc": 4}"#,
            "\n\n",
            r#"{"image": "b/c.webp", "split": "dev", "label": "cup", "fine": "mug", "new": [1]}"#,
            "\n",
            r#"{"image": "d.webp", "split": "train", "labels": ["sky", "tree"], "details": ["x"]}"#,
        );
        folder.write("flickr8k.jsonl", lines.as_bytes());
        let photos = load_index(&folder.0, PhotoSet::flickr8k()).unwrap();
        assert_eq!(photos.len(), 3);
        assert_eq!((photos[0].split, photos[1].split), (Split::Train, Split::Dev));
        assert_eq!(photos[0].captions, ["One .", "Two"]);
        assert_eq!(photos[1].name, "b/c.webp");
        assert_eq!(photos[1].label.as_deref(), Some("cup"));
        assert_eq!(photos[1].fine.as_deref(), Some("mug"));
        assert_eq!(photos[2].labels, ["sky", "tree"]);
    }

    #[test]
    fn labeled_photos_are_held_out_by_the_rule_of_their_set() {
        let folder = Folder::new("held-out");
        let line = |number| format!(r#"{{"image": "{number}", "split": "train", "label": "cup"}}"#);
        let lines: Vec<String> = (0..45).map(line).collect();
        for (set, expected) in
            [("caltech101", &["19", "39"][..]), ("in1k", &["41", "42", "43", "44"]), ("indet", &[])]
        {
            folder.write(&format!("{set}.jsonl"), lines.join("\n").as_bytes());
            let photos = load_index(&folder.0, PhotoSet::named(set)).unwrap();
            let dev = photos.iter().filter(|photo| photo.split == Split::Dev);
            let names: Vec<&str> = dev.map(|photo| photo.name.as_str()).collect();
            assert_eq!(names, expected, "{set}");
        }
    }

    #[test]
    fn index_names_the_line_it_cannot_read() {
        let folder = Folder::new("bad-index");
        folder
            .write("caltech101.jsonl", b"{\"image\": \"a\", \"split\": \"train\"}\n{\"image\": 3}");
        let error = load_index(&folder.0, PhotoSet::named("caltech101")).unwrap_err();
        assert!(matches!(error, DataError::Index { line: 2, .. }), "{error}");
        let missing = load_index(&folder.0, PhotoSet::flickr8k()).unwrap_err();
        assert!(matches!(missing, DataError::File { .. }), "{missing}");
    }

    #[test]
    fn two_threads_read_members_by_name() {
        let folder = Folder::new("tar");
        let large = vec![7_u8; 2000];
        folder.write("stanford40.tar", &tar_of(&[("x/one.webp", b"first"), ("two.webp", &large)]));
        let archive = PhotoArchive::open(&folder.0, PhotoSet::named("stanford40")).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        assert_eq!(archive.read("x/one.webp").unwrap(), b"first");
                        assert_eq!(archive.read("two.webp").unwrap(), large);
                    }
                });
            }
        });
        assert!(archive.read("three").unwrap_err().to_string().contains("no member"));
    }

    #[test]
    fn truncated_tar_is_refused_where_it_ends() {
        let folder = Folder::new("cut-tar");
        let whole = tar_of(&[("one.webp", &[7; 2000])]);
        folder.write("caltech101.tar", &whole[..1000]);
        let archive = PhotoArchive::open(&folder.0, PhotoSet::named("caltech101")).unwrap();
        let error = archive.read("one.webp").unwrap_err();
        assert!(error.to_string().ends_with("has 488 bytes of 2000"), "{error}");
    }

    #[test]
    fn caption_text_is_one_caption_a_line() {
        let folder = Folder::new("text");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"A dog .\n\n  two cats\n").unwrap();
        folder.write("some.txt.gz", &gzip.finish().unwrap());
        assert_eq!(load_caption_text(&folder.0, "some.txt.gz").unwrap(), ["A dog .", "two cats"]);
        folder.write("plain.txt.gz", b"not gzip");
        assert!(load_caption_text(&folder.0, "plain.txt.gz").is_err());
    }
}
