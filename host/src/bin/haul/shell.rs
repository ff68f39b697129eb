//! `haul completions` and `haul man`: texts made from the same description of the command line that parses it.

use clap::CommandFactory;
use haul::{Error, Result};

use crate::args::{Args, Completions, Man};
use crate::exit;
use crate::printer::Printer;

/// Runs `completions`; answers the exit code.
pub(crate) fn completions(typed: &Completions, printer: &Printer) -> u8 {
    let mut text = Vec::new();
    clap_complete::generate(typed.shell, &mut Args::command(), "haul", &mut text);
    printer.raw(&text);
    exit::DONE
}

/// Runs `man`; answers the exit code.
pub(crate) fn man(typed: &Man, printer: &Printer) -> Result<u8> {
    let mut command = Args::command();
    command.build();
    for name in &typed.command {
        let found = command.find_subcommand(name).cloned();
        let found = found.ok_or_else(|| Error::Usage(format!("there is no command `{}`", typed.command.join(" "))))?;
        // As in the name of the page: man haul-get.
        let page_name = format!("{}-{name}", command.get_name());
        command = found.name(page_name);
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut text)
        .map_err(|error| Error::Other(format!("cannot write the manual page: {error}")))?;
    printer.raw(&text);
    Ok(exit::DONE)
}
