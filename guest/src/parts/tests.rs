//! How much goes where.

use super::*;
use crate::samples;
use alloc::string::String;
use proptest::prelude::*;

const MIB: u64 = 1024 * 1024;

fn known(total_bytes: u64) -> Known {
    Known { total_bytes, strong_validator: true, ranges_known: true, extra: Vec::new() }
}

fn task(chunks: u32, mirrors: usize) -> Task {
    let mirrors = (0..mirrors).map(|_| String::from("https://mirror.example/file.bin")).collect();
    Task { chunks, mirrors, ..samples::task() }
}

#[track_caller]
fn check(task: &Task, total_bytes: u64, expected: &[(u32, u64, u64)]) {
    let Verdict::Divide(parts) = decide(task, &known(total_bytes)) else { panic!("one stream") };
    let parts: Vec<_> = parts.iter().map(|part| (part.place, part.first_byte, part.last_byte)).collect();
    assert_eq!(parts, expected);
}

#[track_caller]
fn check_one_stream(task: &Task, known: Known, word: &str) {
    let verdict = decide(task, &known);
    assert!(matches!(&verdict, Verdict::OneStream(reason) if reason.contains(word)), "{verdict:?}");
}

#[test]
fn parts_have_the_size_rounded_up_and_the_last_has_the_rest() {
    let size = 3 * MIB + 2;
    check(&task(3, 0), size, &[(0, 0, MIB), (0, MIB + 1, 2 * MIB + 1), (0, 2 * MIB + 2, size - 1)]);
    check(&task(2, 0), 4 * MIB, &[(0, 0, 2 * MIB - 1), (0, 2 * MIB, 4 * MIB - 1)]);
}

#[test]
fn places_take_turns() {
    let parts = [(0, 0, MIB - 1), (1, MIB, 2 * MIB - 1), (0, 2 * MIB, 3 * MIB - 1), (1, 3 * MIB, 4 * MIB - 1)];
    check(&task(2, 1), 4 * MIB, &parts);
}

#[test]
fn small_files_get_fewer_parts() {
    check(&task(8, 0), 2 * MIB, &[(0, 0, MIB - 1), (0, MIB, 2 * MIB - 1)]);
    for total in [0, 1, 100, 2 * MIB - 1] {
        check_one_stream(&task(8, 0), Known { strong_validator: false, ..known(total) }, "too small");
    }
}

#[test]
fn what_cannot_be_joined_safely_is_one_stream() {
    let large = 100 * MIB;
    check_one_stream(&task(1, 0), known(large), "one connection");
    check_one_stream(&task(0, 3), known(large), "one connection");
    check_one_stream(&task(4, 0), Known { strong_validator: false, ..known(large) }, "validator");
    check_one_stream(&task(4, 0), Known { ranges_known: false, ..known(large) }, "ranges");
    let ranged = Task { headers: samples::pairs(&[("Range", "bytes=0-9")]), ..task(4, 0) };
    check_one_stream(&ranged, known(large), "range of its own");
    let head = Task { method: "HEAD".into(), ..task(4, 0) };
    check_one_stream(&head, known(large), "GET");
}

proptest! {
    #[test]
    fn parts_cover_the_file_without_gaps(total in any::<u64>(), chunks in 0..2_000_u32, mirrors in 0..5_usize) {
        let task = task(chunks, mirrors);
        if let Verdict::Divide(parts) = decide(&task, &known(total)) {
            let mut next = 0;
            for (index, part) in parts.iter().enumerate() {
                prop_assert_eq!(part.first_byte, next);
                prop_assert!(part.last_byte >= part.first_byte);
                prop_assert!(part.place as usize <= mirrors);
                let length = part.last_byte - part.first_byte + 1;
                prop_assert!(length >= MIB || index + 1 == parts.len());
                next = part.last_byte + 1;
            }
            prop_assert_eq!(next, total);
            prop_assert!((2..=1024).contains(&parts.len()));
        }
    }
}
