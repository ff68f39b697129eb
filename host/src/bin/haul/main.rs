//! The `haul` program: a client of the library that parses arguments, asks, and prints.
//!
//! It decides nothing about transfers: `args` is what was typed, `environment` and `tasks` what it means, `link` the way to
//! the engine, `printer` the only place that prints, `exit` what the shell is told. Each command has a file of its own.

use std::process::ExitCode;

use haul::{Action, Error, Result};

use crate::args::{Args, Cancel, Command};
use crate::environment::Environment;
use crate::printer::Printer;

mod add;
mod args;
mod beside;
mod callbacks;
mod control;
mod demo;
mod doctor;
mod environment;
mod events;
mod exit;
mod finished;
mod follow;
mod foreground;
mod get;
mod import;
mod input;
mod limits;
mod link;
mod logging;
mod ls;
mod notifier;
mod outcome;
mod printer;
mod probe;
mod put;
mod reporter;
mod request;
mod resume_data;
mod run;
mod scope;
mod shell;
mod signals;
mod stdout;
mod tasks;
mod text;

/// Tasks, updates and their texts are freed by other threads than those that made them: the C library's allocator takes a
/// lock for each. SQLite has it, too: that allocator asks the system for each page that it grows by.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// jemalloc's settings, for little memory: arenas for two cores, no large blocks kept by threads, and what is free goes back to
/// the system within a second: at once it costs a call, and the other cores an interrupt, for what is soon taken again.
#[unsafe(export_name = "malloc_conf")]
#[used]
#[allow(unsafe_code)] // jemalloc reads them under this name
static ALLOCATOR_SETTINGS: &[u8; 63] = b"narenas:2,tcache_max:4096,dirty_decay_ms:1000,muzzy_decay_ms:0\0";

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == environment::COMPILE) {
        return ExitCode::from(haul::hooks::compile_as_child());
    }
    haul::ignore_file_size_signal(); // a file over the limit is an error like a full disk, not the end of the process
    let args = match Args::read() {
        Ok(args) => args,
        Err(error) => return ExitCode::from(printer::refuse(&error)),
    };
    let printer = Printer::new(&args.global);
    let code = code_of(dispatch(&args, &printer), &printer);
    ExitCode::from(printer.finish(code))
}

/// Each line of an error by itself: a list of invalid tasks has many.
fn tell(error: &Error, printer: &Printer) {
    let sentence = error.to_string();
    for line in sentence.lines() {
        printer.error(text::printable(line));
    }
}

fn dispatch(args: &Args, printer: &Printer) -> Result<u8> {
    match &args.command {
        Command::Completions(typed) => return Ok(shell::completions(typed, printer)),
        Command::Man(typed) => return shell::man(typed, printer),
        _ => {}
    }
    environment::raise_open_files();
    logging::start(&args.global, printer);
    environment::save_address_space();
    let runtime = haul::runtime()?;
    let code = runtime.block_on(to_the_end(args, printer));
    // A thread that still waits, say for stdin, must not hold up the end.
    runtime.shutdown_background();
    Ok(code)
}

/// The command, and all it has to say: who does not read it has the home no more, and ends it by a signal.
async fn to_the_end(args: &Args, printer: &Printer) -> u8 {
    let code = code_of(command(args, printer).await, printer);
    if signals::unless_again(printer.written()).await.is_some() {
        return code;
    }
    printer.hurry();
    exit::INTERRUPTED
}

/// The exit code, and a sentence for an error.
fn code_of(done: Result<u8>, printer: &Printer) -> u8 {
    done.unwrap_or_else(|error| {
        tell(&error, printer);
        exit::of_error(&error)
    })
}

async fn command(args: &Args, printer: &Printer) -> Result<u8> {
    match &args.command {
        Command::Doctor => return doctor::run(&args.global, printer).await,
        Command::Demo(typed) => return demo::run(typed, printer).await,
        _ => {}
    }
    let environment = &Environment::new(&args.global)?;
    let control = |action, select| control::control(action, select, None, environment, printer);
    match &args.command {
        Command::Get(typed) => get::run(typed, environment, printer).await,
        Command::Put(typed) => put::run(typed, environment, printer).await,
        Command::Request(typed) => request::run(typed, environment, printer).await,
        Command::Probe(typed) => probe::run(typed, environment, printer).await,
        Command::Add(typed) => add::run(typed, environment, printer).await,
        Command::Import(typed) => import::run(typed, environment, printer).await,
        Command::Run(typed) => run::run(typed, environment, printer).await,
        Command::Ls(typed) => ls::ls(typed, environment, printer).await,
        Command::Finished(typed) => ls::finished(typed, environment, printer).await,
        Command::Show(typed) => ls::show(typed, environment, printer).await,
        Command::Pause(select) => control(Action::Pause, select).await,
        Command::Resume(typed) => control::resume(typed, environment, printer).await,
        Command::Cancel(Cancel { select, reason }) => {
            control::control(Action::Cancel, select, reason.clone(), environment, printer).await
        }
        Command::Retry(select) => control(Action::Retry, select).await,
        Command::ExportResume(typed) => resume_data::export(typed, environment, printer).await,
        Command::ImportResume(typed) => resume_data::import(typed, environment, printer).await,
        Command::Rm(typed) => control::rm(typed, environment, printer).await,
        Command::Clean(typed) => control::clean(typed, environment, printer).await,
        Command::Open(typed) => finished::open(typed, environment, printer).await,
        Command::Move(typed) => finished::relocate(typed, environment, printer).await,
        Command::Limits(typed) => limits::run(typed, environment, printer).await,
        Command::Scope(typed) => scope::run(typed, environment, printer).await,
        Command::Events(typed) => events::run(typed, environment, printer).await,
        Command::Ack(typed) => events::ack(typed, environment, printer).await,
        Command::Consumer(typed) => events::consumer(typed, environment, printer).await,
        Command::Callbacks(typed) => callbacks::run(typed, environment, printer).await,
        Command::Check(typed) => callbacks::check(typed, environment, printer),
        Command::Doctor | Command::Demo(_) | Command::Completions(_) | Command::Man(_) => Ok(exit::DONE),
    }
}
