//! A table of cells, as aligned columns for a terminal and as Markdown.

use std::fmt::Write;

/// The widest class name in a text table.
pub const NAME_WIDTH: usize = 24;

/// The space between two columns.
pub const GAP: &str = "  ";

/// Columns with a title each: the first, which names the row, to the left and the others to the
/// right.
pub struct Table {
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
    /// The widest that the first column gets in text, and how longer names are cut.
    pub first_width: usize,
    pub cut: fn(&str, usize) -> String,
}

impl Table {
    /// A table whose rows have short names.
    pub fn new(header: &[&str], rows: Vec<Vec<String>>) -> Self {
        let header = header.iter().map(ToString::to_string).collect();
        Self {
            header,
            rows,
            first_width: NAME_WIDTH,
            cut: cut_end,
        }
    }

    pub fn text(mut self) -> String {
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

    pub fn markdown(&self) -> String {
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
pub fn width(text: &str) -> usize {
    text.chars().count()
}

/// A name without control characters, which would tear a table.
pub fn clean(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

pub fn cut_end(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_string();
    }
    text.chars()
        .take(room.saturating_sub(1))
        .chain(['…'])
        .collect()
}

/// The text without its beginning: of a path the end tells more.
pub fn cut_start(text: &str, room: usize) -> String {
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
