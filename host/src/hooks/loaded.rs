//! The components that are loaded or being loaded, and the names that they are shown by. Compiles and starts none: that takes
//! long, and nobody waits here for who does it.

use std::sync::Arc;

use super::{Component, ComponentSource};
use crate::error::Error;

type Digest = [u8; 32];

/// What one set of hooks has loaded.
#[derive(Debug, Default)]
pub(super) struct Loaded(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    source: ComponentSource,
    digest: Digest,
    /// `None`: somebody is loading it.
    component: Option<Arc<Component>>,
}

/// How far a component is.
pub(super) enum Begun {
    Loaded(Arc<Component>),
    /// The caller loads it, to be shown by this name, and says by [`Loaded::end`] what came of it.
    Named(String),
}

impl Loaded {
    /// What there is of a file. Several may load the same one at a time.
    pub(super) fn begin(
        &mut self,
        source: &ComponentSource,
        digest: &Digest,
        sha256: impl FnOnce() -> String,
    ) -> Begun {
        self.0.retain(|entry| entry.source != *source || entry.digest == *digest);
        let known = self.0.iter().find(|entry| entry.source == *source);
        if let Some(Entry { component: Some(component), .. }) = known {
            return Begun::Loaded(Arc::clone(component));
        }
        let (is_new, name) = (known.is_none(), self.shown_name(source, digest, sha256));
        if is_new {
            self.0.push(Entry { source: source.clone(), digest: *digest, component: None });
        }
        Begun::Named(name)
    }

    /// What came of loading: the component that is asked from now on, which may be another's who was quicker.
    pub(super) fn end(
        &mut self,
        source: &ComponentSource,
        digest: &Digest,
        made: Result<Arc<Component>, Error>,
    ) -> Result<Arc<Component>, Error> {
        let place = self.0.iter().position(|entry| entry.source == *source && entry.digest == *digest);
        if let Some(component) = place.and_then(|place| self.0.get(place)?.component.clone()) {
            return Ok(component);
        }
        if let Some(place) = place {
            self.0.swap_remove(place);
        }
        let component = made?;
        let entry = Entry { source: source.clone(), digest: *digest, component: Some(Arc::clone(&component)) };
        self.0.push(entry);
        Ok(component)
    }

    pub(super) fn forget(&mut self, component: &Arc<Component>) {
        let is_it = |entry: &Entry| entry.component.as_ref().is_some_and(|known| Arc::ptr_eq(known, component));
        self.0.retain(|entry| !is_it(entry));
    }

    #[cfg(test)]
    pub(super) fn is_loading(&self, name: &str) -> bool {
        self.0.iter().any(|entry| entry.source.name == name && entry.component.is_none())
    }

    /// The name in logs and messages: tasks name components by paths, and files of one name are told apart by the first digits
    /// of their SHA-256. What is attached has names of its own, and its versions share one.
    fn shown_name(&self, source: &ComponentSource, digest: &Digest, sha256: impl FnOnce() -> String) -> String {
        let name = &source.name;
        let is_other =
            |entry: &Entry| entry.source.name == *name && entry.source.sha256.is_none() && entry.digest != *digest;
        match source.sha256.is_none() && self.0.iter().any(is_other) {
            true => format!("{name} ({})", sha256().get(..8).unwrap_or_default()),
            false => name.clone(),
        }
    }
}
