//! Where each hook's function is found in an instance, with its types: the one table of all hooks.
//!
//! Functions are typed once, when an instance is made, so that a call costs no look-up and no type check.

use std::sync::Arc;

use wasmtime::AsContextMut;
use wasmtime::component::{ComponentNamedList, Instance, Lift, Lower, TypedFunc};

use super::bindings::haul::transfer as wit;
use super::words::Words;
use super::workshop::Visit;
use super::{Hook, denied};
use wit::types::{Auth, Failure, Request, Response, Task, Update};

/// The version of the contract that this host speaks.
pub(super) const VERSION: &str = "0.1.0";

/// A hook as a function with types.
pub(super) trait Ask: Send + Sync + 'static {
    /// Which one.
    const HOOK: Hook;
    /// What it is asked.
    type Params: ComponentNamedList + Lower + Words + Clone + Send + Sync + 'static;
    /// What it answers.
    type Answer: ComponentNamedList + Lift + Words + Clone + PartialEq + Send + Sync + 'static;
    /// The function in an instance, if it has one.
    fn of(functions: &Functions) -> Option<TypedFunc<Self::Params, Self::Answer>>;
    /// Adds a sentence of the host's own to the failure that an answer tells, where it tells one.
    fn explain(_answer: &mut Self::Answer, _sentence: &str) {}
}

macro_rules! hooks {
    ($($hook:ident $field:ident = $interface:literal $function:literal ($($param:ty),*) -> ($($answer:ty)?)
        $(explained by $explain:path)?;)*) => {
        /// The hooks that an instance answers.
        #[derive(Default)]
        pub(super) struct Functions {
            $($field: Option<TypedFunc<($($param,)*), ($($answer,)?)>>,)*
        }

        impl Functions {
            /// Finds all hooks of an instance. An export of the right name and the wrong type is an error.
            pub(super) fn find(mut store: impl AsContextMut, instance: &Instance) -> wasmtime::Result<Self> {
                Ok(Self {
                    $($field: find(&mut store, instance, $interface, $function)?,)*
                })
            }
        }

        $(
            pub(super) struct $hook;

            impl Ask for $hook {
                const HOOK: Hook = Hook::$hook;
                type Params = ($($param,)*);
                type Answer = ($($answer,)?);
                fn of(functions: &Functions) -> Option<TypedFunc<Self::Params, Self::Answer>> {
                    functions.$field
                }
                $(fn explain(answer: &mut Self::Answer, sentence: &str) {
                    $explain(answer, sentence);
                })?
            }
        )*

        impl Hook {
            /// All of them, in the order of a task's life as far as it has one.
            pub const ALL: [Hook; 17] = [$(Hook::$hook,)*];

            /// The name of its interface in the contract, e.g. `on-auth`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Hook::$hook => $interface,)*
                }
            }

            /// The name of its function.
            pub(super) fn function(self) -> &'static str {
                match self {
                    $(Hook::$hook => $function,)*
                }
            }

            /// Does something with the hook as a type.
            pub(super) async fn visit<V: Visit>(self, visit: V) -> V::Output {
                match self {
                    $(Hook::$hook => visit.hook::<$hook>().await,)*
                }
            }
        }
    };
}

hooks! {
    Admit admit = "admit" "decide" (Vec<Task>, wit::admit::Context)
        -> (Vec<Result<Task, Vec<wit::admit::Problem>>>);
    BeforeTaskStart before_task_start = "before-task-start" "handle" (Arc<Task>) -> (Option<Update>)
        explained by denied::explain_before_task_start;
    Authorize authorize = "authorize" "decide" (Arc<Task>, Auth, wit::authorize::Situation, u64)
        -> (wit::authorize::Verdict);
    OnAuth on_auth = "on-auth" "handle" (Arc<Task>, Auth, wit::authorize::Reason) -> (wit::on_auth::Verdict)
        explained by denied::explain_on_auth;
    OnTaskStart on_task_start = "on-task-start" "handle" (Arc<Task>) -> (Option<wit::on_task_start::Changes>);
    Resume resume = "resume" "decide" (Arc<Task>, wit::resume::Stored) -> (wit::resume::Answer);
    OnRequest on_request = "on-request" "handle" (Arc<Task>, Request) -> (wit::on_request::Verdict);
    OnRedirect on_redirect = "on-redirect" "handle" (Arc<Task>, wit::on_redirect::Hop)
        -> (wit::on_redirect::Verdict);
    OnResponse on_response = "on-response" "handle" (Arc<Task>, Response) -> (wit::on_response::Verdict);
    Classify classify = "classify" "decide" (Arc<Task>, wit::classify::Asked, Arc<Response>)
        -> (wit::classify::Verdict);
    Filename filename = "filename" "decide" (Arc<Task>, Arc<Response>, Vec<String>) -> (String);
    Parts parts = "parts" "decide" (Arc<Task>, wit::parts::Known) -> (wit::parts::Verdict);
    OnProgress on_progress = "on-progress" "handle" (Arc<Task>, wit::on_progress::Progress)
        -> (wit::on_progress::Verdict);
    OnError on_error = "on-error" "handle" (Arc<Task>, Failure, u32) -> (wit::on_error::Verdict)
        explained by denied::explain_on_error;
    Retry retry = "retry" "decide" (Arc<Task>, wit::retry::Attempt, Failure) -> (wit::retry::Verdict);
    Verify verify = "verify" "handle" (Arc<Task>, wit::verify::Finished) -> (Result<(), String>);
    OnTaskFinished on_task_finished = "on-task-finished" "handle" (Arc<Task>, Update) -> ();
}

impl Hook {
    /// The hook of that interface name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.name() == name)
    }

    /// Whether its answer is a pure decision, which the default policy gives where no component does.
    pub fn is_decision(self) -> bool {
        use Hook::*;
        matches!(self, Admit | Classify | Filename | Resume | Authorize | Retry | Parts)
    }

    /// Whether a component may use HTTP while it answers.
    pub fn may_use_http(self) -> bool {
        use Hook::*;
        matches!(self, BeforeTaskStart | OnAuth | OnTaskStart | OnError | OnTaskFinished)
    }
}

fn find<P, R>(
    mut store: impl AsContextMut,
    instance: &Instance,
    interface: &str,
    function: &str,
) -> wasmtime::Result<Option<TypedFunc<P, R>>>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    let name = format!("haul:transfer/{interface}@{VERSION}");
    let Some(interface) = instance.get_export_index(&mut store, None, &name) else {
        return Ok(None);
    };
    let index = instance
        .get_export_index(&mut store, Some(&interface), function)
        .ok_or_else(|| wasmtime::format_err!("`{name}` has no function `{function}`"))?;
    let typed = instance
        .get_typed_func::<P, R>(&mut store, &index)
        .map_err(|error| wasmtime::format_err!("`{name}`: {error:#}"))?;
    Ok(Some(typed))
}
