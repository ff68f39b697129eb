//! Which addresses a request may connect to that a component leads to another URL: any of its task's own hosts (its URL's and its
//! mirrors'), and of those that are granted to the component; else public ones only, redirects from there included. A
//! component could reach the owner's own network by a task's request otherwise.
//!
//! Looks up no names: the transport asks the guard about each address (reliability.md E.4).

use std::sync::Arc;

use url::Url;

use super::Chain;
use crate::hooks::{Component, HookTask};
use crate::task::Auth;
use crate::transport::{Guard, Ports, PrivateHost, is_same_origin};

impl Chain {
    /// What holds for a request that a component takes from one URL to another. `None`: what held for it before, for it stays
    /// with its host.
    pub(super) fn leads(&self, position: usize, task: &HookTask, from: &str, to: &str) -> Option<Guard> {
        (host_of(from) != host_of(to)).then(|| self.leads_to(position, task, to))
    }

    /// What holds for a request that a component leads to a URL.
    pub(super) fn leads_to(&self, position: usize, task: &HookTask, to: &str) -> Guard {
        let component = &self.links.components[position];
        guard(component.now(), task, to)
    }

    /// The same of a URL that a component of that name has given an earlier attempt; where it is there no more, or is not the
    /// only one of that name, without its grants.
    pub(crate) fn led_to(&self, by: &str, task: &HookTask, to: &str) -> Guard {
        let mut of_name = self.links.components.iter().filter_map(Component::now).filter(|known| known.name() == by);
        let component = of_name.next().filter(|_| of_name.next().is_none());
        guard(component, task, to)
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

fn host_of(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(str::to_owned)
}
