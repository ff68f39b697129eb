//! The only place that prints. Data goes to stdout, everything else to stderr, above the progress bars when there are any.
//!
//! A reader that closes stdout is not an error: what remains is thrown away and the work goes on. One that does not read holds up
//! nobody but who waits for room, or for the end. It knows nothing of tasks.

mod outlet;
mod screen;

use std::io::{self, IsTerminal, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use indicatif::{MultiProgress, ProgressDrawTarget};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use self::outlet::{Outlet, To};
use self::screen::Screen;
use crate::args::{Color, Global};
use crate::exit;
use crate::stdout;
use crate::text::{self, Escaper};

/// Prints. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Printer(Arc<Inner>);

struct Inner {
    json: bool,
    quiet: bool,
    /// Stderr is a terminal, and one that can be steered.
    terminal: bool,
    /// Stdout is a terminal.
    screen: bool,
    color_out: bool,
    color_err: bool,
    outlet: Outlet,
    bars: OnceLock<MultiProgress>,
    /// The terminal has a title that is not its own.
    titled: AtomicBool,
    /// Nobody waits for what is not written yet.
    hurried: AtomicBool,
}

/// How a word looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Headings.
    Bold,
    /// What is less important.
    Dim,
    /// What went well.
    Green,
    /// What waits.
    Yellow,
    /// What went wrong.
    Red,
    /// Names.
    Cyan,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Green => "32",
            Style::Yellow => "33",
            Style::Red => "31",
            Style::Cyan => "36",
        }
    }
}

impl Printer {
    /// A printer by the global flags, NO_COLOR, and what stdout and stderr are.
    pub(crate) fn new(global: &Global) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|value| value.is_empty() || value == "dumb");
        let terminal = io::stderr().is_terminal() && !is_dumb;
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || is_dumb;
        let color = |is_terminal: bool| match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && !plain,
        };
        Self(Arc::new(Inner {
            json: global.json,
            quiet: global.quiet,
            terminal,
            screen: io::stdout().is_terminal(),
            color_out: color(io::stdout().is_terminal()),
            color_err: color(terminal),
            outlet: Outlet::default(),
            bars: OnceLock::new(),
            titled: AtomicBool::new(false),
            hurried: AtomicBool::new(false),
        }))
    }

    /// Whether data is printed as JSON lines.
    pub(crate) fn json(&self) -> bool {
        self.0.json
    }

    /// One line of data on stdout, kept back until [`Printer::flush`].
    pub(crate) fn data(&self, line: impl std::fmt::Display) {
        self.0.outlet.text(To::Out, &line, "\n");
    }

    /// Bytes on stdout, as they are.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        self.0.outlet.bytes(bytes);
    }

    /// A text on stdout: as it is, or, where stdout is a terminal and `as_it_is` is not asked for, with what steers a terminal
    /// escaped. Answers whether there was such a thing.
    pub(crate) fn foreign(&self, text: &str, as_it_is: bool) -> bool {
        let take = |bytes: &[u8]| {
            self.raw(bytes);
            true
        };
        outlet::copied(&mut text.as_bytes(), &mut self.escaper(as_it_is), take).unwrap_or(false)
    }

    /// The same of all that a reader gives. It is read when its turn comes; `ended` hears then whether anything was escaped, or
    /// why it could not be read.
    pub(crate) fn copy(
        &self,
        from: impl Read + Send + 'static,
        as_it_is: bool,
        ended: impl FnOnce(io::Result<bool>) + Send + 'static,
    ) {
        self.0.outlet.copy(from, self.escaper(as_it_is), ended);
    }

    fn escaper(&self, as_it_is: bool) -> Option<Escaper> {
        (self.0.screen && !as_it_is).then(Escaper::default)
    }

    /// Hands data over to whoever reads stdout.
    pub(crate) fn flush(&self) {
        self.0.outlet.flush();
    }

    /// Whether there is room for more lines.
    pub(crate) fn has_room(&self) -> bool {
        self.0.outlet.has_room()
    }

    /// Waits until there is: who prints much asks now and then.
    pub(crate) async fn room(&self) {
        self.0.outlet.room().await;
    }

    /// Whether its readers are so slow that progress had better not be drawn.
    pub(crate) fn is_behind(&self) -> bool {
        self.0.outlet.is_behind()
    }

    /// Waits until everything is written.
    pub(crate) async fn written(&self) {
        self.0.outlet.written().await;
    }

    /// The same without letting anything else happen meanwhile.
    pub(crate) fn wait(&self) {
        self.0.outlet.wait();
    }

    /// Nobody waits any more for what is not written yet.
    pub(crate) fn hurry(&self) {
        self.0.hurried.store(true, Ordering::Relaxed);
    }

    /// Whether nobody can read stdout any more, as far as was found out: what only prints may end then.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.outlet.is_closed()
    }

    /// Comes when the reader of stdout has gone, even if nothing is printed; never where that cannot be told (a file).
    pub(crate) async fn reader_gone(&self) {
        let watch = || {
            let stdout = io::stdout();
            loop {
                // Without any events asked for, only errors and a hang-up end it.
                match poll(&mut [PollFd::new(&stdout, PollFlags::empty())], None) {
                    Err(Errno::INTR) => {}
                    ended => return ended.is_ok(),
                }
            }
        };
        let (sender, gone) = tokio::sync::oneshot::channel();
        // It may outlive the command: nothing waits for it. Without it, the next line tells.
        drop(haul::spawn_thread("haul-reader", move || watch().then(|| sender.send(()))));
        if gone.await.is_err() {
            std::future::pending().await
        }
    }

    /// One line for people on stderr, unless quiet.
    pub(crate) fn note(&self, line: impl std::fmt::Display) {
        if !self.0.quiet {
            self.above_bars(&format!("{line}\n"));
        }
    }

    /// The title of the terminal, where stderr is one (xterm's OSC 2), until [`Printer::finish`]. The one it had is kept by the
    /// terminal meanwhile (xterm's window operations 22 and 23).
    pub(crate) fn title(&self, text: &str) {
        if self.0.terminal && !self.0.json && !self.0.quiet && !self.is_behind() {
            let save = if self.0.titled.swap(true, Ordering::Relaxed) { "" } else { "\x1b[22;2t" };
            self.above_bars(&format!("{save}\x1b]2;{text}\x07"));
        }
    }

    /// One line on stderr that says what went wrong; `haul: ` is put before it.
    pub(crate) fn error(&self, line: impl std::fmt::Display) {
        let name = self.err("haul:", Style::Red);
        self.above_bars(&format!("{name} {line}\n"));
    }

    /// A word for stdout in a style, when stdout is coloured.
    pub(crate) fn out_style(&self, text: &str, style: Style) -> String {
        styled(text, style, self.0.color_out)
    }

    /// A word for stderr in a style, when stderr is coloured.
    pub(crate) fn err(&self, text: &str, style: Style) -> String {
        styled(text, style, self.0.color_err)
    }

    /// Where progress bars are drawn; `None` when there shall be none.
    pub(crate) fn bars(&self) -> Option<MultiProgress> {
        if self.0.json || self.0.quiet || !self.0.terminal {
            return None;
        }
        let screen = || Box::new(Screen::new(self.0.outlet.clone()));
        let bars = || MultiProgress::with_draw_target(ProgressDrawTarget::term_like_with_hz(screen(), 10));
        Some(self.0.bars.get_or_init(bars).clone())
    }

    /// How many characters a line beside progress bars holds.
    pub(crate) fn columns(&self) -> usize {
        screen::columns().into()
    }

    /// Writes what is left and answers the process's exit code: data that could not be written is a failure of the disk,
    /// unless its reader just had enough.
    pub(crate) fn finish(&self, code: u8) -> u8 {
        if self.0.hurried.load(Ordering::Relaxed) {
            return code;
        }
        if self.0.titled.swap(false, Ordering::Relaxed) {
            self.above_bars("\x1b[23;2t");
        }
        self.wait();
        match self.0.outlet.take_error() {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe && code == exit::DONE => {
                self.error(format_args!("cannot write to stdout: {error}"));
                self.wait();
                exit::DISK
            }
            _ => code,
        }
    }

    fn above_bars(&self, text: &str) {
        let write = || self.0.outlet.text(To::Err, &text, "");
        match self.0.bars.get() {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }
}

/// Log lines go to stderr like notes, but whether they come at all is the log's level.
impl Write for Printer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.0.outlet.leaves_out() {
            self.above_bars(&String::from_utf8_lossy(bytes));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn styled(text: &str, style: Style, color: bool) -> String {
    if color { format!("\x1b[{}m{text}\x1b[0m", style.code()) } else { text.into() }
}

/// Prints what clap has to say before there is a printer: help and version on stdout, an error as one sentence on stderr.
/// Answers the exit code.
pub(crate) fn refuse(error: &clap::Error) -> u8 {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match shown(error) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                let _ = writeln!(io::stderr().lock(), "haul: cannot write to stdout: {error}");
                exit::DISK
            }
            _ => exit::DONE,
        },
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            exit::USAGE
        }
        ErrorKind::InvalidUtf8 => {
            let _ = writeln!(io::stderr().lock(), "haul: {}", not_utf8());
            exit::USAGE
        }
        _ => {
            let text = sentence(&error.render().to_string());
            let _ = writeln!(io::stderr().lock(), "haul: {text}");
            exit::USAGE
        }
    }
}

/// Help or version, on stdout.
fn shown(text: &clap::Error) -> io::Result<()> {
    stdout::check()?;
    text.print()?;
    io::stdout().flush()
}

/// Which argument is not UTF-8, where only UTF-8 will do: tasks are stored and told as JSON, with the names of their files.
fn not_utf8() -> String {
    let typed = std::env::args_os().find(|typed| typed.to_str().is_none()).unwrap_or_default();
    let typed = typed.to_string_lossy();
    format!(
        "`{}` is not UTF-8, as all texts of tasks are: percent-encode it in a URL, choose another name for a file that is \
         to be written, and send one that is called so by `haul put - URL <FILE`",
        text::printable(&typed)
    )
}

/// The first paragraph of clap's message on one line, and its tip if there is one: but for a number below 0, which it takes for a
/// flag, and nothing takes.
fn sentence(rendered: &str) -> String {
    let mut paragraphs = rendered.split("\n\n");
    let first = paragraphs.next().unwrap_or("");
    let mut text = words(first.strip_prefix("error: ").unwrap_or(first));
    let flag = first.split_once("unexpected argument '-").map(|(_, flag)| flag);
    if flag.is_some_and(|flag| flag.starts_with(|c: char| c.is_ascii_digit())) {
        text = format!("{text} (no value here is below 0)");
    } else if let Some(tip) = paragraphs.find(|paragraph| paragraph.trim_start().starts_with("tip: ")) {
        text = format!("{text} ({})", words(tip).trim_start_matches("tip: "));
    }
    text
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
