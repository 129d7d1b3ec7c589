//! Pictures of a run, drawn from its log.

use plotters::prelude::*;
use plotters::series::DashedLineSeries;
use serde_json::Value;

type AnyError = Box<dyn std::error::Error>;

const SIZE: (u32, u32) = (720, 320);
const COLORS: [RGBColor; 4] = [
    RGBColor(0x1b, 0x6e, 0xf3),
    RGBColor(0xd9, 0x48, 0x0f),
    RGBColor(0x2b, 0x8a, 0x3e),
    RGBColor(0x70, 0x48, 0xe8),
];

/// A measure over the steps of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// What was measured.
    pub name: String,
    /// Whether on dev, and not on the training batches.
    pub is_dev: bool,
    /// Step and value.
    pub points: Vec<(f64, f64)>,
}

/// The measures called `names` in the log of a stage, one JSON object a line, in the order of
/// `names`: each on the training batches (or of the run: `rate`, `norm`, `flips`, ...), then on
/// dev. Measures without a point are left out.
///
/// # Errors
///
/// If a line is not a JSON object with a step.
pub fn read_curves(log: &str, names: &[String]) -> Result<Vec<Curve>, AnyError> {
    let empty = |name: &String, is_dev| Curve { name: name.clone(), is_dev, points: Vec::new() };
    let mut curves: Vec<Curve> =
        names.iter().flat_map(|name| [empty(name, false), empty(name, true)]).collect();
    for (line, number) in log.lines().zip(1..) {
        let line: Value = serde_json::from_str(line).map_err(|e| format!("line {number}: {e}"))?;
        let step = line["step"].as_f64().ok_or_else(|| format!("line {number}: no step"))?;
        for Curve { name, is_dev, points } in &mut curves {
            // A run that was resumed takes the steps since its last checkpoint again.
            points.retain(|&(earlier, _)| earlier < step);
            let value = match is_dev {
                true => line["dev"][&*name].as_f64(),
                false => line["train"][&*name].as_f64().or_else(|| line[&*name].as_f64()),
            };
            points.extend(value.map(|value| (step, value)));
        }
    }
    curves.retain(|curve| !curve.points.is_empty());
    Ok(curves)
}

/// One SVG picture of `curves` over the steps, on one scale that includes 0; those on dev are
/// dashed.
///
/// # Errors
///
/// If the picture cannot be drawn.
pub fn draw(title: &str, curves: &[Curve]) -> Result<String, AnyError> {
    let points = || curves.iter().flat_map(|curve| &curve.points);
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
            .x_label_area_size(30)
            .y_label_area_size(50)
            .build_cartesian_2d(0.0..last, 1.05 * lowest..1.05 * highest)?;
        chart.configure_mesh().disable_x_mesh().light_line_style(TRANSPARENT).draw()?;
        let mut names: Vec<&str> = curves.iter().map(|curve| curve.name.as_str()).collect();
        names.dedup();
        for Curve { name, is_dev, points } in curves {
            let place = names.iter().position(|other| other == name).unwrap_or_default();
            let style = COLORS[place % COLORS.len()].stroke_width(2);
            let points = points.iter().copied();
            let drawn = match is_dev {
                true => chart.draw_series(DashedLineSeries::new(points, 6, 4, style))?,
                false => chart.draw_series(LineSeries::new(points, style))?,
            };
            let label = if *is_dev { format!("{name}, dev") } else { name.clone() };
            drawn.label(label).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
        }
        chart.configure_series_labels().background_style(WHITE.mix(0.8)).draw()?;
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
        r#"{"step":50,"rate":0.5,"train":{"align":2.0,"caption":4.5},"dev":{"caption":5.0}}"#,
        "\n",
    );

    fn curve(name: &str, is_dev: bool, points: &[(f64, f64)]) -> Curve {
        Curve { name: name.into(), is_dev, points: points.to_vec() }
    }

    #[test]
    fn measures_are_read_from_a_log() {
        let names = ["caption", "no_such", "rate"].map(String::from);
        let expected = [
            curve("caption", false, &[(25.0, 6.0), (50.0, 4.5)]),
            curve("caption", true, &[(50.0, 5.0)]),
            curve("rate", false, &[(25.0, 0.25), (50.0, 0.5)]),
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
        assert_eq!(curves, [curve("caption", false, &[(25.0, 6.1)])]);
    }

    #[test]
    fn a_picture_has_a_line_for_each_curve_and_higher_values_stand_higher() {
        let names = ["caption", "align"].map(String::from);
        let curves: Vec<Curve> =
            read_curves(LOG, &names).unwrap().into_iter().filter(|c| !c.is_dev).collect();
        let svg = draw("a title", &curves).unwrap();
        assert!(svg.contains("a title") && svg.contains("align"), "{svg}");
        // The first point of each curve; the lines beside the names are level.
        let lines =
            svg.split("<polyline").skip(1).filter(|line| line.contains("stroke-width=\"2\""));
        let points = lines.filter_map(|line| {
            let points = line.split("points=\"").nth(1)?.split('"').next()?;
            let y = |point: &str| point.split(',').nth(1)?.parse::<f32>().ok();
            Some(points.split_whitespace().filter_map(y).collect::<Vec<f32>>())
        });
        let curved: Vec<Vec<f32>> = points.filter(|ys| ys.first() != ys.last()).collect();
        assert_eq!(curved.len(), 2, "{svg}");
        // Both fall, and captions lose more. SVG counts downwards.
        assert!(curved.iter().all(|ys| ys.first() < ys.last()), "{curved:?}");
        assert!(curved[0][0] < curved[1][0], "{curved:?}");
    }

    #[test]
    fn a_curve_on_dev_is_dashed() {
        let points = [(0.0, 1.0), (100.0, 2.0)];
        let lines = |is_dev| {
            let svg = draw("", &[curve("caption", is_dev, &points)]).unwrap();
            svg.matches("stroke-width=\"2\"").count()
        };
        assert!(lines(true) > lines(false) + 10);
    }
}
