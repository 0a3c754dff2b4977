use proptest::prelude::*;

use super::*;

/// An ISO media file's beginning with these brands.
fn ftyp(brands: &[&str]) -> Vec<u8> {
    let brands = [&[brands[0], "\0\0\0\0"], &brands[1..]].concat().concat();
    let length = (8 + brands.len() as u32).to_be_bytes();
    [
        &length,
        b"ftyp".as_slice(),
        brands.as_bytes(),
        b"\0\0\0\x08free",
    ]
    .concat()
}

/// A TIFF file of one entry, whose values are inline or behind it.
fn tiff(little: bool, format: u16, count: u32) -> Vec<u8> {
    let two = |v: u16| {
        if little {
            v.to_le_bytes()
        } else {
            v.to_be_bytes()
        }
    };
    let four = |v: u32| {
        if little {
            v.to_le_bytes()
        } else {
            v.to_be_bytes()
        }
    };
    let mut file = if little { b"II*\0" } else { b"MM\0*" }.to_vec();
    file.extend(four(8));
    file.extend([two(1), two(339), two(3)].concat());
    file.extend(four(count));
    match count {
        0..=2 => file.extend([two(format), two(format)].concat()),
        _ => file.extend(four(26)),
    }
    file.extend(four(0));
    file.extend(two(format).repeat(count as usize));
    file
}

#[test]
fn files_are_recognized() {
    let packets: Vec<u8> = (0..800)
        .map(|i| if i % 188 == 0 { 0x47 } else { 9 })
        .collect();
    let mut tar = vec![b'x'; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";
    let rows: Vec<(Vec<u8>, &str)> = vec![
        (ftyp(&["heic", "mif1", "heic"]), "HEIC"),
        (ftyp(&["mif1", "mif1", "heic"]), "HEIC"),
        (ftyp(&["mif1", "avif", "miaf"]), "AVIF"),
        (ftyp(&["avif"]), "AVIF"),
        (ftyp(&["isom", "avc1"]), "video (MP4)"),
        (ftyp(&["3gp5"]), "video (MP4)"),
        (ftyp(&["qt  "]), "video (QuickTime"),
        (ftyp(&["crx "]), "raw file (CR3)"),
        (b"\0\0\0\x08wide\0\0\0\0mdat".to_vec(), "video (QuickTime"),
        (b"\xff\x0a\x00\x10".to_vec(), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n\0\0".to_vec(), "JPEG XL"),
        (b"RIFF\0\0\0\0AVI LIST".to_vec(), "video (AVI)"),
        (b"\x1a\x45\xdf\xa3\x01webm".to_vec(), "video (WebM"),
        (packets, "video (MPEG)"),
        (b"8BPS\0\x01".to_vec(), "Photoshop"),
        (b"junk%PDF-1.7\n".to_vec(), "PDF"),
        (
            b"<?xml version='1.0'?>\n<!-- a -->\n<svg xmlns='x'/>".to_vec(),
            "SVG",
        ),
        (
            b"\xef\xbb\xbf\r\n<!DOCTYPE HTML><html><svg>".to_vec(),
            "web page",
        ),
        (b"<!-- 404 -->\n<HTML>".to_vec(), "web page"),
        (b"{\"error\": \"no\"}".to_vec(), "JSON"),
        ("eine Übersicht".as_bytes().to_vec(), "a text, not an image"),
        ("ü".repeat(3000).into_bytes()[1..].to_vec(), "unknown"),
        (
            [b"x".as_slice(), "ü".repeat(3000).as_bytes()].concat(),
            "a text",
        ),
        (lfs.to_vec(), "Git LFS pointer"),
        (b"/annex/objects/MD5-s9--00\n".to_vec(), "git-annex"),
        (vec![0; 5000], "only zero bytes"),
        (tiff(true, 3, 1), "floating-point"),
        (tiff(false, 3, 1), "floating-point"),
        (tiff(true, 3, 3), "floating-point"),
        (tiff(false, 3, 4), "floating-point"),
        (tiff(true, 1, 3), "unknown"),
        (tiff(false, 1, 1), "unknown"),
        (b"PK\x03\x04".to_vec(), "zip"),
        (tar, "tar archive"),
        (b"PAR1\x15\x04".to_vec(), "Parquet file"),
        (b"P3\n1 1\n255\n1 2 3\n".to_vec(), "unknown"),
        (vec![], "unknown"),
        (b" \n".to_vec(), "unknown"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec(), "unknown"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF".to_vec(), "unknown"),
        (b"GIF89a".to_vec(), "unknown"),
        (b"RIFF\0\0\0\0WEBPVP8 ".to_vec(), "unknown"),
    ];
    let said = |bytes: &[u8]| Foreign::of(bytes).map_or("unknown".into(), |f| f.to_string());
    let wrong: Vec<_> = rows
        .iter()
        .map(|(bytes, word)| (said(bytes), *word))
        .filter(|(said, word)| !said.contains(word) || said.contains('\n'))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

proptest! {
    #[test]
    fn any_bytes_are_looked_at(
        start in 0..SIGNATURES.len() + 3,
        tail in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = match start.checked_sub(SIGNATURES.len()) {
            None => {
                let (offset, signature, _) = SIGNATURES[start];
                [vec![b'-'; offset], signature.to_vec()].concat()
            }
            Some(0) => b"\0\0\0\x20ftyp".to_vec(),
            Some(1) => b"II*\0".to_vec(),
            Some(_) => b"MM\0*\0\0\0\x08".to_vec(),
        };
        bytes.extend(tail);
        for end in 0..bytes.len() {
            Foreign::of(&bytes[..end]);
        }
        let found = Foreign::of(&bytes);
        prop_assert!(start > SIGNATURES.len() || found.is_some());
    }
}
