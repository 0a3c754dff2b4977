//! A timeline as a picture: a band for each track, its emotions stacked over time.

use std::io;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use crate::draw::{Canvas, GRID, INK, Text, color_of};
use crate::timeline::Timeline;

const WIDTH: usize = 1400;
const LEFT: f32 = 200.0;
const RIGHT: f32 = 24.0;
const TOP: f32 = 92.0;
const BAND: f32 = 64.0;
const GAP: f32 = 14.0;
const BOTTOM: f32 = 56.0;
const TEXT: f32 = 20.0;

/// The most tracks of a picture, those that were seen longest.
const MAX_BANDS: usize = 24;

/// Draws the timeline, as a PNG file's bytes.
///
/// # Errors
/// The picture can't be encoded.
pub fn chart(timeline: &Timeline, title: &str) -> io::Result<Vec<u8>> {
    let mut shown: Vec<_> = timeline.tracks().iter().collect();
    shown.sort_by(|a, b| b.1.seconds().total_cmp(&a.1.seconds()));
    let left_out = shown.len().saturating_sub(MAX_BANDS);
    shown.truncate(MAX_BANDS);
    // In the order in which they came.
    shown.sort_by_key(|(id, _)| **id);
    let bands = shown.len().max(1) as f32;
    let bottom = TOP + bands * (BAND + GAP);
    let height = (bottom + BOTTOM) as usize;
    let mut data = vec![255; WIDTH * height * 3];
    let mut canvas = Canvas {
        width: WIDTH,
        height,
        data: &mut data,
    };
    let mut text = Text::default();
    let room = WIDTH as f32 - LEFT - RIGHT;
    let (start, end, bin) = timeline.extent();
    let seconds = (end - start).max(1e-3);
    let across = |time: f64| LEFT + ((time - start) / seconds) as f32 * room;

    text.write(&mut canvas, title, [24.0, 14.0], 26.0, INK);
    legend(&mut canvas, &mut text, timeline);
    axis(&mut canvas, &mut text, (start, seconds), bottom, &across);
    for (row, (id, track)) in shown.iter().enumerate() {
        let top = TOP + row as f32 * (BAND + GAP);
        canvas.fill([LEFT, top, room, BAND], [245, 245, 245]);
        for (number, mean) in track.course() {
            let from = across(start + number as f64 * bin);
            let to = across((start + (number + 1) as f64 * bin).min(end));
            let mut y = top;
            for (class, p) in mean.iter().enumerate() {
                let share = p * BAND;
                // At least a pixel wide, so that what was short is seen.
                let width = (to - from).max(1.0);
                let color = color_of(&timeline.labels()[class], class);
                canvas.fill([from, y, width, share], color);
                y += share;
            }
        }
        let (label, share) = timeline.about(track);
        text.write(
            &mut canvas,
            &format!("#{id}  {:.1} s", track.seconds()),
            [24.0, top + 6.0],
            TEXT,
            INK,
        );
        let most = format!("{} {:.0} %", timeline.labels()[label], 100.0 * share);
        text.write(&mut canvas, &most, [24.0, top + 32.0], TEXT, INK);
    }
    if shown.is_empty() {
        text.write(
            &mut canvas,
            "no face was found",
            [LEFT + 16.0, TOP + 20.0],
            TEXT,
            INK,
        );
    }
    if left_out > 0 {
        let words = format!("{left_out} shorter tracks are not shown");
        let x = WIDTH as f32 - RIGHT - text.width(&words, TEXT);
        text.write(&mut canvas, &words, [x, 18.0], TEXT, INK);
    }
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(&data, WIDTH as u32, height as u32, ExtendedColorType::Rgb8)
        .map_err(io::Error::other)?;
    Ok(png)
}

fn legend(canvas: &mut Canvas, text: &mut Text, timeline: &Timeline) {
    let mut x = LEFT;
    for (class, label) in timeline.labels().iter().enumerate() {
        let width = text.width(label, TEXT);
        if x + 28.0 + width > WIDTH as f32 - RIGHT {
            text.write(canvas, "…", [x, 54.0], TEXT, INK);
            return;
        }
        canvas.fill([x, 56.0, 20.0, 20.0], color_of(label, class));
        text.write(canvas, label, [x + 28.0, 54.0], TEXT, INK);
        x += 28.0 + width + 28.0;
    }
}

/// Lines and times at round distances.
fn axis(
    canvas: &mut Canvas,
    text: &mut Text,
    (start, seconds): (f64, f64),
    bottom: f32,
    across: &dyn Fn(f64) -> f32,
) {
    let steps = [
        0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0,
        3600.0, 7200.0, 14400.0, 28800.0, 86400.0,
    ];
    let step = steps.iter().copied().find(|step| seconds / step <= 12.0);
    let step = step.unwrap_or(seconds / 10.0);
    let first = (start / step).ceil() as i64;
    for tick in first..=first + 13 {
        let time = tick as f64 * step;
        if time > start + seconds + 1e-6 {
            break;
        }
        let x = across(time);
        canvas.fill([x, TOP - 4.0, 1.0, bottom - TOP + 4.0], GRID);
        let label = clock(time, step);
        let width = text.width(&label, TEXT);
        let left = (x - width / 2.0).min(WIDTH as f32 - RIGHT / 2.0 - width);
        text.write(canvas, &label, [left, bottom + 6.0], TEXT, INK);
    }
    canvas.fill([LEFT, bottom, WIDTH as f32 - LEFT - RIGHT, 2.0], INK);
}

/// `0.4 s`, `12 s`, `3:05`, `1:00:00`.
fn clock(time: f64, step: f64) -> String {
    let whole = time.round() as i64;
    match (step < 1.0, whole) {
        (true, _) => format!("{time:.1} s"),
        (false, 0..60) => format!("{whole} s"),
        (false, 60..3600) => format!("{}:{:02}", whole / 60, whole % 60),
        _ => format!("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_have_the_colors_of_their_time() {
        let labels: Vec<String> = ["happy", "sad"].map(String::from).to_vec();
        let mut timeline = Timeline::new(&labels);
        for frame in 0..100 {
            let p = if frame < 50 { [1.0, 0.0] } else { [0.0, 1.0] };
            timeline.add(f64::from(frame) / 10.0, [(1, &p[..])]);
        }
        let picture = image::load_from_memory(&chart(&timeline, "clip.mp4").unwrap()).unwrap();
        let picture = picture.into_rgb8();
        let at = |share: f32| {
            let x = LEFT + share * (WIDTH as f32 - LEFT - RIGHT);
            picture.get_pixel(x as u32, (TOP + BAND / 2.0) as u32).0
        };
        assert_eq!(at(0.25), color_of("happy", 0));
        assert_eq!(at(0.75), color_of("sad", 1));
    }

    #[test]
    fn any_length_and_number_of_tracks_fits() {
        let labels: Vec<String> = (0..40)
            .map(|i| format!("a rather long class {i}"))
            .collect();
        for (seconds, tracks) in [(0.0, 0), (0.0, 1), (0.3, 3), (1e5, 60), (1e7, 1)] {
            let mut timeline = Timeline::new(&labels);
            let p = [1.0 / 40.0; 40];
            for time in [5.0, 5.0 + seconds] {
                timeline.add(time, (0..tracks).map(|id| (id + 1, &p[..])));
            }
            assert!(
                chart(&timeline, "x").unwrap().len() > 100,
                "{seconds} {tracks}"
            );
        }
        let rows = [
            (0.0, 0.5, "0.0 s"),
            (59.0, 1.0, "59 s"),
            (60.0, 5.0, "1:00"),
            (3725.0, 5.0, "1:02:05"),
        ];
        for (time, step, expected) in rows {
            assert_eq!(clock(time, step), expected);
        }
    }
}
