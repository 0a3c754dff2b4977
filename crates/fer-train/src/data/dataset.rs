//! The pixels of a data set, decoded once ([`Dataset`]).

use std::collections::HashMap;

use rayon::prelude::*;

use super::{Catalog, DataError, Item, MAX_PIXEL_BYTES};
use fer_core::images::{Decoded, Pixels};
use fer_core::names::Tally;
use fer_core::preprocess::Preprocessor;
use fer_core::spec::{InputSpec, Layout, Resize};

/// Images that are decoded before they are put in their place.
const CHUNK: usize = 1024;

/// Which form images are brought to where they are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelForm {
    /// Width and height in pixels that images of other sizes are resized to; `None` for the size
    /// that all of them have.
    pub size: Option<[usize; 2]>,
    /// 1 for gray, 3 for RGB.
    pub channels: usize,
    /// How images of other sizes are resized.
    pub resize: Resize,
}

impl PixelForm {
    /// Gray, in the size that the images have.
    pub const GRAY: Self = Self {
        size: None,
        channels: 1,
        resize: Resize::Nearest,
    };
}

/// Images of one size with their labels, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dataset {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// 1 for gray, 3 for RGB.
    pub channels: usize,
    /// `[n, channels, height, width]` values of 0..=255.
    pub pixels: Vec<u8>,
    /// Indices into [`Catalog::classes`], one an image.
    pub labels: Vec<u16>,
    /// The images' names for messages, [`Item::name`].
    pub names: Vec<String>,
    /// 16-bit images that are read as having fewer bits, with how many.
    pub guessed: Tally,
}

/// What became of an image: its pixels, and how many bits they were guessed to have, if it is of
/// the wanted size, else its size.
enum Outcome {
    Fits(Vec<u8>, Option<u8>),
    Other((usize, usize)),
    Unreadable(String),
}

impl Dataset {
    /// Decodes images on all cores as gray ones of the size that they have; see
    /// [`load_as`](Self::load_as).
    ///
    /// # Errors
    /// As [`load_as`](Self::load_as).
    pub fn load(
        catalog: &Catalog,
        indices: &[usize],
        progress: &(dyn Fn() + Sync),
    ) -> Result<Self, DataError> {
        Self::load_as(catalog, indices, PixelForm::GRAY, progress)
    }

    /// Decodes images on all cores; gray by PIL's formula (see
    /// [`Pixels::into_gray`](fer_core::images::Pixels::into_gray)), resized as for inference, by
    /// [`Preprocessor`]. `progress` is called after each image, on any thread.
    ///
    /// # Errors
    /// There are no images; one can't be read; they are not of one size and none was asked for; or
    /// they are too many for memory. The text names the first image at fault and says how many
    /// there are.
    pub fn load_as(
        catalog: &Catalog,
        indices: &[usize],
        form: PixelForm,
        progress: &(dyn Fn() + Sync),
    ) -> Result<Self, DataError> {
        let items: Vec<&Item> = indices.iter().map(|i| &catalog.items[*i]).collect();
        // The first readable image says how large they are; if it is the odd one, that is found
        // below.
        let first = || items.iter().find_map(|item| item.pixels().ok());
        let size = match form.size {
            Some([width, height]) => Some((width, height)),
            None => first().map(|p| (p.width, p.height)),
        };
        let (width, height) = size.unwrap_or_default();
        let bytes = items.len() as u64 * (width * height * form.channels) as u64;
        let target = InputSpec {
            resize: form.resize,
            ..InputSpec::new(Layout::Nchw, width, height, form.channels)
        };
        let decoder = Decoder {
            preprocessor: Preprocessor::new(&target),
            resizes: form.size.is_some(),
        };
        let mut pixels: Vec<u8> = Vec::new();
        let fits = bytes <= MAX_PIXEL_BYTES && pixels.try_reserve_exact(bytes as usize).is_ok();

        let mut sizes: HashMap<(usize, usize), (usize, usize)> = HashMap::new();
        let mut unreadable = Vec::new();
        let mut guessed = Tally::default();
        for (chunk, offset) in items.chunks(CHUNK).zip((0..).step_by(CHUNK)) {
            let decoded: Vec<_> = chunk
                .par_iter()
                .map(|item| decoder.decode(item, size.filter(|_| fits), progress))
                .collect();
            for (i, decoded) in (offset..).zip(decoded) {
                let size = match decoded {
                    Outcome::Fits(data, guessed_bits) => {
                        pixels.extend_from_slice(&data);
                        if let Some(bits) = guessed_bits {
                            guessed.add(|| format!("{} ({bits} bits)", items[i].name));
                        }
                        (width, height)
                    }
                    Outcome::Other(size) => size,
                    Outcome::Unreadable(reason) => {
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
            return fault(*i, format!("{reason}{}", more(rest.len(), "can't be read")));
        }
        if form.size.is_some() && !fits {
            return Err(DataError::TooLarge {
                images: items.len(),
                width,
                height,
            });
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
            let like = sizes.get(&(cw, ch)).map_or("", |(_, i)| &items[*i].name);
            return Err(DataError::OddSize {
                name: items[*i].name.clone(),
                width: *w,
                height: *h,
                problem: format!("most are {cw}x{ch}{more}"),
                usual: [cw, ch],
                like: like.to_string(),
            });
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
            channels: form.channels,
            pixels,
            labels,
            names,
            guessed,
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

    /// The dimensions of an image: `[channels, height, width]`.
    pub fn image_shape(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }

    /// The number of values of an image.
    pub fn image_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// The `channels × height × width` values of image `i`, channel by channel and row by row.
    pub fn image(&self, i: usize) -> &[u8] {
        let len = self.image_len();
        &self.pixels[i * len..][..len]
    }

    /// Values in the order of [`image`](Self::image) as a picture.
    pub fn picture(&self, values: &[u8]) -> Pixels {
        let plane = self.width * self.height;
        let data = match self.channels {
            1 => values.to_vec(),
            channels => (0..plane)
                .flat_map(|pixel| (0..channels).map(move |c| values[c * plane + pixel]))
                .collect(),
        };
        Pixels {
            width: self.width,
            height: self.height,
            channels: self.channels,
            data,
        }
    }
}

/// Whether the images are gray: none of those looked at, at most `SAMPLE` at even distances, is
/// stored in color. What can't be read counts for nothing.
pub fn are_gray(catalog: &Catalog, indices: &[usize]) -> bool {
    const SAMPLE: usize = 64;
    let every = indices.len().div_ceil(SAMPLE).max(1);
    let looked_at: Vec<&usize> = indices.iter().step_by(every).collect();
    looked_at.par_iter().all(|i| {
        let pixels = catalog.items[**i].pixels();
        !pixels.is_ok_and(|pixels| pixels.channels != 1)
    })
}

/// Brings images to one form.
struct Decoder {
    preprocessor: Preprocessor,
    /// Whether images of other sizes are resized.
    resizes: bool,
}

impl Decoder {
    fn decode(
        &self,
        item: &Item,
        wanted: Option<(usize, usize)>,
        progress: &(dyn Fn() + Sync),
    ) -> Outcome {
        let outcome = match item.decoded() {
            Err(reason) => Outcome::Unreadable(reason.to_string()),
            Ok(Decoded {
                pixels,
                guessed_bits,
            }) => {
                let size = (pixels.width, pixels.height);
                match wanted {
                    Some(wanted) if self.resizes || size == wanted => {
                        Outcome::Fits(planes(self.preprocessor.pixels(pixels)), guessed_bits)
                    }
                    _ => Outcome::Other(size),
                }
            }
        };
        progress();
        outcome
    }
}

/// The values of a picture, channel by channel.
fn planes(pixels: Pixels) -> Vec<u8> {
    match pixels.channels {
        1 => pixels.data,
        channels => (0..channels)
            .flat_map(|c| pixels.data.iter().skip(c).step_by(channels).copied())
            .collect(),
    }
}

/// How many more have the same fault.
fn more(others: usize, fault: &str) -> String {
    match others {
        0 => String::new(),
        n => format!(" ({n} more {fault})"),
    }
}
