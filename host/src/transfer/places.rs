//! The places that a download can come from: its URL, and its mirrors in turn; what of a request may go to another of them.

use super::{Context, Finished, Held, Stopped, download, refused_with};
use crate::error::{Failure, FailureKind};
use crate::task::Status;
use crate::transport::is_same_origin;

/// Downloads from the URL, and where that fails from each mirror in turn; retries are not used up by that.
pub(super) async fn from_any_place(
    cx: &Context<'_>,
    wire: download::Wire,
    held: &mut Held,
) -> Result<Finished, Stopped> {
    let mirror = |mirror: &String| download::Wire::own(mirror, headers_for(mirror, &wire));
    let places: Vec<download::Wire> = std::iter::once(wire.clone()).chain(cx.task.mirrors.iter().map(mirror)).collect();
    let mut outcome = download::run(cx, &places, 0, held).await;
    for place in 1..places.len() {
        match &outcome {
            // Refused for its credentials: those are refreshed first.
            Err(Stopped::Failure(failure, _))
                if refused_with(failure).is_some() && cx.task.auth.is_some() && cx.renewals.is_earned() =>
            {
                return outcome;
            }
            Err(Stopped::Failure(failure, _)) if may_be_elsewhere(failure) => {}
            Err(Stopped::Final(Status::NotFound, _)) => {}
            _ => return outcome,
        }
        outcome = download::run(cx, &places, place, held).await;
    }
    outcome
}

fn may_be_elsewhere(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::Connection | FailureKind::HttpResponse | FailureKind::Resume)
}

/// A URL with the login of another one of its origin, where it has none itself.
pub(crate) fn with_login(url: &str, of: &str) -> String {
    let has_login = |url: &url::Url| !url.username().is_empty() || url.password().is_some();
    match (url::Url::parse(url), url::Url::parse(of)) {
        (Ok(mut to), Ok(from)) if to.origin() == from.origin() && has_login(&from) && !has_login(&to) => {
            // Both can't fail: an http URL has a host.
            let _ = to.set_username(from.username());
            let _ = to.set_password(from.password());
            to.into()
        }
        _ => url.to_owned(),
    }
}

/// Credentials and headers of the task go to its own origin only, as with redirects.
pub(crate) fn headers_for(mirror: &str, wire: &download::Wire) -> crate::task::Pairs {
    if is_same_origin(mirror, &wire.url) {
        return wire.headers.clone();
    }
    let safe = ["accept", "accept-language", "accept-encoding", "content-type", "user-agent", "range"];
    let keep = |name: &str| safe.iter().any(|safe| safe.eq_ignore_ascii_case(name));
    wire.headers.iter().filter(|(name, _)| keep(name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_stays_with_its_origin() {
        assert_eq!(with_login("http://h/u", "http://me:pw@h/f"), "http://me:pw@h/u");
        assert_eq!(with_login("http://other/u", "http://me:pw@h/f"), "http://other/u");
        assert_eq!(with_login("http://h:81/u", "http://me:pw@h/f"), "http://h:81/u");
        assert_eq!(with_login("http://own:x@h/u", "http://me:pw@h/f"), "http://own:x@h/u");
    }
}
