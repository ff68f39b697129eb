//! The walk along a chain: the components that answer a hook are asked one after another, in order of attachment.
//!
//! Nobody's answer is judged here: each hook says what its answers mean and whether the next component is asked, and what an
//! answer may do to requests and credentials stands in `leading.rs`.

use std::marker::PhantomData;
use std::sync::{Arc, PoisonError};

use super::{Ask, Chain};
use crate::error::Failure;
use crate::hooks::component::CallFailed;
use crate::hooks::masked::Masked;
use crate::hooks::{Component, Hook};

/// Asks one component after another. Who asks the next one gives the question anew, with what it weighs: the bytes of it that
/// the answer may repeat.
pub(super) struct Walk<'c, A> {
    chain: &'c Chain,
    from: usize,
    /// A component asks, and not the host.
    nested: bool,
    hook: PhantomData<fn() -> A>,
}

/// A component that was asked a hook.
#[derive(Clone, Copy)]
pub(super) struct Who<'c> {
    pub(super) chain: &'c Chain,
    pub(super) position: usize,
    /// Who has given its answer: another one, where it has handed that on.
    pub(super) author: usize,
    hook: Hook,
}

impl Chain {
    /// Begins at the first component.
    pub(super) fn walk<A: Ask>(&self) -> Walk<'_, A> {
        Walk { chain: self, from: 0, nested: false, hook: PhantomData }
    }

    /// Goes on behind the component at that position, which asks.
    pub(super) fn walk_behind<A: Ask>(&self, position: usize) -> Walk<'_, A> {
        Walk { chain: self, from: position + 1, nested: true, hook: PhantomData }
    }
}

impl<'c, A: Ask> Walk<'c, A> {
    /// The next answer, and who gave it; `None`: there are no more. A component that fails ends the walk, unless it is one that
    /// is passed over then; the failure of another one, which it has asked, always does.
    pub(super) async fn next(
        &mut self,
        question: impl Fn() -> (usize, A::Params),
    ) -> Result<Option<(Who<'c>, A::Answer)>, Failure> {
        while let Some((who, answer)) = self.ask(&question).await {
            match answer {
                Ok(answer) => return Ok(Some((who, answer))),
                Err(failed) if failed.is_own && who.fails_open() => who.pass_over(&failed.failure),
                Err(failed) => return Err(failed.failure),
            }
        }
        Ok(None)
    }

    /// The same where a component that fails has said nothing, whichever it is: its failure is logged and counted.
    pub(super) async fn next_that_answers(
        &mut self,
        question: impl Fn() -> (usize, A::Params),
    ) -> Option<(Who<'c>, A::Answer)> {
        while let Some((who, answer)) = self.ask(&question).await {
            if let Ok(answer) = answer {
                return Some((who, answer));
            }
        }
        None
    }

    async fn ask(
        &mut self,
        question: impl Fn() -> (usize, A::Params),
    ) -> Option<(Who<'c>, Result<A::Answer, CallFailed>)> {
        let chain = self.chain;
        let position = chain.next(self.from, A::HOOK)?;
        self.from = position + 1;
        let (weight, params) = question();
        let answer = chain.call::<A>(position, self.nested, weight, params).await;
        let author = answer.as_ref().map_or(position, |(author, _)| *author);
        Some((Who { chain, position, author, hook: A::HOOK }, answer.map(|(_, answer)| answer)))
    }
}

impl<'c> Who<'c> {
    /// The component, or what has taken its place.
    pub(super) fn component(self) -> &'c Arc<Component> {
        self.chain.component(self.position, self.hook)
    }

    /// Its answer, if it can be acted on.
    pub(super) fn usable<T: Masked>(self, answer: Result<T, String>) -> Result<T, Failure> {
        self.chain.usable(Some(self.position), self.hook, answer)
    }

    /// Its answer was fine, where there is nothing to be checked.
    pub(super) fn well(self) {
        self.component().well(self.hook);
    }

    /// Which component it is, and where, for people.
    pub(super) fn place(self) -> String {
        self.component().place(self.hook)
    }

    fn pass_over(self, failure: &Failure) {
        tracing::info!("passed over: {}", failure.description);
        self.chain.links.passed_over.lock().unwrap_or_else(PoisonError::into_inner).insert(self.place());
    }

    fn fails_open(self) -> bool {
        self.chain.links.components[self.position].fails_open()
    }
}
