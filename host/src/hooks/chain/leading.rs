//! Where a component may lead a request, with which credentials, and which addresses it may connect to then: every answer that
//! changes where requests go is judged by [`Who::lead`].
//!
//! Addresses are any of its task's own hosts (its URL's and its mirrors'), and of those that are granted to the component; else
//! public ones only, redirects from there included. A component could reach the owner's own network by a task's request
//! otherwise. Where the task's own server redirects to, what its Location says is requested as it stands; another URL there, or
//! another header, is the component's.
//!
//! Looks up no names: the transport asks the guard about each address (reliability.md E.4).

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use url::Url;

use super::Chain;
use super::walk::Who;
use crate::hooks::bindings::haul::transfer as wit;
use crate::hooks::{Component, HookTask, RequestHead, RetryChanges, StartChanges, check};
use crate::task::{Auth, Pairs};
use crate::transport::{Guard, Ports, PrivateHost, SENT_AS_IT_IS, how_to_grant, is_same_origin, name_before_query};

/// What a component does to a request whose URL is its own, and to one whose headers are.
const LEADS_TO: &str = "leads to";
const ADDS_TO: &str = "adds headers to a request to";

/// What a component has made of a request.
pub(super) trait Leads {
    /// Its URL, where it says one, and its headers.
    fn request(&self) -> (Option<&String>, &Pairs);

    /// Takes down what holds for it from here on.
    fn led(&mut self, by: &Leader<'_>);
}

impl Leads for RequestHead {
    fn request(&self) -> (Option<&String>, &Pairs) {
        (Some(&self.url), &self.headers)
    }

    fn led(&mut self, by: &Leader<'_>) {
        self.guard = by.guard(&self.url, &self.headers);
    }
}

impl Leads for StartChanges {
    fn request(&self) -> (Option<&String>, &Pairs) {
        (self.url.as_ref(), &self.headers)
    }

    fn led(&mut self, by: &Leader<'_>) {
        self.guard = self.url.as_deref().and_then(|url| by.guard(url, &self.headers)).unwrap_or_default();
    }
}

/// They outlive the chain: its guard is made by the name, when there is another attempt ([`Chain::led_to`]).
impl Leads for RetryChanges {
    fn request(&self) -> (Option<&String>, &Pairs) {
        (self.url.as_ref(), &self.headers)
    }

    fn led(&mut self, by: &Leader<'_>) {
        self.by = by.who.component().name().to_owned();
    }
}

/// The request that a component was asked about.
pub(super) struct Given<'a> {
    url: &'a str,
    /// The credentials that it names by handle.
    known: Cow<'a, [String]>,
    /// Its headers, and what held for it; of a task, which has made no request yet, nothing did.
    sent: Option<(&'a Pairs, &'a Option<Guard>)>,
}

impl<'a> Given<'a> {
    pub(super) fn task(task: &'a HookTask) -> Self {
        Self { url: &task.wit.url, known: Cow::Borrowed(&task.handles), sent: None }
    }

    pub(super) fn request(request: &'a RequestHead) -> Self {
        let known = Cow::Owned(handles_of(Some(&request.url), &request.headers));
        Self { url: &request.url, known, sent: Some((&request.headers, &request.guard)) }
    }
}

/// Who leads a request of a task.
pub(super) struct Leader<'a> {
    who: Who<'a>,
    task: &'a HookTask,
    given: &'a Given<'a>,
}

impl Leader<'_> {
    /// What holds for what it has made of a request. `None`: what held for that before.
    fn guard(&self, to: &str, headers: &Pairs) -> Option<Guard> {
        let component = self.who.chain.links.components[self.who.position].now();
        let Some((before, held)) = self.given.sent else {
            return (host_of(self.given.url) != host_of(to)).then(|| guard(component, LEADS_TO, self.task, to));
        };
        let (from, url) = (Url::parse(self.given.url).ok(), Url::parse(to).ok()?);
        if from.as_ref().is_none_or(|from| from.host() != url.host()) {
            return Some(guard(component, LEADS_TO, self.task, to));
        }
        let verb = if from.as_ref() != Some(&url) {
            LEADS_TO
        } else if adds_headers(before, headers) {
            ADDS_TO
        } else {
            return held.clone();
        };
        match (guard(component, verb, self.task, to), held) {
            (Guard::Any, held) => held.clone(), // the task's own host
            (guard, Some(held)) => Some(held.and(guard, &url)),
            (guard, None) => Some(guard),
        }
    }
}

fn adds_headers(given: &Pairs, made: &Pairs) -> bool {
    let is_given = |(name, value): &(String, String)| {
        given.iter().any(|(known, same)| known.eq_ignore_ascii_case(name) && same == value)
    };
    !made.iter().all(is_given)
}

impl Who<'_> {
    /// Whether the component may make that of what it was asked about; what holds for it then is taken down with it.
    pub(super) fn lead(self, task: &HookTask, given: &Given<'_>, made: &mut impl Leads) -> Result<(), String> {
        let (to, headers) = made.request();
        self.chain.may_take(self.position, task, given.url, to.map(String::as_str))?;
        self.chain.may_use(Some(self.position), &handles_of(to, headers), &given.known)?;
        if let Some(name) = to.and_then(|to| name_before_query(to)).filter(|_| name_before_query(given.url).is_none()) {
            self.warn_once(&name);
        }
        made.led(&Leader { who: self, task, given });
        Ok(())
    }

    /// Says that the component has put a handle where no secret takes its place.
    fn warn_once(self, name: &str) {
        if !self.chain.links.is_warned.swap(true, Ordering::Relaxed) {
            let who = self.place();
            tracing::warn!("{who}: the handle of the credential `{name}` in a URL before its query {SENT_AS_IT_IS}");
        }
    }
}

impl Chain {
    /// Whether who answered may use these credentials by handle, when it was asked with those. The default policy may: it has
    /// no others than those of the question.
    pub(super) fn may_use(&self, who: Option<usize>, answered: &[String], asked: &[String]) -> Result<(), String> {
        who.map_or(Ok(()), |position| self.links.components[position].may_use(answered, asked))
    }

    /// Whether who answered may have a request sent there by the host: to the origin that renews the credential, or to a host
    /// granted to it.
    pub(super) fn may_send(&self, who: Option<usize>, url: &str, auth: &Auth) -> Result<(), String> {
        let Some(position) = who else { return Ok(()) };
        if auth.refresh_url.as_deref().is_some_and(|own| is_same_origin(own, url)) {
            return Ok(());
        }
        self.links.components[position].may_reach(url).map_err(|host| {
            let how = how_to_grant(&host);
            format!("a request to {host}, which is neither the origin of `refreshUrl` nor granted ({how})")
        })
    }

    /// Whether a component may take a request of that task from one URL to another: never from https to http, and where it has
    /// a body, which is its owner's, only within an origin, or to a host granted to it.
    fn may_take(&self, position: usize, task: &HookTask, from: &str, to: Option<&str>) -> Result<(), String> {
        let Some(to) = to.filter(|to| !is_same_origin(from, to)) else { return Ok(()) };
        if is_https(from) && !is_https(to) {
            let to = check::text(crate::mask::url(to));
            return Err(format!("the URL `{to}` for one of https: it must be of https, too"));
        }
        if matches!(task.wit.body, wit::types::Body::None) {
            return Ok(());
        }
        self.links.components[position].may_reach(to).map_err(|host| {
            let how = how_to_grant(&host);
            format!("another origin, {host}, for a request with a body, which is not granted ({how})")
        })
    }

    /// What holds for a request at a URL that a component of that name has given an earlier attempt; where it is there no more,
    /// or is not the only one of that name, without its grants.
    pub(crate) fn led_to(&self, by: &str, task: &HookTask, to: &str) -> Guard {
        let mut of_name = self.links.components.iter().filter_map(Component::now).filter(|known| known.name() == by);
        let component = of_name.next().filter(|_| of_name.next().is_none());
        guard(component, LEADS_TO, task, to)
    }

    /// What holds for a request by which a credential is renewed: where it goes elsewhere than `refreshUrl` says, a component wants
    /// that, and its host is granted to it.
    pub(crate) fn renews_at(&self, url: &str, auth: &Auth) -> Guard {
        if auth.refresh_url.as_deref().is_some_and(|own| is_same_origin(own, url)) {
            return Guard::Any;
        }
        let components = self.links.components.iter().filter_map(Component::now);
        Guard::Public { private_hosts: components.flat_map(|known| known.private_hosts()).collect(), led_by: None }
    }
}

fn guard(component: Option<&Arc<Component>>, verb: &str, task: &HookTask, to: &str) -> Guard {
    let own = || std::iter::once(&task.wit.url).chain(&task.wit.mirrors).filter_map(|url| host_of(url));
    if host_of(to).is_some_and(|host| own().any(|known| known == host)) {
        return Guard::Any;
    }
    let own = own().map(|host| PrivateHost { host, ports: Ports::Any });
    let granted = component.into_iter().flat_map(|component| component.private_hosts());
    let who = component.map_or("a component".to_owned(), |component| format!("component `{}`", component.name()));
    Guard::Public { private_hosts: own.chain(granted).collect(), led_by: Some(format!("{who} {verb}").into()) }
}

fn is_https(url: &str) -> bool {
    url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
}

fn host_of(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(str::to_owned)
}

/// The credentials that a request names by handle.
pub(super) fn handles_of(url: Option<&String>, headers: &Pairs) -> Vec<String> {
    check::handles(url.map_or(&[], std::slice::from_ref), headers)
}
