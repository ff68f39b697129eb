//! Values that the tests change a little: the plainest task, response and failure there are.

use crate::bindings::haul::transfer::types::*;
use alloc::{string::String, vec, vec::Vec};

/// A download of `https://example.org/dir/file.bin` in normal form.
pub(crate) fn task() -> Task {
    Task {
        id: "t1".into(),
        kind: TaskKind::Download,
        url: "https://example.org/dir/file.bin".into(),
        mirrors: vec![],
        query: vec![],
        headers: vec![],
        method: "GET".into(),
        body: Body::None,
        content_type: None,
        filename: None,
        directory: String::new(),
        base_directory: "downloads".into(),
        group: "default".into(),
        updates: Updates::Status,
        requires_wifi: false,
        retries: 3,
        retries_remaining: 3,
        allow_pause: false,
        priority: 5,
        meta_data: String::new(),
        display_name: String::new(),
        created_at_ms: 1_700_000_000_000,
        checksum: None,
        chunks: 1,
        on_conflict: Some(OnConflict::Unique),
        not_before_at_ms: None,
        not_after_at_ms: None,
        limit_bytes_per_second: None,
        timeouts: Timeouts { connect_ms: None, send_ms: None, head_ms: None, idle_ms: None, total_ms: None },
        max_redirects: 10,
        accept_status: vec![],
        callbacks: vec![],
        scope: None,
        file_field: "file".into(),
        mime_type: String::new(),
        fields: vec![],
        files: vec![],
        auth: None,
        response_file: None,
        repeatable: false,
        extra: vec![],
    }
}

/// Pairs of text, as in headers.
pub(crate) fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// A response without a body.
pub(crate) fn response(status: u16, headers: &[(&str, &str)]) -> Response {
    Response {
        status,
        headers: pairs(headers),
        url: "https://example.org/dir/file.bin".into(),
        body: vec![],
        extra: vec![],
    }
}

/// A failure of a kind, with nothing else known.
pub(crate) fn failure(kind: FailureKind) -> Failure {
    Failure {
        kind,
        detail: FailureDetail::None,
        description: "it failed".into(),
        http_status: None,
        retry_after_ms: None,
        outcome_unknown: false,
        extra: vec![],
    }
}
