//! Pictures for people, of what `fer infer` found: each picture with boxes and labels, the faces
//! cut out, and a contact sheet of them.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fer::faces::{Crop, Face, FaceCrop};
use fer::files;
use fer::images::sources::Source;
use fer::images::{self, Pixels};
use fer::plot::{Boxed, Cell, MAX_CELLS, annotated, sheet};
use fer::report::{Content, FoundFace};
use fer::stream::Item;

use super::writers::Writers;

/// The sides of a cut-out face in pixels, and of one on the contact sheet.
const SIDES: std::ops::RangeInclusive<usize> = 16..=1024;
const ON_SHEET: usize = 96;

/// The columns of the contact sheet.
const COLUMNS: usize = 10;

#[derive(clap::Args)]
pub struct PictureArgs {
    /// Write each picture with the boxes, labels and confidences of its faces into this folder, as
    /// PNG.
    #[arg(long, value_name = "DIR")]
    annotate: Option<PathBuf>,

    /// Write the faces into this folder, as PNG, named by picture and number, with a contact sheet
    /// of the first 400 (contact-sheet.png).
    #[arg(long, value_name = "DIR")]
    crops: Option<PathBuf>,
}

impl PictureArgs {
    /// The first option that was given.
    pub fn given(&self) -> Option<&'static str> {
        let options = [("--annotate", &self.annotate), ("--crops", &self.crops)];
        options
            .into_iter()
            .find_map(|(name, dir)| dir.as_ref().map(|_| name))
    }

    /// The folders, which are made if need be; `None` if no pictures are wanted.
    pub fn open(
        &self,
        frame: Option<FaceCrop>,
        sources: &[Source],
        labels: &[String],
    ) -> Result<Option<Pictures>> {
        let wanted = [("--annotate", &self.annotate), ("--crops", &self.crops)];
        let wanted = wanted
            .into_iter()
            .filter_map(|(name, dir)| Some((name, dir.as_ref()?)));
        let mut folders = Vec::new();
        for (name, folder) in wanted {
            if frame.is_none() {
                bail!(
                    "{name} is about faces, and whole pictures are classified; search for faces \
                     with --faces always"
                );
            }
            std::fs::create_dir_all(folder)
                .with_context(|| format!("can't make the folder {} ({name})", folder.display()))?;
            let real = folder.canonicalize();
            let real = real.with_context(|| format!("{} ({name})", folder.display()))?;
            for source in sources {
                check(source, &real, name)?;
            }
            if folders.contains(&real) {
                bail!("--annotate and --crops name the same folder; name two");
            }
            folders.push(real);
        }
        Ok(frame.filter(|_| !folders.is_empty()).map(|frame| Pictures {
            frame,
            annotate: self.annotate.clone(),
            crops: self.crops.clone(),
            labels: labels.to_vec(),
            names: HashSet::new(),
            cells: Vec::new(),
            writers: Writers::default(),
        }))
    }
}

/// Fails if a source can't be read twice, or lies in the folder that is written to, where it could
/// be overwritten.
fn check(source: &Source, folder: &Path, option: &str) -> Result<()> {
    let path = match source {
        Source::File(path) if path.is_file() => path,
        Source::Unusable { .. } => return Ok(()),
        Source::File(path) if !path.exists() => return Ok(()),
        _ => bail!(
            "{option} reads each picture again, which standard input and pipes do not allow; save \
             them as files first"
        ),
    };
    let own = path.canonicalize();
    if own.is_ok_and(|own| own.parent() == Some(folder)) {
        bail!(
            "{option} {} holds {}, which is to be read; name another folder",
            folder.display(),
            path.display()
        );
    }
    Ok(())
}

/// The folders, and what was written into them.
pub struct Pictures {
    /// How faces are cut out.
    frame: FaceCrop,
    annotate: Option<PathBuf>,
    crops: Option<PathBuf>,
    labels: Vec<String>,
    /// In lower case.
    names: HashSet<String>,
    /// Of the contact sheet.
    cells: Vec<Cell>,
    /// They draw on pictures too.
    writers: Writers,
}

impl Pictures {
    /// Writes the pictures of a source.
    pub fn add(&mut self, source: &Source, content: &Content) -> io::Result<()> {
        let Content::Faces(picture) = content else {
            return Ok(());
        };
        let again = |e| io::Error::other(format!("{} can't be read again: {e}", source.name()));
        let pixels = source.load().map_err(again)?;
        let name = self.name(&source.name());
        if let Some(folder) = self.crops.clone() {
            for (index, face) in picture.faces.iter().enumerate() {
                self.cut(&pixels, face, &folder, &format!("{name}-{}", index + 1))?;
            }
        }
        if let Some(folder) = &self.annotate {
            let boxes: Vec<Boxed> = picture.faces.iter().map(|face| self.boxed(face)).collect();
            let path = folder.join(format!("{name}.png"));
            let draw = move || annotated(&path, pixels, &boxes).map_err(io::Error::other);
            self.writers.add(draw)?;
        }
        Ok(())
    }

    /// Writes the contact sheet, and waits for the pictures that are still drawn.
    pub fn finish(self) -> io::Result<()> {
        self.writers.finish()?;
        match self.crops {
            Some(folder) if !self.cells.is_empty() => {
                let path = folder.join("contact-sheet.png");
                sheet(&path, &self.cells, COLUMNS, 1, "").map_err(io::Error::other)
            }
            _ => Ok(()),
        }
    }

    fn cut(
        &mut self,
        pixels: &Pixels,
        found: &FoundFace,
        folder: &Path,
        name: &str,
    ) -> io::Result<()> {
        let [x, y, w, h] = found.bounds;
        let face = Face {
            x,
            y,
            w,
            h,
            score: found.score.unwrap_or(1.0),
            landmarks: found.landmarks.unwrap_or_default(),
        };
        // A ready-made crop is a whole picture already.
        let whole = FaceCrop::square(1.0);
        let frame = found.score.map_or(whole, |_| self.frame);
        let path = folder.join(format!("{name}.png"));
        let own = Crop::natural(frame, &face, SIDES).cut(pixels, &face);
        let named = |e: io::Error| io::Error::other(format!("{}: {e}", path.display()));
        files::write(&path, &images::png(&own)?).map_err(named)?;
        if self.cells.len() < MAX_CELLS {
            let size = [ON_SHEET; 2];
            self.cells.push(Cell {
                pixels: Crop { frame, size }.cut(pixels, &face),
                caption: self.label(found),
                mark: None,
            });
        }
        Ok(())
    }

    fn boxed(&self, face: &FoundFace) -> Boxed {
        Boxed {
            bounds: face.bounds,
            label: self.label(face),
        }
    }

    fn label(&self, face: &FoundFace) -> String {
        match &face.outcome {
            Ok(p) => format!("{} {:.0} %", self.labels[p.class], 100.0 * p.confidence()),
            Err(_) => "error".into(),
        }
    }

    /// A name that no picture had before: the file's without its ending, with a number if need be.
    fn name(&mut self, path: &str) -> String {
        let stem = Path::new(path).file_stem().unwrap_or_default();
        let stem = stem.to_string_lossy().into_owned();
        let names = (1..).map(|i| match i {
            1 => stem.clone(),
            i => format!("{stem}-{i}"),
        });
        let mut free = names.filter(|name| self.names.insert(name.to_lowercase()));
        free.next().unwrap_or_default()
    }
}
