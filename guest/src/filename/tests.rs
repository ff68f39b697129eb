//! Names: who gives them, what is made of them, and what happens when they are taken.

use super::*;
use crate::samples::{self, response};
use alloc::vec::Vec;
use proptest::prelude::*;
use std::path::{Component, Path};

/// What a task without a name calls the answer with this Content-Disposition.
#[track_caller]
fn check(header: &str, expected: &str) {
    let response = response(200, &[("content-disposition", header)]);
    assert_eq!(decide(&samples::task(), &response, &[]), expected, "{header}");
}

#[track_caller]
fn check_url(url: &str, expected: &str) {
    let task = Task { url: url.into(), ..samples::task() };
    assert_eq!(decide(&task, &response(200, &[]), &[]), expected, "{url}");
}

#[track_caller]
fn check_safe(name: &str, expected: Option<&str>) {
    assert_eq!(sanitize::sanitize(name).as_deref(), expected, "{name:?}");
}

#[track_caller]
fn check_taken(name: &str, taken: &[&str], expected: &str) {
    let taken: Vec<String> = taken.iter().map(|name| (*name).into()).collect();
    assert_eq!(unique(name, &taken), expected);
}

#[test]
fn the_plain_name_is_a_token_or_quoted() {
    check("attachment; filename=example.html", "example.html");
    check("Attachment; FileName=example.html", "example.html");
    check("INLINE; FILENAME= \"an example.html\"", "an example.html");
    check("attachment; filename =\"a.txt\"", "a.txt");
    check("attachment;filename=\"a;b.txt\"", "a;b.txt");
    check(r#"attachment; filename="a\"b\c.txt""#, "a_bc.txt");
    check("attachment; filename=a.txt; size=12", "a.txt");
    check("attachment; x=1; filename=a.txt", "a.txt");
    check("attachment; xfilename=b.txt; filename=a.txt", "a.txt");
    check("attachment; x=\"filename=b.txt\"; filename=a.txt", "a.txt");
    check("attachment; filename=\"naïve €.txt\"", "naïve €.txt");
    check("attachment; filename='a.txt'", "'a.txt'");
    check("attachment; filename=a%20b.txt", "a%20b.txt");
    check("attachment; filename==?UTF-8?Q?a.txt?=", "=_UTF-8_Q_a.txt_=");
}

#[test]
fn what_browsers_forgive_is_forgiven() {
    check("filename=a.txt", "a.txt");
    check("; filename=a.txt", "a.txt");
    check("attachment; filename=my file.txt", "my file.txt");
    check("attachment; filename=a,b.txt", "a,b.txt");
    check("attachment; filename=\"a.txt", "a.txt");
    check("attachment; filename=\"a.txt\\", "a.txt");
    check("attachment; filename=\"a.txt\"junk; x=y", "a.txt");
    check("attachment;; ;filename=a.txt;", "a.txt");
    check("attachment; filename=a.txt; filename=b.txt", "a.txt");
    check("filename=a.txt; attachment", "a.txt");
}

#[test]
fn a_header_without_a_name_is_passed_over() {
    for header in [
        "",
        "attachment",
        "attachment; filename",
        "attachment; filename=",
        "attachment; filename=\"\"",
        "attachment; filename=\"..\"",
        "attachment; filename=/",
        "attachment; filename*0=\"a.txt\"",
        "attachment; filename*0*=UTF-8''a.txt",
        "attachment filename=a.txt",
        "attachment; foo=foo filename=a.txt",
    ] {
        check(header, "file.bin");
    }
    let two = response(200, &[("content-disposition", "inline"), ("Content-Disposition", "inline; filename=a.txt")]);
    assert_eq!(decide(&samples::task(), &two, &[]), "a.txt");
}

#[test]
fn the_extended_name_wins_in_any_order() {
    check("attachment; filename*=UTF-8''%e2%82%ac%20rates", "€ rates");
    check("attachment; filename*= UTF-8''%e2%82%ac%20rates", "€ rates");
    check("attachment; FILENAME* =utf-8'en'%e2%82%ac", "€");
    check("attachment; filename=plain.txt; filename*=UTF-8''star.txt", "star.txt");
    check("attachment; filename*=UTF-8''star.txt; filename=plain.txt", "star.txt");
    check("attachment; filename*=iso-8859-1''n%e4h.txt; filename=plain.txt", "näh.txt");
    check("attachment; filename*=UTF-8''A-%2541.html", "A-%41.html");
    check("attachment; filename*=UTF-8''it's.txt", "it's.txt");
    check("attachment; filename*=UTF-8''%2e%2e%2fetc%2fpasswd", "passwd");
}

#[test]
fn a_broken_extended_name_leaves_the_plain_one() {
    for value in [
        "UTF-8''%",
        "UTF-8''a%zz",
        "UTF-8''%e4.txt",
        "UTF-8'a.txt",
        "a.txt",
        "UTF-16''a.txt",
        "''a.txt",
        "UTF-8''",
        "\"UTF-8''a.txt\"",
        "UTF-8''ä.txt",
        "UTF-8''..",
        "windows-1252''a.txt",
    ] {
        let header = ["attachment; filename*=", value, "; filename=plain.txt"].concat();
        check(&header, "plain.txt");
    }
    check("attachment; filename *=UTF-8''a.txt; filename=plain.txt", "plain.txt");
}

#[test]
fn without_a_header_the_url_of_the_task_names_the_file() {
    check_url("https://example.org/dir/file.bin", "file.bin");
    check_url("https://example.org/dir/file.bin?name=/x.txt#/y", "file.bin");
    check_url("https://example.org/dir/", "dir");
    check_url("https://example.org/a%20b%c3%a4.txt", "a bä.txt");
    check_url("https://example.org/a%e4.txt", "aä.txt");
    check_url("https://example.org/50%.txt", "50%.txt");
    check_url("https://example.org/..%2f..%2fpasswd", "passwd");
    for nameless in [
        "https://example.org",
        "https://example.org/",
        "https://example.org/?a=/b.txt",
        "https://example.org/..",
        "https://example.org/%2e%2e",
        "https://example.org/a%2f",
        "nonsense",
    ] {
        check_url(nameless, "download");
    }
    let redirected = Response { url: "https://cdn.example/0815".into(), ..response(200, &[]) };
    assert_eq!(decide(&samples::task(), &redirected, &[]), "file.bin");
}

#[test]
fn a_given_name_is_kept_as_it_is() {
    let answer = response(200, &[("content-disposition", "attachment; filename=b.txt")]);
    let given = |name: &str| Task { filename: Some(name.into()), ..samples::task() };
    assert_eq!(decide(&given("a?.txt"), &answer, &[]), "a?.txt");
    assert_eq!(decide(&given("a.txt"), &answer, &["a.txt".into()]), "a (1).txt");
    assert_eq!(decide(&given("?"), &answer, &[]), "b.txt");
    assert_eq!(decide(&given(""), &answer, &[]), "b.txt");
}

#[test]
fn only_the_last_path_segment_is_left() {
    check_safe("../../etc/passwd", Some("passwd"));
    check_safe("C:\\dir\\a.txt", Some("a.txt"));
    check_safe("a/b\\c", Some("c"));
    for nothing in ["", ".", "..", "...", " ", " . .", "/", "a/", "a\\", "\u{202e}", "\0"] {
        check_safe(nothing, None);
    }
}

#[test]
fn what_deceives_or_breaks_is_taken_out() {
    check_safe("a\0b\r\nc\u{7f}\u{85}.txt", Some("abc.txt"));
    check_safe("cod\u{202e}txt.exe", Some("codtxt.exe"));
    check_safe("a\u{200b}\u{feff}b\u{2066}.txt", Some("ab.txt"));
    check_safe("a<b>c:d\"e|f?g*h", Some("a_b_c_d_e_f_g_h"));
    check_safe("  a.txt. . ", Some("a.txt"));
    check_safe(".bashrc", Some("_bashrc"));
    check_safe("..a", Some("_.a"));
    check_safe(" .a", Some("_a"));
    check_safe("a.part", Some("a.part_"));
    check_safe("a.PART", Some("a.PART_"));
    check_safe("a.journal", Some("a.journal_"));
    check_safe(".part", Some("_part"));
}

#[test]
fn devices_are_no_names() {
    for (name, expected) in [
        ("con", "_con"),
        ("NUL.txt", "_NUL.txt"),
        ("Aux .tar.gz", "_Aux .tar.gz"),
        ("COM1", "_COM1"),
        ("lpt9.x", "_lpt9.x"),
        ("com²", "_com²"),
        ("CONIN$", "_CONIN$"),
        ("console", "console"),
        ("COM10", "COM10"),
        ("com", "com"),
        ("comä", "comä"),
    ] {
        check_safe(name, Some(expected));
    }
}

#[test]
fn long_names_are_cut_and_keep_a_short_extension() {
    let cut = |name: &str| sanitize::sanitize(name).unwrap();
    let a = |count: usize| "a".repeat(count);
    assert_eq!(cut(&a(300)), a(200));
    assert_eq!(cut(&(a(300) + ".tar.gz")), a(197) + ".gz");
    assert_eq!(cut(&(a(300) + "." + &a(20))), a(200));
    assert_eq!(cut(&("ä".repeat(150) + ".txt")), "ä".repeat(98) + ".txt");
    assert_eq!(cut(&(a(199) + " " + &a(50))), a(199));
    assert_eq!(cut(&(a(195) + ".part")), a(195) + ".par_");
    assert_eq!(cut(&(a(196) + ".part")).len(), 200);
}

#[test]
fn a_taken_name_gets_a_number() {
    check_taken("f.txt", &[], "f.txt");
    check_taken("f.txt", &["f (1).txt"], "f.txt");
    check_taken("f.txt", &["f.txt"], "f (1).txt");
    check_taken("f.txt", &["f.txt", "f (1).txt"], "f (2).txt");
    check_taken("f.txt", &["f.txt", "f (2).txt"], "f (1).txt");
    check_taken("f (1).txt", &["f (1).txt"], "f (2).txt");
    check_taken("f (1).txt", &["f (1).txt", "f (2).txt"], "f (3).txt");
    check_taken("f (9).txt", &["f (9).txt"], "f (10).txt");
    check_taken("f(1).txt", &["f(1).txt"], "f(1) (1).txt");
    check_taken(" (1).txt", &[" (1).txt"], " (1) (1).txt");
    check_taken("(1)", &["(1)"], "(1) (1)");
    check_taken("f (x).txt", &["f (x).txt"], "f (x) (1).txt");
    check_taken("f ().txt", &["f ().txt"], "f () (1).txt");
    check_taken("f", &["f"], "f (1)");
    check_taken("f.", &["f."], "f. (1)");
    check_taken(".bashrc", &[".bashrc"], ".bashrc (1)");
    check_taken("a.tar.gz", &["a.tar.gz"], "a.tar (1).gz");
    check_taken("F.txt", &["f.txt"], "F.txt");
    check_taken("f (4294967295).txt", &["f (4294967295).txt"], "f (4294967296).txt");
    check_taken("f (99999999999).txt", &["f (99999999999).txt"], "f (99999999999) (1).txt");
}

#[test]
fn a_number_does_not_make_a_name_too_long() {
    let name = "ä".repeat(125) + ".txt";
    let expected = "ä".repeat(123) + " (1).txt";
    check_taken(&name, &[&name], &expected);
    assert!(expected.len() <= 255);
}

/// Text full of what matters here.
fn tricky() -> impl Strategy<Value = String> {
    let pieces = [
        "a",
        "ä",
        "€",
        "\u{1f600}",
        ".",
        "..",
        "/",
        "\\",
        " ",
        "\u{a0}",
        "\0",
        "\n",
        "\u{202e}",
        "\u{200d}",
        "?",
        ":",
        "con",
        "COM1",
        "nul.",
        ".part",
        ".journal",
        ".txt",
        "%2f",
        "%",
        "\"",
        "'",
        ";",
        "=",
        "*",
        "filename",
        "filename*=",
        "UTF-8''",
        "(1)",
        " (2)",
        "e",
        "\u{301}",
        "\u{338}",
        "\u{212a}",
    ];
    let piece = proptest::sample::select(Vec::from(pieces)).prop_map(String::from);
    let long = "[a-z.]{1,150}";
    proptest::collection::vec(prop_oneof![9 => piece, 1 => long, 1 => "\\PC"], 0..30).prop_map(|all| all.concat())
}

#[test]
fn names_that_look_alike_are_alike() {
    check_url("https://h/re%CC%81sume%CC%81.pdf", "r\u{e9}sum\u{e9}.pdf");
    check_url("https://h/r%C3%A9sum%C3%A9.pdf", "r\u{e9}sum\u{e9}.pdf");
}

fn check_one_segment(name: &str, bytes_max: usize) {
    assert!(!name.is_empty() && name.len() <= bytes_max, "{name:?}");
    let parts: Vec<_> = Path::new(name).components().collect();
    assert!(matches!(parts.as_slice(), [Component::Normal(one)] if *one == name), "{name:?}");
    assert!(!name.contains(['/', '\\', '<', '>', ':', '"', '|', '?', '*']), "{name:?}");
    assert!(!name.chars().any(char::is_control), "{name:?}");
    assert!(!name.starts_with(['.', ' ']) && !name.ends_with(['.', ' ']), "{name:?}");
    let small = name.to_ascii_lowercase();
    assert!(!small.ends_with(".part") && !small.ends_with(".journal"), "{name:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_sanitised_name_is_one_harmless_segment_and_stays_it(text in tricky()) {
        if let Some(name) = sanitize::sanitize(&text) {
            check_one_segment(&name, 200);
            prop_assert_eq!(sanitize::sanitize(&name), Some(name));
        }
    }

    #[test]
    fn any_answer_gets_a_harmless_name_that_is_free(
        header in tricky(), url in tricky(), taken in proptest::collection::vec(tricky(), 0..4)
    ) {
        let task = Task { url: ["https://h/", &url].concat(), ..samples::task() };
        let response = response(200, &[("content-disposition", &header)]);
        let wanted = decide(&task, &response, &[]);
        let taken: Vec<String> = taken.into_iter().chain([wanted.clone()]).collect();
        let name = decide(&task, &response, &taken);
        check_one_segment(&wanted, 200);
        check_one_segment(&name, 255);
        prop_assert!(!taken.contains(&name));
    }

    #[test]
    fn no_header_makes_the_parser_panic(header in any::<String>()) {
        let _ = disposition::names(&header);
    }
}
