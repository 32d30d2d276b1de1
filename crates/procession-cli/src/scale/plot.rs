//! The figure: speed-up against the number of processes, a line for each call, and the ideal one dashed.
//!
//! SVG text is set by whoever shows it; in a PNG it is set here, with a font that is part of the program.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use tempfile::NamedTempFile;

use super::Point;
use crate::exit::Stop;
use crate::job::Call;

const SIZE: (u32, u32) = (800, 600);
const FONT: &str = "sans-serif";

/// Distinct in print and for most people who see colours differently (Okabe and Ito's palette).
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];

/// What a figure is drawn as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Svg,
    Png,
}

impl Kind {
    /// By the name's extension.
    pub(super) fn of(path: &str) -> Option<Kind> {
        match Path::new(path).extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "svg" => Some(Kind::Svg),
            "png" => Some(Kind::Png),
            _ => None,
        }
    }
}

/// A figure to be drawn: a place for it is known to exist, and a figure that is there already stays until then.
pub(super) struct Plot {
    kind: Kind,
    path: PathBuf,
    file: NamedTempFile,
}

impl Plot {
    /// Makes sure that it can be written.
    pub(super) fn open(path: &Path) -> Result<Plot, Stop> {
        let cannot = |why: &str| Stop::Unwritable(format!("cannot write figure {}: {why}", path.display()));
        let kind = Kind::of(&path.to_string_lossy()).ok_or_else(|| cannot("it is neither .svg nor .png"))?;
        if path.is_dir() {
            return Err(cannot("it is a directory"));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let file = tempfile::Builder::new()
            .prefix(".figure-")
            // As any other file: what the umask leaves.
            .permissions(std::fs::Permissions::from_mode(0o666))
            .tempfile_in(folder.unwrap_or(Path::new(".")))
            .map_err(|error| cannot(&crate::output::reason(&error)))?;
        Ok(Plot { kind, path: path.to_owned(), file })
    }

    /// Draws it and puts it in its place.
    pub(super) fn draw(mut self, title: &str, points: &[Point<'_>]) -> Result<(), Stop> {
        let path = self.path.display().to_string();
        let cannot = |why: String| Stop::Unwritable(format!("cannot write figure {path}: {why}"));
        let bytes = match self.kind {
            Kind::Svg => svg(title, points),
            Kind::Png => png(title, points),
        };
        let bytes = bytes.map_err(&cannot)?;
        let written = self.file.write_all(&bytes).and_then(|()| self.file.flush());
        written.map_err(|error| cannot(crate::output::reason(&error)))?;
        self.file.persist(&self.path).map_err(|error| cannot(crate::output::reason(&error.error)))?;
        Ok(())
    }
}

fn svg(title: &str, points: &[Point<'_>]) -> Result<Vec<u8>, String> {
    let mut text = String::new();
    draw(&SVGBackend::with_string(&mut text, SIZE).into_drawing_area(), title, points)?;
    Ok(text.into_bytes())
}

fn png(title: &str, points: &[Point<'_>]) -> Result<Vec<u8>, String> {
    let (width, height) = SIZE;
    let mut pixels = vec![0; (3 * width * height) as usize];
    draw(&BitMapBackend::with_buffer(&mut pixels, SIZE).into_drawing_area(), title, points)?;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let encoded = encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels));
    encoded.map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn draw<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    title: &str,
    points: &[Point<'_>],
) -> Result<(), String> {
    // Text is measured with it also where it is not drawn with it.
    register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| "the font is damaged".to_owned())?;
    paint(area, title, points).map_err(|error| error.to_string())
}

fn paint<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    title: &str,
    points: &[Point<'_>],
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let most = points.iter().map(|point| point.series.workers).max().unwrap_or(1) as f64;
    let fastest = points.iter().map(|point| point.speed_up).fold(most, f64::max);
    // Room for the last marker, and for a single one.
    let (width, height) = (most + (most * 0.06).max(0.5), fastest * 1.08);
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 24))
        .margin(18)
        .x_label_area_size(52)
        .y_label_area_size(62)
        .build_cartesian_2d(0.0..width, 0.0..height)?;
    chart
        .configure_mesh()
        .x_desc("number of processes")
        .y_desc("speed-up")
        .axis_desc_style((FONT, 18))
        .label_style((FONT, 15))
        .x_labels(10)
        .y_labels(10)
        .x_label_formatter(&whole)
        .y_label_formatter(&short)
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .draw()?;
    let ideal = [(0.0, 0.0), (most, most)];
    chart
        .draw_series(DashedLineSeries::new(ideal, 8, 6, BLACK.mix(0.6).stroke_width(2)))?
        .label("ideal")
        .legend(|at| {
            let dash = |x| PathElement::new([(x, 0), (x + 6, 0)], BLACK.mix(0.6).stroke_width(2));
            EmptyElement::at(at) + dash(0) + dash(11) + dash(22)
        });
    let mut calls: Vec<Call> = Vec::new();
    for point in points {
        if !calls.contains(&point.series.call) {
            calls.push(point.series.call);
        }
    }
    for (call, colour) in calls.into_iter().zip(COLOURS) {
        let line: Vec<(f64, f64)> = points
            .iter()
            .filter(|point| point.series.call == call)
            .map(|point| (point.series.workers as f64, point.speed_up))
            .collect();
        chart
            .draw_series(LineSeries::new(line, colour.stroke_width(2)).point_size(4))?
            .label(call.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 28, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .legend_area_size(36)
        .margin(14)
        .label_font((FONT, 16))
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()
}

/// There is no half a process.
fn whole(number: &f64) -> String {
    if number.fract().abs() < 1e-6 { format!("{number:.0}") } else { String::new() }
}

fn short(number: &f64) -> String {
    if number.fract().abs() < 1e-6 { format!("{number:.0}") } else { format!("{number:.1}") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::scale::Series;

    #[test]
    fn both_kinds_of_figure_are_drawn() {
        let series: Vec<Series> =
            [(Call::Starmap, 1), (Call::Starmap, 2), (Call::ApplyAsync, 1), (Call::ApplyAsync, 2)]
                .into_iter()
                .map(|(call, workers)| Series { call, workers, times: vec![Duration::from_secs(1)] })
                .collect();
        let points: Vec<Point<'_>> =
            series.iter().map(|series| Point { series, speed_up: series.workers as f64 * 0.9 }).collect();
        let text = String::from_utf8(svg("π", &points).unwrap()).unwrap();
        for word in ["π", "number of processes", "speed-up", "ideal", "starmap", "apply_async"] {
            assert!(text.contains(word), "no {word} in {text}");
        }
        let bytes = png("π", &points).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        // Text is there: hundreds of nearly black pixels that no line or marker has.
        let dark = pixels.chunks(3).filter(|rgb| rgb.iter().all(|&part| part < 60)).count();
        assert!(dark > 500, "{dark} dark pixels");
    }

    #[test]
    fn the_extension_decides() {
        assert_eq!(Kind::of("a/b.SVG"), Some(Kind::Svg));
        assert_eq!(Kind::of("b.png"), Some(Kind::Png));
        assert_eq!((Kind::of("png"), Kind::of("b.jpg")), (None, None));
    }
}
