//! What the surroundings mean: home, configuration, directories, clock, and the engine's settings made of all of them.
//!
//! The only part of haul that reads environment variables (beside those that clap reads for flags) and the clock of the
//! command line. The library is handed paths, never variables.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use haul::config::{self, Config};
use haul::hooks::{Compiler, ComponentSource, Grants};
use haul::profile::{self, KeepCookies, Profile};
use haul::transport::Secret;
use haul::{Error, Result, Settings};

use crate::args::{ComponentFlags, EngineFlags, Global, NetworkFlags};

/// Directories by convention, and background_downloader's name for each, which the configuration may use as well.
const DATA_DIRECTORIES: [(&str, &str); 4] = [
    ("documents", "applicationDocuments"),
    ("temporary", "temporary"),
    ("support", "applicationSupport"),
    ("library", "applicationLibrary"),
];

/// The user's directories (xdg-user-dirs): the name here, the variable's middle, the default below the user's home.
pub(crate) const USER_DIRECTORIES: [(&str, &str, &str); 5] = [
    ("downloads", "DOWNLOAD", "Downloads"),
    ("pictures", "PICTURES", "Pictures"),
    ("videos", "VIDEOS", "Videos"),
    ("music", "MUSIC", "Music"),
    ("documents", "DOCUMENTS", "Documents"),
];

/// Names of background_downloader's SharedStorage.
const SHARED_STORAGE: [(&str, &str); 4] =
    [("images", "pictures"), ("video", "videos"), ("audio", "music"), ("files", "documents")];

/// Paths and configuration of this invocation.
#[derive(Debug)]
pub(crate) struct Environment {
    /// Holds the database.
    pub(crate) home: PathBuf,
    /// The configuration file, whether it exists or not.
    pub(crate) config_path: PathBuf,
    /// What it says.
    pub(crate) config: Config,
    /// Compiled components.
    pub(crate) cache_dir: PathBuf,
    /// The home of who has no other; holds the key to compiled components, whatever the home.
    pub(crate) state_dir: PathBuf,
    /// Base directories by name.
    pub(crate) directories: BTreeMap<String, PathBuf>,
    /// Where the user's directories are described.
    config_dir: PathBuf,
    user_home: PathBuf,
}

impl Environment {
    /// Reads variables and the configuration file. A configuration file that was named must exist.
    pub(crate) fn new(global: &Global) -> Result<Self> {
        let xdg = etcetera::base_strategy::Xdg::new().map_err(|_| no_home())?;
        let state_dir = xdg.state_dir().unwrap_or_else(|| xdg.home_dir().join(".local/state")).join("haul");
        let home = match &global.home {
            Some(home) => absolute(home)?,
            None => state_dir.clone(),
        };
        let (config_path, must_exist) = match &global.config {
            Some(path) => (absolute(path)?, true),
            None => (xdg.config_dir().join("haul/config.toml"), false),
        };
        let config = Config::read(&config_path, must_exist, &variable)?;
        Ok(Self {
            home,
            cache_dir: xdg.cache_dir().join("haul"),
            state_dir,
            directories: directories(&xdg, &config),
            config_dir: xdg.config_dir(),
            user_home: xdg.home_dir().to_path_buf(),
            config,
            config_path,
        })
    }

    /// One of the user's directories, by its name here or in background_downloader.
    pub(crate) fn user_directory(&self, name: &str) -> Option<PathBuf> {
        let name = SHARED_STORAGE.iter().find(|(other, _)| *other == name).map_or(name, |(_, name)| name);
        let (_, variable, default) = USER_DIRECTORIES.iter().find(|(known, ..)| *known == name)?;
        Some(user_directory(variable, default, &self.config_dir, &self.user_home))
    }

    /// Settings of an engine that only answers: nothing but what the configuration says.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            cache_dir: self.cache_dir.clone(),
            key_dir: self.state_dir.clone(),
            directories: self.directories.clone(),
            limits: self.config.limits.clone(),
            skip_existing: self.config.skip_existing,
            durability: self.config.durability,
            components: self.config.callbacks.clone(),
            policy: self.config.policy.clone(),
            grants: self.config.grants.clone(),
            credentials: self.config.credentials.clone(),
            compiler: compiler(),
            profile: self.config.profiles.get(profile::DEFAULT).cloned().unwrap_or_default(),
            profiles: self.config.profiles.clone(),
            retry_jitter: self.config.retry_jitter,
            webhooks: self.config.webhooks.clone(),
            ..Settings::new(&self.home)
        }
    }

    /// Settings of an engine that works: flags before configuration. `used`: the profile that certainly will be.
    pub(crate) fn working_settings(&self, flags: &EngineFlags, used: Option<&str>) -> Result<Settings> {
        let mut settings = self.settings();
        settings.retain = self.config.retain;
        settings.limit_flags = flags.limits.changes();
        settings.skip_existing = flags.skip_existing.or(settings.skip_existing);
        if let Some(durability) = flags.durability {
            settings.durability = durability.into();
        }
        // The flags are about the tasks of this invocation.
        settings.webhook_transport = Some(settings.profile.transport.clone());
        for profile in std::iter::once(&mut settings.profile).chain(settings.profiles.values_mut()) {
            overlay(profile, &flags.network)?;
        }
        self.check(profile::DEFAULT, &settings.profile)?;
        if let Some((name, profile)) = used.and_then(|name| settings.profiles.get_key_value(name)) {
            self.check(name, profile)?;
        }
        if let Some(file) = &flags.components.policy {
            settings.policy = Some(ComponentSource::policy(absolute(file)?));
        }
        settings.component_flags = components(&flags.components, &self.config.callbacks)?;
        settings.record = flags.components.record.as_deref().map(absolute).transpose()?;
        missing_credentials(self).iter().for_each(|why| tracing::warn!("{why}"));
        Ok(settings)
    }
}

impl Environment {
    /// Whether requests can travel so: what the configuration says wrong is told with the profile's name, what flags say is not.
    fn check(&self, name: &str, with_flags: &Profile) -> Result<()> {
        with_flags.transport.check().map_err(|error| {
            let known = self.config.profiles.get(name).and_then(|profile| profile.transport.check().err());
            match known {
                Some(known) if known.to_string() == error.to_string() => {
                    Error::Usage(format!("{}: [profiles.{name}]: {error}", self.config_path.display()))
                }
                _ => error,
            }
        })
    }
}

/// Credentials that the configuration grants and does not have, one a sentence: only who uses them would find out.
pub(crate) fn missing_credentials(environment: &Environment) -> Vec<String> {
    let known = |name: &String| environment.config.credentials.get(name).map(|known| &known.secret);
    let missing = granted_credentials(environment).into_iter().filter_map(|name| match known(name) {
        None => Some(format!("credential `{name}` is granted, and the configuration has no [credentials.{name}]")),
        Some(Secret::Missing(why)) => Some(format!("credential `{name}`: {why}")),
        Some(_) => None,
    });
    missing.collect()
}

/// The names of those that components of the configuration are granted.
pub(crate) fn granted_credentials(environment: &Environment) -> BTreeSet<&String> {
    let config = &environment.config;
    let attached = config.callbacks.iter().map(|source| &source.grants);
    attached.chain(config.grants.iter().map(|rule| &rule.grants)).flat_map(|grants| &grants.credentials).collect()
}

/// The first and only argument of a process that compiles a component.
pub(crate) const COMPILE: &str = "compile-component";

/// Components are compiled by this program in a process of its own.
pub(crate) fn compiler() -> Compiler {
    // The file that runs, even when another version has taken its name meanwhile.
    Compiler::Child { program: "/proc/self/exe".into(), arguments: vec![COMPILE.into()] }
}

/// What the flags say of how requests travel, in the place of what the profile says.
fn overlay(profile: &mut Profile, flags: &NetworkFlags) -> Result<()> {
    let travels = &mut profile.transport;
    let path = |path: &Option<PathBuf>| path.as_deref().map(absolute).transpose();
    match (&flags.proxy, &flags.no_proxy) {
        (Some(typed), list) => {
            // Another proxy for the same hosts: the profile's list stays where there is no other.
            let of_profile = Some(travels.proxy.bypass.clone()).filter(|bypass| !bypass.is_empty());
            travels.proxy = config::proxy(typed, list.clone().or(of_profile), &variable);
        }
        (None, Some(list)) => travels.proxy.bypass.clone_from(list),
        (None, None) => {}
    }
    if let Some(file) = path(&flags.cacert)? {
        travels.cacert = Some(file);
    }
    if let Some(file) = path(&flags.cert)? {
        (travels.client_cert, travels.client_key) = (Some(file), path(&flags.key)?);
    }
    travels.insecure |= flags.insecure;
    travels.insecure_hosts.extend(flags.insecure_hosts.iter().cloned());
    if !flags.pinned_keys.is_empty() {
        travels.pinned_keys.clone_from(&flags.pinned_keys);
    }
    travels.min_tls = flags.tls_min.map_or(travels.min_tls, Into::into);
    travels.http2 &= !flags.http1;
    if let Some(file) = path(&flags.cookie_jar)? {
        if !file.parent().is_none_or(Path::is_dir) {
            let why = format!("cannot use the cookie file `{}`: No such file or directory", file.display());
            return Err(Error::FileSystem(why));
        }
        profile.cookies = KeepCookies::File(file);
    }
    if flags.netrc {
        travels.netrc = Some(config::default_netrc(&variable)?);
    }
    if let Some(file) = path(&flags.netrc_file)? {
        travels.netrc = Some(file);
    }
    travels.digest_only |= flags.digest;
    travels.proxy.digest_only |= flags.digest;
    Ok(())
}

/// A variable of the environment; one that is no text is not set.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A component as `--callbacks` gives it.
enum Given<'a> {
    /// By its name in the configuration, where its grants are too.
    Name(&'a ComponentSource),
    /// By its file.
    File(&'a Path),
}

/// A name of the configuration, unless there is a file of that name.
fn given<'a>(typed: &'a Path, configured: &'a [ComponentSource]) -> Given<'a> {
    let named = configured.iter().find(|source| Path::new(&source.name) == typed);
    match named {
        Some(source) if !typed.exists() => Given::Name(source),
        _ => Given::File(typed),
    }
}

/// The names of configured components among `--callbacks`: tasks keep them.
pub(crate) fn named(flags: &ComponentFlags, configured: &[ComponentSource]) -> Vec<String> {
    let names = flags.callbacks.iter().filter_map(|typed| match given(typed, configured) {
        Given::Name(source) => Some(source.name.clone()),
        Given::File(_) => None,
    });
    names.collect()
}

/// The files among `--callbacks`, with the grants given beside them: they are attached for this invocation.
pub(crate) fn components(flags: &ComponentFlags, configured: &[ComponentSource]) -> Result<Vec<ComponentSource>> {
    let mut sources: Vec<ComponentSource> = Vec::new();
    for typed in &flags.callbacks {
        let Given::File(file) = given(typed, configured) else {
            continue;
        };
        let stem = file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy();
        let taken = |name: &String| sources.iter().chain(configured).any(|source| source.name == *name);
        let numbered = (2..).map(|number: u64| format!("{stem}-{number}"));
        let mut names = std::iter::once(stem.to_string()).chain(numbered);
        let name = names.find(|name| !taken(name)).unwrap_or_default();
        let grants =
            Grants { allow_hosts: flags.allow_hosts.clone(), config: settings(&flags.config)?, ..Grants::default() };
        sources.push(ComponentSource { name, path: absolute(file)?, grants, ..ComponentSource::default() });
    }
    let useless = [("--allow-host", flags.allow_hosts.is_empty()), ("--callback-config", flags.config.is_empty())];
    match useless.iter().find(|(_, is_empty)| !is_empty) {
        Some((flag, _)) if sources.is_empty() => {
            Err(Error::Usage(format!("{flag} is for the files of --callbacks, and there are none")))
        }
        _ => Ok(sources),
    }
}

/// The settings of `--callback-config`, each of them once.
pub(crate) fn settings(typed: &[(String, String)]) -> Result<Vec<(String, String)>> {
    let mut names: Vec<&String> = typed.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            Err(Error::Usage(format!("--callback-config gives the setting `{}` twice: say it once", pair[0])))
        }
        None => Ok(typed.to_vec()),
    }
}

/// The path from the root, without asking the file system about it.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path)
        .map_err(|error| Error::FileSystem(format!("cannot tell where `{}` is: {error}", path.display())))
}

/// A directory's one true path, so that the same place given in two ways is the same place: links are resolved as far as it
/// exists, the rest is taken literally.
pub(crate) fn place(path: &Path) -> Result<PathBuf> {
    let path = absolute(path)?;
    let mut existing = path.as_path();
    let mut missing = Vec::new();
    loop {
        if let Ok(found) = existing.canonicalize() {
            let mut place = found;
            for part in missing.iter().rev() {
                match part {
                    std::path::Component::ParentDir => place.pop(),
                    part => {
                        place.push(part);
                        true
                    }
                };
            }
            return Ok(place);
        }
        let (Some(parent), Some(part)) = (existing.parent(), existing.components().next_back()) else {
            return Ok(path);
        };
        missing.push(part);
        existing = parent;
    }
}

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "what people type is counted from now")]
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Raises the soft limit of open files to the hard one: each transfer holds a connection and a file.
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // Where this is refused, the old limit serves too.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

/// Where the address space is limited, each thread's own heap would take 64 MiB of it: two are enough then.
#[allow(unsafe_code)] // nobody wraps it
pub(crate) fn save_address_space() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::As);
    #[cfg(target_env = "gnu")]
    if limit.current.is_some() {
        // SAFETY: it sets a number, of which the allocator takes notice when it needs another heap.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = limit;
}

fn no_home() -> Error {
    Error::Usage("HOME is not set, so there is no place for haul's files; set HOME".into())
}

fn directories(xdg: &etcetera::base_strategy::Xdg, config: &Config) -> BTreeMap<String, PathBuf> {
    let data = xdg.data_dir().join("haul");
    let mut directories = config.directories.clone();
    for (name, other) in DATA_DIRECTORIES {
        let given = directories.get(name).or_else(|| directories.get(other));
        let path = given.cloned().unwrap_or_else(|| data.join(name));
        directories.insert(name.into(), path);
    }
    if !directories.contains_key("downloads") {
        let path = user_directory("DOWNLOAD", "Downloads", &xdg.config_dir(), xdg.home_dir());
        directories.insert("downloads".into(), path);
    }
    directories
}

/// A program of the PATH.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// A directory of the user, e.g. XDG_DOWNLOAD_DIR of the environment or of `user-dirs.dirs`, else below the home.
fn user_directory(middle: &str, default: &str, config_dir: &Path, home: &Path) -> PathBuf {
    let variable = format!("XDG_{middle}_DIR");
    if let Some(path) = std::env::var_os(&variable).map(PathBuf::from)
        && path.is_absolute()
    {
        return path;
    }
    std::fs::read_to_string(config_dir.join("user-dirs.dirs"))
        .ok()
        .and_then(|text| user_entry(&text, &variable, home))
        .unwrap_or_else(|| home.join(default))
}

/// A variable of a `user-dirs.dirs`: `"$HOME/sub"` or `"/absolute"` (xdg-user-dirs). It is a line of sh, too: a backslash takes the
/// meaning from what follows it.
fn user_entry(text: &str, variable: &str, home: &Path) -> Option<PathBuf> {
    let value = text.lines().find_map(|line| {
        let value = line.trim().strip_prefix(variable)?.strip_prefix('=')?;
        value.trim().strip_prefix('"')?.strip_suffix('"')
    })?;
    match value.strip_prefix("$HOME") {
        Some(below) => Some(home.join(unescaped(below.trim_start_matches('/')))),
        None => Some(PathBuf::from(unescaped(value))).filter(|path| path.is_absolute()),
    }
}

/// Without the backslashes of sh.
fn unescaped(text: &str) -> String {
    let mut characters = text.chars();
    let next = || match characters.next()? {
        '\\' => characters.next(),
        other => Some(other),
    };
    std::iter::from_fn(next).collect()
}

#[cfg(test)]
mod tests;
