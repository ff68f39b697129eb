//! `haul probe`: how long a file is and what it is called, asked by HEAD.

use haul::{Addition, Reply, Request, Result, Task, Work};

use crate::args::{EngineFlags, Probe};
use crate::beside;
use crate::environment::{Environment, named, place};
use crate::exit;
use crate::link::Link;
use crate::outcome::Outcome;
use crate::printer::Printer;
use crate::signals::Interrupt;
use crate::tasks::{check_login, describe_asking};
use crate::text;

/// Runs the command; answers the exit code.
pub(crate) async fn run(probe: &Probe, environment: &Environment, printer: &Printer) -> Result<u8> {
    let (network, components) = (probe.network.clone(), probe.components.clone());
    let flags = EngineFlags { network, components, ..EngineFlags::default() };
    let callbacks = named(&flags.components, &environment.config.callbacks);
    let mut task = Task { url: probe.url.clone(), callbacks, ..Task::default() };
    check_login(&probe.login, &flags.network)?;
    describe_asking(&mut task, &probe.asking, &probe.login)?;
    let place = probe.dir.as_deref().map(place).transpose()?;
    let unique = place.is_some();
    let request = Request::Probe { addition: Box::new(Addition { task, place, paused: false }), unique };
    let mut interrupt = Interrupt::listen()?;
    let settings = environment.working_settings(&flags, probe.asking.profile.as_deref())?;
    let has_components = !settings.component_flags.is_empty();
    let mut link = Link::new(settings, Work::Asked);
    let asked = async {
        beside::enter(&mut link, &flags, has_components, printer).await?;
        link.call(request).await
    };
    let asked = interrupt.unless(asked).await;
    let closed = interrupt.unless(link.close()).await;
    let (Some(reply), Some(())) = (asked, closed) else { return Ok(exit::INTERRUPTED) };
    match reply? {
        Reply::Probed { status, expected_file_size, filename, why } => {
            tell(status, expected_file_size, &filename, printer);
            Ok(code(status, why.as_deref(), printer))
        }
        other => Err(other.does_not_fit()),
    }
}

fn tell(status: Option<u16>, size: Option<u64>, filename: &str, printer: &Printer) {
    if printer.json() {
        let json = serde_json::json!({
            "filename": filename, "expectedFileSize": size, "responseStatusCode": status,
        });
        return printer.data(json);
    }
    let size = size.map_or_else(|| "?".into(), |size| size.to_string());
    printer.data(format_args!("{size}\t{}", text::printable(filename)));
}

/// As for a task that ended with this status.
fn code(status: Option<u16>, why: Option<&str>, printer: &Printer) -> u8 {
    let Some(status) = status else {
        let why = text::printable(why.unwrap_or("there was no answer"));
        printer.error(format_args!("{why}; name and length are what the URL and the headers say"));
        return exit::NETWORK;
    };
    if status >= 300 {
        printer.error(format_args!(
            "the server answers HEAD with {status}: name and length are what the URL and the headers say"
        ));
    }
    let mut outcome = Outcome::new(match status {
        200..=299 => haul::Status::Complete,
        404 => haul::Status::NotFound,
        _ => haul::Status::Failed,
    });
    (outcome.http_status, outcome.kind) = (Some(status), Some(haul::FailureKind::HttpResponse));
    exit::of_outcome(&outcome)
}
