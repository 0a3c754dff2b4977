//! Images: which ones the user names ([`sources`]), and their pixels ([`decode`]).

mod decode;
mod depth;
mod elsewhere;
mod foreign;
mod jpeg;
pub mod sources;

pub use decode::{DecodeError, Decoded, MAX_FILE_BYTES, MAX_PIXELS, Pixels, decode, read};
pub use foreign::Foreign;
