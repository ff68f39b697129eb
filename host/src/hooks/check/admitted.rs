//! What `admit` may make of a task. Which bytes move between which places, in whose name, and who else is asked about it is
//! for the task's owner to say: a component that could change that would have what it was never granted. It may refuse a
//! task, be stricter, and choose what harms nobody: headers, paths and queries of URLs, priority, times, texts.
//!
//! Does not judge whether a task is valid: the default policy does, of what was given and of what was answered.

use super::{Checked, is_ours, text};
use crate::hooks::bindings::haul::transfer as wit;
use crate::task::Task;
use crate::transport::is_same_origin;

/// Whether an answered task (the first) is within what its owner gave (the second, in its normal form).
type Within = fn(&Task, &Task) -> bool;

/// What stays as it was given, by the names that people write.
const KEPT: [(&str, Within); 19] = [
    ("taskType", |task, given| task.task_type == given.task_type),
    ("url", |task, given| is_at(&task.url, [&given.url])),
    ("mirrors", |task, given| task.mirrors.iter().all(|url| is_at(url, given.mirrors.iter().chain([&given.url])))),
    ("httpRequestMethod", |task, given| task.http_request_method == given.http_request_method),
    ("headers", |task, given| own_headers(task).eq(own_headers(given))),
    ("post", |task, given| task.body == given.body),
    ("fields", |task, given| task.fields == given.fields),
    ("files", |task, given| task.files == given.files),
    ("fileField", |task, given| task.file_field == given.file_field),
    ("mimeType", |task, given| task.mime_type == given.mime_type),
    ("filename", |task, given| task.filename == given.filename),
    ("directory", |task, given| task.directory == given.directory),
    ("baseDirectory", |task, given| task.base_directory == given.base_directory),
    ("responseFile", |task, given| task.response_file == given.response_file),
    ("onConflict", |task, given| task.on_conflict == given.on_conflict),
    ("options", |task, given| task.auth == given.auth),
    ("group", |task, given| task.group == given.group),
    ("scope", |task, given| task.scope == given.scope),
    // The profile is in it, and by that proxy, TLS, cookies and logins; and what the host keeps with the task.
    ("extra", |task, given| task.extra == given.extra),
];

/// What may become stricter, not looser.
const BOUNDS: [(&str, Within); 10] = [
    ("checksum", |task, given| given.checksum.is_none() || task.checksum == given.checksum),
    ("retries", |task, given| task.retries <= given.retries),
    ("maxRedirects", |task, given| task.max_redirects <= given.max_redirects),
    ("chunks", |task, given| task.chunks <= given.chunks),
    ("limitRate", |task, given| is_not_above(task.limit_rate, given.limit_rate)),
    ("notBefore", |task, given| task.not_before >= given.not_before),
    ("notAfter", |task, given| is_not_above(task.not_after, given.not_after)),
    ("requiresWiFi", |task, given| task.requires_wifi || !given.requires_wifi),
    ("allowPause", |task, given| given.allow_pause || !task.allow_pause),
    ("repeatable", |task, given| given.repeatable || !task.repeatable),
];

/// The tasks that `admit` lets through are those that it was asked about (`given`: the id of each, and its `callbacks`). Which
/// components a task asks is for its owner to say: a component that could would be granted what others are, and could have the
/// host open any path.
pub(in crate::hooks) fn admitted<'a, P>(
    given: impl ExactSizeIterator<Item = (&'a str, &'a [String])>,
    answer: &[Result<wit::types::Task, P>],
) -> Checked {
    if answer.len() != given.len() {
        return Err(format!("{} answers for {} tasks: one for each, in order", answer.len(), given.len()));
    }
    for ((id, callbacks), answered) in given.zip(answer) {
        let Ok(task) = answered else { continue };
        if task.id != id {
            return Err(format!("a task with the id `{}` in the place of `{id}`", text(task.id.clone())));
        }
        if task.callbacks != callbacks {
            return Err("a task that asks other components: `callbacks` must stay as they are".into());
        }
    }
    Ok(())
}

/// Whether a task that a component answered is within what its owner gave: `given`, as the default policy has it.
pub(in crate::hooks) fn within(task: &Task, given: &Task) -> Checked {
    let broken = |rules: &[(&'static str, Within)]| {
        rules.iter().find(|(_, within)| !within(task, given)).map(|(field, _)| *field)
    };
    if let Some(field) = broken(&KEPT) {
        return Err(format!("a task with another `{field}`: that is for the task's owner to say"));
    }
    if let Some(field) = broken(&BOUNDS) {
        return Err(format!("a task with a looser `{field}` than its owner gave it"));
    }
    Ok(())
}

/// Whether a URL is one of these, or of the origin of one: elsewhere it would get what is meant for them.
fn is_at<'a>(url: &str, places: impl IntoIterator<Item = &'a String>) -> bool {
    places.into_iter().any(|place| url == place || is_same_origin(url, place))
}

/// Header fields that no component sets.
fn own_headers(task: &Task) -> impl Iterator<Item = &(String, String)> {
    task.headers.iter().filter(|(name, _)| is_ours(name))
}

/// Whether one bound is as strict as another; `None` is none.
fn is_not_above(bound: Option<u64>, given: Option<u64>) -> bool {
    given.is_none_or(|given| bound.is_some_and(|bound| bound <= given))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Auth, Body, FilePart, OnConflict, TaskType};

    fn given() -> Task {
        Task {
            mirrors: vec!["https://mirror.test/f".into()],
            headers: vec![("Range".into(), "bytes=0-9".into())],
            retries: 3,
            chunks: 4,
            limit_rate: Some(1000),
            not_before: Some(1000),
            not_after: Some(2000),
            requires_wifi: true,
            allow_pause: false,
            checksum: Some("md5=00".into()),
            extra: vec![("profile".into(), "corp".into())],
            ..Task::download("https://own.test/f?a=1")
        }
    }

    #[track_caller]
    fn refused(field: &str, change: impl FnOnce(&mut Task)) {
        let mut task = given();
        change(&mut task);
        let why = within(&task, &given()).unwrap_err();
        assert!(why.contains(&format!("`{field}`")), "{field}: {why}");
    }

    #[test]
    fn what_a_task_moves_and_in_whose_name_stays_as_its_owner_gave_it() {
        refused("taskType", |task| task.task_type = TaskType::Upload);
        for elsewhere in
            ["https://other.test/f", "http://own.test/f", "https://own.test:444/f", "https://mirror.test/f"]
        {
            refused("url", |task| task.url = elsewhere.into());
        }
        refused("mirrors", |task| task.mirrors.push("https://other.test/f".into()));
        refused("httpRequestMethod", |task| task.http_request_method = "DELETE".into());
        refused("headers", |task| task.headers.clear());
        refused("headers", |task| task.headers.push(("host".into(), "other.test".into())));
        refused("post", |task| task.body = Body::Bytes(b"x".into()));
        refused("fields", |task| task.fields.push(("a".into(), "b".into())));
        refused("files", |task| task.files.push(FilePart::default()));
        refused("fileField", |task| task.file_field = "other".into());
        refused("mimeType", |task| task.mime_type = "text/plain".into());
        refused("filename", |task| task.filename = Some("thesis.txt".into()));
        refused("directory", |task| task.directory = "other".into());
        refused("baseDirectory", |task| task.base_directory = "root".into());
        refused("responseFile", |task| task.response_file = Some("f".into()));
        refused("onConflict", |task| task.on_conflict = Some(OnConflict::Replace));
        refused("options", |task| task.auth = Some(Auth::default()));
        refused("group", |task| task.group = "other".into());
        refused("scope", |task| task.scope = Some("other".into()));
        refused("extra", |task| task.extra.clear());
        refused("extra", |task| task.set_profile("other"));
    }

    #[test]
    fn what_bounds_a_task_is_not_loosened() {
        refused("checksum", |task| task.checksum = None);
        refused("checksum", |task| task.checksum = Some("md5=11".into()));
        refused("retries", |task| task.retries += 1);
        refused("maxRedirects", |task| task.max_redirects += 1);
        refused("chunks", |task| task.chunks += 1);
        refused("limitRate", |task| task.limit_rate = None);
        refused("limitRate", |task| task.limit_rate = Some(1001));
        refused("notBefore", |task| task.not_before = None);
        refused("notBefore", |task| task.not_before = Some(999));
        refused("notAfter", |task| task.not_after = Some(2001));
        refused("requiresWiFi", |task| task.requires_wifi = false);
        refused("allowPause", |task| task.allow_pause = true);
        refused("repeatable", |task| task.repeatable = true);
    }

    #[test]
    fn a_task_may_become_stricter_and_be_asked_for_otherwise_at_its_own_place() {
        let mut task = given();
        task.url = "https://own.test/other?b=2".into();
        task.mirrors = vec!["https://own.test/other".into(), "https://mirror.test/other".into()];
        task.headers.push(("Accept".into(), "text/html".into()));
        (task.retries, task.max_redirects, task.chunks, task.priority) = (0, 0, 1, 9);
        (task.limit_rate, task.not_before, task.not_after) = (Some(10), Some(1500), Some(1600));
        (task.meta_data, task.display_name) = ("noted".into(), "Film".into());
        assert_eq!(within(&task, &given()), Ok(()));
        let unbounded = Task { checksum: None, limit_rate: None, not_after: None, ..given() };
        assert_eq!(within(&given(), &unbounded), Ok(()));
    }
}
