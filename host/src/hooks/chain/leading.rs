//! Which addresses a request may connect to that a component leads to another URL: any of its task's own hosts (its URL's and its
//! mirrors'), and of those that are granted to the component; else public ones only, redirects from there included. A
//! component could reach the owner's own network by a task's request otherwise. Where the task's own server redirects to, what its
//! Location says is requested as it stands; another URL there, or another header, is the component's.
//!
//! Looks up no names: the transport asks the guard about each address (reliability.md E.4).

use std::sync::Arc;

use url::Url;

use super::Chain;
use crate::hooks::{Component, HookTask, RequestHead};
use crate::task::Auth;
use crate::transport::{Guard, Ports, PrivateHost, is_same_origin};

/// What a component does to a request whose URL is its own, and to one whose headers are.
const LEADS_TO: &str = "leads to";
const ADDS_TO: &str = "adds headers to a request to";

impl Chain {
    /// What holds for a request that a component has made of another one. `None`: what held for that before.
    pub(super) fn leads(
        &self,
        position: usize,
        task: &HookTask,
        given: &RequestHead,
        made: &RequestHead,
    ) -> Option<Guard> {
        let (from, to) = (Url::parse(&given.url).ok(), Url::parse(&made.url).ok()?);
        if from.as_ref().is_none_or(|from| from.host() != to.host()) {
            return Some(self.leads_to(position, task, &made.url));
        }
        let verb = if from.as_ref() != Some(&to) {
            LEADS_TO
        } else if adds_headers(given, made) {
            ADDS_TO
        } else {
            return given.guard.clone();
        };
        let component = &self.links.components[position];
        match (guard(component.now(), verb, task, &made.url), &given.guard) {
            (Guard::Any, before) => before.clone(), // the task's own host
            (guard, Some(before)) => Some(before.and(guard, &to)),
            (guard, None) => Some(guard),
        }
    }

    /// What holds for a request that a component leads to a URL.
    pub(super) fn leads_to(&self, position: usize, task: &HookTask, to: &str) -> Guard {
        let component = &self.links.components[position];
        guard(component.now(), LEADS_TO, task, to)
    }

    /// The same of a URL that a component of that name has given an earlier attempt; where it is there no more, or is not the
    /// only one of that name, without its grants.
    pub fn led_to(&self, by: &str, task: &HookTask, to: &str) -> Guard {
        let mut of_name = self.links.components.iter().filter_map(Component::now).filter(|known| known.name() == by);
        let component = of_name.next().filter(|_| of_name.next().is_none());
        guard(component, LEADS_TO, task, to)
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

fn adds_headers(given: &RequestHead, made: &RequestHead) -> bool {
    let is_given = |(name, value): &(String, String)| {
        given.headers.iter().any(|(known, same)| known.eq_ignore_ascii_case(name) && same == value)
    };
    !made.headers.iter().all(is_given)
}

fn host_of(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(str::to_owned)
}
