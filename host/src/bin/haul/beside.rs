//! Beside another process's engine, which has settings of its own: which flags it cannot be told, and what becomes of the command.
//! It decides nothing about tasks.

use std::time::Duration;

use haul::{Error, Result};

use crate::args::EngineFlags;
use crate::link::Link;
use crate::printer::Printer;

/// How long a command waits for the end of another one that has the home for a moment, where it cannot go through that.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens the home. Another process's engine is told of if it is joined: what would only be slower or faster is said; a pin that would
/// not be checked, a proxy that would be gone around, or a component that would not be asked, is refused. A command that only has
/// the home for a moment (`add`, `pause`) is waited for then.
pub(crate) async fn enter(link: &mut Link, flags: &EngineFlags, has_components: bool, printer: &Printer) -> Result<()> {
    enter_with(link, flags, indispensable(flags, has_components).or(recording(flags)), printer).await
}

/// The same for who stays to take over: a record then begins with the engine of its own.
pub(crate) async fn enter_to_stay(
    link: &mut Link,
    flags: &EngineFlags,
    has_components: bool,
    printer: &Printer,
) -> Result<()> {
    enter_with(link, flags, indispensable(flags, has_components), printer).await
}

async fn enter_with(
    link: &mut Link,
    flags: &EngineFlags,
    indispensable: Option<&'static str>,
    printer: &Printer,
) -> Result<()> {
    let Some(flag) = indispensable else {
        link.session().await?;
        if link.is_joined() {
            tell_ignored(flags, printer);
        }
        return Ok(());
    };
    let entering = async {
        loop {
            link.session().await?;
            if !link.is_joined() {
                return Ok(());
            }
            if link.works() {
                return Err(refusal(flag));
            }
            link.ended().await?;
        }
    };
    tokio::time::timeout(PATIENCE, entering).await.unwrap_or_else(|_| Err(refusal(flag)))
}

/// A flag that must be heeded, if one is given.
fn indispensable(flags: &EngineFlags, has_components: bool) -> Option<&'static str> {
    let components = [("--callbacks FILE", has_components), ("--policy FILE", flags.components.policy.is_some())];
    let mut all = flags.network.protections().into_iter().chain(components);
    all.find(|(_, given)| *given).map(|(flag, _)| flag)
}

fn recording(flags: &EngineFlags) -> Option<&'static str> {
    flags.components.record.is_some().then_some("--record")
}

fn refusal(flag: &str) -> Error {
    let otherwise = match flag {
        "--callbacks FILE" => {
            " (`haul callbacks attach FILE --group NAME` attaches it there, for tasks with `--group NAME`)"
        }
        _ => "",
    };
    Error::HomeLocked(format!(
        "another haul process is the engine of this home, and {flag} cannot be handed to it; \
         use another --home, or wait for its end{otherwise}"
    ))
}

fn tell_ignored(flags: &EngineFlags, printer: &Printer) {
    let own = [("--skip-existing", flags.skip_existing.is_some()), ("--durability", flags.durability.is_some())];
    let own = flags.limits.given().into_iter().chain(own);
    let record = [("--record", flags.components.record.is_some())];
    let given = own.chain(flags.network.others()).chain(record).filter(|(_, given)| *given);
    let ignored: Vec<&str> = given.map(|(name, _)| name).collect();
    if !ignored.is_empty() {
        printer.note(format_args!(
            "another haul process is the engine of this home and keeps its own settings: {} has no effect until it ends",
            ignored.join(", ")
        ));
    }
}
