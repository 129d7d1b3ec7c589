use super::*;

/// A photo whose red grows to the right and green downwards.
fn slope() -> RgbImage {
    RgbImage::from_fn(40, 30, |x, y| {
        let byte = |value: u32| u8::try_from(value).unwrap();
        image::Rgb([byte(6 * x), byte(8 * y), 100])
    })
}

/// A folder of this test's own with a photo set of `names`, removed when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str, names: &[&str]) -> Self {
        let name = format!("bitmar-cache-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        let mut png = Vec::new();
        slope().write_to(&mut io::Cursor::new(&mut png), image::ImageFormat::Png).unwrap();
        let mut archive = tar::Builder::new(fs::File::create(path.join("flickr8k.tar")).unwrap());
        for name in names {
            let mut header = tar::Header::new_gnu();
            header.set_size(png.len() as u64);
            header.set_cksum();
            archive.append_data(&mut header, name, png.as_slice()).unwrap();
        }
        archive.finish().unwrap();
        Self(path)
    }

    fn rows(&self, network: &str, photos: &[Photo], value: i8) -> Result<Rows, CacheError> {
        let job = Job {
            data: &self.0,
            cache_dir: &self.0.join("cache"),
            kind: "stem",
            network: network.into(),
            set: PhotoSet::Flickr8k,
            photos,
            view: View::Original,
            row_len: 2,
        };
        job.open_or_build(&|photo| vec![value, i8::try_from(photo.width()).unwrap()])
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn photos(names: &[&str]) -> Vec<Photo> {
    let photo = |name: &&str| Photo {
        set: PhotoSet::Flickr8k,
        name: (*name).into(),
        split: Split::Train,
        captions: Vec::new(),
        label: None,
    };
    names.iter().map(photo).collect()
}

#[test]
fn mirrored_view_exchanges_left_and_right() {
    let (photo, mirrored) = (slope(), View::Mirrored.of(slope(), "x"));
    assert_eq!(mirrored.get_pixel(0, 5), photo.get_pixel(39, 5));
    assert!(View::Jittered(1).is_mirrored() && !View::Jittered(2).is_mirrored());
}

#[test]
fn jittered_view_follows_from_name_and_number() {
    let view = |number, name| View::Jittered(number).of(slope(), name);
    assert_eq!(view(2, "a"), view(2, "a"));
    assert_ne!(view(2, "a"), view(2, "b"));
    assert_ne!(view(2, "a"), view(4, "a"));
}

#[test]
fn jittered_view_keeps_most_of_the_photo() {
    for index in 0..100 {
        let view = View::Jittered(2).of(slope(), &index.to_string());
        let share = f64::from(view.width() * view.height()) / 1200.0;
        // A rounded side may miss the limit by half a pixel.
        assert!((0.87..=1.0).contains(&share), "{share}");
        let mean = |photo: &RgbImage| {
            photo.as_raw().iter().map(|&v| f64::from(v)).sum::<f64>() / photo.as_raw().len() as f64
        };
        assert!((0.7..1.3).contains(&(mean(&view) / mean(&slope()))));
        let red = |x| i32::from(view.get_pixel(x, 0).0[0]);
        assert!(red(view.width() - 1) > red(0), "an even number is not mirrored");
    }
}

#[test]
fn rows_are_computed_once() {
    let folder = Folder::new("once", &["a", "b", "c"]);
    let all = photos(&["a", "b", "c"]);
    assert_eq!(folder.rows("net", &all, 1).unwrap().values, [1, 40, 1, 40, 1, 40]);
    assert_eq!(folder.rows("net", &all, 2).unwrap().row(2), [1, 40]);
    assert_eq!(folder.rows("net", &all[1..2], 2).unwrap().values, [1, 40]);
}

#[test]
fn rows_of_another_network_or_fewer_photos_are_computed_anew() {
    let folder = Folder::new("anew", &["a", "b", "c"]);
    let all = photos(&["a", "b", "c"]);
    folder.rows("net", &all[..1], 1).unwrap();
    assert_eq!(folder.rows("net", &all, 2).unwrap().row(0), [2, 40]);
    assert_eq!(folder.rows("other", &all, 3).unwrap().row(0), [3, 40]);
}

#[test]
fn photo_that_is_not_there_is_an_error() {
    let folder = Folder::new("missing", &["a"]);
    let error = folder.rows("net", &photos(&["a", "z"]), 1).unwrap_err();
    assert!(matches!(error, CacheError::Data(DataError::File { .. })), "{error}");
}

#[test]
fn cut_off_file_is_refused() {
    let folder = Folder::new("cut", &["a"]);
    folder.rows("net", &photos(&["a"]), 1).unwrap();
    fs::write(folder.0.join("cache/stem-flickr8k-original.bin"), [1]).unwrap();
    let error = folder.rows("net", &photos(&["a"]), 1).unwrap_err();
    assert!(matches!(error, CacheError::WrongLength { expected: 2, found: 1, .. }), "{error}");
}

#[test]
fn standardised_features_have_mean_zero_and_sixteen_steps_a_deviation() {
    let mut sums = ChannelSums::default();
    sums.add(&[1.0, 10.0, 3.0, 10.0], 2);
    let standardisation = sums.standardisation();
    assert_eq!(standardisation.mean, [2.0, 10.0]);
    assert_eq!(
        standardisation.quantize(&[3.0, 10.0, 0.0, 10.0, 99.0, 10.0]),
        [16, 0, -32, 0, 127, 0]
    );
}
