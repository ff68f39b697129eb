//! Log lines on stderr: what components say, warnings, and with -v what haul does.

use std::fmt::Write as _;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;

use crate::args::Global;
use crate::printer::{Printer, Style};
use crate::text;

/// Target of the lines that components write.
const COMPONENT: &str = "component";

/// Sends log lines to the printer, as much as the flags ask for.
pub(crate) fn start(global: &Global, printer: &Printer) {
    use LevelFilter as To;
    let (others, haul, components) = match (global.quiet, global.verbose) {
        (true, _) => (To::ERROR, To::ERROR, To::OFF),
        (false, 0) => (To::WARN, To::WARN, To::INFO),
        (false, 1) => (To::WARN, To::INFO, To::DEBUG),
        (false, 2) => (To::INFO, To::DEBUG, To::TRACE),
        (false, _) => (To::TRACE, To::TRACE, To::TRACE),
    };
    let told = Targets::new().with_default(others).with_target("haul", haul).with_target(COMPONENT, components);
    let to = printer.clone();
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Lines { printer: printer.clone() })
        .with_writer(move || to.clone());
    let subscriber = tracing_subscriber::registry().with(lines).with(told);
    // It can fail only when there is one already, and then that one serves.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Lines of components as they are (their name is in them), `level: message key=value` for everybody else.
struct Lines {
    printer: Printer,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> std::fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = text::printable(&fields.message);
        if event.metadata().target() == COMPONENT {
            return writeln!(writer, "{message}");
        }
        let level = match *event.metadata().level() {
            Level::ERROR => self.printer.err("error:", Style::Red),
            Level::WARN => self.printer.err("warning:", Style::Yellow),
            Level::INFO => "info:".into(),
            Level::DEBUG => "debug:".into(),
            Level::TRACE => "trace:".into(),
        };
        let rest = text::printable(&fields.rest);
        writeln!(writer, "{level} {message}{rest}")
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.into(),
            name => {
                let _ = write!(self.rest, " {name}={value}");
            }
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
