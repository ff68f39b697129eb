//! Where a component may lead a request, with which credentials, and which addresses it may connect to then: every answer that
//! changes where requests go is judged by [`Who::lead`].
//!
//! Addresses are any of its task's own hosts (its URL's and its mirrors'), and of those that are granted to the component; else
//! public ones only, redirects from there included. A component could reach the owner's own network by a task's request
//! otherwise.
//!
//! Looks up no names: the transport asks the guard about each address (reliability.md E.4).

use std::sync::Arc;

use url::Url;

use super::Chain;
use super::walk::Who;
use crate::hooks::bindings::haul::transfer as wit;
use crate::hooks::{Component, HookTask, RequestHead, RetryChanges, StartChanges, check};
use crate::task::{Auth, Pairs};
use crate::transport::{Guard, Ports, PrivateHost, how_to_grant, is_same_origin};

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
        self.guard = by.guard(&self.url);
    }
}

impl Leads for StartChanges {
    fn request(&self) -> (Option<&String>, &Pairs) {
        (self.url.as_ref(), &self.headers)
    }

    fn led(&mut self, by: &Leader<'_>) {
        self.guard = self.url.as_deref().and_then(|url| by.guard(url)).unwrap_or_default();
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

/// Who leads a request of a task, and where it went before.
pub(super) struct Leader<'a> {
    who: Who<'a>,
    task: &'a HookTask,
    from: &'a str,
}

impl Leader<'_> {
    /// What holds for the request at that URL. `None`: what held for it before, for it stays with its host.
    fn guard(&self, to: &str) -> Option<Guard> {
        let component = &self.who.chain.links.components[self.who.position];
        (host_of(self.from) != host_of(to)).then(|| guard(component.now(), self.task, to))
    }
}

impl Who<'_> {
    /// Whether the component may make that of a request of the task, which had this URL and the credentials of these handles;
    /// what holds for it then is taken down with it.
    pub(super) fn lead(
        self,
        task: &HookTask,
        (from, known): (&str, &[String]),
        made: &mut impl Leads,
    ) -> Result<(), String> {
        let (to, headers) = made.request();
        self.chain.may_take(self.position, task, from, to.map(String::as_str))?;
        self.chain.may_use(Some(self.position), &handles_of(to, headers), known)?;
        made.led(&Leader { who: self, task, from });
        Ok(())
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
    pub fn led_to(&self, by: &str, task: &HookTask, to: &str) -> Guard {
        let mut of_name = self.links.components.iter().filter_map(Component::now).filter(|known| known.name() == by);
        let component = of_name.next().filter(|_| of_name.next().is_none());
        guard(component, task, to)
    }

    /// What holds for a request by which a credential is renewed: where it goes elsewhere than `refreshUrl` says, a component wants
    /// that, and its host is granted to it.
    pub fn renews_at(&self, url: &str, auth: &Auth) -> Guard {
        if auth.refresh_url.as_deref().is_some_and(|own| is_same_origin(own, url)) {
            return Guard::Any;
        }
        let components = self.links.components.iter().filter_map(Component::now);
        Guard::Public { private_hosts: components.flat_map(|known| known.private_hosts()).collect(), led_by: None }
    }
}

fn guard(component: Option<&Arc<Component>>, task: &HookTask, to: &str) -> Guard {
    let own = || std::iter::once(&task.wit.url).chain(&task.wit.mirrors).filter_map(|url| host_of(url));
    if host_of(to).is_some_and(|host| own().any(|known| known == host)) {
        return Guard::Any;
    }
    let own = own().map(|host| PrivateHost { host, ports: Ports::Any });
    let granted = component.into_iter().flat_map(|component| component.private_hosts());
    let who = component.map_or("a component".to_owned(), |component| format!("component `{}`", component.name()));
    Guard::Public { private_hosts: own.chain(granted).collect(), led_by: Some(who.into()) }
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
