//! What was typed: the commands, flags and environment variables, with the syntax of single values checked.
//!
//! What it means (which directory, which task, which settings) is worked out in `environment` and `tasks`. Nothing here opens
//! a file.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::{BoolishValueParser, NonEmptyStringValueParser, Resettable};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args as ClapArgs, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use haul::config;
use haul::task::query::ListFormat;
use haul::task::{OnConflict, Resumable};
use haul::{Durability, IfExists, Status};

mod limits;

pub(crate) use limits::{Consumer, LimitFlags, LimitsArgs, Scope};

mod callbacks;
mod control;
mod finished;
mod import;
mod network;

pub(crate) use callbacks::{Attach, Callbacks, Check, Detach, GrantFlags, New, Replay, RollBack, State, TryOut};
pub(crate) use control::{Cancel, Clean, Resume, Rm, Select};
pub(crate) use finished::{Move, Open};
pub(crate) use import::Import;
pub(crate) use network::{LoginFlags, NetworkFlags};

const AFTER_HELP: &str = "\
Exit codes: 0 all done, 1 other, 2 usage or invalid task, 3 not found,
            4 authentication, 5 network, 6 disk, 7 checksum,
            8 some of several tasks failed, 9 home locked, 10 component failed,
            11 database damaged, 130 interrupted
Durations:  500ms 30s 1m30s
Times:      RFC 3339, or +DURATION
Sizes:      512K 10M 1G (1024-based); rates are sizes a second";

/// A whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "haul",
    version,
    about = "Moves files over HTTP and does not lose them; WebAssembly components decide what happens.",
    after_help = AFTER_HELP,
    arg_required_else_help = true,
    max_term_width = 110
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// What was typed, or why it cannot be understood. A variable that is empty counts as not set, and so do those of flags that
    /// exclude what was typed.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
        let parsed = negative(Self::without_variables(is_empty)).try_get_matches();
        let matches = parsed.or_else(|error| match error.kind() {
            ErrorKind::ArgumentConflict => {
                let excluding = |name: &OsStr| is_empty(name) || name == "HAUL_QUIET" || name == "HAUL_VERBOSE";
                negative(Self::without_variables(excluding)).try_get_matches()
            }
            _ => Err(error),
        });
        let matches = matches.map_err(without_secret).map_err(without_advice)?;
        Self::from_arg_matches(&matches).map_err(without_secret)
    }

    /// The syntax, in which these variables mean nothing.
    fn without_variables(are_left_out: impl Fn(&OsStr) -> bool) -> clap::Command {
        Self::command().mut_args(|arg| match arg.get_env() {
            Some(name) if are_left_out(name) => arg.env(Resettable::Reset),
            _ => arg,
        })
    }
}

/// The syntax, in which a negative number behind a flag is its value: what is wrong with it is for the flag to say.
fn negative(command: clap::Command) -> clap::Command {
    let takes_value = |arg: &clap::Arg| arg.get_long().is_some() && arg.get_action().takes_values();
    command
        .mut_args(move |arg| if takes_value(&arg) { arg.allow_negative_numbers(true) } else { arg })
        .mut_subcommands(negative)
}

/// What is neither a flag nor a number (`-1s`) is no value: that it could stand behind `--` is no help.
fn without_advice(mut error: clap::Error) -> clap::Error {
    let argument = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    let is_number =
        argument.strip_prefix('-').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
    if error.kind() == ErrorKind::UnknownArgument && is_number {
        error.remove(ContextKind::Suggested);
    }
    error
}

/// What stands in a malformed header or setting may be a secret.
fn without_secret(mut error: clap::Error) -> clap::Error {
    let argument = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    if ["--header", "--callback-config", "--user", "--proxy"].iter().any(|flag| argument.starts_with(flag)) {
        error.insert(ContextKind::InvalidValue, ContextValue::String(haul::mask::MASK.into()));
    }
    error
}

/// Flags that every command takes, before or after its name.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Where tasks are kept [default: $XDG_STATE_HOME/haul]
    #[arg(long, global = true, env = "HAUL_HOME", hide_env_values = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Configuration file, or /dev/null for none [default: $XDG_CONFIG_HOME/haul/config.toml]
    #[arg(long, global = true, env = "HAUL_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print only errors
    #[arg(short, long, global = true, env = "HAUL_QUIET", hide_env_values = true, value_parser = BoolishValueParser::new(), conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Tell more; twice: much more
    #[arg(short, long, global = true, env = "HAUL_VERBOSE", hide_env_values = true, action = clap::ArgAction::Count, value_parser = verbosity)]
    pub(crate) verbose: u8,
    /// One JSON object a line on stdout
    #[arg(long, global = true, env = "HAUL_JSON", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,
    /// Colour the output: auto (on a terminal, unless NO_COLOR is set), always, never
    #[arg(
        long,
        global = true,
        env = "HAUL_COLOR",
        hide_env_values = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub(crate) color: Color,
}

/// When output is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Download files, and go on where an earlier call stopped
    Get(Box<Get>),
    /// Upload files, as a form or as they are
    Put(Box<Put>),
    /// Send one request; the response's body goes to stdout
    Request(Box<Send>),
    /// Ask how long a file is and what it is called, without downloading it
    Probe(Box<Probe>),
    /// Enqueue tasks given as JSON, without running them: all of them, or none where one is wrong
    Add(Add),
    /// Enqueue what other programs have kept
    Import(Import),
    /// Work the queue
    Run(Box<Run>),
    /// List tasks
    Ls(Ls),
    /// Tell by the exit code whether all tasks are final: 0, or 1
    Finished(Finished),
    /// Show one task, and why it waits
    Show(Show),
    /// Pause tasks; their bytes are kept
    Pause(Select),
    /// Go on with paused tasks, and by id with failed ones
    Resume(Resume),
    /// Cancel tasks; their bytes are removed
    Cancel(Cancel),
    /// Try failed and not-found tasks again, and waiting ones at once; cancelled ones by their ids only
    Retry(Select),
    /// Give out what a partial download is, as a document
    ExportResume(ExportResume),
    /// Go on with a partial download that such a document describes
    ImportResume(Box<ImportResume>),
    /// Forget final tasks
    Rm(Rm),
    /// Forget all final tasks, or those that ended long ago
    Clean(Clean),
    /// Open a finished file with the program for its type
    Open(Open),
    /// Move a finished file to one of your directories
    Move(Move),
    /// Show or change limits: how many at once, how fast, over which network; kept in the home
    Limits(Box<LimitsArgs>),
    /// Look at cancelled scopes, and reopen them
    #[command(subcommand)]
    Scope(Scope),
    /// Print the durable event log
    Events(Events),
    /// Tell how far a consumer of the event log has come
    Ack(Ack),
    /// List the consumers of the event log, and forget them
    #[command(subcommand)]
    Consumer(Consumer),
    /// Make, try out and attach components
    #[command(subcommand)]
    Callbacks(Callbacks),
    /// The same as `callbacks check`
    #[command(hide = true)]
    Check(Check),
    /// Show versions, paths, limits, and what is wrong
    Doctor,
    /// Show the main job without a network
    Demo(Demo),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Print the manual page
    Man(Man),
}

/// `haul export-resume`.
#[derive(Debug, ClapArgs)]
pub(crate) struct ExportResume {
    /// The task's id, or the beginning of it
    pub(crate) id: String,
    /// File to write, readable by its owner only [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Keep secret headers, credentials and URL parameters in the document
    #[arg(long)]
    pub(crate) with_secrets: bool,
}

/// `haul import-resume`.
#[derive(Debug, ClapArgs)]
pub(crate) struct ImportResume {
    /// What `export-resume` wrote; `-` reads stdin
    pub(crate) file: PathBuf,
    /// Go on from this URL instead
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Request header, such as one that was left out as secret; may be repeated
    #[arg(short = 'H', long = "header", value_name = "K: V", value_parser = part_header)]
    pub(crate) headers: Vec<(String, String)>,
    /// Directory for the file, instead of the current one
    #[arg(short, long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Where the part file is now
    #[arg(long, value_name = "FILE")]
    pub(crate) part_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) components: ComponentFlags,
}

/// `haul get`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Get {
    /// What to download; `-` reads a list from stdin, to its end: one a line, # for comments
    #[arg(required = true, value_name = "URL")]
    pub(crate) urls: Vec<String>,
    #[command(flatten)]
    pub(crate) download: DownloadFlags,
    #[command(flatten)]
    pub(crate) task: TaskFlags,
    #[command(flatten)]
    pub(crate) engine: EngineFlags,
    /// Tell how many have succeeded and failed, each time that changes
    #[arg(long, help_heading = "Download options")]
    pub(crate) batch: bool,
    /// Print this on stdout for each finished file
    #[arg(long, value_name = "WHAT", help_heading = "Download options")]
    pub(crate) print: Option<Print>,
}

/// `haul put`.
#[derive(Debug, ClapArgs)]
#[command(override_usage = "haul put [OPTIONS] FILE... URL")]
pub(crate) struct Put {
    /// What to upload (`-`: stdin, read to its end first unless --stream is given), then where to; several files are one form
    #[arg(required = true, value_names = ["FILE", "URL"])]
    pub(crate) files_and_url: Vec<String>,
    /// Send the file's bytes as the body, by PUT; otherwise it is part of a form, sent by POST
    #[arg(long, conflicts_with_all = ["file_field", "fields", "fields_after", "parts", "part_headers"], help_heading = "Upload options")]
    pub(crate) binary: bool,
    /// Send the file's bytes by a protocol that goes on where it was interrupted; fields become tus' metadata
    #[arg(long, value_name = "HOW", conflicts_with_all = ["binary", "file_field", "fields_after", "parts", "part_headers"], help_heading = "Upload options")]
    pub(crate) resumable: Option<HowResumable>,
    /// Send what stdin or a pipe gives while it is being read, before its length is known (over HTTP/1.1 by chunks)
    #[arg(long, conflicts_with = "resumable", help_heading = "Upload options")]
    pub(crate) stream: bool,
    /// Form field of the file [default: file, or of several files each one's name without extension]
    #[arg(long, value_name = "NAME", help_heading = "Upload options")]
    pub(crate) file_field: Option<String>,
    /// Form field sent before the files; may be repeated
    #[arg(long = "field", value_name = "K=V", value_parser = field, help_heading = "Upload options")]
    pub(crate) fields: Vec<(String, String)>,
    /// Form field sent after the files; may be repeated
    #[arg(long = "field-after", value_name = "K=V", value_parser = field, help_heading = "Upload options")]
    pub(crate) fields_after: Vec<(String, String)>,
    /// Part of the form named like a file, made of this text, and sent after the files; may be repeated
    #[arg(long = "part", value_name = "FIELD:NAME=TEXT", value_parser = text_part, help_heading = "Upload options")]
    pub(crate) parts: Vec<TextPart>,
    /// Header of each file's part of the form; may be repeated
    #[arg(long = "part-header", value_name = "K: V", value_parser = part_header, help_heading = "Upload options")]
    pub(crate) part_headers: Vec<(String, String)>,
    /// Media type of the file [default: by its extension]
    #[arg(long, value_name = "TYPE", value_parser = media_type, help_heading = "Upload options")]
    pub(crate) mime_type: Option<String>,
    #[command(flatten)]
    pub(crate) request: RequestFlags,
    #[command(flatten)]
    pub(crate) task: TaskFlags,
    #[command(flatten)]
    pub(crate) engine: EngineFlags,
}

impl Put {
    /// Nothing is said that takes a list of parts.
    pub(crate) fn is_of_one_file(&self) -> bool {
        self.fields_after.is_empty() && self.parts.is_empty() && self.part_headers.is_empty()
    }
}

/// `--part` as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TextPart {
    pub(crate) field: String,
    pub(crate) filename: String,
    pub(crate) text: String,
}

fn text_part(typed: &str) -> Result<TextPart, String> {
    let parts = typed.split_once('=').and_then(|(names, text)| Some((names.split_once(':')?, text)));
    match parts {
        Some(((field, filename), text)) if !field.is_empty() && !filename.is_empty() => {
            Ok(TextPart { field: field.into(), filename: filename.into(), text: text.into() })
        }
        _ => Err("a part is written `field:name=text`".into()),
    }
}

/// `--resumable` as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HowResumable {
    /// tus 1.0
    Tus,
    /// Resumable Uploads for HTTP, the draft's interop version 8
    Ietf,
    /// Interop version 6
    #[value(name = "ietf-6")]
    Ietf6,
    /// Interop version 5
    #[value(name = "ietf-5")]
    Ietf5,
    /// Interop version 4
    #[value(name = "ietf-4")]
    Ietf4,
    /// Interop version 3
    #[value(name = "ietf-3")]
    Ietf3,
}

impl From<HowResumable> for Resumable {
    fn from(typed: HowResumable) -> Self {
        match typed {
            HowResumable::Tus => Resumable::Tus,
            HowResumable::Ietf => Resumable::Ietf,
            HowResumable::Ietf6 => Resumable::Ietf6,
            HowResumable::Ietf5 => Resumable::Ietf5,
            HowResumable::Ietf4 => Resumable::Ietf4,
            HowResumable::Ietf3 => Resumable::Ietf3,
        }
    }
}

/// `haul request`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Send {
    /// Where to
    pub(crate) url: String,
    /// Body as text; @FILE sends a file's content, @- what stdin gives (up to 1 MiB)
    #[arg(long, value_name = "TEXT|@FILE", help_heading = "Request options")]
    pub(crate) data: Option<String>,
    /// Body as JSON, with its Content-Type; @FILE and @- as with --data
    #[arg(long, value_name = "JSON|@FILE", conflicts_with = "data", help_heading = "Request options")]
    pub(crate) data_json: Option<String>,
    /// Field of an URL-encoded form as body; may be repeated
    #[arg(long = "form", value_name = "K=V", value_parser = field, conflicts_with_all = ["data", "data_json"], help_heading = "Request options")]
    pub(crate) form: Vec<(String, String)>,
    /// Query parameter, encoded here; may be repeated
    #[arg(long = "query", value_name = "K=V", value_parser = parameter, help_heading = "Request options")]
    pub(crate) query: Vec<(String, String)>,
    /// How a repeated name in --query and --form is written: multi (a=1&a=2), multiCompatible (a[]=1&a[]=2), csv, ssv, tsv,
    /// pipes; or one name only, by NAME=HOW; may be repeated [default: multi]
    #[arg(long = "list-format", value_name = "[NAME=]HOW", value_parser = list_format, help_heading = "Request options")]
    pub(crate) list_formats: Vec<(Option<String>, ListFormat)>,
    /// Answer at once, beside the queue and its limits; nothing is recorded. Not with --id, --group, --priority, --not-before, --metadata
    #[arg(long, conflicts_with_all = ["id", "group", "not_before", "metadata", "priority"], help_heading = "Request options")]
    pub(crate) now: bool,
    #[command(flatten)]
    pub(crate) request: RequestFlags,
    #[command(flatten)]
    pub(crate) task: TaskFlags,
    #[command(flatten)]
    pub(crate) engine: EngineFlags,
}

/// `haul probe`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Probe {
    /// What would be downloaded
    pub(crate) url: String,
    /// Directory where the name must be free [default: any name will do]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) asking: AskingFlags,
    #[command(flatten)]
    pub(crate) login: LoginFlags,
    #[command(flatten)]
    pub(crate) network: NetworkFlags,
    #[command(flatten)]
    pub(crate) components: ComponentFlags,
}

/// Flags that describe what only an upload or a request has.
#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Request options")]
pub(crate) struct RequestFlags {
    /// HTTP method
    #[arg(short = 'X', long, value_name = "METHOD", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) method: Option<String>,
    /// Store the whole response in this file; an older one is replaced, but none that is sent. `-`, for request: print it as it is, also on a terminal
    #[arg(short, long, value_name = "NAME")]
    pub(crate) output: Option<PathBuf>,
    /// Directory of that file [default: the current one]
    #[arg(short, long, value_name = "DIR", requires = "output")]
    pub(crate) dir: Option<PathBuf>,
    /// Doing it twice does no harm: repeat a POST or PATCH whose outcome is unknown
    #[arg(long)]
    pub(crate) repeatable: bool,
}

impl RequestFlags {
    /// Whether the response is to be printed as it is.
    pub(crate) fn is_stdout(&self) -> bool {
        self.output.as_deref() == Some(std::path::Path::new("-"))
    }
}

/// `--list-format` as typed, by dio's names.
fn list_format(typed: &str) -> Result<(Option<String>, ListFormat), String> {
    let (name, how) = typed.rsplit_once('=').map_or((None, typed), |(name, how)| (Some(name.to_owned()), how));
    let is_it =
        |known: &&(&str, ListFormat)| known.0 == how || (how == "multi-compatible" && known.0 == "multiCompatible");
    let found = ListFormat::NAMES.iter().find(is_it).map(|(_, format)| (name, *format));
    found.ok_or_else(|| {
        let names: Vec<&str> = ListFormat::NAMES.iter().map(|(name, _)| *name).collect();
        format!("a list is written in one of these ways: {}", names.join(", "))
    })
}

/// What `--print` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Print {
    /// The final path
    Path,
}

/// Flags that describe what only a download has.
#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Download options")]
pub(crate) struct DownloadFlags {
    /// File name; `?`, or nothing: as the server says
    #[arg(short, long, value_name = "NAME")]
    pub(crate) output: Option<String>,
    /// Directory [default: the current one]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Connections for one file, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<1, 64>)]
    pub(crate) parts: u32,
    /// Another place of the same file, asked where the URL fails or its file has another digest; may be repeated
    #[arg(long = "mirror", value_name = "URL")]
    pub(crate) mirrors: Vec<String>,
    /// Expected digest of the file (sha-256, sha-512, sha-1, md5)
    #[arg(long, value_name = "sha-256=HEX")]
    pub(crate) checksum: Option<String>,
    /// When the name is taken [default: replace for a name given by -o, else unique]
    #[arg(long, value_name = "HOW")]
    pub(crate) on_conflict: Option<Conflict>,
}

/// Flags that describe any task.
#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Task options")]
pub(crate) struct TaskFlags {
    #[command(flatten)]
    pub(crate) asking: AskingFlags,
    /// The task's id
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Cancel scope shared with other tasks: names, set apart by `/`, that make a tree
    #[arg(long, value_name = "SCOPE", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) scope: Option<String>,
    /// Wait while the network is metered
    #[arg(long = "requires-wifi")]
    pub(crate) requires_wifi: bool,
    /// 0 goes first, 10 last
    #[arg(long, value_name = "0..10", default_value_t = 5, value_parser = small)]
    pub(crate) priority: i32,
    /// Do not start before: RFC 3339, or +DUR from now; in the years up to 9999
    #[arg(long, value_name = "TIME")]
    pub(crate) not_before: Option<String>,
    /// Free text kept with the task
    #[arg(long, value_name = "TEXT")]
    pub(crate) metadata: Option<String>,
    /// Group whose notifications it is shown with, if not its own
    #[arg(long, value_name = "GROUP")]
    pub(crate) notification: Option<String>,
    #[command(flatten)]
    pub(crate) login: LoginFlags,
}

/// Flags that say how a server is asked.
#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Task options")]
pub(crate) struct AskingFlags {
    /// Request header; may be repeated. `K:` leaves out what a profile or haul would add, `K;` sends it empty
    #[arg(short = 'H', long = "header", value_name = "K: V", value_parser = header)]
    pub(crate) headers: Vec<Header>,
    /// The task's group
    #[arg(long, value_name = "G")]
    pub(crate) group: Option<String>,
    /// Attempts after the first
    #[arg(long, value_name = "0..10", default_value_t = 3, value_parser = small)]
    pub(crate) retries: i32,
    /// Time limit for name lookup, TCP and TLS [default: 30s]; 0: none
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub(crate) timeout_connect: Option<u64>,
    /// Time limit for sending the request, its body included [default: none]; 0: none
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub(crate) timeout_send: Option<u64>,
    /// Time limit from the request, when the server's system has it, to the answer's head [default: 60s, or --timeout-idle if that is shorter]; 0: none
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub(crate) timeout_head: Option<u64>,
    /// Time limit between two pieces of the body, received, or sent and acknowledged [default: 60s]; 0: none
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub(crate) timeout_idle: Option<u64>,
    /// Time limit for a whole attempt [default: none]; 0: none
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub(crate) timeout_total: Option<u64>,
    /// Redirects followed at most, up to 50
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = whole::<0, 50>)]
    pub(crate) max_redirects: u32,
    /// Statuses that count as success, e.g. 2xx,304,400-403
    #[arg(long, value_name = "LIST", value_parser = status_list)]
    pub(crate) accept_status: Option<StatusList>,
    /// Profile of the configuration whose defaults count
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) profile: Option<String>,
}

/// Flags that set up an engine: of no effect when another process's engine is joined.
#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Engine options")]
pub(crate) struct EngineFlags {
    /// A file that exists and is longer than this is not downloaded again
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) skip_existing: Option<u64>,
    /// What a complete download survives: full, a power cut; relaxed, a crash
    #[arg(long, value_name = "HOW")]
    pub(crate) durability: Option<HowDurable>,
    // Behind its own: each of these begins a heading.
    #[command(flatten)]
    pub(crate) limits: LimitFlags,
    #[command(flatten)]
    pub(crate) network: NetworkFlags,
    #[command(flatten)]
    pub(crate) components: ComponentFlags,
}

/// Flags that attach components.
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(next_help_heading = "Component options")]
pub(crate) struct ComponentFlags {
    /// Component that replaces the default policy as a whole: it must answer every decision
    #[arg(long, value_name = "FILE.wasm")]
    pub(crate) policy: Option<PathBuf>,
    /// Component to attach for this invocation, or the name of a configured one; may be repeated
    #[arg(long = "callbacks", value_name = "FILE.wasm")]
    pub(crate) callbacks: Vec<PathBuf>,
    /// Host that the components' HTTP may reach (`private+HOST`: at a private address, too); may be repeated
    #[arg(long = "allow-host", value_name = "HOST", value_parser = granted_host)]
    pub(crate) allow_hosts: Vec<String>,
    /// Setting that the components can read; may be repeated
    #[arg(id = "callback_config", long = "callback-config", value_name = "K=V", value_parser = key_value)]
    pub(crate) config: Vec<(String, String)>,
    /// File to append every call of a hook to, secrets masked: for `haul callbacks test` and `replay`
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
}

/// `haul add`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Add {
    /// Task JSON: an object, an array, or one object a line; `-` is stdin
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// When a task of the same id exists
    #[arg(long, value_name = "HOW", default_value = "reject")]
    pub(crate) if_exists: Exists,
    /// Wait to be resumed (`haul resume`)
    #[arg(long)]
    pub(crate) paused: bool,
    /// Profile of the tasks that name none
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) profile: Option<String>,
}

/// `--if-exists` as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Exists {
    /// Nothing is added
    Reject,
    /// The task that exists stays, and its id is printed
    ReturnExisting,
    /// The new task takes its place; one that is not over is cancelled, and its bytes are removed
    Replace,
}

impl From<Exists> for IfExists {
    fn from(typed: Exists) -> Self {
        match typed {
            Exists::Reject => IfExists::Reject,
            Exists::ReturnExisting => IfExists::ReturnExisting,
            Exists::Replace => IfExists::Replace,
        }
    }
}

/// `haul run`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Run {
    /// End when nothing is enqueued, running or waiting to retry
    #[arg(long)]
    pub(crate) until_idle: bool,
    #[command(flatten)]
    pub(crate) engine: EngineFlags,
}

/// `haul ls`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Ls {
    /// Only these tasks: ids, or unique beginnings of them
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Only tasks of this status, e.g. waitingToRetry; may be repeated
    #[arg(long = "status", value_name = "S", value_parser = status, value_delimiter = ',')]
    pub(crate) statuses: Vec<Status>,
    /// Only tasks that were given up: failed, notFound
    #[arg(long)]
    pub(crate) failed: bool,
    /// Only tasks that are not final
    #[arg(long)]
    pub(crate) unfinished: bool,
    /// Only tasks of this group
    #[arg(long, value_name = "G", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) group: Option<String>,
    /// Only tasks of this scope and those below it
    #[arg(long, value_name = "SCOPE")]
    pub(crate) scope: Option<String>,
    /// Print only the ids
    #[arg(long = "ids")]
    pub(crate) only_ids: bool,
}

/// `haul finished`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Finished {
    /// Only tasks of this group count
    #[arg(long, value_name = "G", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) group: Option<String>,
    /// This task does not count
    #[arg(long, value_name = "ID")]
    pub(crate) ignore: Option<String>,
}

/// `haul show`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Show {
    /// The task's id, or a unique beginning of it
    pub(crate) id: String,
}

/// `haul events`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Events {
    /// Begin after this number; with --consumer, after the later of the two
    #[arg(long, value_name = "SEQ", allow_negative_numbers = true, value_parser = seq)]
    pub(crate) after: Option<u64>,
    /// Print the past, then what happens from now on
    #[arg(long)]
    pub(crate) follow: bool,
    /// Begin after what this consumer has acknowledged; a new one is known from now on, and its events are kept for it
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) consumer: Option<String>,
}

/// `haul ack`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Ack {
    /// The consumer
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) consumer: String,
    /// The last event it has dealt with
    #[arg(allow_negative_numbers = true, value_parser = seq)]
    pub(crate) seq: u64,
}

fn seq(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "it must be the number of an event, as `haul events` prints it".into())
}

/// `haul demo`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Demo {
    /// Component to attach
    #[arg(long, value_name = "FILE.wasm")]
    pub(crate) callbacks: Option<PathBuf>,
    /// Leave the file and the home, to be looked at
    #[arg(long)]
    pub(crate) keep: bool,
}

/// `haul completions`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// `haul man`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Man {
    /// A command, for its own page, such as `get` or `callbacks test`
    #[arg(value_name = "COMMAND", num_args = 0..=2)]
    pub(crate) command: Vec<String>,
}

/// `--on-conflict` as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Conflict {
    /// f.txt becomes f (1).txt
    Unique,
    /// The old file is replaced when the new one is complete
    Replace,
    /// The task fails
    Fail,
    /// The old file stays, and the task counts as done
    Skip,
}

impl From<Conflict> for OnConflict {
    fn from(typed: Conflict) -> Self {
        match typed {
            Conflict::Unique => OnConflict::Unique,
            Conflict::Replace => OnConflict::Replace,
            Conflict::Fail => OnConflict::Fail,
            Conflict::Skip => OnConflict::Skip,
        }
    }
}

/// `--durability` as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HowDurable {
    /// Files, directories and rows are synced
    Full,
    /// Only rows are synced
    Relaxed,
}

impl From<HowDurable> for Durability {
    fn from(typed: HowDurable) -> Self {
        match typed {
            HowDurable::Full => Durability::Full,
            HowDurable::Relaxed => Durability::Relaxed,
        }
    }
}

/// A list of status codes. A type of its own, for clap would take a `Vec` for a repeated flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatusList(pub(crate) Vec<(u16, u16)>);

/// A header as curl's `-H` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    Given(String, String),
    /// Nobody adds it.
    LeftOut(String),
}

fn header(text: &str) -> Result<Header, String> {
    if let Some(name) = text.trim().strip_suffix(';').filter(|name| !name.contains(':') && !name.trim().is_empty()) {
        return Ok(Header::Given(name.trim().into(), String::new()));
    }
    match part_header(text)? {
        (name, value) if value.is_empty() => Ok(Header::LeftOut(name)),
        (name, value) => Ok(Header::Given(name, value)),
    }
}

fn part_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("there is no colon; a header is written `Name: value`")?;
    let name = name.trim();
    if name.is_empty() {
        return Err("a header is written `Name: value`".into());
    }
    Ok((name.into(), value.trim().into()))
}

fn key_value(text: &str) -> Result<(String, String), String> {
    pair(text, "a setting is written `key=value`")
}

fn field(text: &str) -> Result<(String, String), String> {
    pair(text, "a field is written `name=value`")
}

fn parameter(text: &str) -> Result<(String, String), String> {
    pair(text, "a parameter is written `name=value`")
}

fn pair(text: &str, otherwise: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err(otherwise.into()),
    }
}

/// A whole number in these bounds.
fn whole<const LOW: u32, const HIGH: u32>(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (LOW..=HIGH).contains(number));
    number.ok_or_else(|| format!("it must be a whole number from {LOW} to {HIGH}"))
}

/// Retries and priorities.
fn small(text: &str) -> Result<i32, String> {
    whole::<0, 10>(text).map(u32::cast_signed)
}

/// How often `-v` is meant by HAUL_VERBOSE: a number, or a word for yes or no.
fn verbosity(text: &str) -> Result<u8, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "t" => Ok(1),
        "false" | "no" | "off" | "n" | "f" => Ok(0),
        number => number.parse().map_err(|_| "it is a number, true or false".into()),
    }
}

fn granted_host(text: &str) -> Result<String, String> {
    config::granted_host(text).map_err(|error| error.to_string())
}

fn duration(text: &str) -> Result<u64, String> {
    config::duration_ms(text).map_err(|error| error.to_string())
}

fn media_type(text: &str) -> Result<String, String> {
    let is_word = |word: &str| !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c.is_control());
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    match essence.split_once('/') {
        Some((kind, subtype)) if is_word(kind) && is_word(subtype) && !subtype.contains('/') => Ok(text.to_owned()),
        _ => Err("a media type is written TYPE/SUBTYPE, such as `image/png`".into()),
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    config::bytes(text).map_err(|error| error.to_string())
}

fn status_list(text: &str) -> Result<StatusList, String> {
    config::status_list(text).map(StatusList).map_err(|error| error.to_string())
}

fn status(text: &str) -> Result<Status, String> {
    Status::ALL.into_iter().find(|status| status.name().eq_ignore_ascii_case(text)).ok_or_else(|| {
        let names: Vec<&str> = Status::ALL.iter().map(|status| status.name()).collect();
        format!("a status is one of {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests;
