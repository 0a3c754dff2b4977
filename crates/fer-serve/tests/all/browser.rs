//! The page in Chromium, with a fake camera: `tests/browser.mjs` by Playwright.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::server::Server;

/// The width and height of the pictures.
const SIZE: [usize; 2] = [256, 192];

/// Where `npm install playwright-core` put it: `FER_PLAYWRIGHT`, or below target/browser.
fn playwright() -> Option<PathBuf> {
    let named = std::env::var_os("FER_PLAYWRIGHT").map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let usual = root.join("target/browser/node_modules/playwright-core");
    let folder = named.unwrap_or(usual);
    let found = folder.is_dir() && Path::new("/usr/bin/chromium").exists();
    found.then(|| folder.canonicalize().unwrap())
}

/// A clip of a camera with one gray level, as Chromium's fake camera takes it.
fn clip(path: &Path) {
    let [width, height] = SIZE;
    let mut clip = std::fs::File::create(path).unwrap();
    writeln!(clip, "YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1 C420jpeg").unwrap();
    for _ in 0..10 {
        let luma = vec![180; width * height];
        let chroma = vec![128; width * height / 2];
        clip.write_all(&[b"FRAME\n", &luma[..], &chroma].concat())
            .unwrap();
    }
}

#[test]
fn the_page_shows_pictures_and_the_camera() {
    let Some(playwright) = playwright() else {
        let is_required = std::env::var("FER_REQUIRE")
            .is_ok_and(|list| list.split(',').any(|what| what.trim() == "browser"));
        assert!(
            !is_required,
            "FER_REQUIRE asks for browser, and Playwright or Chromium is not here"
        );
        eprintln!("SKIPPED: needs browser: Chromium, and playwright-core (FER_PLAYWRIGHT)");
        return;
    };
    let server = Server::start();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
    std::fs::create_dir_all(&folder).unwrap();
    let [width, height] = SIZE.map(|side| side as u32);
    for (name, level) in [("face.png", 200), ("none.png", 0)] {
        let picture = image::GrayImage::from_pixel(width, height, image::Luma([level]));
        picture.save(folder.join(name)).unwrap();
    }
    clip(&folder.join("camera.y4m"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser.mjs");
    let mut node = Command::new("node");
    node.arg(script)
        .arg(format!("http://{}", server.address))
        .arg(&folder);
    node.args(std::env::var_os("FER_SCREENSHOTS"));
    let done = node.env("FER_PLAYWRIGHT", playwright).output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&said));
}
