//! Copies of one picture: equal in every pixel, nearly so, or mirrored ([`Duplicates`]).

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;
use serde::Serialize;

use super::fingerprint::Hashes;
use super::{Facts, Item, Usage};

/// Images whose copies are looked for at once; what is found is then put into groups.
const ROWS: usize = 256;

/// The copies in a data set.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Duplicates {
    /// Images that equal an earlier one in every pixel.
    pub exact: usize,
    /// Other images that nearly equal an earlier one, in brightness, contrast, crop or a watermark
    /// different.
    pub near: usize,
    /// Other images that nearly equal an earlier one when they are mirrored.
    pub mirrored: usize,
    /// The images that are copies of one picture, group by group.
    pub groups: Vec<Group>,
}

/// Images that are copies of one picture, at least two.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// Whether they have different labels.
    pub conflicting: bool,
    /// Whether they are in training and test both, or in the two test parts.
    pub across: bool,
    /// The images, in the data set's order.
    pub members: Vec<Member>,
}

/// An image in a group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Member {
    /// The image.
    pub name: String,
    /// Its class.
    pub class: String,
    /// What it is meant for.
    pub usage: Option<Usage>,
    /// How it relates to the first of its group.
    pub relation: Relation,
    /// The mean absolute difference from the first, at 16×16 values of deviation 1: 0 for exact
    /// copies, about 1 between images that have nothing in common.
    pub difference: f32,
}

/// How an image relates to the first of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// It is the first.
    First,
    /// Equal in every pixel.
    Exact,
    /// Nearly equal.
    Near,
    /// Nearly equal when it is mirrored.
    Mirrored,
}

/// Finds the copies among images.
pub(super) fn find(images: &[(&Item, &Facts)]) -> Duplicates {
    // The first of each set of exact copies stands for all in the search for near ones.
    let mut firsts: HashMap<&[u8; 32], usize> = HashMap::new();
    let stands_for: Vec<usize> = images
        .iter()
        .enumerate()
        .map(|(i, (_, facts))| *firsts.entry(&facts.digest).or_insert(i))
        .collect();
    let unique: Vec<usize> = (0..images.len()).filter(|i| stands_for[*i] == *i).collect();
    let roots = join_near(images, &unique);

    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (i, first) in stands_for.iter().enumerate() {
        groups.entry(roots[*first]).or_default().push(i);
    }
    let mut found = Duplicates {
        exact: images.len() - unique.len(),
        ..Duplicates::default()
    };
    for indices in groups.into_values().filter(|indices| indices.len() > 1) {
        let members: Vec<Member> = indices
            .iter()
            .map(|i| member(images, indices[0], *i))
            .collect();
        let of = |relation| {
            let copies = indices
                .iter()
                .zip(&members)
                .filter(|(i, _)| stands_for[**i] == **i);
            copies.filter(|(_, m)| m.relation == relation).count()
        };
        found.near += of(Relation::Near);
        found.mirrored += of(Relation::Mirrored);
        found.groups.push(Group {
            conflicting: members.iter().any(|m| m.class != members[0].class),
            across: members.iter().any(|m| m.usage != members[0].usage),
            members,
        });
    }
    found
}

fn member(images: &[(&Item, &Facts)], first: usize, i: usize) -> Member {
    let ((_, start), (item, facts)) = (images[first], images[i]);
    let difference = start.look.difference(&facts.look);
    let relation = match () {
        () if i == first => Relation::First,
        () if facts.digest == start.digest => Relation::Exact,
        () if difference.mirrored => Relation::Mirrored,
        () => Relation::Near,
    };
    let name = item.relative.clone();
    Member {
        name,
        class: item.class().into(),
        usage: item.usage,
        relation,
        difference: difference.value,
    }
}

/// Joins the near copies among the images `unique`. Returns for every image the first of its group.
fn join_near(images: &[(&Item, &Facts)], unique: &[usize]) -> Vec<usize> {
    let look = |i: usize| &images[i].1.look;
    // Side by side, as every pair of them is compared.
    let hashes: Vec<Hashes> = unique.iter().map(|i| look(*i).hashes).collect();
    let is_same = |x: usize, y: usize| {
        hashes[x].may_be_same(&hashes[y]) && look(unique[x]).is_same(look(unique[y]))
    };
    let mut parents: Vec<usize> = (0..images.len()).collect();
    for start in (0..unique.len()).step_by(ROWS) {
        let rows = start..unique.len().min(start + ROWS);
        let copies = |x: usize| {
            (x + 1..unique.len())
                .filter(move |y| is_same(x, *y))
                .map(move |y| (unique[x], unique[y]))
        };
        let pairs: Vec<(usize, usize)> = rows.into_par_iter().flat_map_iter(copies).collect();
        for (a, b) in pairs {
            let (a, b) = (root(&parents, a), root(&parents, b));
            if a != b && look(a).may_join(look(b)) {
                parents[a.max(b)] = a.min(b);
            }
        }
    }
    (0..images.len()).map(|i| root(&parents, i)).collect()
}

/// The first image of the group that `i` is in.
fn root(parents: &[usize], mut i: usize) -> usize {
    while parents[i] != i {
        i = parents[i];
    }
    i
}
