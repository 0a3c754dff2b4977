//! The thread that draws boxes on frames, and hands them to the encoder and to the preview. The
//! stream goes on meanwhile; a slow encoder slows it down, so that nothing is lost.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use fer::images::Pixels;
use fer::video::draw::{Canvas, Labeled, Text, overlay};
use fer::video::{Encoder, Ffmpeg, Preview, Sound, VideoError};

/// Frames that may wait to be drawn on.
const WAITING: usize = 2;

/// Where the video goes, with what, and its sound.
type Annotate = (PathBuf, Ffmpeg, Option<Sound>);

pub struct Pictures {
    sender: SyncSender<(f64, Pixels, Vec<Labeled>)>,
    thread: JoinHandle<Result<Option<String>, VideoError>>,
    preview: Option<Arc<Mutex<Preview>>>,
    annotates: bool,
}

impl Pictures {
    pub fn start(annotate: Option<Annotate>, preview: Option<Preview>) -> Self {
        let (sender, receiver) = sync_channel(WAITING);
        let preview = preview.map(|preview| Arc::new(Mutex::new(preview)));
        let annotates = annotate.is_some();
        let shown = preview.clone();
        let thread = std::thread::spawn(move || draw(&receiver, annotate, shown.as_deref()));
        Self {
            sender,
            thread,
            preview,
            annotates,
        }
    }

    /// Adds a frame and what is seen in it.
    pub fn add(
        &mut self,
        time: f64,
        pixels: Pixels,
        faces: Vec<Labeled>,
        moment: Vec<(u64, usize, f32)>,
        status: impl FnOnce() -> String,
    ) -> io::Result<()> {
        let mut wanted = self.annotates;
        if let Some(preview) = &self.preview {
            let preview = preview.lock().unwrap_or_else(PoisonError::into_inner);
            preview.moment(time, moment, status());
            wanted |= preview.wants_picture();
        }
        match wanted && self.sender.send((time, pixels, faces)).is_err() {
            true => Err(io::Error::other("the annotated video can't be written")),
            false => Ok(()),
        }
    }

    /// Waits until all is drawn; what there is to say about the video.
    pub fn finish(self) -> Result<Option<String>, VideoError> {
        drop(self.sender);
        let joined = self.thread.join();
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn draw(
    frames: &Receiver<(f64, Pixels, Vec<Labeled>)>,
    annotate: Option<Annotate>,
    preview: Option<&Mutex<Preview>>,
) -> Result<Option<String>, VideoError> {
    let mut text = Text::default();
    let mut encoder: Option<Encoder> = None;
    while let Ok((time, mut pixels, faces)) = frames.recv() {
        let (width, height) = (pixels.width, pixels.height);
        let mut canvas = Canvas {
            width,
            height,
            data: &mut pixels.data,
        };
        overlay(&mut canvas, &mut text, &faces);
        if let Some(preview) = preview {
            let mut preview = preview.lock().unwrap_or_else(PoisonError::into_inner);
            if preview.wants_picture() {
                // Reading goes on without a preview.
                let _ = preview.picture(&pixels);
            }
        }
        if let Some((path, ffmpeg, sound)) = &annotate {
            let encoder = match &mut encoder {
                Some(encoder) => encoder,
                None => {
                    let size = [width, height];
                    encoder.insert(Encoder::start(ffmpeg, path, size, sound.clone())?)
                }
            };
            encoder.frame(time, &pixels.data)?;
        }
    }
    match (encoder, annotate) {
        (Some(encoder), _) => encoder.finish(),
        (None, Some(_)) => Ok(Some(
            "no video was written, because no frame was read".into(),
        )),
        (None, None) => Ok(None),
    }
}
