//! Which pictures are searched, and which are ready-made crops.

use fer_core::images::Pixels;

use crate::{Face, Network, SearchError, SearchOptions, find};

/// Pictures up to this width and height in pixels are taken for ready-made crops.
const CROP: usize = 128;

/// One face whose longer side is at least this share of the picture's shorter side fills the
/// picture, which is taken for a ready-made crop. In FER-2013's frame it is 0.96.
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
        let faces = find(pixels, detector, options)?;
        let shorter = pixels.width.min(pixels.height) as f32;
        Ok(match &faces[..] {
            [face] if self == Self::Auto && face.side() >= FILLS * shorter => None,
            _ => Some(faces),
        })
    }
}
