//! Which pictures are searched, and which are ready-made crops.

use fer_core::images::Pixels;

use crate::{Face, Network, SearchError, SearchOptions, find};

/// Pictures up to this width and height in pixels are taken for ready-made crops.
const CROP: usize = 128;

/// One face whose longer side is at least this share of the picture's longer side fills the
/// picture, which is taken for a ready-made crop. In FER-2013's frame it is 0.96. A face as high as
/// a wide picture does not fill it.
const FILLS: f32 = 0.8;

/// Which pictures are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Those that are not ready-made crops: pictures of more than 128 pixels, unless the one face
    /// found fills them.
    Auto,
    /// All.
    Always,
}

impl When {
    /// Whether a picture is taken for a ready-made crop without a search.
    pub fn is_crop(self, pixels: &Pixels) -> bool {
        self == Self::Auto && pixels.width.max(pixels.height) <= CROP
    }

    /// The faces of a picture, the largest first; `None` if it is a ready-made crop.
    ///
    /// # Errors
    /// The detector failed.
    pub fn find(
        self,
        pixels: &Pixels,
        detector: &dyn Network,
        options: &SearchOptions,
    ) -> Result<Option<Vec<Face>>, SearchError> {
        if self.is_crop(pixels) {
            return Ok(None);
        }
        // All faces, as one of several does not fill the picture.
        let all = SearchOptions {
            max_faces: None,
            ..*options
        };
        let mut faces = find(pixels, detector, &all)?;
        let longer = pixels.width.max(pixels.height) as f32;
        Ok(match &faces[..] {
            [face] if self == Self::Auto && face.side() >= FILLS * longer => None,
            _ => {
                faces.truncate(options.max_faces.unwrap_or(usize::MAX));
                Some(faces)
            }
        })
    }
}
