//! The report as text for a terminal.

use std::fmt;

use super::{CheckReport, ClassCount, Group, Keep, Member, Usage};

/// Images that are named of each kind of finding.
const EXAMPLES: usize = 3;

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} images", self.source, self.images)?;
        if let Some(size) = self.size {
            write!(f, ", {}x{} pixels", size.width, size.height)?;
        }
        if self.ignored > 0 {
            write!(f, ", {} other files not read", self.ignored)?;
        }
        writeln!(f, "\n")?;
        self.counts(f)?;
        writeln!(f)?;

        let names = |names: Vec<&str>| names.into_iter().map(str::to_string).collect::<Vec<_>>();
        let unreadable = self
            .unreadable
            .iter()
            .map(|i| format!("{}: {}", i.name, i.reason))
            .collect();
        finding(f, "unreadable", self.unreadable.len(), "", unreadable)?;
        let odd = self
            .odd_sized
            .iter()
            .map(|i| format!("{} is {}x{}", i.name, i.size.width, i.size.height))
            .collect();
        finding(f, "of another size", self.odd_sized.len(), "", odd)?;
        if !self.guessed.is_empty() {
            let guessed = self
                .guessed
                .iter()
                .map(|i| format!("{} is read as {} bits", i.name, i.bits))
                .collect();
            let note = "16-bit images with values of fewer bits, a guess";
            finding(f, "of fewer bits", self.guessed.len(), note, guessed)?;
        }
        finding(
            f,
            "blank",
            self.blank.len(),
            "",
            names(self.blank.iter().map(|i| i.name.as_str()).collect()),
        )?;
        let found = &self.duplicates;
        finding(
            f,
            "exact copies",
            found.exact,
            "equal to an earlier image in every pixel",
            vec![],
        )?;
        finding(
            f,
            "near copies",
            found.near,
            "the same picture in another crop or brightness",
            vec![],
        )?;
        finding(f, "mirrored copies", found.mirrored, "", vec![])?;
        let images: usize = found.groups.iter().map(|g| g.members.len()).sum();
        finding(
            f,
            "groups of copies",
            found.groups.len(),
            &format!("with {images} images in them"),
            vec![],
        )?;
        let groups = |wanted: fn(&Group) -> bool| {
            found
                .groups
                .iter()
                .filter(move |g| wanted(g))
                .collect::<Vec<_>>()
        };
        let conflicts = groups(|g| g.conflicting);
        let pairs = conflicts
            .iter()
            .map(|g| pair(g, |a, b| a.class != b.class))
            .collect();
        finding(f, "  with several labels", conflicts.len(), "", pairs)?;
        let across = groups(|g| g.across);
        let pairs = across
            .iter()
            .map(|g| pair(g, |a, b| a.usage != b.usage))
            .collect();
        finding(f, "  in several parts", across.len(), "", pairs)?;

        let out = self.quarantine(Keep::Test).len();
        match out {
            0 => writeln!(f, "\nNothing to leave out."),
            _ => writeln!(f, "\n{out} images are better left out of training."),
        }
    }
}

impl CheckReport {
    /// The images by class and usage.
    fn counts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |usage: Usage| {
            move |c: &ClassCount| match usage {
                Usage::Training => c.training,
                Usage::PublicTest => c.public_test,
                Usage::PrivateTest => c.private_test,
            }
        };
        let total =
            |count: &dyn Fn(&ClassCount) -> usize| self.classes.iter().map(count).sum::<usize>();
        let usages: Vec<Usage> = Usage::ALL
            .into_iter()
            .filter(|usage| total(&of(*usage)) > 0)
            .collect();
        let longest = self.classes.iter().map(|c| c.class.chars().count()).max();
        let wide = longest.unwrap_or(0).max(8) + 2;
        write!(f, "{:<wide$}{:>8}{:>9}", "class", "images", "share")?;
        usages
            .iter()
            .try_for_each(|usage| write!(f, "{usage:>13}"))?;
        for class in &self.classes {
            let share = 100.0 * class.images as f64 / self.images.max(1) as f64;
            write!(
                f,
                "\n{:<wide$}{:>8}{share:>7.1} %",
                class.class, class.images
            )?;
            usages
                .iter()
                .try_for_each(|usage| write!(f, "{:>13}", of(*usage)(class)))?;
        }
        write!(f, "\n{:<wide$}{:>8}{:>9}", "all", self.images, "")?;
        usages
            .iter()
            .try_for_each(|usage| write!(f, "{:>13}", total(&of(*usage))))?;
        writeln!(f)?;
        if let Some(balance) = &self.balance {
            let training = if usages.is_empty() { "" } else { " training" };
            let (largest, smallest) = (&balance.largest, &balance.smallest);
            writeln!(
                f,
                "{largest} has {:.1} times the{training} images of {smallest}",
                balance.ratio
            )?;
        }
        Ok(())
    }
}

/// A line with a number, and lines with the first examples.
fn finding(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    count: usize,
    note: &str,
    examples: Vec<String>,
) -> fmt::Result {
    writeln!(f, "{}", format!("{what:<22}{count:>6}  {note}").trim_end())?;
    examples
        .iter()
        .take(EXAMPLES)
        .try_for_each(|example| writeln!(f, "    {example}"))?;
    match examples.len().saturating_sub(EXAMPLES) {
        0 => Ok(()),
        more => writeln!(f, "    and {more} more"),
    }
}

/// The first image of a group and the first that differs from it in some way.
fn pair(group: &Group, differ: impl Fn(&Member, &Member) -> bool) -> String {
    let [first, others @ ..] = group.members.as_slice() else {
        return String::new();
    };
    let other = others.iter().find(|other| differ(first, other));
    format!("{} and {}", first.name, other.map_or("", |m| &m.name))
}
