//! Which images training is better without, and the list that says so.

use std::fmt::Write;

use super::{CheckReport, Group, Member, Usage};

/// Which images stay where copies of one picture are training and test images both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keep {
    /// The test images: training sees no copies of them, and figures on them are of the images that
    /// others measure on.
    #[default]
    Test,
    /// The training images, for figures on test images that training has not seen.
    Training,
}

impl CheckReport {
    /// The images to leave out, by their relative names, each with the reason, which is the same
    /// text for all that are left out for it:
    ///
    /// - images that can't be read, or are not of the size that most have;
    /// - training images that are blank;
    /// - training images that are copies of a `PublicTest` or `PrivateTest` image, or, as `keep`
    ///   says, those test images;
    /// - training images that are copies of one picture with different labels: none of them can be
    ///   trusted;
    /// - all but the first of training images that are copies of one picture with one label.
    ///
    /// An image without a usage is a training image here.
    pub fn quarantine(&self, keep: Keep) -> Vec<(String, String)> {
        let mut list = Vec::new();
        let mut add = |name: &str, reason: &str| list.push((name.to_string(), reason.to_string()));
        self.unreadable
            .iter()
            .for_each(|image| add(&image.name, "can't be read"));
        let size = self
            .size
            .map(|s| format!("not {}x{} as most images are", s.width, s.height))
            .unwrap_or_default();
        self.odd_sized
            .iter()
            .for_each(|image| add(&image.name, &size));
        self.blank
            .iter()
            .filter(|i| !is_test(i.usage))
            .for_each(|image| add(&image.name, "blank"));

        let mut groups: [Vec<&str>; 3] = Default::default();
        for Group { members, .. } in &self.duplicates.groups {
            let (test, training): (Vec<&Member>, Vec<&Member>) =
                members.iter().partition(|m| is_test(m.usage));
            let Some(first) = training.first() else {
                continue;
            };
            if !test.is_empty() {
                match keep {
                    Keep::Test => {
                        groups[0].extend(names(&training));
                        continue;
                    }
                    Keep::Training => groups[0].extend(names(&test)),
                }
            }
            match training.iter().any(|m| m.class != first.class) {
                true => groups[1].extend(names(&training)),
                false => groups[2].extend(names(&training).skip(1)),
            }
        }
        let reasons = [
            match keep {
                Keep::Test => "copies of a test image",
                Keep::Training => "test images that are copies of a training image",
            },
            "copies of one picture with different labels",
            "copies of another training image, which stays",
        ];
        for (names, reason) in groups.iter().zip(reasons) {
            names.iter().for_each(|name| add(name, reason));
        }
        list
    }

    /// The [`quarantine`](Self::quarantine) as the text of a list that
    /// [`Catalog::exclude`](crate::data::Catalog::exclude) reads: a head and the reasons as `#`
    /// comments, one name a line.
    pub fn quarantine_list(&self, keep: Keep) -> String {
        let list = self.quarantine(keep);
        let mut text = format!(
            "# Images to leave out of {}: {} of {}.\n# Take a line out to keep its image.\n",
            self.source.replace(char::is_control, " "),
            list.len(),
            self.images
        );
        for same in list.chunk_by(|a, b| a.1 == b.1) {
            // Writing to a string does not fail.
            let _ = write!(text, "\n# {} ({})\n", same[0].1, same.len());
            same.iter().for_each(|(name, _)| text.extend([name, "\n"]));
        }
        text
    }
}

fn names<'a>(members: &[&'a Member]) -> impl Iterator<Item = &'a str> {
    members.iter().map(|m| m.name.as_str())
}

fn is_test(usage: Option<Usage>) -> bool {
    matches!(usage, Some(Usage::PublicTest | Usage::PrivateTest))
}
