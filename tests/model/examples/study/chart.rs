//! How the studies of scaling draw: efficiency against the number of workers, a line for each of several cases.
//!
//! The ground is white and opaque, so that a figure reads the same on a dark page.

use std::ops::Range;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

/// A line: what it is of, and its points.
pub(crate) type Line = (String, Vec<(f64, f64)>);

/// Draws a figure of `docs/`, for so many workers.
pub(crate) fn draw(
    figure: &str,
    workers: Range<f64>,
    lines: &[Line],
) -> Result<(), Box<dyn std::error::Error>> {
    // Text is measured with it.
    register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| "the font is damaged")?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(figure);
    let area = SVGBackend::new(&path, (800, 560)).into_drawing_area();
    area.fill(&WHITE)?;
    let font = "sans-serif";
    let mut chart = ChartBuilder::on(&area)
        .margin(18)
        .x_label_area_size(52)
        .y_label_area_size(62)
        .build_cartesian_2d(workers.log_scale(), 0.0..1.05)?;
    chart
        .configure_mesh()
        .x_desc("workers")
        .y_desc("efficiency")
        .axis_desc_style((font, 18))
        .label_style((font, 15))
        .x_label_formatter(&|workers| format!("{workers:.0}"))
        .y_label_formatter(&|part| format!("{:.0} %", 100.0 * part))
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .draw()?;
    for (index, (name, line)) in lines.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        chart
            .draw_series(LineSeries::new(line.clone(), colour.stroke_width(2)).point_size(4))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 28, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .legend_area_size(36)
        .margin(14)
        .label_font((font, 16))
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}
