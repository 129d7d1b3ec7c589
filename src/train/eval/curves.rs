//! Pictures of a run, drawn from its log.

use std::path::Path;

use anyhow::{Context, Result};
use plotters::prelude::*;
use plotters::series::DashedLineSeries;
use serde_json::Value;

use crate::train::files;

const SIZE: (u32, u32) = (720, 320);
const COLORS: [RGBColor; 4] = [
    RGBColor(0x1b, 0x6e, 0xf3),
    RGBColor(0xd9, 0x48, 0x0f),
    RGBColor(0x2b, 0x8a, 0x3e),
    RGBColor(0x70, 0x48, 0xe8),
];

/// A named line of (step, value).
pub(crate) type Curve = (String, Vec<(f64, f64)>);

/// The measures called `names` in the log of a stage, one JSON object a line, in the order of
/// `names`: means on the training batches (`caption`, ...) or numbers of the run (`dev_loss`,
/// `rate`, `flips`, ...). Measures that the log does not have are left out.
///
/// # Errors
///
/// If a line is not a JSON object with a step.
pub(crate) fn read_curves(log: &str, names: &[String]) -> Result<Vec<Curve>> {
    let mut curves: Vec<Curve> = names.iter().map(|name| (name.clone(), Vec::new())).collect();
    for (line, number) in log.lines().zip(1..) {
        let line: Value = serde_json::from_str(line).with_context(|| format!("line {number}"))?;
        let step = line["step"].as_f64().with_context(|| format!("line {number}: no step"))?;
        for (name, points) in &mut curves {
            // A run that was resumed takes the steps since its last checkpoint again.
            points.retain(|&(earlier, _)| earlier < step);
            let value = line["train"][&*name].as_f64().or_else(|| line[&*name].as_f64());
            points.extend(value.map(|value| (step, value)));
        }
    }
    curves.retain(|(_, points)| !points.is_empty());
    Ok(curves)
}

/// Draws the measures called `names` in the log file of a stage into the file `svg`.
///
/// # Errors
///
/// If the log cannot be read or the picture cannot be written.
pub fn draw_curves(log: &Path, names: &[String], title: &str, svg: &Path) -> Result<()> {
    let text = std::fs::read_to_string(log);
    let text = text.with_context(|| format!("cannot read {}", log.display()))?;
    let curves = read_curves(&text, names).with_context(|| log.display().to_string())?;
    files::write(svg, draw(title, &curves)?.as_bytes())
}

/// Draws an SVG picture of `curves` over the steps, on one scale that includes 0. Scores on the dev
/// set are dashed.
///
/// # Errors
///
/// If the picture cannot be drawn.
fn draw(title: &str, curves: &[Curve]) -> Result<String> {
    let points = || curves.iter().flat_map(|(_, points)| points);
    let last = points().map(|p| p.0).fold(1.0, f64::max);
    let lowest = points().map(|p| p.1).fold(0.0, f64::min);
    let highest = points().map(|p| p.1).fold(1e-9, f64::max);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 14))
            .margin(10)
            .margin_right(24)
            .x_label_area_size(30)
            .y_label_area_size(50)
            .build_cartesian_2d(0.0..last, 1.05 * lowest..1.05 * highest)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .x_label_formatter(&|step| format!("{step:.0}"))
            .draw()?;
        for ((name, points), color) in curves.iter().zip(COLORS.iter().cycle()) {
            let style = color.stroke_width(2);
            let points = points.iter().copied();
            let drawn = if name.starts_with("dev_") {
                chart.draw_series(DashedLineSeries::new(points, 6, 4, style))?
            } else {
                chart.draw_series(LineSeries::new(points, style))?
            };
            drawn.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
        }
        // This corner is free, because losses fall.
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .draw()?;
        area.present()?;
    }
    Ok(svg)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
mod tests {
    use super::*;

    const LOG: &str = concat!(
        r#"{"step":25,"rate":0.25,"train":{"align":2.5,"caption":6.0}}"#,
        "\n",
        r#"{"step":50,"rate":0.5,"train":{"align":2.0,"caption":4.5},"dev_loss":5.0}"#,
        "\n",
    );

    #[test]
    fn measures_are_read_from_a_log() {
        let names = ["caption", "no_such", "dev_loss", "rate"].map(String::from);
        let expected = [
            ("caption".to_owned(), vec![(25.0, 6.0), (50.0, 4.5)]),
            ("dev_loss".to_owned(), vec![(50.0, 5.0)]),
            ("rate".to_owned(), vec![(25.0, 0.25), (50.0, 0.5)]),
        ];
        assert_eq!(read_curves(LOG, &names).unwrap(), expected);
    }

    #[test]
    fn a_line_that_is_no_report_is_named() {
        for line in ["step 75/100 caption 4.1", "{}"] {
            let error = read_curves(&format!("{LOG}{line}\n"), &[]).unwrap_err().to_string();
            assert!(error.contains("line 3"), "{error}");
        }
    }

    #[test]
    fn steps_that_were_taken_again_count_once() {
        let log = format!("{LOG}{}\n", r#"{"step":25,"train":{"caption":6.1}}"#);
        let curves = read_curves(&log, &["caption".to_owned()]).unwrap();
        assert_eq!(curves, [("caption".to_owned(), vec![(25.0, 6.1)])]);
    }

    #[test]
    fn a_picture_has_a_line_for_each_curve_and_higher_values_stand_higher() {
        let curves = read_curves(LOG, &["caption", "align"].map(String::from)).unwrap();
        let svg = draw("a title", &curves).unwrap();
        assert!(svg.contains("a title") && svg.contains("align"), "{svg}");
        let points = svg.split("<polyline").skip(1).filter_map(|line| {
            let points = line.split("points=\"").nth(1)?.split('"').next()?;
            let y = |point: &str| point.split(',').nth(1)?.parse::<f32>().ok();
            Some(points.split_whitespace().filter_map(y).collect::<Vec<f32>>())
        });
        // Axes and the lines of the legend are level or upright; the curves fall.
        let is_wide = |line: &str| line.contains("stroke-width=\"2\"");
        let wide = svg.split("<polyline").skip(1).map(is_wide);
        let curved = points.zip(wide).filter(|(ys, is_wide)| *is_wide && ys.first() != ys.last());
        let curved: Vec<Vec<f32>> = curved.map(|(ys, _)| ys).collect();
        assert_eq!(curved.len(), 2, "{svg}");
        // SVG counts downward. Captions begin higher.
        assert!(curved.iter().all(|ys| ys.first() < ys.last()), "{curved:?}");
        assert!(curved[0][0] < curved[1][0], "{curved:?}");
    }

    #[test]
    fn a_score_on_the_dev_set_is_dashed() {
        let lines = |name: &str| {
            let svg = draw("", &[(name.to_owned(), vec![(0.0, 1.0), (100.0, 2.0)])]).unwrap();
            svg.matches("stroke-width=\"2\"").count()
        };
        assert!(lines("dev_loss") > lines("caption") + 10);
    }
}
