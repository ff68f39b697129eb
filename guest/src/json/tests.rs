//! What is read, and what is not.

use super::*;
use alloc::format;
use proptest::prelude::*;

#[track_caller]
fn check(text: &str, expected: &[(&str, Value)]) {
    let read = members(text).expect(text);
    let read: Vec<_> = read.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    assert_eq!(read, expected);
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

#[test]
fn members_are_read_in_order() {
    check("{}", &[]);
    check(r#" { "a" : "b" , "n" : 12 } "#, &[("a", text("b")), ("n", Value::Number("12".into()))]);
    check(r#"{"n":-1.5e+3}"#, &[("n", Value::Number("-1.5e+3".into()))]);
    check(r#"{"a":true,"b":false,"c":null}"#, &[("a", Value::Other), ("b", Value::Other), ("c", Value::Other)]);
}

#[test]
fn nested_values_are_skipped() {
    check(r#"{"a":{"x":[1,"}",{"y":"\"]"}]},"b":"c"}"#, &[("a", Value::Other), ("b", text("c"))]);
}

#[test]
fn escapes_are_resolved() {
    check(r#"{"a":"\"\\\/\b\f\n\r\t"}"#, &[("a", text("\"\\/\u{8}\u{c}\n\r\t"))]);
    check(r#"{"a":"\u00e4\u20AC\ud83d\ude00"}"#, &[("a", text("ä€😀"))]);
}

#[test]
fn what_is_not_one_object_is_refused() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100));
    let broken = [
        "",
        "null",
        "[]",
        "\"a\"",
        "{",
        "{}x",
        "{}{}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\ud83d\"}",
        "{\"a\":\"\\ud83d\\u0041\"}",
        "{\"a\":\"\\ude00\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":[}",
        "{\"a\":[1}]",
        "{\"a\":-}",
        "{\"a\":1.}",
        "{\"a\":1e}",
        "{\"a\":nul}",
        &deep,
    ];
    for text in broken {
        assert_eq!(members(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*", braced in "\\{[\"a\\\\u0-9\\[\\]{}:,dnul.e-]{0,40}\\}") {
        let _ = members(&text);
        let _ = members(&braced);
    }

    #[test]
    fn what_is_written_is_read_again(value in any::<String>()) {
        let mut json = String::from("{\"a\":");
        push_string(&mut json, &value);
        json.push('}');
        prop_assert_eq!(members(&json), Some([("a".into(), Value::Text(value))].into()));
    }
}
