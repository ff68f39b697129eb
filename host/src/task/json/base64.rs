//! Base64 (RFC 4648 §4) for request bodies that are no text. Strict: padding is needed, white space is not taken.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Encodes with padding.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let number = (0..3).fold(0, |number, at| (number << 8) | u32::from(group.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let digit = (number >> (18 - 6 * at)) & 63;
            text.push(match at <= group.len() {
                true => char::from(ALPHABET[digit as usize]),
                false => '=',
            });
        }
    }
    text
}

/// Decodes; `None` when it is not base64.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in digits.as_bytes().chunks(4) {
        let mut number: u32 = 0;
        for digit in group {
            let value = ALPHABET.iter().position(|known| known == digit)?;
            number = (number << 6) | u32::try_from(value).ok()?;
        }
        let [_, first, second, third] = (number << (6 * (4 - group.len()))).to_be_bytes();
        bytes.extend_from_slice(&[first, second, third][..group.len() - 1]);
    }
    Some(bytes)
}
