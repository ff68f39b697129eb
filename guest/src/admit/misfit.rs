//! Fields that a task of this type does not have: what stands in them would be lost without a word.
//!
//! Empty values and defaults are no content: records have them.

use super::{Problems, is_upload};
use crate::bindings::haul::transfer::types::{Body, Task, TaskKind};
use crate::http;

/// Looks at the task as it was given, before anything is filled in.
pub(super) fn check(task: &Task, problems: &mut Problems) {
    let is_no_download = !http::is_download(task);
    let downloads_only = [
        ("checksum", task.checksum.as_deref().is_some_and(|checksum| !checksum.is_empty())),
        ("mirrors", !task.mirrors.is_empty()),
        ("chunks", task.chunks > 1),
    ];
    for (field, is_given) in downloads_only {
        problems.add_if(is_no_download && is_given, field, "must be absent in a task that is no download");
    }
    let has_fields = !is_upload(task) && !task.fields.is_empty();
    problems.add_if(has_fields, "fields", "must be absent in a task that is no upload");
    let has_files = !matches!(task.kind, TaskKind::MultiUpload) && !task.files.is_empty();
    problems.add_if(has_files, "files", "must be absent in a task that is no MultiUploadTask");
    if !matches!(task.kind, TaskKind::Upload) {
        let reason = match task.kind {
            TaskKind::MultiUpload => "must be absent in a MultiUploadTask, whose `files` have their own",
            _ => "must be absent in a task that is no upload",
        };
        problems.add_if(!matches!(task.file_field.as_str(), "" | "file"), "fileField", reason);
        problems.add_if(!task.mime_type.is_empty(), "mimeType", reason);
    }
    let has_type = task.content_type.as_deref().is_some_and(|text| !text.is_empty());
    if has_type && is_upload(task) {
        problems.add("contentType", "must be absent in an upload: `mimeType` is the type of its file");
    } else if has_type && matches!(task.body, Body::None) {
        problems.add("contentType", "must be absent in a task without a body");
    }
}
