//! What READ returns early and late in training: figure 2 of the paper for this model. Photos are
//! stored with one caption each and read with their mirrored views.

use std::path::Path;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use plotters::prelude::*;
use serde::Serialize;

use crate::model::unit_rows;
use crate::train::data::photo_set::{PhotoSet, Split};
use crate::train::data::samples::load;
use crate::train::data::view::View;
use crate::train::files;
use crate::train::inputs::{read_tokenizer, Inputs};
use crate::train::model_source::EvaluatedModel;
use crate::train::model_source::ModelSource;
use crate::train::objective::features::features;

/// `[photos][slots]`
type Map = Vec<Vec<f32>>;

/// Number of photos to store.
const PHOTOS: usize = 40;
/// Side of a cell of the picture, in pixels.
const CELL: u32 = 7;
/// Margin of each map, in pixels.
const MARGIN: u32 = 28;

/// What READ returns from the memory of one model.
#[derive(Debug, Serialize)]
pub struct MemoryReads {
    /// Name of the model.
    pub name: String,
    /// Weight of READ for each photo and slot.
    #[serde(skip)]
    pub weights: Map,
    /// Cosine of the value that READ returns for each photo and the value of each slot, both minus
    /// the mean of the slots.
    #[serde(skip)]
    pub cosines: Map,
    /// Mean weight of the photo's own slot.
    pub own_weight: f32,
    /// Mean cosine of the returned value and that of the photo's own slot.
    pub own_cosine: f32,
    /// Root mean square of the cosines to the other slots.
    pub other_cosine: f32,
    /// Effect of the returned value on each decoder layer: root mean square of `g gamma` and
    /// `g delta`.
    pub modulations: Vec<f32>,
}

/// Prints what READ returns from the memory of each model as JSON, and draws it, the models below
/// each other.
///
/// # Errors
///
/// If a model or the photos cannot be read, or the picture cannot be written.
pub fn draw_memory_reads(inputs: &Inputs, models: &[ModelSource<'_>], svg: &Path) -> Result<()> {
    let (tokenizer, sha) = read_tokenizer(&inputs.tokenizer)?;
    let mut reads = Vec::new();
    for source in models {
        let (evaluated, stem) = source.load(inputs, &sha)?;
        let views = [View::Original, View::Mirrored];
        let set = (PhotoSet::flickr8k(), Split::Dev);
        let photos = load(&inputs.data, &inputs.out, &stem, set, &views, &tokenizer)?;
        let photos = photos.into_iter().map(|(_, sample)| sample).take(PHOTOS);
        let (views, captions): (Vec<_>, Vec<_>) =
            photos.map(|s| (s.views, s.captions[0].tokens.clone())).unzip();
        let of = |view: usize| views.iter().map(|views| views[view].clone()).collect::<Vec<_>>();
        let channels = evaluated.model.config().stem.output_channels();
        let [stored, shown] =
            [0, 1].map(|view| features(&of(view), channels, evaluated.stem_scale));
        reads.push(memory_reads(source.name(), &evaluated, &stored?, &shown?, &captions)?);
    }
    println!("{}", serde_json::to_string_pretty(&reads)?);
    files::write(svg, draw(&reads)?.as_bytes())
}

/// Stores the photos of the features `stored` with captions, and reads with those of the features
/// `shown`; both are `[photos * patches, channels]`.
fn memory_reads(
    name: String,
    evaluated: &EvaluatedModel,
    stored: &Tensor,
    shown: &Tensor,
    captions: &[Vec<u32>],
) -> candle_core::Result<MemoryReads> {
    let (model, count) = (&evaluated.model, captions.len());
    let table = model.table()?;
    let fused =
        model.fuse_photos(&table, &model.vision().forward(stored)?, &vec![Vec::new(); count])?;
    let texts: Vec<&[u32]> = captions.iter().map(Vec::as_slice).collect();
    let vectors = model.caption_vectors(&model.encode_texts(&table, &texts)?)?;
    let values = model.episode_values(&fused.episodes, &vectors)?;
    let mask = Tensor::zeros((count, count), DType::F32, &Device::Cpu)?;
    let (queries, keys) = (model.photo_keys(shown)?, model.photo_keys(stored)?);
    let (weights, context) = model.read_slots(&queries, &keys, &values, &mask)?;
    let weights: Map = weights.to_vec2::<f32>()?.into_iter().map(|row| row[1..].to_vec()).collect();
    // What all episodes have in common distinguishes none of them.
    let common = values.mean_keepdim(0)?;
    let own = |rows: &Tensor| unit_rows(&rows.broadcast_sub(&common)?);
    let cosines = own(&context)?.matmul(&own(&values)?.t()?)?.to_vec2::<f32>()?;
    let on_diagonal = |map: &Map| (0..count).map(|at| map[at][at]).sum::<f32>() / count as f32;
    let squares = |map: &Map| map.iter().flatten().map(|value| value * value).sum::<f32>();
    let own_squares = (0..count).map(|at| cosines[at][at].powi(2)).sum::<f32>();
    let (own_weight, own_cosine) = (on_diagonal(&weights), on_diagonal(&cosines));
    let others = (count * (count - 1)) as f32;
    Ok(MemoryReads {
        name,
        own_weight,
        own_cosine,
        other_cosine: ((squares(&cosines) - own_squares) / others).sqrt(),
        modulations: model.modulations(&context)?,
        weights,
        cosines,
    })
}

/// Draws an SVG picture: for each model the weights of READ and the cosines of what it returned,
/// with slots to the right and photos downward, from white at 0 to black at 1.
fn draw(reads: &[MemoryReads]) -> Result<String> {
    let slots = reads.first().map_or(0, |one| one.weights.len());
    let side = u32::try_from(slots)? * CELL + 2 * MARGIN;
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (2 * side, u32::try_from(reads.len())? * side));
    let area = area.into_drawing_area();
    area.fill(&WHITE)?;
    let maps = reads.iter().flat_map(|one| {
        let titles = ["weights of READ", "cosine of answer and slot"];
        let titles = titles.map(|title| format!("{}: {title}", one.name));
        titles.into_iter().zip([&one.weights, &one.cosines])
    });
    for (part, (title, map)) in area.split_evenly((reads.len(), 2)).iter().zip(maps) {
        let mut chart = ChartBuilder::on(part)
            .margin(MARGIN)
            .margin_top(0)
            .caption(title, ("sans-serif", 12))
            .build_cartesian_2d(0..slots, slots..0)?;
        let cells = map.iter().enumerate().flat_map(|(y, row)| {
            // Most slots are hardly read: cells that are nearly white are left out of the file.
            let visible = row.iter().enumerate().filter(|(_, &value)| value > 1.0 / 30.0);
            visible.map(move |(x, value)| {
                let shade = BLACK.mix(f64::from(value.clamp(0.0, 1.0)));
                Rectangle::new([(x, y), (x + 1, y + 1)], shade.filled())
            })
        });
        chart.draw_series(cells)?;
        chart.configure_mesh().disable_mesh().draw()?;
    }
    drop(area);
    Ok(svg)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::model::BitMar;
    use crate::random::Random;
    use crate::train::objective::ablation::Ablation;

    #[test]
    fn photos_that_come_back_read_their_own_slots() {
        let config = Config::tiny();
        let mut random = Random::new(3);
        let (patches, channels) = (config.num_patches(), config.stem.output_channels());
        let captions = vec![vec![300, 301], vec![302, 303, 304], vec![305]];
        let rows = captions.len() * patches;
        let stored: Vec<f32> = (0..rows * channels).map(|_| random.normal()).collect();
        let stored = Tensor::from_vec(stored, (rows, channels), &Device::Cpu).unwrap();
        let model = BitMar::new(&Ablation::Nothing.weights(4), &config).unwrap();
        let evaluated = EvaluatedModel { model, stem_scale: 1.0, ablation: Ablation::Nothing };
        let reads = memory_reads("x".into(), &evaluated, &stored, &stored, &captions).unwrap();
        assert!(reads.own_weight > 0.99 && reads.own_cosine > 0.99, "{reads:?}");
        assert!(reads.other_cosine < 0.9, "{reads:?}");
        // The gates start closed.
        assert_eq!(reads.modulations, vec![0.0; config.decoder_layers]);
        let other = stored.neg().unwrap();
        let reads = memory_reads("x".into(), &evaluated, &stored, &other, &captions).unwrap();
        assert!(reads.own_weight < 0.01, "{reads:?}");
        let svg = draw(&[reads]).unwrap();
        assert!(svg.ends_with("</svg>\n") && svg.contains("x: weights of READ"), "{svg}");
    }
}
