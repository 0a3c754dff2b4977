//! Images: which ones the user names ([`sources`]), their pixels ([`decode`]), and back ([`png`]).

mod decode;
mod depth;
mod elsewhere;
mod encode;
mod foreign;
mod jpeg;
pub mod sources;
mod stored;

pub use decode::{DecodeError, Decoded, MAX_FILE_BYTES, MAX_PIXELS, Pixels, decode, read};
pub use elsewhere::address;
pub use encode::png;
pub use foreign::Foreign;
pub use stored::{Blob, SHARDS, Stored, is_shard};
