//! What the fuzz targets share.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// A panic that the code under test turns into an error costs an image, or a file, not the program.
/// It is not a crash.
pub fn let_caught_panics_pass() {
    let abort = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !fer_core::panics::are_caught() {
            abort(panic);
        }
    }));
}

/// A folder of this process.
pub fn folder() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = std::env::temp_dir().join(format!("fer-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for temporary files");
        folder
    });
    &FOLDER
}

/// A file in [`folder`] with this name and these bytes.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    std::fs::write(&path, bytes).expect("a temporary file");
    path
}

/// Reads the pictures and the labels of a shard.
pub fn shard(path: &Path) {
    if let Ok(shard) = fer_shards::Shard::open(path) {
        for member in shard.members().take(100).flatten() {
            let _ = member.image.read();
        }
    }
    let _ = fer_shards::labeled(path, path);
}
