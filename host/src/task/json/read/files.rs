//! The files of uploads, and `file:` URIs in the places where background_downloader puts URIs (A.7, A.8).

use std::path::Path;

use serde_json::{Map, Value};

use super::super::base64;
use super::values::kind;
use super::{Reader, set};
use crate::task::{FilePart, TaskType};

impl Reader<'_> {
    /// Completes the file fields once everything else is read.
    pub(super) fn files(&mut self) {
        if let Some(files) = self.files {
            let parts = self.file_list(files);
            self.multi_upload(parts);
        } else if self.lists.iter().any(Option::is_some) {
            let parts = self.three_lists();
            self.multi_upload(parts);
        }
        if self.uri && self.task.task_type == TaskType::Download {
            self.uri_download();
        } else if self.uri {
            self.uri_upload();
        }
    }

    /// `files`: name | [field, name] | [field, name, media type] | an object that says it all.
    fn file_list(&mut self, files: &Value) -> Vec<FilePart> {
        let Value::Array(items) = files else {
            self.problems.problem::<()>("files", format!("must be a list, not {}", kind(files)));
            return Vec::new();
        };
        let mut parts = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            if let Value::Object(fields) = item {
                parts.push(self.part(fields, index));
                continue;
            }
            let texts: Option<Vec<&str>> = item.as_array().and_then(|texts| texts.iter().map(Value::as_str).collect());
            let (field, filename, mime_type) = match (item.as_str(), texts.as_deref()) {
                (Some(name), _) => (field_of(name, index), name, ""),
                (None, Some([field, name])) => (field.to_string(), *name, ""),
                (None, Some([field, name, mime_type])) => (field.to_string(), *name, *mime_type),
                _ => {
                    let reason = "must hold names, [field, name], [field, name, media type] or objects";
                    self.problems.problem::<()>("files", reason);
                    continue;
                }
            };
            parts.push(FilePart {
                field,
                filename: filename.into(),
                mime_type: mime_type.into(),
                ..FilePart::default()
            });
        }
        parts
    }

    /// A part with headers of its own, or whose content is in the task.
    fn part(&mut self, fields: &Map<String, Value>, index: usize) -> FilePart {
        let mut part = FilePart::default();
        for (key, value) in fields {
            let field = &format!("files.{key}");
            match key.as_str() {
                "field" => set(&mut part.field, self.problems.text(field, value)),
                "filename" => set(&mut part.filename, self.problems.text(field, value)),
                "mimeType" => set(&mut part.mime_type, self.problems.text(field, value)),
                "headers" => set(&mut part.headers, self.problems.pairs(field, value)),
                "content" => part.content = self.problems.text(field, value).map(String::into_bytes),
                "contentBase64" => {
                    part.content = self.problems.text(field, value).and_then(|text| match base64::decode(&text) {
                        Some(bytes) => Some(bytes),
                        None => self.problems.problem(field, "must be base64 with padding"),
                    });
                }
                _ => self.problems.unknown("files.", key, "a part of a form"),
            }
        }
        if fields.contains_key("content") && fields.contains_key("contentBase64") {
            let reason =
                format!("must have its content once, and number {} has `content` and `contentBase64`", index + 1);
            self.problems.problem::<()>("files", reason);
        }
        if part.field.is_empty() {
            part.field = field_of(&part.filename, index);
        }
        part
    }

    /// background_downloader's form: three lists of the same length.
    fn three_lists(&mut self) -> Vec<FilePart> {
        let [fields, names, mime_types] = std::mem::take(&mut self.lists);
        let names = names.unwrap_or_default();
        let fields = fields.unwrap_or_else(|| {
            let fields = names.iter().enumerate();
            fields.map(|(index, name)| field_of(name, index)).collect()
        });
        let mime_types = mime_types.unwrap_or_else(|| vec![String::new(); names.len()]);
        if fields.len() != names.len() || mime_types.len() != names.len() {
            self.problems.problem::<()>("filename", "must have as many entries as `fileField` and `mimeType`");
            return Vec::new();
        }
        let rows = names.into_iter().zip(fields).zip(mime_types);
        rows.map(|((filename, field), mime_type)| FilePart { field, filename, mime_type, ..FilePart::default() })
            .collect()
    }

    /// Sets the files. `file:` URIs and absolute paths (background_downloader's A.6 takes a path that exists as it is) need
    /// `root` as base directory; names beside them are below it only where the task is.
    fn multi_upload(&mut self, mut parts: Vec<FilePart>) {
        let is_absolute = |part: &FilePart| is_uri(&part.filename) || part.filename.starts_with('/');
        let on_disk = |part: &&mut FilePart| part.content.is_none();
        let absolute = parts.iter_mut().filter(on_disk).filter(|part| is_absolute(part)).count();
        let is_below_root = self.task.base_directory == "root";
        if absolute > 0 && absolute < parts.iter_mut().filter(on_disk).count() && !is_below_root {
            self.problems.problem::<()>("files", "must be all absolute (URIs or paths), or all names");
        } else if absolute > 0 {
            let directory = self.task.directory.trim_matches('/').to_owned();
            for part in parts.iter_mut().filter(on_disk) {
                let path = match part.filename.strip_prefix('/') {
                    Some(path) => Ok(path.to_owned()),
                    None if is_uri(&part.filename) => below_root(&part.filename),
                    None if directory.is_empty() => Ok(part.filename.clone()),
                    None => Ok(format!("{directory}/{}", part.filename)),
                };
                match path {
                    Ok(path) => part.filename = path,
                    Err(reason) => self.problems.problem("files", reason).unwrap_or_default(),
                }
            }
            self.task.base_directory = "root".into();
            self.task.directory = String::new();
        }
        self.task.files = parts;
    }

    /// UriDownloadTask: the directory is a URI, the name may be packed together with one.
    fn uri_download(&mut self) {
        let (_, uri) = unpack(&self.task.directory);
        match uri.map(|uri| below_root(&uri)) {
            Some(Ok(path)) => self.task.directory = path,
            Some(Err(reason)) => self.problems.problem("directory", reason).unwrap_or_default(),
            None => {
                let reason = "must be a `file:` URI in a UriDownloadTask";
                self.problems.problem::<()>("directory", reason);
            }
        }
        self.task.base_directory = "root".into();
        if let Some(given) = &self.task.filename {
            let (name, uri) = unpack(given);
            self.task.filename = name
                .filter(|name| !name.is_empty())
                .or_else(|| Some(split_last(&below_root(&uri?).ok()?).1.to_string()));
        }
    }

    /// UriUploadTask: the name is a URI, or packed together with one: then the file is sent under it.
    fn uri_upload(&mut self) {
        let (given, uri) = unpack(self.task.filename.as_deref().unwrap_or_default());
        match uri.map(|uri| below_root(&uri)) {
            Some(Ok(path)) => {
                let (directory, name) = split_last(&path);
                if let Some(given) = given.filter(|given| given != name) {
                    self.task.set_sent_names(&[given]);
                }
                self.task.filename = Some(name.into());
                self.task.directory = directory.into();
                self.task.base_directory = "root".into();
            }
            Some(Err(reason)) => self.problems.problem("filename", reason).unwrap_or_default(),
            None => {
                let reason = "must be a `file:` URI in a UriUploadTask";
                self.problems.problem::<()>("filename", reason);
            }
        }
    }
}

/// background_downloader's packing of a name and a URI in one text, `:::name::::::uri:::`.
fn unpack(text: &str) -> (Option<String>, Option<String>) {
    let packed =
        text.strip_prefix(":::").and_then(|text| text.strip_suffix(":::")).and_then(|text| text.split_once("::::::"));
    match packed {
        Some((name, uri)) => (Some(name.into()), Some(uri.into()).filter(|uri: &String| is_uri(uri))),
        None if is_uri(text) => (None, Some(text.into())),
        None => (Some(text.into()), None),
    }
}

/// Whether the text is a URI of one of background_downloader's schemes (A.3).
fn is_uri(text: &str) -> bool {
    ["file://", "file:/", "content://", "urlbookmark://", "media://"].iter().any(|scheme| text.starts_with(scheme))
}

/// The path of a `file:` URI, relative to the root directory.
fn below_root(uri: &str) -> Result<String, String> {
    let wrong = || format!("must be a `file:` URI without a host, not `{uri}`");
    let parsed = url::Url::parse(uri).map_err(|_| wrong())?;
    if parsed.scheme() != "file" {
        return Err(wrong());
    }
    let path = parsed.to_file_path().map_err(|()| wrong())?;
    let path = path.to_str().ok_or_else(|| format!("must be UTF-8, and `{uri}` is not"))?;
    Ok(path.trim_matches('/').into())
}

/// Directory and last segment of a relative path.
fn split_last(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The form field of a file that was given by its name only: the name without extension, or `fileN` for a URI.
fn field_of(name: &str, index: usize) -> String {
    if is_uri(name) {
        return format!("file{}", index + 1);
    }
    let stem = Path::new(name).file_stem().unwrap_or_default();
    stem.to_string_lossy().replace(char::is_control, "_")
}
