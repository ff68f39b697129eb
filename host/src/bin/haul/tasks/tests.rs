//! From flags to tasks.

use super::*;

fn flags() -> TaskFlags {
    let asking = AskingFlags { retries: 3, max_redirects: 10, ..AskingFlags::default() };
    TaskFlags { asking, priority: 5, ..TaskFlags::default() }
}

fn download() -> DownloadFlags {
    DownloadFlags { parts: 1, ..DownloadFlags::default() }
}

fn task(download: &DownloadFlags) -> Addition {
    Template::new(&flags(), download, Vec::new(), false, 0).unwrap().addition("http://h/f")
}

#[test]
fn a_plain_get_goes_to_the_current_directory_and_takes_the_servers_name() {
    let addition = task(&download());
    let here = std::env::current_dir().unwrap().canonicalize().unwrap();
    assert_eq!(addition.place, Some(here));
    assert_eq!(addition.task.filename, None);
    assert_eq!(addition.task.url, "http://h/f");
    assert_eq!(addition.task.retries, 3);
    assert_eq!(addition.task.retries_remaining, 3);
    assert_eq!(addition.task.updates, Updates::StatusAndProgress);
    assert!(addition.task.allow_pause);
    assert_eq!(addition.task.on_conflict, None);
}

#[test]
fn a_question_mark_is_the_servers_name() {
    let flags = DownloadFlags { output: Some("?".into()), ..download() };
    assert_eq!(task(&flags).task.filename, None);
}

#[test]
fn a_name_goes_into_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let place = |output: &str| {
        let flags = DownloadFlags { output: Some(output.into()), dir: Some(root.clone()), ..download() };
        let addition = task(&flags);
        (addition.place.unwrap(), addition.task.filename.unwrap())
    };
    assert_eq!(place("f.bin"), (root.clone(), "f.bin".into()));
}

#[test]
fn a_name_that_is_no_file_name_is_refused() {
    for output in ["-", "", "sub/", "..", "a/.", "a/b/f.bin", "/x/f.bin"] {
        let download = DownloadFlags { output: Some(output.into()), ..download() };
        let refused = Template::new(&flags(), &download, Vec::new(), false, 0);
        assert!(matches!(refused, Err(Error::Usage(_))), "{output}");
    }
}

#[test]
fn one_name_or_id_cannot_do_for_several_urls() {
    for (output, id) in [(Some("f"), None), (None, Some("i"))] {
        let flags = TaskFlags { id: id.map(Into::into), ..flags() };
        let download = DownloadFlags { output: output.map(Into::into), ..download() };
        assert!(matches!(Template::new(&flags, &download, Vec::new(), true, 0), Err(Error::Usage(_))));
        assert!(Template::new(&flags, &download, Vec::new(), false, 0).is_ok());
    }
}

#[test]
fn several_parts_make_a_parallel_download() {
    let flags = DownloadFlags { parts: 4, ..download() };
    let task = task(&flags).task;
    assert_eq!(task.task_type, TaskType::ParallelDownload);
    assert_eq!(task.chunks, 4);
}
