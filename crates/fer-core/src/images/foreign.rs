//! Recognizes files that are not images which fer reads, by their bytes, and says what to do with
//! them: pictures in other formats, videos, documents, archives, and what a download or a checkout
//! left in an image's place.

#[cfg(test)]
mod tests;

use std::fmt;

/// Bytes of a file's beginning that are searched for its kind.
const HEAD: usize = 4096;

/// What a file is that is not an image which fer reads, and what to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign {
    what: &'static str,
    advice: &'static str,
}

/// The kind, and after a semicolon what to do.
impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.advice)
    }
}

const CONVERT: &str = "convert it to PNG, as with `magick IN OUT.png`";
const SAVE: &str = "save it as 8-bit PNG or JPEG where it was made";
const FRAMES: &str =
    "write its frames with `ffmpeg -i VIDEO -vf fps=1 frame%05d.png` and use those";
const AGAIN: &str = "get the image again";
const UNPACK: &str = "unpack it";

const fn foreign(what: &'static str, advice: &'static str) -> Foreign {
    Foreign { what, advice }
}

const HEIC: Foreign = foreign(
    "a HEIC picture, not an image that fer reads",
    "convert it to JPEG, as with `heif-convert IN.heic OUT.jpg`",
);
const AVIF: Foreign = foreign("an AVIF picture, not an image that fer reads", CONVERT);
const JPEG_XL: Foreign = foreign(
    "a JPEG XL picture, not an image that fer reads",
    "convert it to PNG, as with `djxl IN.jxl OUT.png`",
);
const JPEG_2000: Foreign = foreign("a JPEG 2000 picture, not an image that fer reads", CONVERT);
const MP4: Foreign = foreign("a video (MP4), not an image", FRAMES);
const MOV: Foreign = foreign("a video (QuickTime, .mov), not an image", FRAMES);
const MPEG: Foreign = foreign("a video (MPEG), not an image", FRAMES);
const ZIP: Foreign = foreign("a zip archive, not an image", UNPACK);
const PDF: Foreign = foreign(
    "a PDF document, not an image",
    "draw its pages with `pdftoppm -png FILE.pdf page`",
);
const SVG: Foreign = foreign(
    "an SVG drawing, not an image of pixels",
    "draw it with `rsvg-convert -o OUT.png IN.svg`",
);
const FLOATS: Foreign = foreign(
    "a TIFF image of floating-point values, whose black and white the file does not say",
    SAVE,
);
const LFS: Foreign = foreign(
    "a Git LFS pointer, not the image itself",
    "`git lfs pull` fetches the image",
);
const ANNEX: Foreign = foreign(
    "a git-annex pointer, not the image itself",
    "`git annex get FILE` fetches the image",
);
const HTML: Foreign = foreign(
    "a web page (HTML), not an image",
    "open its address in a browser and save the image itself",
);
const JSON: Foreign = foreign(
    "a text (JSON), not an image",
    "where a download left it, its text says what went wrong",
);
const ZEROS: Foreign = foreign(
    "only zero bytes, as an interrupted copy or download leaves them",
    AGAIN,
);

const PARQUET: Foreign = foreign(
    "a Parquet file, not an image",
    "fer built with the Cargo feature `shards` reads the images in a .parquet",
);
const TAR: Foreign = foreign(
    "a tar archive, not an image",
    "unpack it; fer built with the Cargo feature `shards` reads the images in a .tar",
);

/// Files by how they begin: the offset, the bytes there, the kind.
const SIGNATURES: &[(usize, &[u8], Foreign)] = &[
    (0, b"\xff\x0a", JPEG_XL),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", JPEG_XL),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", JPEG_2000),
    (0, b"\xff\x4f\xff\x51", JPEG_2000),
    (
        0,
        b"8BPS",
        foreign(
            "a Photoshop file (PSD), not an image that fer reads",
            CONVERT,
        ),
    ),
    (
        0,
        b"gimp xcf",
        foreign("a GIMP file (XCF), not an image that fer reads", CONVERT),
    ),
    (
        0,
        b"v/1\x01",
        foreign("an OpenEXR picture, not an image that fer reads", CONVERT),
    ),
    (
        0,
        b"#?RADIANCE",
        foreign(
            "a Radiance HDR picture, not an image that fer reads",
            CONVERT,
        ),
    ),
    (
        0,
        b"qoif",
        foreign("a QOI picture, not an image that fer reads", CONVERT),
    ),
    (
        0,
        b"DDS ",
        foreign("a DDS texture, not an image that fer reads", CONVERT),
    ),
    (
        0,
        b"farbfeld",
        foreign("a farbfeld picture, not an image that fer reads", CONVERT),
    ),
    (
        0,
        b"\0\0\x01\0",
        foreign("an icon (ICO), not an image that fer reads", CONVERT),
    ),
    (
        0,
        b"FUJIFILMCCD-RAW",
        foreign("a camera's raw file, not an image that fer reads", CONVERT),
    ),
    (
        0,
        b"\x1a\x45\xdf\xa3",
        foreign("a video (WebM or Matroska), not an image", FRAMES),
    ),
    (8, b"AVI ", foreign("a video (AVI), not an image", FRAMES)),
    (
        0,
        b"FLV\x01",
        foreign("a video (FLV), not an image", FRAMES),
    ),
    (
        0,
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
        foreign("a video (WMV), not an image", FRAMES),
    ),
    (
        0,
        b"OggS",
        foreign("a video or a sound (Ogg), not an image", FRAMES),
    ),
    (
        0,
        b"YUV4MPEG2",
        foreign("a video (Y4M), not an image", FRAMES),
    ),
    (0, b"\0\0\x01\xba", MPEG),
    (0, b"\0\0\x01\xb3", MPEG),
    (4, b"moov", MOV),
    (4, b"mdat", MOV),
    (4, b"wide", MOV),
    (4, b"pnot", MOV),
    (
        0,
        b"%!PS",
        foreign("a PostScript document, not an image", CONVERT),
    ),
    (
        128,
        b"DICM",
        foreign("a DICOM file, not an image that fer reads", CONVERT),
    ),
    (
        0,
        b"\x93NUMPY",
        foreign(
            "a NumPy array, not an image",
            "save it as PNG, as with PIL's `Image.fromarray`",
        ),
    ),
    (
        0,
        b"\x89HDF\r\n\x1a\n",
        foreign("an HDF5 file, not an image", "save its images as PNG files"),
    ),
    (0, b"PK\x03\x04", ZIP),
    (0, b"PK\x05\x06", ZIP),
    (
        0,
        b"\x1f\x8b\x08",
        foreign("a gzip archive, not an image", UNPACK),
    ),
    (0, b"BZh", foreign("a bzip2 archive, not an image", UNPACK)),
    (
        0,
        b"\xfd7zXZ\0",
        foreign("an xz archive, not an image", UNPACK),
    ),
    (
        0,
        b"7z\xbc\xaf\x27\x1c",
        foreign("a 7z archive, not an image", UNPACK),
    ),
    (
        0,
        b"Rar!\x1a\x07",
        foreign("a RAR archive, not an image", UNPACK),
    ),
    (
        0,
        b"\x28\xb5\x2f\xfd",
        foreign("a Zstandard archive, not an image", UNPACK),
    ),
    (0, b"PAR1", PARQUET),
    (257, b"ustar", TAR),
];

impl Foreign {
    /// A text that is nothing else.
    pub const TEXT: Self = foreign("a text, not an image", AGAIN);

    /// What a file of these bytes is; `None` for an image that fer reads and for what is not
    /// recognized. The beginning of a file is enough, except to recognize one of only zeros.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let head = &bytes[..bytes.len().min(HEAD)];
        let signed = SIGNATURES.iter().find(|(offset, signature, _)| {
            head.get(*offset..)
                .is_some_and(|rest| rest.starts_with(signature))
        });
        signed
            .map(|(_, _, kind)| *kind)
            .or_else(|| media(head))
            .or_else(|| stream(head))
            .or_else(|| is_float_tiff(bytes).then_some(FLOATS))
            .or_else(|| text(head))
            .or_else(|| (!bytes.is_empty() && bytes.iter().all(|b| *b == 0)).then_some(ZEROS))
    }
}

/// An ISO media file, by its brands: a picture or a video.
fn media(head: &[u8]) -> Option<Foreign> {
    let length = head.first_chunk().copied().map(u32::from_be_bytes)? as usize;
    let brands = head.get(4..)?.strip_prefix(b"ftyp")?;
    // Behind the first brand is its version.
    let brands = &brands[..brands.len().min(length.saturating_sub(8))];
    let brands: Vec<&[u8]> = brands.chunks_exact(4).collect();
    let has = |names: &[&[u8; 4]]| brands.iter().any(|b| names.iter().any(|n| b == n));
    Some(match () {
        () if has(&[b"avif", b"avis"]) => AVIF,
        () if has(&[
            b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1",
        ]) =>
        {
            HEIC
        }
        () if has(&[b"crx "]) => foreign(
            "a camera's raw file (CR3), not an image that fer reads",
            CONVERT,
        ),
        () if has(&[b"qt  "]) => MOV,
        () => MP4,
    })
}

/// An MPEG transport stream: packets of 188 bytes that begin with the same one.
fn stream(head: &[u8]) -> Option<Foreign> {
    let synced = [0, 188, 376, 564]
        .iter()
        .all(|at| head.get(*at) == Some(&0x47));
    synced.then_some(MPEG)
}

/// A text, by how it begins.
fn text(head: &[u8]) -> Option<Foreign> {
    let head = head
        .strip_prefix(b"\xef\xbb\xbf".as_slice())
        .unwrap_or(head);
    // A document may begin with anything.
    let first = &head[..head.len().min(1024)];
    if first.windows(5).any(|bytes| bytes == b"%PDF-") {
        return Some(PDF);
    }
    // The last character may be cut.
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&head[..e.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let is_text = |c: char| !c.is_control() || c.is_whitespace() || c == '\u{1b}';
    if text.trim().is_empty() || !text.chars().all(is_text) {
        return None;
    }
    let lower = text.trim_start().to_ascii_lowercase();
    let begins = |starts: &[&str]| starts.iter().any(|start| lower.starts_with(start));
    Some(match () {
        () if begins(&["version https://git-lfs.github.com/spec/"]) => LFS,
        () if begins(&["/annex/objects/"]) => ANNEX,
        () if begins(&["<"]) && lower.contains("<svg") && !lower.contains("<html") => SVG,
        () if begins(&[
            "<!doctype html",
            "<html",
            "<head",
            "<body",
            "<script",
            "<meta",
        ]) =>
        {
            HTML
        }
        () if begins(&["<"]) && lower.contains("<html") => HTML,
        () if begins(&["{", "["]) => JSON,
        // Images may begin as texts.
        () if begins(&["p1", "p2", "p3", "p4", "p5", "p6", "p7", "gif8"]) => return None,
        () => Foreign::TEXT,
    })
}

/// The tag of a TIFF image that says what its values are, and its value for floating-point ones.
const SAMPLE_FORMAT: (u16, u16) = (339, 3);

/// Whether a TIFF file's first image has floating-point values.
fn is_float_tiff(bytes: &[u8]) -> bool {
    let little = match bytes.get(..4) {
        Some(b"II*\0") => true,
        Some(b"MM\0*") => false,
        _ => return false,
    };
    let number = |at: usize| {
        let two = bytes.get(at..)?.first_chunk().copied()?;
        Some(if little {
            u16::from_le_bytes(two)
        } else {
            u16::from_be_bytes(two)
        })
    };
    let offset = |at: usize| {
        let four = bytes.get(at..)?.first_chunk().copied()?;
        Some(if little {
            u32::from_le_bytes(four)
        } else {
            u32::from_be_bytes(four)
        } as usize)
    };
    let is_float = || {
        let directory = offset(4)?;
        let entries = usize::from(number(directory)?);
        // A tag, its type, the number of its values, and the values or where they are.
        let mut entries = (0..entries).map(|i| directory + 2 + 12 * i);
        let entry = entries.find(|at| number(*at) == Some(SAMPLE_FORMAT.0))?;
        let values = match offset(entry + 4)? {
            0..=2 => entry + 8,
            _ => offset(entry + 8)?,
        };
        Some(number(values)? == SAMPLE_FORMAT.1)
    };
    is_float().unwrap_or(false)
}
