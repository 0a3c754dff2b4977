//! Who may use the service, and how much of the machine it may take.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Where messages for the operator go: one line each.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// How a service works.
#[derive(Clone)]
pub struct Settings {
    /// Who may ask.
    pub access: Access,
    /// Names of this service besides `localhost` and IP addresses, as they stand in `Host` without
    /// the port. Any other is refused, so that a web page can't reach the service by a name of its
    /// own that leads to this machine's address.
    pub hosts: Vec<String>,
    /// Origins whose web pages may ask, such as `https://example.org`, besides the service's own.
    pub origins: Vec<String>,
    /// How much at a time.
    pub limits: Limits,
    /// Where messages for the operator go.
    pub log: Log,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            access: Access::Open,
            hosts: Vec::new(),
            origins: Vec::new(),
            limits: Limits::default(),
            log: Arc::new(|_| {}),
        }
    }
}

/// Who may ask.
#[derive(Clone)]
pub enum Access {
    /// Whoever reaches the address.
    Open,
    /// Whoever knows the token. The page itself, its files and the checks of health need none.
    Token(Token),
}

/// A secret that a request proves to know. Only its SHA-256 is kept.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// The token with this text.
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Whether `text` is the token. The time that this takes says nothing about it.
    pub fn is(&self, text: &[u8]) -> bool {
        let other: [u8; 32] = Sha256::digest(text).into();
        self.0.ct_eq(&other).into()
    }
}

/// How much at a time. What is over a limit gets a status that says so, and costs no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's body, and of a frame (413).
    pub body: usize,
    /// Pixels of a picture, at most [`fer_core::images::MAX_PIXELS`].
    pub pixels: u64,
    /// Pictures in a request (413).
    pub files: usize,
    /// Requests that wait or run (503).
    pub queue: usize,
    /// Bytes of the bodies and tensors of all requests (503); at most 4 GiB.
    pub queue_bytes: u32,
    /// Images in a batch of the model. A request with more runs as several batches.
    pub max_batch: usize,
    /// How long a batch waits for more images. With zero, those that arrive while a batch runs are
    /// the next one.
    pub max_wait: Duration,
    /// How long a request may take once its body is there (504).
    pub deadline: Duration,
    /// How long a request's head may take to arrive, and how long a connection may be idle.
    pub head_time: Duration,
    /// How long a body may take to arrive (408), and how long a client may leave an answer unread.
    pub body_time: Duration,
    /// Header fields of a request (431).
    pub headers: usize,
    /// Connections (503).
    pub connections: usize,
    /// Streams of frames (503).
    pub streams: usize,
    /// Pictures that are decoded and searched at a time.
    pub decoders: usize,
    /// How long requests may go on once the service is stopping.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 20 << 20,
            pixels: 50_000_000,
            files: 32,
            queue: 1024,
            queue_bytes: 256 << 20,
            max_batch: 64,
            max_wait: Duration::ZERO,
            deadline: Duration::from_secs(30),
            head_time: Duration::from_secs(15),
            body_time: Duration::from_secs(30),
            headers: 64,
            connections: 2048,
            streams: 32,
            decoders: fer_core::cores(),
            drain: Duration::from_secs(30),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_text_alone() {
        let token = Token::new("secret");
        assert!(token.is(b"secret"));
        for other in ["", "secre", "secret ", "Secret", "secretsecret"] {
            assert!(!token.is(other.as_bytes()), "{other}");
        }
    }
}
