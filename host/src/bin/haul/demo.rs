//! `haul demo`: the main job without a network. A server on the loopback interface hangs up in the middle of a file; the real
//! engine, with a home of its own in the temporary directory, goes on where it stopped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use haul::event::StatusUpdate;
use haul::hooks::{ComponentSource, Grants};
use haul::task::{Updates, json};
use haul::{Addition, Error, Result, Session, Settings, Status, Task, Update, Work};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::Receiver;

use crate::args::Demo;
use crate::environment::absolute;
use crate::exit;
use crate::outcome::Outcome;
use crate::printer::{Printer, Style};
use crate::text;

mod origin;

use origin::Origin;

/// Size of the file.
const BYTES: usize = 8 << 20;
/// Where the origin hangs up, once.
const CUT_AFTER: usize = 3 << 20;
/// The name the origin suggests: one that must not be taken as it is.
const SUGGESTED: &str = "../../aurora borealis.bin";
/// It takes three seconds; a machine under load may need longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the command; answers the exit code. What it has made it removes again, unless something went wrong or it is to be kept.
pub(crate) async fn run(demo: &Demo, printer: &Printer) -> Result<u8> {
    let dir = std::env::temp_dir().join(format!("haul-demo-{}", haul::new_uuid().simple()));
    let told = run_in(&dir, demo, printer).await;
    let place = dir.display();
    match told {
        Ok(exit::DONE) if demo.keep => {
            line(printer, "kept", Style::Dim, format_args!("{place}"));
            line(printer, "try", Style::Dim, format_args!("haul --home {} events", home_of(&dir).display()));
        }
        Ok(exit::DONE) => {
            std::fs::remove_dir_all(&dir)
                .map_err(|error| Error::FileSystem(format!("cannot remove `{place}`: {error}")))?;
            line(printer, "removed", Style::Dim, format_args!("{place} (--keep leaves it)"));
        }
        _ if dir.exists() => printer.error(format_args!("what the demo has made is kept in `{place}`")),
        _ => {}
    }
    told
}

fn home_of(dir: &Path) -> PathBuf {
    dir.join("home")
}

async fn run_in(dir: &Path, demo: &Demo, printer: &Printer) -> Result<u8> {
    let files = dir.join("files");
    std::fs::create_dir_all(&files)
        .map_err(|error| Error::FileSystem(format!("cannot create `{}`: {error}", files.display())))?;
    let origin = Origin::start(BYTES, CUT_AFTER, SUGGESTED)
        .await
        .map_err(|error| Error::Other(format!("cannot listen on the loopback: {error}")))?;
    let settings = settings(dir, demo, &origin)?;
    let story = Story { printer, origin: &origin, home: settings.home.clone() };
    story.open();
    let session = Session::open(settings, Work::Asked).await?;
    let told = tokio::time::timeout(PATIENCE, story.tell(&session, &files)).await;
    session.close().await;
    match told {
        Ok(code) => code,
        Err(_) => Err(Error::Other("the demo did not end within a minute".into())),
    }
}

/// A home of its own: the user's home and configuration are neither read nor touched.
fn settings(dir: &Path, demo: &Demo, origin: &Origin) -> Result<Settings> {
    let mut components = Vec::new();
    if let Some(file) = &demo.callbacks {
        let stem = file.file_stem().unwrap_or(file.as_os_str());
        components.push(ComponentSource {
            name: stem.to_string_lossy().into_owned(),
            path: absolute(file)?,
            grants: Grants { allow_hosts: vec![origin.address().to_string()], ..Grants::default() },
            ..ComponentSource::default()
        });
    }
    let directories = [("downloads".to_owned(), dir.join("files"))].into();
    Ok(Settings { directories, components, wait_for_disk: false, ..Settings::new(home_of(dir)) })
}

/// Tells people a step, by who took it; programs get the updates.
fn line(printer: &Printer, who: &str, style: Style, what: impl std::fmt::Display) {
    if !printer.json() {
        let who = printer.out_style(&format!("{who:<9}"), style);
        printer.data(format_args!("  {who} {what}"));
        printer.flush();
    }
}

struct Story<'a> {
    printer: &'a Printer,
    origin: &'a Origin,
    home: PathBuf,
}

impl Story<'_> {
    fn line(&self, who: &str, style: Style, what: impl std::fmt::Display) {
        line(self.printer, who, style, what);
    }

    fn open(&self) {
        let bytes = text::number(BYTES as u64);
        let cut = text::number(CUT_AFTER as u64);
        self.line(
            "origin",
            Style::Dim,
            format_args!("http://{} serves {bytes} bytes, suggests the name \"{SUGGESTED}\",", self.origin.address()),
        );
        let what = format_args!("and hangs up after {cut} bytes, once");
        self.line("", Style::Dim, what);
    }

    async fn tell(&self, session: &Session, files: &Path) -> Result<u8> {
        let mut updates = session.watch().await?;
        let task = Task {
            url: format!("http://{}/aurora", self.origin.address()),
            updates: Updates::StatusAndProgress,
            retries: 3,
            retries_remaining: 3,
            ..Task::default()
        };
        let id = session.add(vec![Addition::new(task, files)]).await?.pop().unwrap_or_default();
        let last = self.follow(&mut updates, &id).await?;
        self.close(&last)
    }

    /// Tells each step; answers the outcome.
    async fn follow(&self, updates: &mut Receiver<Update>, id: &str) -> Result<Outcome> {
        loop {
            let Some(update) = updates.recv().await else {
                return Err(Error::Other("the engine ended".into()));
            };
            if self.printer.json() {
                self.printer.data(json::write_update(&update));
                self.printer.flush();
            }
            let Update::Status(status) = update else {
                continue;
            };
            if status.task_id == id {
                let outcome = Outcome::of_update(&status);
                self.step(&status, &outcome);
                if outcome.is_end() {
                    return Ok(outcome);
                }
            }
        }
    }

    fn step(&self, update: &StatusUpdate, outcome: &Outcome) {
        match update.status {
            Status::Enqueued if update.seq <= 1 => {
                let what = format_args!("task {}, in a database in {}", update.task_id, self.home.display());
                self.line("enqueued", Style::Bold, what);
            }
            Status::Running => self.line("running", Style::Bold, "asking the origin"),
            Status::WaitingToRetry => {
                self.line("lost", Style::Yellow, text::printable(&outcome.reason));
                let wait = text::wait(outcome.retry_in_ms.unwrap_or(0));
                let what = format_args!("the WebAssembly component's hook `retry` says: again in {wait}");
                self.line("policy", Style::Cyan, what);
            }
            _ => {}
        }
    }

    /// Tells how it came out, and compares digests.
    fn close(&self, outcome: &Outcome) -> Result<u8> {
        let code = exit::of_outcome(outcome);
        let Some(path) = outcome.path.as_deref().filter(|_| code == exit::DONE) else {
            self.printer.error(format_args!("the download failed: {}", outcome.reason));
            return Ok(if code == exit::DONE { exit::OTHER } else { code });
        };
        if let Some(request) = self.origin.last_request() {
            let header = |value: Option<String>| value.unwrap_or_else(|| "nothing".into());
            let (range, if_range) = (header(request.range), header(request.if_range));
            self.line(
                "resumed",
                Style::Green,
                format_args!("the origin was asked for `{range}` if still `{if_range}`,"),
            );
            let sent = text::number(request.sent as u64);
            self.line("", Style::Dim, format_args!("and sent the missing {sent} bytes"));
        }
        let name = Path::new(path).file_name().unwrap_or_default();
        self.line(
            "policy",
            Style::Cyan,
            format_args!("its hook `filename` made of the suggestion: \"{}\"", name.display()),
        );
        self.line("complete", Style::Green, text::printable(path));
        self.compare(Path::new(path))
    }

    fn compare(&self, path: &Path) -> Result<u8> {
        let bytes = std::fs::read(path)
            .map_err(|error| Error::FileSystem(format!("cannot read `{}`: {error}", path.display())))?;
        let (sent, received) = (hex(self.origin.content()), hex(&bytes));
        self.line("sha-256", Style::Dim, format_args!("{sent}  sent"));
        self.line("", Style::Dim, format_args!("{received}  received"));
        if sent != received {
            self.printer.error("the digests differ");
            return Ok(exit::CHECKSUM);
        }
        self.line("equal", Style::Green, "not a byte lost, none fetched twice");
        Ok(exit::DONE)
    }
}

fn hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
