//! `haul put`: uploads in the foreground. Killed at any moment, the same command line sends again, or, with
//! `--resumable`, goes on. What a pipe gives is read here, by whatever process it is sent.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use haul::task::{Body, FilePart, TaskType};
use haul::{Addition, Error, Result, Spooled, Task};
use tokio::task::JoinHandle;

use crate::args::{HowResumable, Put, RequestFlags};
use crate::environment::{Environment, absolute, named, now_ms, place};
use crate::exit;
use crate::foreground::{self, Tasks};
use crate::printer::Printer;
use crate::reporter::{Printed, Reporter};
use crate::signals::Interrupt;
use crate::tasks::{check_login, describe_one};
use crate::text;

/// Runs the command; answers the exit code.
pub(crate) async fn run(put: &Put, environment: &Environment, printer: &Printer) -> Result<u8> {
    let callbacks = named(&put.engine.components, &environment.config.callbacks);
    let Some((files, piped)) = sources(put, &environment.home).await? else { return Ok(exit::INTERRUPTED) };
    let done = send(put, &files, callbacks, environment, printer).await;
    let Some(mut piped) = piped else { return done };
    match &done {
        // It is the task's until that is forgotten.
        Ok(code) if *code != exit::DONE && piped.spooled.path().exists() => {
            if piped.is_whole(*code == exit::INTERRUPTED, printer).await? {
                let path = piped.spooled.path().display();
                printer.note(format_args!("what was read is kept while its task can send it: {path}"));
            }
        }
        // No task was added.
        Ok(_) | Err(Error::Usage(_) | Error::Refused(_) | Error::Invalid(_)) => piped.spooled.remove(),
        Err(_) => {}
    }
    done
}

/// What a pipe gives.
struct Piped {
    spooled: Spooled,
    /// Reads it, where that is not over yet.
    reading: Option<JoinHandle<Result<()>>>,
}

impl Piped {
    /// Whether all of it is there, so that a task that has failed can send it again: what is still to come is read, unless somebody
    /// has no time for that.
    async fn is_whole(&mut self, is_interrupted: bool, printer: &Printer) -> Result<bool> {
        let Some(reading) = self.reading.take() else { return Ok(true) };
        let is_over = reading.is_finished();
        if !is_over && !is_interrupted {
            printer.note("the input is read to its end, so that its task can send it again; an interrupt ends that");
        }
        let read = if is_over || !is_interrupted { Interrupt::listen()?.unless(reading).await } else { None };
        match read {
            Some(Ok(Ok(()))) => Ok(true),
            Some(Ok(Err(error))) => {
                printer.note(error);
                Ok(false)
            }
            None | Some(Err(_)) => {
                printer.note("the input was not read to its end: its task cannot send it any more");
                Ok(false)
            }
        }
    }
}

async fn send(
    put: &Put,
    files: &[PathBuf],
    callbacks: Vec<String>,
    environment: &Environment,
    printer: &Printer,
) -> Result<u8> {
    let addition = addition(put, files, callbacks, now_ms())?;
    let is_typed = addition.task.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    if is_typed && addition.task.body == Body::Multipart {
        printer.note("the Content-Type is left out: a form has its own (--mime-type is that of the file in it)");
    }
    let reporter = Reporter::of_requests(printer, Printed::Nothing);
    let tasks = Tasks {
        urls: std::slice::from_ref(&addition.task.url),
        lines: &[],
        addition: &|_| addition.clone(),
        same_command: foreground::sends_again(&addition.task),
    };
    foreground::run(tasks, &put.engine, put.task.asking.profile.as_deref(), environment, printer, reporter).await
}

/// The files' absolute paths, and which of them holds what a pipe gives. `None`: interrupted.
async fn sources(put: &Put, home: &Path) -> Result<Option<(Vec<PathBuf>, Option<Piped>)>> {
    let typed = put.files_and_url.split_last().map_or(&[][..], |(_, files)| files);
    if typed.is_empty() {
        return Err(Error::Usage("put wants a FILE and a URL: `haul put FILE URL`, where FILE `-` is stdin".into()));
    }
    match typed.iter().filter(|file| is_piped(file)).count() {
        0 if put.stream => {
            return Err(Error::Usage("--stream is for what stdin or a pipe gives: `haul put --stream - URL`".into()));
        }
        0 | 1 => {}
        _ => return Err(Error::Usage("one FILE of put can be stdin or a pipe, and not more".into())),
    }
    // A pipe last: a file that is not there is told before anything is read.
    let named = typed.iter().map(|file| if is_piped(file) { Ok(None) } else { source(file).map(Some) });
    let named: Vec<Option<PathBuf>> = named.collect::<Result<_>>()?;
    let piped = match typed.iter().find(|file| is_piped(file)) {
        None => None,
        Some(file) if put.stream => Some(streamed(file, home)?),
        Some(file) => match spooled(file, home).await? {
            None => return Ok(None),
            piped => piped,
        },
    };
    let path = |named: Option<PathBuf>| named.or_else(|| Some(piped.as_ref()?.spooled.path().to_path_buf()));
    Ok(Some((named.into_iter().filter_map(path).collect(), piped)))
}

/// Whether a typed FILE is stdin, or a pipe with a name.
fn is_piped(typed: &str) -> bool {
    typed == "-" || std::fs::metadata(typed).is_ok_and(|data| data.file_type().is_fifo())
}

/// A place for what a pipe gives. It has the pipe's name, or `stdin`.
fn place_of(typed: &str, home: &Path) -> Result<Spooled> {
    let name = Path::new(typed).file_name().filter(|_| typed != "-").unwrap_or("stdin".as_ref());
    Spooled::new(home, name).map_err(|error| cannot_store(typed, &error))
}

/// What a pipe gives, read to its end. `None`: interrupted, and nothing of it is kept.
async fn spooled(typed: &str, home: &Path) -> Result<Option<Piped>> {
    let mut interrupt = Interrupt::listen()?; // from here on there is something to be removed
    let spooled = place_of(typed, home)?;
    let (pipe, path) = (typed.to_owned(), spooled.path().to_path_buf());
    let fill = move |input: &mut dyn Read| Spooled::fill(&path, input);
    let read = interrupt.unless_read(move || read_pipe(&pipe, fill)).await;
    if let Ok(Some(())) = read {
        return Ok(Some(Piped { spooled, reading: None }));
    }
    spooled.remove();
    read.map(|_| None)
}

/// What a pipe gives from now on, read on a thread of its own.
fn streamed(typed: &str, home: &Path) -> Result<Piped> {
    let spooled = place_of(typed, home)?;
    let writer = spooled.begin().map_err(|error| cannot_store(typed, &error))?;
    let pipe = typed.to_owned();
    let reading = tokio::task::spawn_blocking(move || read_pipe(&pipe, |input| writer.fill(input)));
    Ok(Piped { spooled, reading: Some(reading) })
}

fn read_pipe(typed: &str, fill: impl FnOnce(&mut dyn Read) -> io::Result<()>) -> Result<()> {
    let cannot = |error| cannot_store(typed, &error);
    let mut input: Box<dyn Read> = match typed {
        "-" => Box::new(io::stdin().lock()),
        name => Box::new(File::open(name).map_err(cannot)?),
    };
    fill(&mut *input).map_err(cannot)
}

fn cannot_store(typed: &str, error: &io::Error) -> Error {
    Error::FileSystem(format!("cannot store what `{typed}` gives: {error}"))
}

/// The task that the command line means.
fn addition(put: &Put, files: &[PathBuf], callbacks: Vec<String>, now_ms: u64) -> Result<Addition> {
    let Some(url) = put.files_and_url.last() else {
        return Err(Error::Usage("put wants a FILE and a URL".into()));
    };
    if put.request.is_stdout() {
        return Err(Error::Usage(
            "-o - is for `haul request`: put stores the response in a file, or not at all".into(),
        ));
    }
    let response = response_path(&put.request)?;
    let grant = common_directory(files.iter().chain(&response));
    let names = sent_names(&put.files_and_url, files);
    let mut task = Task { url: url.clone(), callbacks, allow_pause: false, ..Task::default() };
    check_login(&put.task.login, &put.engine.network)?;
    describe_one(&mut task, &put.task, now_ms)?;
    describe_request(&mut task, &put.request);
    task.response_file = response.as_deref().map(|path| below(&grant, path)).transpose()?;
    task.fields = put.fields.clone();
    match files {
        [file] if put.is_of_one_file() => {
            task.task_type = TaskType::Upload;
            let path = below(&grant, file)?;
            let (directory, name) = path.rsplit_once('/').unwrap_or(("", &path));
            (task.directory, task.filename) = (directory.to_owned(), Some(name.to_owned()));
            task.file_field = put.file_field.clone().unwrap_or_else(|| "file".into());
            task.mime_type = put.mime_type.clone().unwrap_or_default();
            if put.resumable.is_some_and(|how| how != HowResumable::Tus) && !put.fields.is_empty() {
                return Err(Error::Usage(
                    "--resumable ietf sends the file alone, and takes no --field (tus does)".into(),
                ));
            }
            task.body = if put.binary { Body::File } else { Body::Multipart };
            put.resumable.into_iter().for_each(|protocol| task.set_resumable(protocol.into()));
        }
        several if put.binary || put.resumable.is_some() => {
            let flag = if put.binary { "--binary" } else { "--resumable" };
            return Err(Error::Usage(format!("{flag} sends one file, and there are {}", several.len())));
        }
        several => {
            task.task_type = TaskType::MultiUpload;
            task.body = Body::Multipart;
            let files = several.iter().zip(&names);
            task.files = files.map(|(file, name)| part(put, &grant, file, name)).collect::<Result<_>>()?;
            if let ([file], None) = (task.files.as_mut_slice(), &put.file_field) {
                file.field = "file".into();
            }
            task.files.extend(parts_of_text(put));
        }
    }
    task.set_sent_names(&names);
    if task.http_request_method.is_empty() {
        task.http_request_method = if put.binary { "PUT" } else { "POST" }.into();
    }
    Ok(Addition { task, place: Some(grant), paused: false })
}

/// What the flags of uploads and requests say.
pub(crate) fn describe_request(task: &mut Task, flags: &RequestFlags) {
    task.http_request_method = flags.method.clone().unwrap_or_default();
    task.repeatable = flags.repeatable;
}

/// Where the response goes, absolute. `None`: into no file of the user's.
pub(crate) fn response_path(flags: &RequestFlags) -> Result<Option<PathBuf>> {
    let Some(name) = flags.output.as_ref().filter(|name| *name != Path::new("-")) else { return Ok(None) };
    let path = match &flags.dir {
        Some(dir) => dir.join(name),
        None => name.clone(),
    };
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(file)) if !path.as_os_str().as_encoded_bytes().ends_with(b"/") => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            Ok(Some(place(parent)?.join(file)))
        }
        _ => Err(Error::Usage("-o wants a file name; a directory is given by -d".into())),
    }
}

/// The names of links that lead to files of other names: these are sent under them. Empty: the file's own.
fn sent_names(typed: &[String], files: &[PathBuf]) -> Vec<String> {
    let name = |(typed, file): (&String, &PathBuf)| {
        let name = Path::new(typed).file_name().filter(|name| typed != "-" && file.file_name() != Some(name));
        name.and_then(|name| name.to_str()).unwrap_or_default().to_owned()
    };
    typed.iter().zip(files).map(name).collect()
}

/// The file's absolute path. A link counts as the file it leads to, where that is in another directory.
fn source(typed: &str) -> Result<PathBuf> {
    let typed = Path::new(typed);
    let target = typed.canonicalize().map_err(|error| {
        let what = if error.kind() == std::io::ErrorKind::NotFound { "does not exist" } else { "cannot be read" };
        let name = typed.display().to_string();
        Error::FileSystem(format!("file to upload {what}: `{}` ({error})", text::printable(&name)))
    })?;
    let named = absolute(typed)?;
    let leads_away = std::fs::read_link(&named).is_ok_and(|link| link.is_absolute() || link.components().count() > 1);
    match (named.parent().and_then(|parent| parent.canonicalize().ok()), named.file_name()) {
        (Some(parent), Some(name)) if !leads_away => Ok(parent.join(name)),
        _ => Ok(target),
    }
}

fn part(put: &Put, grant: &Path, file: &Path, name: &str) -> Result<FilePart> {
    let named = if name.is_empty() { file } else { Path::new(name) };
    let stem = named.file_stem().unwrap_or_default().to_string_lossy().replace(char::is_control, "_");
    Ok(FilePart {
        field: put.file_field.clone().unwrap_or(stem),
        filename: below(grant, file)?,
        mime_type: put.mime_type.clone().unwrap_or_default(),
        headers: put.part_headers.clone(),
        content: None,
    })
}

/// What is sent after the files: parts that are named like files, then fields.
fn parts_of_text(put: &Put) -> impl Iterator<Item = FilePart> {
    let part = |field: &String, filename: &str, text: &String| FilePart {
        field: field.clone(),
        filename: filename.to_owned(),
        content: Some(text.clone().into_bytes()),
        ..FilePart::default()
    };
    let named = put.parts.iter().map(move |typed| part(&typed.field, &typed.filename, &typed.text));
    named.chain(put.fields_after.iter().map(move |(field, text)| part(field, "", text)))
}

/// The deepest directory that all of these are in: what the command line grants.
fn common_directory<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> PathBuf {
    let directories = paths.filter_map(|path| path.parent());
    let common = directories.map(Path::to_path_buf).reduce(|common, directory| {
        let both = common.components().zip(directory.components());
        both.take_while(|(left, right)| left == right).map(|(left, _)| left).collect()
    });
    common.unwrap_or_else(|| PathBuf::from("/"))
}

/// The path relative to the granted directory.
fn below(grant: &Path, path: &Path) -> Result<String> {
    let below = path.strip_prefix(grant).unwrap_or(path);
    let text = below.to_str().ok_or_else(|| Error::Usage(format!("`{}` is not UTF-8", path.display())))?;
    Ok(text.to_owned())
}
