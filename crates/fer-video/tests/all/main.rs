//! Tests with the machine's ffmpeg, on clips that it makes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod clips;
mod files;
mod live;
mod writing;
