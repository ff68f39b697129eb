//! `haul doctor`: versions, paths, limits, free space; what is wrong, and how to mend it.

use std::ops::RangeInclusive;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use haul::config::{NotificationsConfig, ShowOn};
use haul::hooks::{GrantRule, Grantee};
use haul::profile::KeepCookies;
use haul::{Addition, Error, IfExists, Reply, Request, Result, Task, Work};
use serde_json::{Value, json};

use crate::args::Global;
use crate::environment::{Environment, now_ms};
use crate::exit;
use crate::link::Link;
use crate::printer::{Printer, Style};
use crate::text;

/// Less free space than this is worth a warning.
const FREE_BYTES_MIN: u64 = 256 << 20;
/// Fewer open files than this are worth a warning: each transfer holds two, and the database some.
const OPEN_FILES_MIN: u64 = 256;

/// A consumer for which an event has waited so long, or which keeps so many of tasks that are forgotten, is worth a warning.
const UNHEARD_MS: u64 = 30 * 86_400_000;
const KEPT_MAX: u64 = 10_000;

/// Times that a clock may show, in milliseconds since 1970: from 2024 to 2199.
const PLAUSIBLE_MS: RangeInclusive<u64> = 1_704_067_200_000..=7_258_118_399_999;

/// Magic numbers of network file systems (Linux `statfs(2)`), where SQLite's locks cannot be relied on.
const NETWORK_FILE_SYSTEMS: [(u64, &str); 8] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9P"),
    (0x5346_414f, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
];

/// Runs the command; answers the exit code: 0 when nothing is wrong.
pub(crate) async fn run(global: &Global, printer: &Printer) -> Result<u8> {
    let mut findings = Findings::default();
    findings.fine("version", env!("CARGO_PKG_VERSION"));
    findings.open_files();
    findings.clock(now_ms());
    match Environment::new(global) {
        Ok(environment) => {
            findings.paths(&environment);
            findings.profiles(&environment);
            findings.credentials(&environment);
            findings.notifications(&environment.config.notifications);
            findings.components(&environment);
            findings.granted(&environment.config.grants);
            findings.engine(&environment).await;
        }
        Err(error) => findings.wrong("configuration", String::new(), error.to_string()),
    }
    findings.print(printer);
    Ok(if findings.problems() == 0 { exit::DONE } else { exit::OTHER })
}

/// What a profile may say of a task so that it is refused.
const OF_PROFILES: [&str; 5] = ["headers", "group", "callbacks", "urlQueryParameters", "acceptStatus"];

#[derive(Default)]
struct Findings(Vec<Finding>);

struct Finding {
    name: String,
    value: String,
    /// What is wrong and how to mend it.
    problem: Option<String>,
}

impl Findings {
    fn fine(&mut self, name: &str, value: impl Into<String>) {
        self.note(name, value.into(), None);
    }

    fn wrong(&mut self, name: &str, value: String, problem: String) {
        self.note(name, value, Some(problem));
    }

    fn note(&mut self, name: &str, value: String, problem: Option<String>) {
        self.0.push(Finding { name: name.into(), value, problem });
    }

    fn problems(&self) -> usize {
        let wrong = |finding: &&Finding| finding.problem.is_some();
        self.0.iter().filter(wrong).count()
    }

    fn open_files(&mut self) {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let value = limit.map_or("unlimited".into(), text::number);
        let low = limit.is_some_and(|limit| limit < OPEN_FILES_MIN);
        let problem = low.then(|| "too few for many transfers at once; raise `ulimit -n`".into());
        self.note("open files", value, problem);
    }

    fn clock(&mut self, now_ms: u64) {
        let time = i64::try_from(now_ms / 1000).ok().and_then(|now_s| jiff::Timestamp::from_second(now_s).ok());
        let value = time.map_or_else(|| "beyond the year 9999".into(), |time| time.to_string());
        let wrong = !PLAUSIBLE_MS.contains(&now_ms);
        let problem =
            wrong.then(|| "the machine's clock is wrong: set it; certificates and times of tasks go by it".into());
        self.note("clock", value, problem);
    }

    fn paths(&mut self, environment: &Environment) {
        let there = |path: &Path| {
            let state = if path.exists() { "" } else { " (not there)" };
            format!("{}{state}", path.display())
        };
        self.fine("configuration", there(&environment.config_path));
        self.home(&environment.home);
        self.cache(&environment.cache_dir);
        let (count, bytes) = haul::hooks::cache_usage(&environment.cache_dir);
        let what = text::plural(count as u64, "compiled component");
        self.fine("in the cache", format!("{count} {what}, {}", text::size(bytes)));
        for (name, path) in &environment.directories {
            // background_downloader's names stand for the same directories.
            if !name.starts_with("application") {
                self.directory(&format!("directory {name}"), path);
            }
        }
    }

    fn profiles(&mut self, environment: &Environment) {
        for (name, profile) in &environment.config.profiles {
            let credentials = || profile.check_credentials(&environment.config.credentials);
            let login = || profile.transport.check_login();
            let checked = profile.transport.check().and_then(|()| credentials()).and_then(|()| login());
            let problem =
                checked.err().map(|error| error.to_string()).or_else(|| no_place_for_cookies(&profile.cookies));
            let base = profile.base_url.as_deref().unwrap_or("no base-url");
            self.note(&format!("profile {name}"), base.to_owned(), problem);
        }
    }

    fn home(&mut self, home: &Path) {
        let problem = match std::fs::metadata(home) {
            Ok(meta) if !meta.is_dir() => Some("this is not a directory".into()),
            Ok(meta) if meta.permissions().mode() & 0o077 != 0 => Some(format!(
                "others can look into it, and task headers may hold secrets: `chmod 700 {}`",
                home.display()
            )),
            _ => network_file_system(home).map(|kind| {
                format!(
                    "it is on a network file system ({kind}), where locks cannot be relied on; choose a local --home"
                )
            }),
        };
        self.note("home", home.display().to_string(), problem);
        self.space("free in home", home);
    }

    /// Makes it, as the first component that is compiled would: only that shows whether it can be.
    fn cache(&mut self, path: &Path) {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        let cannot =
            |error| format!("it cannot be made ({error}), so that nothing compiled is kept; set XDG_CACHE_HOME");
        let problem = made.err().map(cannot).or_else(|| unfit(path));
        self.note("cache", path.display().to_string(), problem);
    }

    fn directory(&mut self, name: &str, path: &Path) {
        let problem = unfit(path).or_else(|| open_to_all(path)).or_else(|| not_made(path));
        self.note(name, path.display().to_string(), problem);
        if name == "directory downloads" {
            self.space("free in downloads", path);
        }
    }

    fn space(&mut self, name: &str, path: &Path) {
        let Ok(stat) = rustix::fs::statvfs(nearest(path)) else {
            return;
        };
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let low = free < FREE_BYTES_MIN;
        let problem = low.then(|| "the disk is nearly full; make room".into());
        self.note(name, text::size(free), problem);
    }

    fn components(&mut self, environment: &Environment) {
        if let Some((source, problem)) = crate::callbacks::policy(environment) {
            let problem = problem.map(|why| format!("{why}; correct or remove `policy` in the configuration"));
            self.note("policy", source.path.display().to_string(), problem);
        }
        match crate::callbacks::configured(environment) {
            Ok(configured) => {
                for (source, problem) in configured {
                    let problem = problem.map(|why| format!("{why}; correct or remove it in the configuration"));
                    self.note(&format!("component {}", source.name), source.path.display().to_string(), problem);
                }
            }
            Err(error) => self.wrong("components", String::new(), error.to_string()),
        }
    }

    /// Granted ones that are not configured, and whether each that is can be had.
    fn credentials(&mut self, environment: &Environment) {
        let known = &environment.config.credentials;
        for (name, credential) in known {
            let problem = credential.check().err().map(|error| error.to_string());
            self.note(&format!("credential {name}"), credential.origins.join(", "), problem);
        }
        for name in
            crate::environment::granted_credentials(environment).into_iter().filter(|name| !known.contains_key(*name))
        {
            let problem = format!("it is granted, and the configuration has no [credentials.{name}]");
            self.wrong(&format!("credential {name}"), String::new(), problem);
        }
    }

    fn notifications(&mut self, shown: &NotificationsConfig) {
        let Some(program) = shown.command.first().filter(|_| shown.to.contains(&ShowOn::Command)) else { return };
        let found = match program.contains('/') {
            true => Some(PathBuf::from(program)),
            false => crate::environment::program(program),
        };
        let runs = |path: &PathBuf| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
        let problem = (!found.is_some_and(|path| runs(&path)))
            .then(|| "there is no such program; correct `command` of [notifications]".to_owned());
        self.note("notifications", program.clone(), problem);
    }

    /// Rules for files that are not there grant nothing.
    fn granted(&mut self, rules: &[GrantRule]) {
        for rule in rules {
            let Grantee::Path(path) = &rule.to else { continue };
            let problem = (!path.is_file())
                .then(|| "no file is there, so that this grants nothing; correct `path` of [[grants]]".to_owned());
            self.note("grants", path.display().to_string(), problem);
        }
    }

    fn attached(&mut self, environment: &Environment, listed: &[Value]) {
        match crate::callbacks::attached(environment, listed) {
            Ok(attached) => {
                for (source, problem, _) in attached {
                    let problem = problem.map(|why| format!("{why}; attach it again, or `haul callbacks detach` it"));
                    let sha256 = source.sha256.unwrap_or_default();
                    let what = format!("attached, sha-256 {}", sha256.get(..16).unwrap_or(&sha256));
                    self.note(&format!("component {}", source.name), what, problem);
                }
            }
            Err(error) => self.wrong("attached components", String::new(), error.to_string()),
        }
    }

    /// Opens the home: as its engine, or through the process that holds it.
    async fn engine(&mut self, environment: &Environment) {
        let mut link = Link::new(environment.settings(), Work::Nothing);
        match link.call(Request::Info).await {
            Ok(reply) => {
                let holder = match (link.is_joined(), &reply) {
                    (true, Reply::Info(info)) => format!("process {}", info["pid"]),
                    (true, _) => "another process".into(),
                    (false, _) => "nobody".into(),
                };
                self.fine("held by", holder);
                if let Reply::Info(Value::Object(info)) = reply {
                    for (name, value) in info.iter().filter(|(name, _)| !["pid", "leftAlone"].contains(&name.as_str()))
                    {
                        self.fine(&format!("engine {name}"), words(value));
                    }
                    for component in info.get("leftAlone").and_then(Value::as_array).into_iter().flatten() {
                        let name = format!("component {}", words(&component["name"]));
                        let left = crate::callbacks::left_alone(&component["hooks"]);
                        let way_out = match component["attachedBy"].as_str() {
                            Some("home") => "attach it mended, or detach it and attach it again",
                            _ => "mend it, and begin the process anew that works the queue",
                        };
                        let problem = format!("it failed there too often and is not asked until then; {way_out}");
                        self.wrong(&name, format!("left alone: {left}"), problem);
                    }
                }
                self.described(&mut link, environment).await;
                if let Ok(Reply::Info(Value::Array(known))) = link.call(Request::Consumers).await {
                    known.iter().for_each(|known| self.consumer(known, now_ms()));
                }
            }
            Err(error) => self.wrong("engine", "cannot open the home".into(), error.to_string()),
        }
        if let Ok(Reply::Info(Value::Array(listed))) = link.call(Request::Attached).await {
            self.attached(environment, &listed);
        }
        link.close().await;
    }

    /// A consumer that nobody reads as any more keeps events for ever.
    fn consumer(&mut self, known: &Value, now_ms: u64) {
        let name = known["consumer"].as_str().unwrap_or_default();
        let oldest = known["oldest"].as_str().and_then(|at| haul::config::time_ms(at, now_ms).ok());
        let is_old = oldest.is_some_and(|at| now_ms.saturating_sub(at) > UNHEARD_MS);
        let is_idle = is_old || known["kept"].as_u64().is_some_and(|kept| kept > KEPT_MAX);
        let way_out = match name.starts_with("haul.") {
            true => "haul tells it itself when tasks are worked (`haul run`); see the log for why it takes nothing"
                .to_owned(),
            false => format!(
                "nobody has acknowledged these events; `haul ack --consumer {0} SEQ`, or `haul consumer forget {0}`",
                text::printable(name)
            ),
        };
        self.note(&format!("consumer {name}"), crate::events::backlog(known), is_idle.then_some(way_out));
    }

    /// What every profile writes into tasks, judged as a task is.
    async fn described(&mut self, link: &mut Link, environment: &Environment) {
        for name in environment.config.profiles.keys() {
            let mut task = Task::download("http://localhost/");
            task.task_id = "doctor".into();
            task.set_profile(name);
            let tasks = vec![Addition { task, place: None, paused: false }];
            let Err(Error::Invalid(found)) =
                link.call(Request::Check { tasks, if_exists: IfExists::ReturnExisting, told: false }).await
            else {
                continue;
            };
            let problems = found.iter().flat_map(|(_, problems)| problems);
            for problem in problems.filter(|problem| OF_PROFILES.contains(&problem.field.as_str())) {
                self.wrong(&format!("profile {name}"), problem.field.clone(), problem.to_string());
            }
        }
    }

    fn print(&self, printer: &Printer) {
        for finding in &self.0 {
            if printer.json() {
                printer.data(json!({
                    "name": finding.name, "value": finding.value, "ok": finding.problem.is_none(), "problem": finding.problem,
                }));
                continue;
            }
            let mark = match finding.problem {
                None => printer.out_style("ok     ", Style::Green),
                Some(_) => printer.out_style("PROBLEM", Style::Red),
            };
            let value = text::printable(&finding.value);
            printer.data(format_args!("{mark}  {:<22} {value}", finding.name));
            if let Some(problem) = &finding.problem {
                printer.data(format_args!("         {}", text::printable(problem)));
            }
        }
        match self.problems() as u64 {
            0 => printer.note("nothing is wrong"),
            count => printer.note(format_args!("{count} {}", text::plural(count, "problem"))),
        }
    }
}

/// Why a profile's cookies could not be kept.
fn no_place_for_cookies(cookies: &KeepCookies) -> Option<String> {
    let KeepCookies::File(file) = cookies else { return None };
    let directory = file.parent()?;
    let is_there = directory.is_dir() && rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_ok();
    (!is_there).then(|| format!("no cookie file can be written in `{}`", directory.display()))
}

/// A value without JSON's punctuation.
fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(words).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            let pair = |(name, value): (&String, &Value)| format!("{name} {}", words(value));
            map.iter().map(pair).collect::<Vec<_>>().join(", ")
        }
        value => value.to_string(),
    }
}

/// The path itself, or the nearest directory above it that exists.
fn nearest(path: &Path) -> PathBuf {
    let existing = path.ancestors().find(|ancestor| ancestor.exists());
    existing.unwrap_or(Path::new("/")).into()
}

/// Why nothing can be written there.
fn unfit(path: &Path) -> Option<String> {
    let nearest = nearest(path);
    if !nearest.is_dir() {
        return Some(format!("`{}` is not a directory; configure another one", nearest.display()));
    }
    let writable = rustix::fs::access(&nearest, rustix::fs::Access::WRITE_OK).is_ok();
    (!writable).then(|| {
        format!("`{}` is not writable; change its permissions, or configure another directory", nearest.display())
    })
}

/// Why a directory that is not there cannot be made: tried with another one in its place, which is removed again.
fn not_made(path: &Path) -> Option<String> {
    let nearest = nearest(path);
    let trial = nearest.join(format!(".haul-doctor-{}", haul::new_uuid()));
    let made = if nearest == path { Ok(()) } else { std::fs::create_dir(&trial) };
    if made.is_ok() {
        let _ = std::fs::remove_dir(&trial);
    }
    let why = made.err()?;
    Some(format!("it is not there and cannot be made in `{}` ({why}); configure another one", nearest.display()))
}

/// What is wrong where everybody may rename and remove everybody's files. Rule: reliability C.3.
fn open_to_all(path: &Path) -> Option<String> {
    const WORLD_WRITABLE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & WORLD_WRITABLE != 0 && mode & STICKY == 0)
        .then(|| format!("everybody can replace files in it: `chmod o-w '{}'`, or `chmod +t` it", path.display()))
}

fn network_file_system(path: &Path) -> Option<&'static str> {
    let stat = rustix::fs::statfs(nearest(path)).ok()?;
    let kind = stat.f_type as u64;
    let known = NETWORK_FILE_SYSTEMS.iter();
    known.filter(|(magic, _)| kind & 0xffff_ffff == *magic).map(|(_, name)| *name).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_cannot_be_right_is_a_problem() {
        let mut findings = Findings::default();
        findings.clock(1_800_000_000_000);
        assert_eq!(findings.problems(), 0);
        [0, 978_307_200_000, 253_402_300_800_000].iter().for_each(|now_ms| findings.clock(*now_ms));
        assert_eq!(findings.problems(), 3);
    }

    #[test]
    fn a_consumer_that_nobody_reads_as_any_more_is_a_problem() {
        let now_ms = haul::config::time_ms("2026-03-01T00:00:00Z", 0).unwrap();
        let problems = |name: &str, kept: u64, oldest: Option<&str>| {
            let mut findings = Findings::default();
            findings.consumer(
                &json!({"consumer": name, "position": 3, "waiting": 9, "kept": kept, "oldest": oldest}),
                now_ms,
            );
            findings.0.iter().find_map(|finding| finding.problem.clone())
        };
        assert_eq!(problems("c", 0, None), None);
        assert_eq!(problems("c", 9, Some("2026-02-01T00:00:00.000Z")), None);
        let old = problems("c", 0, Some("2026-01-01T00:00:00.000Z")).unwrap();
        assert!(old.contains("haul consumer forget c"), "{old}");
        assert!(problems("c", 10_001, Some("2026-02-28T00:00:00.000Z")).is_some());
        assert!(!problems("haul.webhook.w", 10_001, None).unwrap().contains("forget"));
    }
}
