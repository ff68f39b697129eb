//! Reading lists. What a task's JSON may hold is tested with `task::json`.

use super::*;

fn values(text: &str) -> Vec<String> {
    let mut seen = Vec::new();
    let mut reader = BufReader::with_capacity(16, text.as_bytes());
    let (_, first) = skip_space(&mut reader).unwrap();
    let mut lines = Vec::new();
    let mut line = first;
    let mut begun = first;
    loop {
        let end = append_line(&mut reader, &mut lines).unwrap() == 0;
        line += 1;
        match value(&lines, end, line - begun > 1) {
            Line::GoesOn => continue,
            Line::Blank => {}
            Line::Value(Ok(value)) => seen.push(format!("{begun} {}", value.json)),
            Line::Value(Err(_)) => seen.push(format!("{begun} bad")),
        }
        if end {
            return seen;
        }
        lines.clear();
        begun = line;
    }
}

#[test]
fn url_lists_have_comments_and_blank_lines() {
    let text = "\u{feff}# mine\nhttp://a/1\r\n\n  http://b/2  \n#http://c/3\nhttp://d/4#frag";
    let urls: Vec<(String, u32)> = url_list(text).collect();
    let at = |line: u32, url: &str| (url.to_owned(), line);
    assert_eq!(urls, [at(2, "http://a/1"), at(4, "http://b/2"), at(6, "http://d/4#frag")]);
}

#[test]
fn objects_are_read_one_a_line_and_over_several() {
    let text = "\n{\"a\":1}\n\n{\n  \"b\": {\n  }\n}\n{\"c\":3}";
    assert_eq!(values(text), ["2 {\"a\":1}", "4 {\"b\":{}}", "8 {\"c\":3}"]);
}

#[test]
fn a_broken_line_is_named_and_the_next_one_is_read() {
    assert_eq!(values("{\"a\":1}\nnonsense\n{\"c\":3}\n"), ["1 {\"a\":1}", "2 bad", "3 {\"c\":3}"]);
    assert_eq!(values("{\"a\":1"), ["1 bad"]);
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let opened = List::open(Path::new("/no/such/file"), 0, Path::new("/tmp"));
    assert!(matches!(opened, Err(Error::FileSystem(_))));
}

#[test]
fn a_pipe_can_be_read_twice_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"{\"url\":\"a\"}\nnonsense\n").unwrap();
    drop(writer);
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
    let mut list = List::open(Path::new(&path), 0, dir.path()).unwrap();
    for _ in 0..2 {
        let mut lines = Vec::new();
        list.read(&mut |item| {
            let Item::Task(_, place, problems) = item else { return false };
            lines.push((place.to_string().ends_with(&format!(":{}", lines.len() + 1)), problems.len()));
            true
        });
        assert_eq!(lines, [(true, 0), (true, 1)]);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn an_array_that_is_cut_off_is_told_with_its_line() {
    let source = Source { name: "list".into(), defaults: Defaults::default() };
    let mut told = String::new();
    let mut reader = BufReader::new("[\n\n".as_bytes());
    read_array(&source, &mut reader, &mut |item| {
        if let Item::Broken(error) = item {
            told = error.to_string();
        }
        true
    });
    assert!(told.starts_with("list:"), "{told}");
}

#[test]
fn a_key_that_comes_twice_is_told_with_its_path() {
    let text = r#"{"url":"a","headers":{"A":"1","A":"2"},"url":"b","list":[{"x":1,"x":2}],"n":[1,-1,0.5,null,true]}"#;
    let parsed: Parsed = serde_json::from_str(text).unwrap();
    assert_eq!(parsed.repeated, ["headers.A", "url", "list.x"]);
    assert_eq!(parsed.json, serde_json::from_str::<serde_json::Value>(text).unwrap());
}
