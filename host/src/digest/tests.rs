//! The digests of nothing and of `abc` are the standards' own test values.

use super::*;

const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const ABC_SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const ABC_SHA512: &str = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                          2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
const ABC_SHA256_BASE64: &str = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
const ABC_SHA512_BASE64: &str =
    "3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==";

fn of(text: &str, bytes: &[u8]) -> String {
    let mut hasher = Checksum::parse(text).expect("a checksum").hasher();
    for byte in bytes {
        hasher.update(&[*byte]);
    }
    hasher.finish()
}

fn headers(values: &[&str]) -> Pairs {
    values.iter().map(|value| ("Repr-Digest".to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_four_algorithms_give_the_standards_values() {
    assert_eq!(of(&format!("sha-256={ABC_SHA256}"), b"abc"), ABC_SHA256);
    assert_eq!(of(&format!("sha-256={ABC_SHA256}"), b""), EMPTY_SHA256);
    assert_eq!(of(&format!("sha-512={ABC_SHA512}"), b"abc"), ABC_SHA512);
    let sha1 = "a9993e364706816aba3e25717850c26c9cd0d89d";
    assert_eq!(of(&format!("sha-1={sha1}"), b"abc"), sha1);
    let md5 = "900150983cd24fb0d6963f7d28e17f72";
    assert_eq!(of(&format!("md5={md5}"), b"abc"), md5);
}

#[test]
fn a_checksum_is_read_whatever_its_case() {
    let checksum = Checksum::parse(&format!("SHA-256={}", ABC_SHA256.to_uppercase())).expect("a checksum");
    assert_eq!((checksum.name(), checksum.hex()), ("sha-256", ABC_SHA256));
    assert!(checksum.matches(ABC_SHA256) && checksum.matches(&ABC_SHA256.to_uppercase()));
    assert!(!checksum.matches(EMPTY_SHA256) && !checksum.matches(""));
}

#[test]
fn what_is_no_checksum_is_refused_with_a_reason() {
    for (text, reason) in [
        ("", "algorithm=hex"),
        (ABC_SHA256, "algorithm=hex"),
        ("crc32=00000000", "unknown algorithm"),
        ("sha-256=", "64 hexadecimal digits"),
        ("md5=900150983cd24fb0d6963f7d28e17f7", "32 hexadecimal digits"),
        ("md5=900150983cd24fb0d6963f7d28e17f7g", "32 hexadecimal digits"),
    ] {
        let error = Checksum::parse(text).expect_err(text);
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn the_strongest_digest_of_a_response_is_taken() {
    let both = format!("sha-256=:{ABC_SHA256_BASE64}:, sha-512=:{ABC_SHA512_BASE64}:");
    let found = from_headers(&headers(&[&both]), "repr-digest").expect("a digest");
    assert_eq!((found.name(), found.hex()), ("sha-512", ABC_SHA512));
    let lines = [format!("md5=:AAAA:,sha-256=:{ABC_SHA256_BASE64}:;q=1"), "unixsum=:AAA=:".to_owned()];
    let found = from_headers(&headers(&[&lines[0], &lines[1]]), "repr-digest").expect("a digest");
    assert_eq!((found.name(), found.hex()), ("sha-256", ABC_SHA256));
}

#[test]
fn a_digest_without_padding_is_read() {
    let bare = ABC_SHA256_BASE64.trim_end_matches('=');
    let found = from_headers(&headers(&[&format!("sha-256=:{bare}:")]), "repr-digest").expect("a digest");
    assert_eq!(found.hex(), ABC_SHA256);
}

#[test]
fn a_later_member_of_a_key_replaces_an_earlier_one() {
    let other = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    let value = format!("sha-256=:{other}:, sha-256=:{ABC_SHA256_BASE64}:");
    assert_eq!(from_headers(&headers(&[&value]), "repr-digest").expect("a digest").hex(), ABC_SHA256);
}

#[test]
fn what_cannot_be_read_or_is_deprecated_is_no_digest() {
    for value in [
        "",
        "sha-256",
        "sha-256=",
        "sha-256=::",
        "sha-256=:ungWv48B:",
        "sha-256=ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
        "sha-256=:ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0=:",
        "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:x",
        "sha=:qZk+NkcGgWq6PiVxeFDCbJzQ2J0=:",
        "md5=:kAFQmDzST7DWlj99KOF/cg==:",
        "SHA-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:",
    ] {
        assert_eq!(from_headers(&headers(&[value]), "repr-digest"), None, "{value}");
    }
    let content = vec![("Content-Digest".to_owned(), format!("sha-256=:{ABC_SHA256_BASE64}:"))];
    assert_eq!(from_headers(&content, "repr-digest"), None, "Content-Digest is of this message only");
    assert!(from_headers(&content, "content-digest").is_some());
}

#[test]
fn a_file_is_read_from_where_it_stands_to_its_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("file");
    let bytes = vec![7_u8; 600_000];
    std::fs::write(&path, &bytes).expect("written");
    let checksum = Checksum::parse(&format!("sha-256={EMPTY_SHA256}")).expect("a checksum");
    let mut whole = checksum.hasher();
    whole.update(&bytes);
    let file = std::fs::File::open(&path).expect("opened");
    assert_eq!(checksum.hasher().read_all(file).expect("read"), whole.finish());
}
