//! Data sets of shards: which files they are ([`find`]), and their labeled images ([`labeled`]).

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fer_core::images::sources::{has_image_name, is_hidden};
use fer_core::images::{Blob, is_shard};
use serde_json::Value;

use super::parquet::Parquet;
use super::tar::{File, Tar, Walk, no_images};
use super::{Shard, ShardError, readme};

/// How deep the shards may lie in the folder: `DIR/CONFIG/train/0000.parquet`.
const MAX_DEPTH: usize = 4;

/// The longest label, which each image of it has, in bytes.
pub const MAX_LABEL_BYTES: usize = 1 << 10;

/// The longest `.json` of a sample, in bytes.
const MAX_JSON_BYTES: u64 = 1 << 20;

/// The keys of a sample's JSON that name its class, the most usual first.
const KEYS: [&str; 6] = ["label", "cls", "class", "emotion", "expression", "target"];

/// A labeled image.
#[derive(Debug, Clone)]
pub struct LabeledImage {
    /// How it is named in its shard: `#17`, the row from 0, or `/happy/a.jpg`.
    pub name: String,
    /// The name of its class, or the number of one whose name nothing says.
    pub label: String,
    /// Its bytes, read when they are wanted.
    pub image: Arc<dyn Blob>,
}

/// The shards that a path names: itself, or those in a folder, sorted. None if it is another file,
/// or if there are images in the folder: then it is a data set of folders.
pub fn find(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        let own = is_shard(path) && path.is_file();
        return own.then(|| path.to_path_buf()).into_iter().collect();
    }
    let files = walkdir::WalkDir::new(path)
        .max_depth(MAX_DEPTH)
        .follow_links(true)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.file_name()))
        .flatten()
        .filter(|entry| entry.file_type().is_file());
    let mut shards = Vec::new();
    for file in files {
        if has_image_name(file.path()) {
            return Vec::new();
        }
        if is_shard(file.path()) {
            shards.push(file.into_path());
        }
    }
    shards
}

/// The labeled images of a shard, in their order. No image is read.
///
/// The classes are named by the file itself (a text, or Hugging Face's metadata), or by the
/// README.md in the folder `set` or one between it and the shard.
///
/// # Errors
/// The shard can't be read, or an image has no label.
pub fn labeled(path: &Path, set: &Path) -> Result<Vec<LabeledImage>, ShardError> {
    match Shard::open(path)? {
        Shard::Parquet(file) => rows(&file, path, set),
        Shard::Tar(archive) => samples(&archive, path, set),
        Shard::Gzip(archive) => {
            let is_either = |file: &File| file.is_csv() || file.is_image();
            let first = Walk::new(archive.read()).flatten().find(is_either);
            let problem = match first.filter(File::is_csv) {
                Some(csv) => format!(
                    "is a compressed archive of {}; unpack it with `tar xzf`, and name that file",
                    csv.name
                ),
                None => "is compressed, and the images of a data set are read in any order; \
                         unpack it with `gunzip`"
                    .into(),
            };
            Err(ShardError::form(archive.name(), problem))
        }
    }
}

/// The names of classes that a README.md gives.
fn named(shard: &Path, set: &Path, label: Option<&str>) -> Option<Vec<String>> {
    let folders = shard.ancestors().skip(1).take(MAX_DEPTH + 1);
    let mut folders = folders.take_while(|folder| folder.starts_with(set) || set == shard);
    folders.find_map(|folder| readme::classes(folder, label))
}

/// The name of a label that may be a number.
fn meaning(label: String, names: Option<&[String]>) -> String {
    let number = label.parse::<usize>().ok();
    let name = number.and_then(|number| names?.get(number));
    name.cloned().unwrap_or(label)
}

fn rows(file: &Arc<Parquet>, path: &Path, set: &Path) -> Result<Vec<LabeledImage>, ShardError> {
    let Some(label) = file.label() else {
        let problem = "has no column of labels; it takes one named label, of numbers or texts";
        return Err(ShardError::form(file.name(), problem));
    };
    let names = label.classes.clone();
    let names = names.or_else(|| named(path, set, Some(&label.name)));
    let labels = file.labels()?.into_iter().zip(0..);
    let image = |(label, row): (Option<String>, u64)| {
        let name = format!("#{row}");
        let Some(label) = label else {
            let problem = "the row has no label; leave it out of the file";
            return Err(ShardError::form(&format!("{}{name}", file.name()), problem));
        };
        Ok(LabeledImage {
            label: meaning(label, names.as_deref()),
            image: file.member(row).image,
            name,
        })
    };
    labels.map(image).collect()
}

/// The files of one sample: they have one key, the path up to the first dot of the file's name.
#[derive(Default)]
struct Sample {
    key: String,
    images: Vec<File>,
    label: Option<String>,
}

fn samples(archive: &Arc<Tar>, path: &Path, set: &Path) -> Result<Vec<LabeledImage>, ShardError> {
    let names = named(path, set, None);
    let mut images = Vec::new();
    let mut done = HashSet::new();
    let mut sample = Sample::default();
    let mut finish = |sample: Sample| -> Result<(), ShardError> {
        if sample.images.is_empty() {
            return Ok(());
        }
        let Some(label) = sample.label else {
            let name = format!("{}/{}", archive.name(), sample.images[0].name);
            let problem = "has no label; it takes a file KEY.cls or KEY.json beside KEY.jpg";
            return Err(ShardError::form(&name, problem));
        };
        let label = meaning(label, names.as_deref());
        images.extend(sample.images.into_iter().map(|file| LabeledImage {
            name: format!("/{}", file.name),
            label: label.clone(),
            image: file.image(archive),
        }));
        Ok(())
    };
    for file in Walk::new(Arc::clone(archive)) {
        let file = file?;
        let Some((key, ending)) = key(&file.name) else {
            continue;
        };
        if key != sample.key {
            let next = Sample {
                key: key.into(),
                ..Sample::default()
            };
            let last = std::mem::replace(&mut sample, next);
            done.insert(last.key.clone());
            if done.contains(key) {
                let name = format!("{}/{key}", archive.name());
                let problem = "the files of this sample do not follow each other; sort the archive \
                               by name";
                return Err(ShardError::form(&name, problem));
            }
            finish(last)?;
        }
        match ending.to_ascii_lowercase().as_str() {
            _ if file.is_image() => sample.images.push(file),
            "cls" => {
                let text = archive.content(&file, MAX_LABEL_BYTES as u64)?;
                sample.label = Some(String::from_utf8_lossy(&text).trim().to_string());
            }
            "json" if sample.label.is_none() => {
                let text = archive.content(&file, MAX_JSON_BYTES)?;
                sample.label = serde_json::from_slice(&text).ok().and_then(|v| class(&v));
            }
            _ => {}
        }
    }
    finish(sample)?;
    if images.is_empty() {
        let csv = Walk::new(Arc::clone(archive)).flatten().find(File::is_csv);
        let csv = csv.map(|file| file.name);
        return Err(no_images(archive.name(), csv.as_deref()));
    }
    Ok(images)
}

/// A sample's key and what the file is of it.
fn key(name: &str) -> Option<(&str, &str)> {
    let base = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = base + name[base..].find('.')?;
    Some((&name[..dot], &name[dot + 1..]))
}

/// The class that a sample's JSON names: of a key, or the whole of it.
fn class(json: &Value) -> Option<String> {
    match json {
        Value::String(name) => Some(name.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Object(object) => KEYS
            .iter()
            .find_map(|key| object.get(*key).filter(|v| !v.is_object()))
            .and_then(class),
        _ => None,
    }
}
