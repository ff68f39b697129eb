//! What a table and a page say of a record.

use serde_json::json;

use super::*;

#[test]
fn a_task_is_called_by_its_file_then_its_name_then_its_url() {
    let url = json!({"url": "http://h/f", "filename": "?", "filePath": null});
    assert_eq!(name(&url), "http://h/f");
    let named = json!({"url": "http://h/f", "filename": "g"});
    assert_eq!(name(&named), "g");
    let done = json!({"url": "http://h/f", "filename": "g", "filePath": "/t/g (1)"});
    assert_eq!(name(&done), "g (1)");
}

#[test]
fn show_says_why_a_task_waits() {
    let waiting = json!({"reason": "host-limit", "until": null, "detail": "1 of 1 to h are running"});
    assert_eq!(field_text("waiting", &waiting).unwrap(), "host-limit: 1 of 1 to h are running");
    assert_eq!(field_text("waiting", &Value::Null), None);
    assert_eq!(field_text("headers", &json!({})), None);
    assert_eq!(field_text("bytesDone", &json!(2048)).unwrap(), "2,048 (2.0 KiB)");
}
