//! The pixels of a data set, decoded once ([`Dataset`]).

use std::collections::HashMap;

use rayon::prelude::*;

use super::{Catalog, DataError, Item, MAX_PIXEL_BYTES};

/// Images that are decoded before they are put in their place.
const CHUNK: usize = 1024;

/// What to do about an image that can't be used.
const ADVICE: &str = "leave it out with --exclude (fer data check --quarantine makes the list)";

/// Gray images of one size with their labels, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dataset {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// `[n, height, width]` gray values of 0..255.
    pub pixels: Vec<u8>,
    /// Indices into [`EMOTIONS`](fer_core::spec::EMOTIONS), one an image.
    pub labels: Vec<u8>,
    /// The images' names for messages, [`Item::name`].
    pub names: Vec<String>,
}

/// What became of an image: its pixels if it is of the wanted size, else its size.
enum Decoded {
    Fits(Vec<u8>),
    Other((usize, usize)),
    Unreadable(String),
}

impl Dataset {
    /// Decodes images on all cores; gray by PIL's formula (see
    /// [`Pixels::into_gray`](fer_core::images::Pixels::into_gray)), no resizing. `progress` is called
    /// after each image, on any thread.
    ///
    /// # Errors
    /// There are no images; one can't be read; they are not of one size, or too many for memory.
    /// The text names the first image at fault and says how many there are.
    pub fn load(
        catalog: &Catalog,
        indices: &[usize],
        progress: &(dyn Fn() + Sync),
    ) -> Result<Self, DataError> {
        let items: Vec<&Item> = indices.iter().map(|i| &catalog.items[*i]).collect();
        // The first readable image says how large they are; if it is the odd one, that is found
        // below.
        let first = items.iter().find_map(|item| item.pixels().ok());
        let size = first.map(|p| (p.width, p.height));
        let (width, height) = size.unwrap_or_default();
        let bytes = items.len() as u64 * width as u64 * height as u64;
        let mut pixels: Vec<u8> = Vec::new();
        let fits = bytes <= MAX_PIXEL_BYTES && pixels.try_reserve_exact(bytes as usize).is_ok();

        let mut sizes: HashMap<(usize, usize), (usize, usize)> = HashMap::new();
        let mut unreadable = Vec::new();
        for (chunk, offset) in items.chunks(CHUNK).zip((0..).step_by(CHUNK)) {
            let decoded: Vec<_> = chunk
                .par_iter()
                .map(|item| decode(item, size.filter(|_| fits), progress))
                .collect();
            for (i, decoded) in (offset..).zip(decoded) {
                let size = match decoded {
                    Decoded::Fits(data) => {
                        pixels.extend_from_slice(&data);
                        (width, height)
                    }
                    Decoded::Other(size) => size,
                    Decoded::Unreadable(reason) => {
                        unreadable.push((i, reason));
                        continue;
                    }
                };
                sizes.entry(size).or_insert((0, i)).0 += 1;
            }
        }

        let fault = |i: usize, problem: String| {
            Err(DataError::Image {
                name: items[i].name.clone(),
                problem,
            })
        };
        if let [(i, reason), rest @ ..] = unreadable.as_slice() {
            return fault(
                *i,
                format!("{reason}{}; {ADVICE}", more(rest.len(), "can't be read")),
            );
        }
        // The most frequent size, of equally frequent ones that which comes first.
        let common = sizes
            .iter()
            .max_by_key(|(_, (count, first))| (*count, usize::MAX - first))
            .map(|(size, _)| *size);
        let odd = sizes.iter().filter(|(size, _)| Some(**size) != common);
        if let (Some(((w, h), (_, i))), Some((cw, ch))) =
            (odd.clone().min_by_key(|(_, (_, first))| first), common)
        {
            let others = odd.map(|(_, (count, _))| count).sum::<usize>() - 1;
            let more = more(others, &format!("are not {cw}x{ch}"));
            return fault(
                *i,
                format!("the image is {w}x{h} and most are {cw}x{ch}{more}; {ADVICE}"),
            );
        }
        if items.is_empty() {
            return Err(DataError::folders(
                &catalog.source,
                "there are no images to load in this part; choose another",
            ));
        }
        if !fits {
            return Err(DataError::TooLarge {
                images: items.len(),
                width,
                height,
            });
        }
        let labels = items.iter().map(|item| item.label).collect();
        let names = items.iter().map(|item| item.name.clone()).collect();
        Ok(Self {
            width,
            height,
            pixels,
            labels,
            names,
        })
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images; [`load`](Self::load) gives none such.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The `height × width` gray values of image `i`, row by row.
    pub fn image(&self, i: usize) -> &[u8] {
        let len = self.width * self.height;
        &self.pixels[i * len..][..len]
    }
}

fn decode(item: &Item, wanted: Option<(usize, usize)>, progress: &(dyn Fn() + Sync)) -> Decoded {
    let decoded = match item.pixels() {
        Ok(pixels) if Some((pixels.width, pixels.height)) == wanted => {
            Decoded::Fits(pixels.into_gray().data)
        }
        Ok(pixels) => Decoded::Other((pixels.width, pixels.height)),
        Err(reason) => Decoded::Unreadable(reason.to_string()),
    };
    progress();
    decoded
}

/// How many more have the same fault.
fn more(others: usize, fault: &str) -> String {
    match others {
        0 => String::new(),
        n => format!(" ({n} more {fault})"),
    }
}
