//! The places that a download can come from: its URL, and its mirrors in turn; what of a request may go to another of them, and
//! what a component may write into one that leaves the task's origin.

use std::ops::ControlFlow;

use super::{Context, Finished, Held, Stopped, download, once};
use crate::error::{Failure, FailureKind};
use crate::mask::Secrets;
use crate::task::{Pairs, Status, Task};
use crate::transport::is_same_origin;

/// Downloads from the URL, and where that fails from each mirror in turn; retries are not used up by that. Where several places
/// have brought a file of another digest, nobody knows whose bytes are wrong: each is asked alone then, the URL once more at last.
pub(super) async fn from_any_place(
    cx: &Context<'_>,
    wire: download::Wire,
    held: &mut Held,
) -> Result<Finished, Stopped> {
    let with_login = |mirror: &str| with_login(mirror, &wire.own_url);
    let mirror = |mirror: &String| download::Wire::own(&with_login(mirror), headers_for(mirror, &wire));
    let mut places: Vec<download::Wire> = cx.task.mirrors.iter().map(mirror).collect();
    places.insert(0, wire);
    let mut told = match from(cx, &places, 0, held).await {
        ControlFlow::Continue(stopped) if places.len() > 1 => stopped,
        ControlFlow::Continue(stopped) => return Err(stopped),
        ControlFlow::Break(outcome) => return outcome,
    };
    for place in (1..places.len()).chain([0]) {
        let is_wrong = is_wrong(&told);
        if place == 0 && !(is_wrong && download::wants_parts(cx)) {
            break;
        }
        let alone = std::slice::from_ref(&places[place]);
        let (among, place) = if is_wrong { (alone, 0) } else { (places.as_slice(), place) };
        match from(cx, among, place, held).await {
            ControlFlow::Break(outcome) => return outcome,
            ControlFlow::Continue(stopped) if !is_wrong => told = stopped,
            ControlFlow::Continue(_) => {}
        }
    }
    Err(told)
}

/// A server's refusal, with the place where that is a mirror: sentences stand behind the task's own URL.
pub(super) fn refused_at(cx: &Context<'_>, wire: &download::Wire, mut failure: Failure) -> Failure {
    let is_at = |mirror: &String| *mirror == wire.own_url || with_login(mirror, &cx.task.url) == wire.own_url;
    if failure.kind == FailureKind::HttpResponse && cx.task.mirrors.iter().any(is_at) {
        failure.description.push_str(&format!(", at the mirror {}", crate::mask::text(&cx.shown(&wire.url))));
    }
    failure
}

/// Downloads from one place, or, divided, from all. Goes on with why it failed, where another place may do; wrong bytes are given
/// up then.
async fn from(
    cx: &Context<'_>,
    places: &[download::Wire],
    place: usize,
    held: &mut Held,
) -> ControlFlow<Result<Finished, Stopped>, Stopped> {
    let stopped = match download::run(cx, places, place, held).await {
        Err(stopped) if may_be_elsewhere(cx, held, &stopped) => stopped,
        outcome => return ControlFlow::Break(outcome),
    };
    if is_wrong(&stopped) && !cx.task.mirrors.is_empty() {
        tracing::info!("{}: {} has another file", cx.task.task_id, cx.shown(&places[place].url));
        if let Err(failure) = held.give_up(cx.shared, cx.key).await {
            return ControlFlow::Break(Err(failure.into()));
        }
    }
    ControlFlow::Continue(stopped)
}

fn may_be_elsewhere(cx: &Context<'_>, held: &Held, stopped: &Stopped) -> bool {
    use FailureKind::{Checksum, Connection, HttpResponse, Resume};
    match stopped {
        Stopped::Failure(failure, _) if cx.may_be_renewed(failure) => false,
        Stopped::Failure(failure, _) if held.sends.is_some() && !once::is_undone(failure) => false,
        Stopped::Failure(failure, _) if failure.kind == Checksum => !held.part_was_changed,
        Stopped::Failure(failure, _) => matches!(failure.kind, Connection | HttpResponse | Resume),
        Stopped::Final(Status::NotFound, _) => true,
        _ => false,
    }
}

/// Whether a whole file came, and not the one that was expected.
fn is_wrong(stopped: &Stopped) -> bool {
    matches!(stopped, Stopped::Failure(failure, _) if failure.kind == FailureKind::Checksum)
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

/// Headers of a task that hold no secret, and go to any origin.
const SAFE: [&str; 6] = ["accept", "accept-language", "accept-encoding", "content-type", "user-agent", "range"];

fn is_one_of(name: &str, names: &[&str]) -> bool {
    names.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Credentials and headers of the task go to its own origin only, as with redirects.
pub(crate) fn headers_for(mirror: &str, wire: &download::Wire) -> Pairs {
    if is_same_origin(mirror, &wire.url) {
        return wire.headers.clone();
    }
    wire.headers.iter().filter(|(name, _)| is_one_of(name, &SAFE)).cloned().collect()
}

/// Takes out of a request that leaves its task's origin what a component has written into its headers (all but those `given`) and
/// is the task's: its secrets, its values, its names, cookies. An `Authorization` of another value stays: a new link has its own.
pub(crate) fn hold_back(task: &Task, url: &str, given: &[(String, String)], headers: &mut Pairs) {
    if is_same_origin(url, &task.url) || headers.iter().all(|field| given.contains(field)) {
        return;
    }
    let mut secrets = Secrets::default();
    secrets.add_task(task);
    let of_auth = task.auth.iter().flat_map(|auth| &auth.access_headers);
    let own: Vec<_> = task.headers.iter().chain(of_auth).filter(|(name, _)| !is_one_of(name, &SAFE)).collect();
    let may_leave = |name: &str, value: &str| {
        let is_own_name = own.iter().any(|(known, _)| name.eq_ignore_ascii_case(known));
        let is_own_value = own.iter().any(|(_, known)| value == known && !known.contains("{credential:"));
        let is_held = is_own_value || secrets.is_in(value) || is_one_of(name, &["cookie", "proxy-authorization"]);
        !is_held && (!is_own_name || is_one_of(name, &["authorization"]))
    };
    headers.retain(|field| given.contains(field) || may_leave(&field.0, &field.1));
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

    #[test]
    fn what_is_the_tasks_leaves_its_origin_by_no_header_of_a_component() {
        let pairs = |pairs: &[(&str, &str)]| -> Pairs {
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        let own = [
            ("Authorization", "Bearer own-token"),
            ("X-Own", "7"),
            ("Accept", "text/plain"),
            ("X-H", "{credential:c}"),
        ];
        let task = Task { headers: pairs(&own), ..Task::download("http://h/f?sig=signature") };
        let sent = |url: &str, written: &[(&str, &str)]| {
            let mut headers = pairs(written);
            hold_back(&task, url, &pairs(&[("X-Given", "7")]), &mut headers);
            headers
        };
        let held = [
            ("authorization", "Bearer own-token"),
            ("X-New", "own-token, and more"),
            ("X-Other", "7"),
            ("x-own", "8"),
            ("Cookie", "a=1"),
            ("Proxy-Authorization", "Basic eA=="),
            ("X-Sig", "%73ignature"),
        ];
        assert_eq!(sent("http://h/other", &held), pairs(&held));
        assert_eq!(sent("http://elsewhere/f", &held), pairs(&[]));
        let free = [
            ("Authorization", "Bearer of-the-new-link"),
            ("X-Given", "7"),
            ("Accept", "image/png"),
            ("X-New", "text/plain"),
            ("X-Handle", "{credential:c}"),
        ];
        assert_eq!(sent("http://elsewhere/f", &free), pairs(&free));
    }
}
