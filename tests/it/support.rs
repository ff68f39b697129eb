//! What the tests stand on: a private world for the binary, origins to talk to, and ways to compare.

pub mod answer;
pub mod bus;
pub mod components;
pub mod form;
pub mod nginx;
pub mod origin;
pub mod process;
pub mod steered;
pub mod tls;
pub mod upload_server;
pub mod wait;
pub mod world;

pub use answer::{Answer, Gate, file, raw, redirect, silence, status};
pub use form::form_of;
pub use nginx::Nginx;
pub use origin::{Origin, Resource};
pub use process::Outcome;
pub use tls::Identity;
pub use upload_server::{Fault, Speech, UploadServer};
pub use world::World;

/// Bytes that look random and are the same for the same seed; different seeds differ everywhere.
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The value of a `Repr-Digest` header for these bytes.
pub fn repr_digest(bytes: &[u8]) -> String {
    let digest = <sha2::Sha256 as sha2::Digest>::digest(bytes);
    format!("sha-256=:{}:", base64::Engine::encode(&base64::prelude::BASE64_STANDARD, digest))
}

/// Compares long byte strings and says where they differ instead of printing them.
#[track_caller]
pub fn assert_same_bytes(actual: &[u8], expected: &[u8]) {
    if actual == expected {
        return;
    }
    let first = actual.iter().zip(expected).position(|(left, right)| left != right);
    let (got, want) = (actual.len(), expected.len());
    panic!("bytes differ: {got} bytes, expected {want}; first difference at {first:?}");
}

/// A small generator of numbers (xorshift64*), the same for the same seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.roll() % (high - low + 1)
    }
}
