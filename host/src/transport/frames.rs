//! Frames of HTTP/2 as they are read, counted: of tiny ones h2 keeps no more than some thousand that nobody has taken, and then gives
//! the connection up. What is in them is h2's business.

/// Bytes before a frame's payload (RFC 9113 section 4.1); the first three are its length.
const HEAD: usize = 9;

/// Where in a frame the reading is.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Bytes read of the head, and the length so far.
    head: usize,
    length: usize,
    /// Bytes left of the payload.
    left: usize,
}

impl Frames {
    /// How many frames begin to bring their payload with these bytes, which follow those before.
    pub(super) fn count(&mut self, mut bytes: &[u8]) -> usize {
        let mut frames = 0;
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            if self.head < 3 {
                self.length = self.length << 8 | usize::from(*first);
            }
            self.head += 1;
            bytes = rest;
            if self.head == HEAD {
                frames += 1;
                *self = Self { left: self.length, ..Self::default() };
            }
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_however_they_are_cut_into_reads() {
        let frame = |length: usize| [&length.to_be_bytes()[5..], &[0; 6], &vec![7; length]].concat();
        let wire = [frame(0), frame(1), frame(300), frame(70_000), frame(0)].concat();
        for size in [1, 2, 8, 9, 10, 1000, wire.len()] {
            let mut frames = Frames::default();
            assert_eq!(wire.chunks(size).map(|read| frames.count(read)).sum::<usize>(), 5, "{size}");
        }
    }
}
