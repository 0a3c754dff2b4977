//! Images: which ones the user names ([`sources`]), and their pixels ([`decode`]).

mod decode;
mod jpeg;
pub mod sources;

pub use decode::{DecodeError, MAX_FILE_BYTES, MAX_PIXELS, Pixels, decode, read};
