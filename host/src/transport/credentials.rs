//! What proves who asks: Basic (RFC 7617), Digest (RFC 7616) and bearer tokens (RFC 6750), by URL, netrc file or profile.
//!
//! A login in the task's URL belongs to that origin, a profile's to its base URL's origin, an entry of a netrc file to its
//! host; none of them goes anywhere else, over redirects either. Not here: the auth block of a task, which is headers by the
//! time they arrive, and the proxy's own credentials.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use http::HeaderMap;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use percent_encoding::percent_decode_str;
use url::Url;

use super::TransportSettings;
use super::challenge::Challenge;
use super::netrc::Netrc;
use super::nonces::{Challenged, Nonces};
use super::redirect::Hop;
use crate::error::{Error, Failure, FailureKind};
use crate::mask::MASK;
use crate::regular;

/// Servers whose challenge is remembered.
const REMEMBERED: usize = 1024;
/// Longest file of a secret.
const SECRET_FILE_MAX: u64 = 64 << 10;
/// A file system that has not answered by then is away.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// A secret, or where it is read from each time it is needed.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// Itself.
    Text(String),
    /// The first line of a file, read for each request: whoever rotates it need not tell haul.
    File(PathBuf),
    /// It cannot be had, for this reason; who needs it fails.
    Missing(String),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Secret::Text(_) => f.write_str(MASK),
            Secret::File(path) => write!(f, "File({path:?})"),
            Secret::Missing(why) => write!(f, "Missing({why:?})"),
        }
    }
}

impl Secret {
    /// The secret itself, for a request. Its file may lie where nobody answers (a network's file system): it is read by a
    /// thread for what blocks, so that the request waits for it alone.
    pub(super) async fn read(&self) -> Result<String, Failure> {
        let Secret::File(path) = self else { return self.read_blocking() };
        let secret = self.clone();
        let reading = tokio::task::spawn_blocking(move || secret.read_blocking());
        match tokio::time::timeout(READ_WITHIN, reading).await {
            Ok(read) => read.unwrap_or_else(|error| Err(unreadable(path, &error.to_string()))),
            Err(_) => Err(unreadable(path, &format!("nothing came within {} s", READ_WITHIN.as_secs()))),
        }
    }

    /// The same for who may wait.
    pub(super) fn read_blocking(&self) -> Result<String, Failure> {
        match self {
            Secret::Text(text) => Ok(text.clone()),
            Secret::Missing(why) => Err(Failure::new(FailureKind::Policy, why.clone())),
            Secret::File(path) => {
                let text = read_file(path).map_err(|error| unreadable(path, &error.to_string()))?;
                let first = text.lines().next().unwrap_or_default().trim();
                if first.is_empty() {
                    let why = format!("the file `{}` holds no secret in its first line", path.display());
                    return Err(Failure::new(FailureKind::Policy, why));
                }
                Ok(first.to_owned())
            }
        }
    }
}

fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    regular::open(path, 0)?.take(SECRET_FILE_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > SECRET_FILE_MAX {
        return Err(io::Error::other(format!("it is larger than {} KiB", SECRET_FILE_MAX >> 10)));
    }
    Ok(text)
}

fn unreadable(path: &Path, why: &str) -> Failure {
    Failure::new(FailureKind::Policy, format!("cannot read the secret in `{}`: {why}", path.display()))
}

/// What a profile's requests prove themselves with, at one origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// URL of the origin they are for, and of no other.
    pub origin: String,
    /// What they are.
    pub proof: Proof,
}

/// A kind of credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// For Basic and Digest.
    Password {
        /// Name of the user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token as it stands after `Bearer`.
    Bearer(Secret),
}

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
    /// Whoever gave it has left the password to the netrc file.
    pub(super) is_open: bool,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(MASK)
    }
}

impl Login {
    /// From the userinfo of a URL, percent-decoded; `None` when it has none.
    pub(super) fn of(url: &Url) -> Option<Self> {
        if url.username().is_empty() && url.password().is_none() {
            return None;
        }
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let password = decoded(url.password().unwrap_or_default());
        Some(Self { user: decoded(url.username()), password, is_open: false })
    }

    /// The value for Basic.
    pub(super) fn basic(&self) -> String {
        let plain = format!("{}:{}", self.user, self.password);
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(plain))
    }
}

/// The credentials of the requests of a transport, and of its twins.
pub(super) struct Keyring {
    netrc: Option<Result<Netrc, Failure>>,
    credentials: Option<Credentials>,
    /// A password is not sent in the clear: a challenge is waited for.
    digest_only: bool,
    /// Challenges by user and origin: the next request answers without being asked, and counts on.
    challenges: Mutex<HashMap<String, Arc<Nonces>>>,
}

impl Keyring {
    pub(super) fn new(settings: &TransportSettings) -> Self {
        Self {
            netrc: settings.netrc.as_deref().map(Netrc::read),
            credentials: settings.credentials.clone(),
            digest_only: settings.digest_only,
            challenges: Mutex::default(),
        }
    }

    /// Whether everything can be used as far as that can be known before it is needed.
    pub(super) fn check(settings: &TransportSettings) -> Result<(), Error> {
        settings
            .netrc
            .as_deref()
            .map_or(Ok(()), |path| Netrc::read(path).map(drop).map_err(|why| Error::Usage(why.description)))
    }

    /// The value of Authorization for a request, unless it brings its own. `ambient`: netrc and profile count. `own`: the nonce
    /// that it was challenged with.
    pub(super) async fn authorization(
        &self,
        hop: &Hop,
        ambient: bool,
        own: Option<&str>,
    ) -> Result<Option<String>, Failure> {
        if hop.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(AUTHORIZATION.as_str())) {
            return Ok(None);
        }
        if let (true, None, Some(Credentials { origin, proof: Proof::Bearer(token) })) =
            (ambient, &hop.login, &self.credentials)
            && is_of(origin, &hop.url)
        {
            return Ok(Some(format!("Bearer {}", token.read().await?)));
        }
        let Some(login) = self.login(hop, ambient).await? else { return Ok(None) };
        let nonces = self.challenges().get(&key(&login, &hop.url)).cloned();
        let answer = nonces.and_then(|nonces| nonces.answer(own, &login, &hop.method, target(&hop.url)));
        if let Some(answer) = answer {
            return Ok(answer);
        }
        Ok((!self.digest_only).then(|| login.basic()))
    }

    /// Takes the challenge of a 401. True: the request can be sent again, with an answer to it.
    pub(super) async fn challenged(
        &self,
        hop: &Hop,
        headers: &HeaderMap,
        ambient: bool,
        asked: &mut Challenged,
    ) -> bool {
        if hop.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(AUTHORIZATION.as_str())) {
            return false;
        }
        let Ok(Some(login)) = self.login(hop, ambient).await else { return false };
        let key = key(&login, &hop.url);
        let mut challenges = self.challenges();
        if challenges.len() >= REMEMBERED && !challenges.contains_key(&key) {
            challenges.clear();
        }
        let nonces = Arc::clone(challenges.entry(key).or_default());
        nonces.take(Challenge::of_answer(headers, WWW_AUTHENTICATE), asked, false)
    }

    /// Takes what an answer says about the next request's proof.
    pub(super) async fn told(&self, hop: &Hop, headers: &HeaderMap, ambient: bool) {
        if !headers.contains_key(super::challenge::INFO) {
            return;
        }
        let Ok(Some(login)) = self.login(hop, ambient).await else { return };
        let nonces = self.challenges().get(&key(&login, &hop.url)).cloned();
        if let Some(nonces) = nonces {
            nonces.told(headers);
        }
    }

    fn challenges(&self) -> MutexGuard<'_, HashMap<String, Arc<Nonces>>> {
        self.challenges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who asks: as the URL says, else the profile, else the netrc file, which also knows the password of a user without one.
    async fn login(&self, hop: &Hop, ambient: bool) -> Result<Option<Login>, Failure> {
        let given = hop.login.as_ref();
        if let Some(login) = given.filter(|login| !login.password.is_empty() || !ambient) {
            return Ok(Some(login.clone()));
        }
        if !ambient {
            return Ok(None);
        }
        if let (None, Some(Credentials { origin, proof: Proof::Password { user, password } })) =
            (given, &self.credentials)
            && is_of(origin, &hop.url)
        {
            return Ok(Some(Login { user: user.clone(), password: password.read().await?, is_open: false }));
        }
        let Some(netrc) = &self.netrc else { return Ok(given.cloned()) };
        let host = hop.url.host_str().unwrap_or_default();
        let found = netrc.as_ref().map_err(Clone::clone)?.login(host, given.map(|login| login.user.as_str()));
        match (found, given) {
            (Some(found), _) => Ok(Some(found)),
            (None, Some(login)) if login.is_open => {
                let why = format!("the netrc file has no password of `{}` for {host}", login.user);
                Err(Failure::new(FailureKind::Policy, why))
            }
            (None, given) => Ok(given.cloned()),
        }
    }
}

fn is_of(origin: &str, url: &Url) -> bool {
    Url::parse(origin).is_ok_and(|known| known.origin() == url.origin())
}

fn key(login: &Login, url: &Url) -> String {
    format!("{} {}", url.origin().ascii_serialization(), login.user)
}

/// Path and query, as the request line has them.
fn target(url: &Url) -> &str {
    &url[url::Position::BeforePath..url::Position::AfterQuery]
}
