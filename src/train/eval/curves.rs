//! Pictures of a run, drawn from what it printed.

use std::collections::BTreeMap;
use std::fmt::Write;

const WIDTH: f32 = 720.0;
const HEIGHT: f32 = 320.0;
const MARGIN: f32 = 48.0;
const COLORS: [&str; 4] = ["#1b6ef3", "#d9480f", "#2b8a3e", "#7048e8"];

/// A named line of (step, value).
pub type Curve = (String, Vec<(f32, f32)>);

/// The measures called `names` in the lines `step 25/4800 caption 6.160 ...` of a log, in the order
/// of `names`; those that it does not have are left out.
pub fn read_curves(log: &str, names: &[String]) -> Vec<Curve> {
    let mut curves: BTreeMap<&str, Vec<(f32, f32)>> = BTreeMap::new();
    for line in log.lines() {
        let Some(rest) = line.strip_prefix("step ") else { continue };
        let words: Vec<&str> = rest.split_whitespace().collect();
        let step = words.first().and_then(|step| step.split('/').next()?.parse().ok());
        let Some(step) = step else { continue };
        for pair in words[1..].windows(2) {
            if let Ok(value) = pair[1].parse() {
                let points = curves.entry(pair[0]).or_default();
                // A run that was resumed takes the steps since its last checkpoint again.
                points.retain(|&(earlier, _)| earlier < step);
                points.push((step, value));
            }
        }
    }
    let known = |name: &String| Some((name.clone(), curves.get(name.as_str())?.clone()));
    names.iter().filter_map(known).collect()
}

/// One SVG picture of `curves` over the steps, on one scale that begins at 0.
pub fn draw(title: &str, curves: &[Curve]) -> String {
    let points = || curves.iter().flat_map(|(_, points)| points);
    let last = points().map(|p| p.0).fold(1.0, f32::max);
    let top = points().map(|p| p.1).fold(f32::MIN_POSITIVE, f32::max) * 1.05;
    let x = |step: f32| MARGIN + (WIDTH - 2.0 * MARGIN) * step / last;
    let y = |value: f32| HEIGHT - MARGIN - (HEIGHT - 2.0 * MARGIN) * value / top;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\"><rect width=\"100%\" height=\"100%\" fill=\"white\"/><text x=\"{MARGIN}\" y=\"20\" \
         font-size=\"14\">{title}</text>\n"
    );
    for part in 0..=4u8 {
        let share = f32::from(part) / 4.0;
        let (value, step) = (top * share, last * share);
        writeln!(
            svg,
            "<path d=\"M{MARGIN} {0:.1}H{1}\" stroke=\"#ddd\"/><text x=\"{2}\" y=\"{3:.1}\" \
             text-anchor=\"end\">{value:.2}</text><text x=\"{4:.1}\" y=\"{5}\" \
             text-anchor=\"middle\">{step:.0}</text>",
            y(value),
            WIDTH - MARGIN,
            MARGIN - 6.0,
            y(value) + 4.0,
            x(step),
            HEIGHT - MARGIN + 18.0,
        )
        .expect("a string takes any text");
    }
    for (number, (name, points)) in curves.iter().enumerate() {
        let color = COLORS[number % COLORS.len()];
        let path: Vec<String> =
            points.iter().map(|&(step, value)| format!("{:.1},{:.1}", x(step), y(value))).collect();
        writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\"/><text x=\"{}\" \
             y=\"{}\" fill=\"{color}\" text-anchor=\"end\">{name}</text>",
            path.join(" "),
            WIDTH - MARGIN,
            MARGIN + 16.0 * number as f32,
        )
        .expect("a string takes any text");
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "captions: 3 examples\n\
        step 25/100 align 2.575 caption 6.160 norm 15.36 rate 0.00025 20.4 examples/s 94 min left\n\
        step 50/100 align 2.178 caption 4.495 norm 8.12 rate 0.00051 22.3 examples/s 85 min left\n";

    #[test]
    fn measures_are_read_from_a_log() {
        let names = ["caption".to_owned(), "no_such".to_owned(), "align".to_owned()];
        let curves = read_curves(LOG, &names);
        assert_eq!(
            curves,
            [
                ("caption".to_owned(), vec![(25.0, 6.16), (50.0, 4.495)]),
                ("align".to_owned(), vec![(25.0, 2.575), (50.0, 2.178)]),
            ]
        );
    }

    #[test]
    fn steps_that_were_taken_again_count_once() {
        let log = format!("{LOG}step 25/100 caption 6.150\nstep 50/100 caption 4.480\n");
        let curves = read_curves(&log, &["caption".to_owned()]);
        assert_eq!(curves[0].1, [(25.0, 6.15), (50.0, 4.48)]);
    }

    #[test]
    fn a_picture_has_a_line_for_each_curve_and_higher_values_stand_higher() {
        let curves = read_curves(LOG, &["caption".to_owned(), "align".to_owned()]);
        let svg = draw("captions", &curves);
        assert_eq!(svg.matches("<polyline").count(), 2);
        let points: Vec<f32> = svg
            .split("points=\"")
            .skip(1)
            .flat_map(|rest| rest.split('"').next().into_iter().flat_map(|p| p.split([' ', ','])))
            .filter_map(|number| number.parse().ok())
            .collect();
        assert_eq!(points.len(), 8);
        // The last step stands at the right margin, the larger loss above (smaller y).
        assert!((points[2] - (WIDTH - MARGIN)).abs() < 0.1 && points[1] < points[3], "{points:?}");
        assert!(points[3] < points[7], "{points:?}");
    }
}
