//! Frames of video files, streams and cameras, and annotated videos out of frames, through the
//! machine's own ffmpeg. Nothing is linked: ffmpeg runs as a process with raw frames on a pipe.
//!
//! ```text
//! VideoSource ──→ probe ──→ Frames ──→ … the caller … ──→ overlay ──→ Encoder ──→ file
//!                           ffmpeg → nut → newest or all             nut → ffmpeg
//! ```
//!
//! | step | module |
//! |---|---|
//! | which source an argument names | `source` |
//! | ffmpeg and ffprobe, their messages, the machine's cameras | `ffmpeg` |
//! | what a file is before it is read | `probe` |
//! | raw frames with times on a pipe | [`nut`] |
//! | a run of ffmpeg; all frames, or the newest; a lost source again | `decode`, `read` |
//! | frames → a video with the source's sound | `encode` |
//! | boxes, labels and text in a picture | `draw` |
//! | emotions along tracks: shares, a timeline | `timeline`, `chart` |
//! | a preview in the browser | `preview` |

mod chart;
mod decode;
pub mod draw;
mod encode;
mod error;
mod ffmpeg;
pub mod nut;
mod preview;
mod probe;
mod read;
mod source;
mod timeline;

pub use chart::chart;
pub use encode::{Encoder, Sound, check_ending};
pub use error::VideoError;
pub use ffmpeg::{Ffmpeg, end_all};
pub use preview::{Preview, Seen};
pub use probe::{Probe, probe};
pub use read::{Event, Frame, Frames, ReadOptions};
pub use source::{ENDINGS, VideoSource};
pub use timeline::Timeline;
