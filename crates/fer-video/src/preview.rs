//! A preview in the browser: the newest annotated frame as JPEG after JPEG, and the last minute of
//! each track, on 127.0.0.1. Its address holds a random token, which other users of the machine do
//! not know.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fer_core::images::Pixels;
use libjpeg_turbo_rs::{Encoder as JpegEncoder, PixelFormat};
use serde_json::{Value, json};

use crate::draw::color_of;

/// The page, with a place for the classes and their colors.
const PAGE: &str = include_str!("preview.html");

/// The most pictures a second, and the longest side that is shown, in pixels.
const PER_SECOND: u32 = 15;
const LONGEST: usize = 1280;

/// The most browsers that look at a time, the most connections, and the most bytes of a request.
const MAX_VISITORS: usize = 8;
const MAX_CONNECTIONS: usize = 4 * MAX_VISITORS;
const MAX_REQUEST: usize = 8 << 10;

/// How long the tracks are shown, in seconds, and the most tracks of a moment.
const SHOWN: f64 = 60.0;
const MAX_TRACKS: usize = 32;

/// What stands before the name of a boundary between pictures.
const DASHES: &str = "--";

/// How long a browser may take to read or to ask.
const PATIENCE: Duration = Duration::from_secs(5);

/// A preview that is being served. It ends when it is dropped.
pub struct Preview {
    shared: Arc<Shared>,
    address: String,
    last: Option<Instant>,
}

struct Shared {
    token: String,
    page: String,
    state: Mutex<State>,
    changed: Condvar,
    /// Browsers that look at pictures.
    visitors: AtomicUsize,
    connections: AtomicUsize,
    closed: AtomicBool,
}

/// A track, its class and its confidence.
pub type Seen = (u64, usize, f32);

#[derive(Default)]
struct State {
    number: u64,
    jpeg: Arc<Vec<u8>>,
    /// Times, each with its tracks.
    moments: VecDeque<(f64, Vec<Seen>)>,
    status: String,
}

impl Preview {
    /// Begins to serve on a free port.
    ///
    /// # Errors
    /// No port can be opened, or the system gives no random numbers.
    pub fn start(title: &str, labels: &[String]) -> io::Result<Self> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|e| io::Error::other(e.to_string()))?;
        let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("http://{}/{token}/", listener.local_addr()?);
        let classes: Vec<Value> = labels
            .iter()
            .enumerate()
            .map(|(class, label)| json!([label, color_of(label, class)]))
            .collect();
        // Neither text can end the script that it stands in.
        let safe = |value: Value| value.to_string().replace('<', "\\u003c");
        let page = PAGE
            .replace("\"CLASSES\"", &safe(json!(classes)))
            .replace("\"TITLE\"", &safe(json!(title)));
        let shared = Arc::new(Shared {
            token,
            page,
            state: Mutex::default(),
            changed: Condvar::new(),
            visitors: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        });
        let serving = shared.clone();
        std::thread::spawn(move || serving.serve(&listener));
        Ok(Self {
            shared,
            address,
            last: None,
        })
    }

    /// The page's address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether a picture would be seen now: somebody looks, and the last one was not just before.
    pub fn wants_picture(&self) -> bool {
        let watched = self.shared.visitors.load(Ordering::Relaxed) > 0;
        let due = self
            .last
            .is_none_or(|last| last.elapsed() >= Duration::from_secs(1) / PER_SECOND);
        due && (watched || self.shared.lock().jpeg.is_empty())
    }

    /// Shows a picture.
    ///
    /// # Errors
    /// It can't be encoded.
    pub fn picture(&mut self, pixels: &Pixels) -> io::Result<()> {
        self.last = Some(Instant::now());
        let small = shrunk(pixels);
        let jpeg = JpegEncoder::new(&small.data, small.width, small.height, PixelFormat::Rgb)
            .quality(80)
            .encode()
            .map_err(|e| io::Error::other(e.to_string()))?;
        let mut state = self.shared.lock();
        state.number += 1;
        state.jpeg = Arc::new(jpeg);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Adds a moment: the class and the confidence of each track; and a line about the state.
    pub fn moment(&self, time: f64, tracks: Vec<Seen>, status: String) {
        let mut state = self.shared.lock();
        let tracks = tracks.into_iter().take(MAX_TRACKS).collect();
        state.moments.push_back((time, tracks));
        while state
            .moments
            .front()
            .is_some_and(|(first, _)| time - first > SHOWN)
        {
            state.moments.pop_front();
        }
        // Of more than 60 frames a second, a shorter time is shown.
        if state.moments.len() > (SHOWN * 60.0) as usize {
            state.moments.pop_front();
        }
        state.status = status;
    }
}

impl Drop for Preview {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        // The listener wakes up once more.
        let host = self.address.trim_start_matches("http://");
        let _ = TcpStream::connect(host.split('/').next().unwrap_or_default());
    }
}

/// The picture with every n-th pixel, so that its longest side is not over the limit.
fn shrunk(pixels: &Pixels) -> Pixels {
    let step = pixels.width.max(pixels.height).div_ceil(LONGEST).max(1);
    if step == 1 {
        return pixels.clone();
    }
    let (width, height) = (pixels.width.div_ceil(step), pixels.height.div_ceil(step));
    let mut data = Vec::with_capacity(width * height * 3);
    for row in (0..pixels.height).step_by(step) {
        let line = &pixels.data[row * pixels.width * 3..][..pixels.width * 3];
        line.chunks_exact(3)
            .step_by(step)
            .for_each(|pixel| data.extend_from_slice(pixel));
    }
    Pixels {
        width,
        height,
        channels: 3,
        data,
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.closed.load(Ordering::Relaxed) {
                return;
            }
            let Ok(stream) = stream else { continue };
            if self.connections.load(Ordering::Relaxed) >= MAX_CONNECTIONS {
                continue;
            }
            self.connections.fetch_add(1, Ordering::Relaxed);
            let shared = self.clone();
            let answer = move || {
                // A browser may go away at any time.
                let _ = shared.answer(stream);
                shared.connections.fetch_sub(1, Ordering::Relaxed);
            };
            if std::thread::Builder::new().spawn(answer).is_err() {
                self.connections.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let path = requested(&mut stream)?;
        let inside = path
            .as_deref()
            .and_then(|path| path.strip_prefix('/')?.strip_prefix(&self.token));
        match inside {
            Some("/") => respond(
                &mut stream,
                "200 OK",
                "text/html; charset=utf-8",
                self.page.as_bytes(),
            ),
            Some("/state") => {
                let state = self.lock();
                let body = json!({"status": state.status, "moments": state.moments}).to_string();
                drop(state);
                respond(&mut stream, "200 OK", "application/json", body.as_bytes())
            }
            Some("/pictures") => {
                if self.visitors.fetch_add(1, Ordering::Relaxed) >= MAX_VISITORS {
                    self.visitors.fetch_sub(1, Ordering::Relaxed);
                    return respond(&mut stream, "503 Service Unavailable", "text/plain", b"");
                }
                let shown = self.pictures(&mut stream);
                self.visitors.fetch_sub(1, Ordering::Relaxed);
                shown
            }
            _ => respond(&mut stream, "404 Not Found", "text/plain", b"not found\n"),
        }
    }

    /// Sends picture after picture.
    fn pictures(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(
            head("200 OK", "multipart/x-mixed-replace; boundary=frame", None).as_bytes(),
        )?;
        let mut sent = 0;
        loop {
            let mut state = self.lock();
            while state.number == sent && !self.closed.load(Ordering::Relaxed) {
                let waited = self.changed.wait_timeout(state, Duration::from_secs(1));
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            if self.closed.load(Ordering::Relaxed) {
                return Ok(());
            }
            sent = state.number;
            let jpeg = state.jpeg.clone();
            drop(state);
            let length = jpeg.len();
            write!(
                stream,
                "{DASHES}frame\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n"
            )?;
            stream.write_all(&jpeg)?;
            stream.write_all(b"\r\n")?;
        }
    }
}

/// The path of a GET request; `None` for others, and for those that take too long.
fn requested(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let began = Instant::now();
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        let read = stream.read(&mut part)?;
        if read == 0 || request.len() + read > MAX_REQUEST || began.elapsed() > PATIENCE {
            return Ok(None);
        }
        request.extend_from_slice(&part[..read]);
    }
    let text = String::from_utf8_lossy(&request);
    let mut words = text.lines().next().unwrap_or_default().split(' ');
    Ok(match (words.next(), words.next()) {
        (Some("GET"), Some(path)) => Some(path.to_owned()),
        _ => None,
    })
}

fn head(status: &str, kind: &str, length: Option<usize>) -> String {
    let length = length.map_or(String::new(), |n| format!("Content-Length: {n}\r\n"));
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{length}Connection: close\r\n\
         Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n\
         X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n\
         Content-Security-Policy: default-src 'none'; img-src 'self'; connect-src 'self'; \
         style-src 'unsafe-inline'; script-src 'unsafe-inline'\r\n\r\n"
    )
}

fn respond(stream: &mut TcpStream, status: &str, kind: &str, body: &[u8]) -> io::Result<()> {
    stream.write_all(head(status, kind, Some(body.len())).as_bytes())?;
    stream.write_all(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(address: &str, path: &str) -> String {
        let host = address
            .trim_start_matches("http://")
            .split('/')
            .next()
            .unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[test]
    fn only_who_knows_the_token_sees_anything() {
        let labels = ["a</script>".to_owned()];
        let mut preview = Preview::start("x<y", &labels).unwrap();
        assert!(preview.wants_picture());
        let picture = Pixels {
            width: 3000,
            height: 20,
            channels: 3,
            data: vec![7; 180_000],
        };
        preview.picture(&picture).unwrap();
        assert!(!preview.wants_picture());
        preview.moment(1.0, vec![(3, 0, 0.5)], "30 frames/s".into());
        let address = preview.address().to_owned();
        let token = address.rsplit('/').nth(1).unwrap().to_owned();
        assert_eq!(token.len(), 32);
        let page = get(&address, &format!("/{token}/"));
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
        assert!(
            page.contains("a\\u003c/script>") && page.contains("x\\u003cy"),
            "{page}"
        );
        let state = get(&address, &format!("/{token}/state"));
        assert!(
            state.contains(r#""moments":[[1.0,[[3,0,0.5]]]]"#),
            "{state}"
        );
        for path in [
            "/",
            "/state",
            "/0000/",
            &format!("/{}/", &token[1..]),
            "/../",
        ] {
            let answer = get(&address, path);
            assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
        }
        // A stream of pictures, which ends with the preview.
        let reader = std::thread::spawn({
            let address = address.clone();
            move || get(&address, &format!("/{token}/pictures"))
        });
        while preview.shared.visitors.load(Ordering::Relaxed) == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(preview);
        let pictures = reader.join().unwrap();
        assert!(pictures.contains("Content-Type: image/jpeg"), "{pictures}");
    }

    #[test]
    fn connections_are_few() {
        let preview = Preview::start("x", &[]).unwrap();
        let (address, connections) = (preview.address().to_owned(), &preview.shared.connections);
        let host = address.split('/').nth(2).unwrap();
        let silent: Vec<TcpStream> = (0..MAX_CONNECTIONS)
            .map(|_| TcpStream::connect(host).unwrap())
            .collect();
        // They are accepted in their order, so that the next one is too many.
        let mut next = TcpStream::connect(host).unwrap();
        let _ = next.write_all(b"GET / HTTP/1.1\r\n\r\n");
        let mut answer = Vec::new();
        let _ = next.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{answer:?}");
        drop(silent);
        while connections.load(Ordering::Relaxed) > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(get(&address, "/").starts_with("HTTP/1.1 404"));
    }
}
