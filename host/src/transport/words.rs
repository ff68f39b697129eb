//! Sentences for people about what went wrong on the wire, and the search in chains of errors they need.
//!
//! Nothing here decides what a failure means; texts never hold a URL's query or userinfo, for they are made of hosts,
//! ports, limits and the system's own words.

use std::error::Error as StdError;
use std::time::Duration;

use crate::error::{Failure, FailureDetail, FailureKind};

/// The first error of type `T` in a chain, looking into `io::Error`s as well.
pub(super) fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(found) = current.downcast_ref::<T>() {
            return Some(found);
        }
        next = cause(current);
    }
    None
}

/// Whether HTTP/2 gave its connection up because the answers on it came in more tiny frames than it keeps: h2 counts what is not read
/// yet, and has no other name for it.
pub(super) fn is_of_tiny_frames(error: &(dyn StdError + 'static)) -> bool {
    let of_h2 = find::<h2::Error>(error).filter(|error| error.is_library());
    of_h2.is_some_and(|error| error.to_string().contains("too_many_data_frames"))
}

/// The words of the error at the bottom of a chain.
pub(super) fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut current = error;
    while let Some(deeper) = cause(current) {
        current = deeper;
    }
    match current.downcast_ref::<std::io::Error>() {
        Some(io) => system(io),
        None => without_link(current.to_string()),
    }
}

/// What an error wraps. An `io::Error` made from another error hides it from `source`, so it is asked first.
fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    if let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        return Some(inner);
    }
    error.source()
}

/// The system's words for an error, without its number.
pub(super) fn system(error: &std::io::Error) -> String {
    let text = without_link(error.to_string());
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

/// rustls adds a link for programmers, which reaches us through h2 as a text.
fn without_link(text: String) -> String {
    if text.contains("close_notify") { "TLS was not told of its end (close_notify)".into() } else { text }
}

/// Files of other forms are told how to become PEM: of PKCS#12, browsers' and Windows' form, people have most.
pub(super) const NO_PEM: &str =
    "it holds none in PEM form (`openssl pkcs12 -in FILE -nodes -out FILE.pem` makes that of PKCS#12)";

/// Why a PEM file cannot be used; nothing of it is quoted, for it may be a key.
pub(super) fn pem(error: &rustls_pki_types::pem::Error) -> String {
    use rustls_pki_types::pem::Error;
    match error {
        Error::Io(error) => system(error),
        Error::NoItemsFound => NO_PEM.into(),
        _ => "it is not proper PEM".into(),
    }
}

/// A duration as people say it.
pub(crate) fn span(duration: Duration) -> String {
    if duration.subsec_millis() == 0 && !duration.is_zero() {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} ms", duration.as_millis())
    }
}

pub(super) fn timeout(description: String) -> Failure {
    Failure::new(FailureKind::Connection, description).with(FailureDetail::Timeout)
}

pub(super) fn protocol(description: String) -> Failure {
    Failure::new(FailureKind::Connection, description).with(FailureDetail::Protocol)
}

pub(super) fn not_connected(description: String) -> Failure {
    Failure::new(FailureKind::Connection, description).with(FailureDetail::NotConnected)
}

pub(super) fn tls(description: String) -> Failure {
    Failure::new(FailureKind::Connection, description).with(FailureDetail::Tls)
}
