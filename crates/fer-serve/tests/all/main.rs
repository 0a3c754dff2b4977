//! The service through real sockets, with a classifier and a detector that need no engine.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod browser;
mod client;
mod deepface;
mod faults;
mod frames;
mod guard;
mod lifecycle;
mod limits;
mod oip;
mod pictures;
mod server;
