//! The curves, as pictures.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::report::{CURVES, Curve};
use crate::results::Results;

const SIZE: (u32, u32) = (720, 400);

/// Those that were measured.
pub fn draw(results: &Results, folder: &Path) -> Result<()> {
    for curve in &CURVES {
        let points = results.points(curve.row);
        if points.len() > 1 {
            let file = folder.join(format!("performance-{}.svg", curve.file));
            chart(results, curve, &points, &file).map_err(|error| anyhow!("{}: {error}", file.display()))?;
        }
    }
    Ok(())
}

fn chart(
    results: &Results,
    curve: &Curve,
    points: &[f64],
    file: &Path,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let lines: Vec<(&str, Vec<(f64, f64)>)> = results
        .subjects(curve.row)
        .into_iter()
        .map(|subject| {
            let value = |at: f64| (at.max(1.0), results.median(curve.row, subject, at, curve.metric));
            (subject, points.iter().copied().map(value).filter(|(_, value)| !value.is_nan()).collect())
        })
        .collect();
    let highest = lines.iter().flat_map(|(_, line)| line).map(|(_, value)| *value).fold(0.0, f64::max);
    let (first, last) = (points[0].max(1.0), points[points.len() - 1]);
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(curve.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d((first..last).log_scale(), 0.0..highest * 1.1)?;
    chart.configure_mesh().x_desc(curve.over).y_desc(curve.of).light_line_style(WHITE).draw()?;
    for (number, (subject, line)) in lines.into_iter().enumerate() {
        let color = Palette99::pick(number).to_rgba();
        let dots = line.clone().into_iter().map(move |point| Circle::new(point, 3, color.filled()));
        chart
            .draw_series(LineSeries::new(line, color.stroke_width(2)))?
            .label(subject)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        chart.draw_series(dots)?;
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.2)).draw()?;
    root.present()?;
    Ok(())
}
