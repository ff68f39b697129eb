//! A program of its own that downloads with haul: `cargo run --example embed -- URL DIRECTORY`. Killed and run again, it goes
//! on where it stopped.

#![allow(clippy::print_stdout)] // what it prints is what it is for

use std::process::ExitCode;
use std::time::Duration;

use haul::task::Updates;
use haul::{AddOptions, Addition, Error, Result, Session, Settings, Status, Task, Told, Update, Work};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let mut typed = std::env::args().skip(1);
    let (Some(url), Some(directory)) = (typed.next(), typed.next()) else {
        return Err(Error::Usage("give a URL and a directory".into()));
    };
    let directory = std::path::absolute(directory).map_err(|error| Error::Usage(error.to_string()))?;
    let home = directory.join(".haul");

    let session = Session::open(Settings::new(home), Work::Asked).await?;
    let film = Task { retries: 3, updates: Updates::StatusAndProgress, ..Task::download(url) };
    let how = AddOptions { continue_same: true, ..AddOptions::default() }; // also after a crash
    let records = session.transmit_with(vec![Addition::new(film, directory)], how, Duration::ZERO, show).await?;
    session.close().await;

    for record in &records {
        println!("{}: {:?} {:?}", record.status.name(), record.file_path, record.exception);
    }
    let complete = records.iter().all(|record| record.status == Status::Complete);
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Fractions; below 0 progress is how the task ended.
fn show(told: Told<'_>) {
    if let Told::Update(Update::Progress(progress)) = told
        && progress.progress >= 0.0
    {
        println!("{:.0} %", progress.progress * 100.0);
    }
}
