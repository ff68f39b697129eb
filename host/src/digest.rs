//! Checksums of whole files: what a task expects, what a server says (RFC 9530), and computing them.
//!
//! It opens no files and decides nothing: whoever holds the file compares.

use std::io::Read;

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use crate::task::Pairs;

#[cfg(test)]
mod tests;

/// A way to compute a checksum. SHA-1 and MD5 find accidents, not attackers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Sha256,
    Sha512,
    Sha1,
    Md5,
}

impl Algorithm {
    const ALL: [Algorithm; 4] = [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Sha1, Algorithm::Md5];

    /// The name in a task's `checksum`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha-256",
            Algorithm::Sha512 => "sha-512",
            Algorithm::Sha1 => "sha-1",
            Algorithm::Md5 => "md5",
        }
    }

    /// Length of its result in bytes.
    fn bytes(self) -> usize {
        match self {
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
            Algorithm::Sha1 => 20,
            Algorithm::Md5 => 16,
        }
    }
}

/// The checksum that a file must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checksum {
    algorithm: Algorithm,
    /// Lower case, of the algorithm's length.
    hex: String,
}

impl Checksum {
    /// Reads `sha-256=HEX` (or sha-512, sha-1, md5; case does not matter). The error says what would be right.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, hex) = text.split_once('=').ok_or("must be `algorithm=hex`, such as `sha-256=9f86d0…`")?;
        let algorithm = Algorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name.trim()))
            .ok_or("has an unknown algorithm: sha-256, sha-512, sha-1 and md5 are known")?;
        let hex = hex.trim().to_ascii_lowercase();
        let digits = algorithm.bytes() * 2;
        if hex.len() != digits || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(format!("must have {digits} hexadecimal digits for {}", algorithm.name()));
        }
        Ok(Self { algorithm, hex })
    }

    /// Begins to compute a checksum of this kind.
    pub(crate) fn hasher(&self) -> Hasher {
        Hasher::new(self.algorithm)
    }

    /// Whether a computed checksum, in hexadecimal digits, is this one.
    pub(crate) fn matches(&self, hex: &str) -> bool {
        self.hex.eq_ignore_ascii_case(hex)
    }

    /// How it is computed.
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The algorithm's name, such as `sha-256`.
    pub(crate) fn name(&self) -> &'static str {
        self.algorithm.name()
    }

    /// The checksum in lower-case hexadecimal digits.
    pub(crate) fn hex(&self) -> &str {
        &self.hex
    }
}

/// As it is parsed.
impl std::fmt::Display for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.name(), self.hex)
    }
}

/// A checksum being computed.
#[derive(Clone)]
pub(crate) struct Hasher(State);

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher")
    }
}

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
    Sha1(Sha1),
    Md5(Md5),
}

impl Hasher {
    /// Of no bytes yet.
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
            Algorithm::Sha1 => State::Sha1(Sha1::new()),
            Algorithm::Md5 => State::Md5(Md5::new()),
        })
    }

    /// Takes the file's next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
            State::Sha1(state) => state.update(bytes),
            State::Md5(state) => state.update(bytes),
        }
    }

    /// The checksum, in lower-case hexadecimal digits.
    pub(crate) fn finish(self) -> String {
        match self.0 {
            State::Sha256(state) => hex(&state.finalize()),
            State::Sha512(state) => hex(&state.finalize()),
            State::Sha1(state) => hex(&state.finalize()),
            State::Md5(state) => hex(&state.finalize()),
        }
    }

    /// Takes all that is left of a file, and finishes. Blocks.
    pub(crate) fn read_all(mut self, mut file: std::fs::File) -> std::io::Result<String> {
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(self.finish()),
                Ok(count) => self.update(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The strongest checksum that a response states in `Repr-Digest`, of the whole representation (RFC 9530 §3), or
/// `Content-Digest`, of this message's content (§2). Only sha-512 and sha-256 count; the others are deprecated (§5) and left
/// aside, as is whatever cannot be read.
///
/// The former covers the stored bytes also when the response is a 206; both when it has a content coding that is stored as it is.
pub(crate) fn from_headers(headers: &Pairs, field: &str) -> Option<Checksum> {
    let fields = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(field));
    let members: Vec<&str> = fields.flat_map(|(_, value)| value.split(',')).collect();
    [Algorithm::Sha512, Algorithm::Sha256].into_iter().find_map(|algorithm| {
        // A dictionary's later members replace earlier ones of the same key (RFC 9651 §4.2.2).
        let member = members.iter().rev().find_map(|member| value_of(member, algorithm.name()))?;
        let bytes = byte_sequence(member)?;
        (bytes.len() == algorithm.bytes()).then(|| Checksum { algorithm, hex: hex(&bytes) })
    })
}

/// The value of a dictionary's member of that key, with parameters.
fn value_of<'a>(member: &'a str, key: &str) -> Option<&'a str> {
    member.trim_matches([' ', '\t']).strip_prefix(key)?.strip_prefix('=')
}

/// Reads `:BASE64:`, possibly followed by parameters (RFC 9651 §4.2.7). Padding may be missing.
fn byte_sequence(text: &str) -> Option<Vec<u8>> {
    let (digits, rest) = text.strip_prefix(':')?.split_once(':')?;
    if !rest.is_empty() && !rest.starts_with(';') {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3);
    let (mut pending, mut bits) = (0_u32, 0);
    for digit in digits.trim_end_matches('=').bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        pending = pending << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((pending >> bits) as u8);
            pending &= (1 << bits) - 1;
        }
    }
    (bits < 6).then_some(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
