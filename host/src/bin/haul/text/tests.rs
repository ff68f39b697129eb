//! Texts for people.

use super::*;

#[test]
fn sizes_have_two_or_three_digits() {
    for (bytes, expected) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1_258_291, "1.2 MiB"),
        (150 << 20, "150 MiB"),
        ((1 << 30) - 1, "1.0 GiB"),
        (u64::MAX, "16384 PiB"),
    ] {
        assert_eq!(size(bytes), expected);
    }
}

#[test]
fn numbers_are_grouped_by_thousands() {
    assert_eq!(number(0), "0");
    assert_eq!(number(999), "999");
    assert_eq!(number(3_145_728), "3,145,728");
}

#[test]
fn waits_are_rounded_up_to_seconds() {
    assert_eq!(wait(1), "1 s");
    assert_eq!(wait(2000), "2 s");
    assert_eq!(wait(60_000), "1 min");
    assert_eq!(wait(89_001), "1 min 30 s");
    assert_eq!(wait(7_500_000), "2 h 5 min");
}

#[test]
fn nothing_foreign_steers_the_terminal() {
    assert_eq!(printable("käse 1.txt"), "käse 1.txt");
    assert_eq!(printable("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
    assert_eq!(printable("exe\u{202e}gpj"), "exe\\u{202e}gpj");
}

#[test]
fn nothing_foreign_looks_like_another_by_what_cannot_be_seen() {
    assert_eq!(printable("k\u{feff}"), "k\\u{feff}");
    for hidden in ['\u{ad}', '\u{200b}', '\u{2028}', '\u{2060}', '\u{3164}', '\u{fff9}', '\u{e0041}'] {
        assert!(printable(&format!("k{hidden}")).is_ascii(), "U+{:04X}", u32::from(hidden));
    }
    let written = "می\u{200c}خواهم 👩\u{200d}💻 ❤\u{fe0f}";
    assert_eq!(printable(written), written, "joiners are part of writing");
}

#[test]
fn a_response_keeps_its_lines_and_steers_nothing_wherever_it_is_cut() {
    let given = "grüße\t1\r\n\x1b[2J\r\u{202e}日本 \u{1f600}\n\r".as_bytes();
    let expected = "grüße\t1\r\n\\u{1b}[2J\\r\\u{202e}日本 \u{1f600}\n\\r";
    for size in 1..given.len() {
        let mut escaper = Escaper::default();
        let mut shown: String = given.chunks(size).map(|piece| escaper.take(piece)).collect();
        shown.push_str(&escaper.take(&[]));
        assert_eq!((shown.as_str(), escaper.has_escaped), (expected, true), "in pieces of {size}");
    }
    let mut escaper = Escaper::default();
    assert_eq!((escaper.take("a\r\n".as_bytes()), escaper.has_escaped), ("a\r\n".to_owned(), false));
    assert_eq!(
        (escaper.take(b"\xff\xe2"), escaper.take(b""), escaper.has_escaped),
        ("\u{fffd}".into(), "\u{fffd}".into(), true)
    );
}
