//! An [`Evaluation`], and an [`Agreement`] with votes beside it, for people and programs: text for
//! the terminal, Markdown for files, JSON.

use std::fmt::Write;

use serde::Serialize;

use super::Agreement;
use super::metrics::{ClassScores, Evaluation};
use super::robustness::Robustness;

/// The widest line of the text report, in columns.
pub const WIDTH: usize = 100;

/// The most mistakes in the text report and in Markdown; JSON has all that are kept.
const MISTAKES: usize = 10;

/// The most classes that a table lists; of more, those with the lowest F1.
const LISTED: usize = 50;

/// The most classes of a confusion matrix in Markdown.
const MATRIX: usize = 30;

/// The pairs of classes that are listed where there are too many for a matrix.
const CONFUSIONS: usize = 20;

/// The widest class name in a text table, and the widest in the confusion matrix.
const NAME_WIDTH: usize = 24;
const MATRIX_NAME_WIDTH: usize = 12;

/// The report for the terminal: headline, votes, classes, confusion matrix, worst mistakes. No line
/// is over [`WIDTH`] columns.
pub fn text(evaluation: &Evaluation, votes: Option<&Agreement>) -> String {
    let mut out = format!("{}\n{}\n", headline(evaluation), second_line(evaluation));
    votes
        .into_iter()
        .flat_map(agreement)
        .for_each(|line| out += &format!("{line}\n"));
    out += &format!(
        "\n{}{}",
        left_out(evaluation, "\n"),
        classes(evaluation).text()
    );
    match matrix(evaluation) {
        Some(matrix) => {
            out += &format!(
                "\nconfusion matrix: a row a true class, a column a predicted one\n{}",
                matrix.text()
            )
        }
        None => {
            out += &format!(
                "\n{CONFUSED} (the JSON report has all)\n{}",
                confusions(evaluation).text()
            )
        }
    }
    if !evaluation.worst.is_empty() {
        out += &format!("\nmost confident mistakes\n{}", mistakes(evaluation).text());
    }
    out
}

/// The same as Markdown, without a heading of its own: it goes into files that have one.
pub fn markdown(evaluation: &Evaluation, votes: Option<&Agreement>) -> String {
    let mut out = format!(
        "{}\n\n{}\n\n",
        headline(evaluation),
        second_line(evaluation)
    );
    votes
        .into_iter()
        .flat_map(agreement)
        .for_each(|line| out += &format!("{line}\n\n"));
    out += &format!(
        "{}{}",
        left_out(evaluation, "\n\n"),
        classes(evaluation).markdown()
    );
    out += &match evaluation.classes.len() > MATRIX {
        false => format!(
            "\n### Confusion matrix\n\nA row a true class, a column a predicted one.\n\n{}",
            whole_matrix(evaluation).markdown()
        ),
        true => format!(
            "\n### Confusions\n\nThe {CONFUSED}.\n\n{}",
            confusions(evaluation).markdown()
        ),
    };
    if !evaluation.worst.is_empty() {
        out += &format!(
            "\n### Most confident mistakes\n\n{}",
            mistakes(evaluation).markdown()
        );
    }
    out
}

/// The whole evaluation as JSON; its names are those of [`Evaluation`]'s fields; `votes` has
/// [`Agreement`]'s and `robustness` [`Robustness`]'s, where there are any.
///
/// # Errors
/// None that an evaluation can cause.
pub fn json(
    evaluation: &Evaluation,
    votes: Option<&Agreement>,
    robustness: Option<&Robustness>,
) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Whole<'a> {
        #[serde(flatten)]
        evaluation: &'a Evaluation,
        #[serde(skip_serializing_if = "Option::is_none")]
        votes: Option<&'a Agreement>,
        #[serde(skip_serializing_if = "Option::is_none")]
        robustness: Option<&'a Robustness>,
    }
    serde_json::to_string_pretty(&Whole {
        evaluation,
        votes,
        robustness,
    })
}

/// The figures that matter most, on one line.
pub fn headline(e: &Evaluation) -> String {
    let [low, high] = e.accuracy_interval.map(|end| 100.0 * end);
    let images = if e.images == 1 { "image" } else { "images" };
    format!(
        "accuracy {} ({low:.1}–{high:.1}) on {} {images} · loss {:.4} · macro-F1 {:.3} · ECE {}",
        percent(e.accuracy, 2),
        e.images,
        e.loss,
        e.macro_f1,
        percent(e.calibration_error, 1),
    )
}

fn second_line(e: &Evaluation) -> String {
    let (top2, confidence) = (percent(e.top2_accuracy, 2), percent(e.mean_confidence, 2));
    format!(
        "{} right · top-2 accuracy {top2} · mean confidence {confidence}",
        e.correct
    )
}

/// What is to be said of votes, line by line.
fn agreement(a: &Agreement) -> [String; 3] {
    let [low, high] = a.accuracy_interval.map(|end| 100.0 * end);
    let out = &a.left_out;
    [
        format!(
            "votes: accuracy {} ({low:.1}–{high:.1}) on {} images with a majority for a class",
            percent(a.accuracy, 2),
            a.images
        ),
        format!(
            "votes: cross-entropy {:.4} on {} images, {:.4} at the least (the entropy of their \
             votes)",
            a.cross_entropy, a.voted_images, a.entropy
        ),
        format!(
            "votes: left out {} ties, {} contempt, {} unknown, {} no face, {} without votes",
            out.ties, out.contempt, out.unknown, out.no_face, out.without_votes
        ),
    ]
}

pub(super) fn percent(share: f64, digits: usize) -> String {
    format!("{:.digits$} %", 100.0 * share)
}

/// What is to be said of a class whose figures have nothing to go by.
fn remark(class: &ClassScores) -> &'static str {
    match (class.support, class.predicted) {
        (0, 0) => "no images, never predicted",
        (0, _) => "no images",
        (_, 0) => "never predicted",
        _ => "",
    }
}

fn classes(e: &Evaluation) -> Table {
    let mut header = vec!["class", "precision", "recall", "F1", "images", "predicted"];
    let mut listed: Vec<&ClassScores> = e.classes.iter().collect();
    if listed.len() > LISTED {
        listed.sort_by(|a, b| a.f1.total_cmp(&b.f1));
        listed.truncate(LISTED);
    }
    let remarks = listed.iter().any(|c| !remark(c).is_empty());
    if remarks {
        header.push("remark");
    }
    let row = |c: &&ClassScores| {
        let mut row = vec![
            clean(&c.label),
            percent(c.precision, 1),
            percent(c.recall, 1),
            format!("{:.3}", c.f1),
            c.support.to_string(),
            c.predicted.to_string(),
        ];
        if remarks {
            row.push(remark(c).to_string());
        }
        row
    };
    Table {
        header: header.into_iter().map(String::from).collect(),
        rows: listed.iter().map(row).collect(),
        first_width: NAME_WIDTH,
        cut: cut_end,
    }
}

/// What the table of classes leaves out, if it does, ended by `end`.
fn left_out(e: &Evaluation, end: &str) -> String {
    match e.classes.len() {
        n if n > LISTED => format!("The {LISTED} of {n} classes with the lowest F1:{end}"),
        _ => String::new(),
    }
}

/// What [`confusions`] lists.
const CONFUSED: &str = "most frequent confusions";

fn confusions(e: &Evaluation) -> Table {
    let mut pairs: Vec<(usize, usize, u64)> = Vec::new();
    for (class, row) in e.confusion.iter().enumerate() {
        let wrong = row.iter().enumerate();
        pairs.extend(
            wrong
                .filter(|(predicted, count)| *predicted != class && **count > 0)
                .map(|(predicted, count)| (class, predicted, *count)),
        );
    }
    pairs.sort_by_key(|(class, predicted, count)| (std::cmp::Reverse(*count), *class, *predicted));
    let label = |class: usize| cut_end(&clean(&e.classes[class].label), NAME_WIDTH);
    let row = |(class, predicted, count): &(usize, usize, u64)| {
        let of = e.classes[*class].support.max(1);
        vec![
            label(*class),
            label(*predicted),
            count.to_string(),
            percent(*count as f64 / of as f64, 1),
        ]
    };
    let rows = pairs.iter().take(CONFUSIONS).map(row).collect();
    Table::new(&["true", "predicted", "images", "of the class"], rows)
}

fn whole_matrix(e: &Evaluation) -> Table {
    let labels = || e.classes.iter().map(|c| clean(&c.label));
    let row = |(label, counts): (String, &Vec<u64>)| {
        [label]
            .into_iter()
            .chain(counts.iter().map(u64::to_string))
            .collect()
    };
    Table {
        header: ["true \\ predicted".to_string()]
            .into_iter()
            .chain(labels())
            .collect(),
        rows: labels().zip(&e.confusion).map(row).collect(),
        first_width: MATRIX_NAME_WIDTH,
        cut: cut_end,
    }
}

/// The matrix with names cut so that it fits into [`WIDTH`]; none if its numbers don't fit.
fn matrix(e: &Evaluation) -> Option<Table> {
    let mut table = whole_matrix(e);
    let digits = table
        .rows
        .iter()
        .flat_map(|row| &row[1..])
        .map(|n| width(n))
        .max()?;
    let room = ((WIDTH - MATRIX_NAME_WIDTH) / e.classes.len()).checked_sub(GAP.len())?;
    if room < digits.max(3) {
        return None;
    }
    table.header[0] = "true".into();
    table.header[1..]
        .iter_mut()
        .for_each(|label| *label = cut_end(label, room));
    Some(table)
}

fn mistakes(e: &Evaluation) -> Table {
    let label = |class: usize| cut_end(&clean(&e.classes[class].label), NAME_WIDTH);
    let worst = e.worst.iter().take(MISTAKES);
    let rows = worst.map(|m| {
        vec![
            clean(&m.name),
            label(m.label),
            label(m.predicted),
            percent(f64::from(m.confidence), 1),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let widest = |column: usize, title: &str| {
        rows.iter()
            .map(|r| width(&r[column]))
            .max()
            .unwrap_or(0)
            .max(width(title))
    };
    let header = ["image", "true", "predicted", "confidence"];
    let others: usize = (1..header.len())
        .map(|c| GAP.len() + widest(c, header[c]))
        .sum();
    Table {
        header: header.map(String::from).to_vec(),
        first_width: WIDTH - others,
        cut: cut_start,
        rows,
    }
}

/// The space between two columns.
const GAP: &str = "  ";

/// Columns with a title each: the first, which names the row, to the left and the others to the
/// right.
pub(super) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    /// The widest that the first column gets in text, and how longer names are cut.
    first_width: usize,
    cut: fn(&str, usize) -> String,
}

impl Table {
    /// A table whose rows have short names.
    pub(super) fn new(header: &[&str], rows: Vec<Vec<String>>) -> Self {
        let header = header.iter().map(ToString::to_string).collect();
        Self {
            header,
            rows,
            first_width: NAME_WIDTH,
            cut: cut_end,
        }
    }

    pub(super) fn text(mut self) -> String {
        for row in &mut self.rows {
            row[0] = (self.cut)(&row[0], self.first_width);
        }
        let lines = || [&self.header].into_iter().chain(&self.rows);
        let widths: Vec<usize> = (0..self.header.len())
            .map(|c| lines().map(|l| width(&l[c])).max().unwrap_or(0))
            .collect();
        let mut out = String::new();
        for line in lines() {
            let mut text = format!("{:<w$}", line[0], w = widths[0]);
            for (cell, w) in line.iter().zip(&widths).skip(1) {
                let _ = write!(text, "{GAP}{cell:>w$}");
            }
            out += text.trim_end();
            out.push('\n');
        }
        out
    }

    pub(super) fn markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|c| escape(c)).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule = format!("|---|{}\n", "---:|".repeat(self.header.len() - 1));
        [line(&self.header), rule]
            .into_iter()
            .chain(self.rows.iter().map(|row| line(row)))
            .collect()
    }
}

/// Columns that a text takes: one a character.
fn width(text: &str) -> usize {
    text.chars().count()
}

/// A name without control characters, which would tear a table.
fn clean(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn cut_end(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_string();
    }
    text.chars()
        .take(room.saturating_sub(1))
        .chain(['…'])
        .collect()
}

/// The text without its beginning: of a path the end tells more.
fn cut_start(text: &str, room: usize) -> String {
    let over = width(text).saturating_sub(room);
    if over == 0 {
        return text.to_string();
    }
    ['…']
        .into_iter()
        .chain(text.chars().skip(over + 1))
        .collect()
}

/// The characters that mean something to Markdown in a cell.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '|' | '\\' | '`' | '*' | '<' | '[') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::Predicted;
    use crate::eval::votes::LeftOut;

    /// Six images of three classes with binary fractions; `happy` is never predicted.
    fn small() -> Evaluation {
        let labels = ["angry", "fear", "happy"].map(String::from);
        let answer = |name: &str, label: usize, probabilities: [f32; 3]| Predicted {
            name: name.into(),
            label,
            probabilities: probabilities.to_vec(),
        };
        let answers = [
            answer("test/angry/1.jpg", 0, [0.75, 0.25, 0.0]),
            answer("test/angry/2.jpg", 0, [0.25, 0.625, 0.125]),
            answer("test/fear/3.jpg", 1, [0.125, 0.875, 0.0]),
            answer("test/fear/4|x.jpg", 1, [0.9375, 0.0625, 0.0]),
            answer("test/happy/5.jpg", 2, [0.5, 0.375, 0.125]),
            answer("test/fear/6.jpg", 1, [0.0, 1.0, 0.0]),
        ];
        Evaluation::new(&labels, &answers).unwrap()
    }

    #[test]
    fn the_text_report() {
        let expected = "\
accuracy 50.00 % (18.8–81.2) on 6 images · loss 1.1099 · macro-F1 0.356 · ECE 40.6 %
3 right · top-2 accuracy 83.33 % · mean confidence 78.12 %

class  precision  recall     F1  images  predicted           remark
angry     33.3 %  50.0 %  0.400       2          3
fear      66.7 %  66.7 %  0.667       3          3
happy      0.0 %   0.0 %  0.000       1          0  never predicted

confusion matrix: a row a true class, a column a predicted one
true   angry  fear  happy
angry      1     1      0
fear       1     2      0
happy      1     0      0

most confident mistakes
image               true  predicted  confidence
test/fear/4|x.jpg   fear      angry      93.8 %
test/angry/2.jpg   angry       fear      62.5 %
test/happy/5.jpg   happy      angry      50.0 %
";
        assert_eq!(text(&small(), None), expected, "\n{}", text(&small(), None));
    }

    #[test]
    fn the_markdown_report() {
        let report = markdown(&small(), None);
        for line in [
            "accuracy 50.00 % (18.8–81.2) on 6 images · loss 1.1099 · macro-F1 0.356 · ECE 40.6 %",
            "| class | precision | recall | F1 | images | predicted | remark |",
            "|---|---:|---:|---:|---:|---:|---:|",
            "| fear | 66.7 % | 66.7 % | 0.667 | 3 | 3 |  |",
            "| true \\\\ predicted | angry | fear | happy |",
            "| happy | 1 | 0 | 0 |",
            "| test/fear/4\\|x.jpg | fear | angry | 93.8 % |",
        ] {
            assert!(
                report.lines().any(|l| l == line),
                "no line {line}\n{report}"
            );
        }
    }

    #[test]
    fn json_names_stay() {
        let value: serde_json::Value =
            serde_json::from_str(&json(&small(), None, None).unwrap()).unwrap();
        let keys = |v: &serde_json::Value| {
            v.as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            keys(&value),
            "images correct accuracy accuracy_interval top2_accuracy loss macro_f1 mean_confidence \
             calibration_error \
             classes confusion calibration worst"
        );
        assert_eq!(
            keys(&value["classes"][0]),
            "label precision recall f1 support predicted"
        );
        assert_eq!(
            keys(&value["calibration"][0]),
            "low high count mean_confidence accuracy"
        );
        assert_eq!(keys(&value["worst"][0]), "name true predicted confidence");
        assert_eq!(
            (
                value["accuracy"].as_f64(),
                value["worst"][0]["confidence"].as_f64()
            ),
            (Some(0.5), Some(0.9375))
        );
    }

    #[test]
    fn votes_come_below_the_headline_in_every_format() {
        let left_out = LeftOut {
            ties: 157,
            contempt: 24,
            unknown: 25,
            no_face: 1,
            without_votes: 17,
        };
        let votes = Agreement {
            images: 3365,
            correct: 2342,
            accuracy: 2342.0 / 3365.0,
            accuracy_interval: [0.68, 0.711],
            left_out,
            voted_images: 3571,
            cross_entropy: 1.02345,
            entropy: 0.5,
        };
        let lines = [
            "votes: accuracy 69.60 % (68.0–71.1) on 3365 images with a majority for a class",
            "votes: cross-entropy 1.0234 on 3571 images, 0.5000 at the least (the entropy of their \
             votes)",
            "votes: left out 157 ties, 24 contempt, 25 unknown, 1 no face, 17 without votes",
        ];
        let plain = text(&small(), None);
        let (head, rest) = plain.split_once("\n\n").unwrap();
        assert_eq!(
            text(&small(), Some(&votes)),
            format!("{head}\n{}\n\n{rest}", lines.join("\n"))
        );
        let plain = markdown(&small(), None);
        let (head, rest) = plain.split_once("| class").unwrap();
        assert_eq!(
            markdown(&small(), Some(&votes)),
            format!("{head}{}\n\n| class{rest}", lines.join("\n\n"))
        );
        let value = |votes| -> serde_json::Value {
            serde_json::from_str(&json(&small(), votes, None).unwrap()).unwrap()
        };
        let (plain, mut voted) = (value(None), value(Some(&votes)));
        let found = voted.as_object_mut().unwrap().remove("votes").unwrap();
        assert_eq!(voted, plain);
        let keys: Vec<_> = found
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let figures =
            "images correct accuracy accuracy_interval left_out voted_images cross_entropy entropy";
        assert_eq!(keys.join(" "), figures);
        assert_eq!(
            (&found["images"], &found["left_out"]["without_votes"]),
            (&3365.into(), &17.into())
        );
    }

    #[test]
    fn no_line_is_too_wide() {
        let n = 35_887;
        let left_out = LeftOut {
            ties: n,
            contempt: n,
            unknown: n,
            no_face: n,
            without_votes: n,
        };
        let many = Agreement {
            images: n,
            voted_images: n,
            cross_entropy: 16.1,
            left_out,
            ..Agreement::default()
        };
        for classes in [1, 2, 7, 8, 9, 12, 20, 21, 40, 300] {
            let labels: Vec<String> = (0..classes)
                .map(|i| format!("a long class name {i} überraschend wütend"))
                .collect();
            let answer = |i: usize| {
                let mut probabilities = vec![0.0; classes];
                probabilities[i * 7 % classes] = 1.0;
                Predicted {
                    name: format!("{}\n/{i}.jpg", "folder/".repeat(i % 40)),
                    label: i % classes,
                    probabilities,
                }
            };
            let e = Evaluation::new(&labels, &(0..500).map(answer).collect::<Vec<_>>()).unwrap();
            let report = text(&e, Some(&many));
            let wide: Vec<_> = report.lines().filter(|l| width(l) > WIDTH).collect();
            assert!(wide.is_empty(), "{classes} classes: {wide:#?}");
            let has_matrix = report.contains("a column a predicted one");
            assert_eq!(has_matrix, classes <= 17, "{classes} classes");
        }
    }

    #[test]
    fn of_many_classes_the_worst_are_reported() {
        let classes = 1000;
        let labels: Vec<String> = (0..classes).map(|i| format!("class {i}")).collect();
        // Class 7 is taken for class 9 three times, and class 3 for class 4 once.
        let wrong = [(7, 9), (7, 9), (3, 4), (7, 9)];
        let right = (0..classes).map(|i| (i, i));
        let answers: Vec<Predicted> = wrong
            .into_iter()
            .chain(right)
            .map(|(label, predicted)| {
                let mut probabilities = vec![0.0; classes];
                probabilities[predicted] = 1.0;
                Predicted {
                    name: format!("{label}.jpg"),
                    label,
                    probabilities,
                }
            })
            .collect();
        let e = Evaluation::new(&labels, &answers).unwrap();
        let (text, markdown) = (text(&e, None), markdown(&e, None));
        assert!(text.lines().count() < 100 && markdown.lines().count() < 120);
        for line in [
            "The 50 of 1000 classes with the lowest F1:",
            "class 7      class 9       3        75.0 %",
            "class 3      class 4       1        50.0 %",
        ] {
            let found = text
                .lines()
                .any(|l| l.split_whitespace().eq(line.split_whitespace()));
            assert!(found, "no line {line}\n{text}");
        }
        assert!(
            markdown.contains("| class 7 | class 9 | 3 | 75.0 % |"),
            "{markdown}"
        );
        let (shown, matrix) = e.confused(30);
        assert_eq!((shown.len(), matrix.len(), matrix[0].len()), (30, 30, 30));
        for class in ["class 3", "class 4", "class 7", "class 9"] {
            assert!(shown.iter().any(|label| label == class), "{shown:?}");
        }
        assert_eq!(e.confused(1000), (labels, e.confusion.clone()));
    }

    #[test]
    fn long_names_are_cut_and_short_ones_are_not() {
        assert_eq!(
            (
                cut_end("surprise", 5).as_str(),
                cut_start("a/b/c/d.jpg", 6).as_str()
            ),
            ("surp…", "…d.jpg")
        );
        assert_eq!(
            (cut_end("sad", 3).as_str(), cut_start("sad", 3).as_str()),
            ("sad", "sad")
        );
    }
}
