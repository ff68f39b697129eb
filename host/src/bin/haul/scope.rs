//! `haul scope`: which scopes are cancelled, and how one takes tasks again. A scope is cancelled by `haul cancel --scope`.

use haul::{Request, Result};

use crate::args::Scope;
use crate::environment::Environment;
use crate::exit;
use crate::link::ask;
use crate::printer::Printer;
use crate::text;

fn is_below(other: &str, name: &str) -> bool {
    other.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'))
}

/// Runs the command; answers the exit code.
pub(crate) async fn run(typed: &Scope, environment: &Environment, printer: &Printer) -> Result<u8> {
    match typed {
        Scope::Reopen { name } => {
            ask(environment.settings(), Request::ReopenScope { name: name.clone() }).await?;
            printer.note(format_args!("reopened {}", text::printable(name)));
            let scopes = ask(environment.settings(), Request::Scopes).await?.info()?;
            let names = scopes.as_array().into_iter().flatten().filter_map(|scope| scope["scope"].as_str());
            for below in names.filter(|other| is_below(other, name)) {
                printer.note(format_args!("{} was cancelled by itself and stays so", text::printable(below)));
            }
        }
        Scope::Ls => {
            let scopes = ask(environment.settings(), Request::Scopes).await?.info()?;
            for scope in scopes.as_array().into_iter().flatten() {
                let part = |name: &str| scope[name].as_str().unwrap_or_default();
                if printer.json() {
                    printer.data(scope);
                } else {
                    let reason = match part("reason") {
                        "" => String::new(),
                        reason => format!("  ({})", text::printable(reason)),
                    };
                    let (at, name) = (part("canceledAt"), text::printable(part("scope")));
                    printer.data(format_args!("{at}  {name}{reason}"));
                }
            }
        }
    }
    Ok(exit::DONE)
}
