//! An [`Evaluation`], and an [`Agreement`] with votes beside it, for people and programs: text for
//! the terminal, Markdown for files, JSON.

mod table;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub(super) use self::table::Table;
use self::table::{GAP, NAME_WIDTH, clean, cut_end, cut_start, width};
use super::Agreement;
use super::metrics::{ClassScores, Evaluation};
use super::robustness::Robustness;
use crate::data::shortened;

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

/// The widest class name in the confusion matrix.
const MATRIX_NAME_WIDTH: usize = 12;

/// The report for the terminal: headline, votes, classes, confusion matrix, worst mistakes. No line
/// is over [`WIDTH`] columns.
pub fn text(evaluation: &Evaluation, votes: Option<&Agreement>) -> String {
    let mut out = format!("{}\n{}\n", headline(evaluation), second_line(evaluation));
    remarks(evaluation)
        .iter()
        .for_each(|line| out += &format!("{}\n", cut_end(&clean(line), WIDTH)));
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
    remarks(evaluation)
        .iter()
        .for_each(|line| out += &format!("{}\n\n", clean(line)));
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

/// What is to be said of pictures and classes that are left out, line by line.
fn remarks(e: &Evaluation) -> Vec<String> {
    let without = match e.without_face {
        None => None,
        Some(0) => Some("the largest face of each picture".to_owned()),
        Some(n) => Some(format!(
            "the largest face of each picture; no face was found in {n} more, which are not counted"
        )),
    };
    without.into_iter().chain(unshared(e)).collect()
}

/// What is to be said of classes that are left out, line by line.
fn unshared(e: &Evaluation) -> Vec<String> {
    let Some(left_out) = &e.left_out else {
        return Vec::new();
    };
    let mut lines = vec![format!(
        "figures of the {} classes that model and data share, as if there were no others",
        e.classes.len()
    )];
    if !left_out.data_classes.is_empty() {
        let (images, classes) = (left_out.images, shortened(&left_out.data_classes));
        lines.push(format!(
            "left out of the data: {images} images of {classes}"
        ));
    }
    if !left_out.model_classes.is_empty() {
        let classes = shortened(&left_out.model_classes);
        lines.push(format!("left out of the model: {classes}"));
    }
    lines
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
