//! Jars of cookies: where each profile's is read from, and kept.
//!
//! What goes into a jar and out of it is decided in `cookies`; when, by the transport.

use std::collections::HashMap;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::clock;
use crate::cookies::Jar;
use crate::error::{Error, Result};
use crate::profile::{KeepCookies, Profiles};
use crate::store::Store;
use crate::{private, regular};

/// Opens the jar of each profile that has one. Profiles that name the same file share it.
///
/// Errors: [`Error::Usage`] when a file is no jar, [`Error::FileSystem`] when it cannot be read, or is none.
pub(super) fn open(profiles: &mut Profiles, store: &Store) -> Result<()> {
    let mut files: HashMap<PathBuf, Jar> = HashMap::new();
    for (name, profile) in profiles.all_mut() {
        profile.transport.cookies = match &profile.cookies {
            KeepCookies::No => profile.transport.cookies.take(), // the library's user may have handed one over
            KeepCookies::Home => Some(in_home(store, name)?),
            KeepCookies::File(path) => Some(match files.get(path) {
                Some(jar) => jar.clone(),
                None => files.entry(path.clone()).or_insert(in_file(path)?).clone(),
            }),
        };
    }
    Ok(())
}

impl Profiles {
    /// Every jar there is.
    pub(super) fn jars(&self) -> impl Iterator<Item = &Jar> {
        let all = std::iter::once(&self.default).chain(self.named.values());
        all.filter_map(|profile| profile.transport.cookies.as_ref())
    }
}

fn in_home(store: &Store, profile: &str) -> Result<Jar> {
    let name = format!("cookies:{profile}");
    let text = store.secret(&name)?.unwrap_or_default();
    let store = store.clone();
    Jar::read(&text, clock::unix_ms(), move |text| drop(store.keep_secret(&name, &text, clock::unix_ms())))
}

/// Where curl's users keep cookies that are to be forgotten.
const NOWHERE: &str = "/dev/null";

fn in_file(path: &Path) -> Result<Jar> {
    if path == Path::new(NOWHERE) {
        return Jar::read(b"", 0, |_| {});
    }
    let cannot = |error| Error::FileSystem(format!("cannot use the cookie file `{}`: {error}", path.display()));
    let kept = target(path).map_err(cannot)?;
    let text = match regular::read(&kept) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        read => read.map_err(cannot)?,
    };
    let jar = Jar::read(&text, clock::unix_ms(), move |text| {
        if let Err(error) = replace(&kept, &text) {
            tracing::warn!("cannot write the cookie file `{}`: {error}", kept.display());
        }
    });
    let jar = jar.map_err(|error| Error::Usage(format!("`{}`: {error}", path.display())))?;
    if let Some(lines) = jar.left_out() {
        let path = path.display();
        tracing::warn!(
            "{lines} of the cookie file `{path}`: no cookie that can be sent; left out, and left there as it is"
        );
    }
    if let Some(lines) = jar.nobodys() {
        let path = path.display();
        tracing::warn!(
            "{lines} of the cookie file `{path}`: `Set-Cookie:` does not say where its cookie goes; add `; Domain=HOST` \
             (left out, and left there as it is)"
        );
    }
    Ok(jar)
}

/// The file that a link leads to, so that the link stays; the path itself where nothing is yet.
fn target(path: &Path) -> std::io::Result<PathBuf> {
    match std::fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && std::fs::symlink_metadata(path).is_err() => {
            Ok(path.to_owned())
        }
        found => found,
    }
}

/// A file is whole, the old or the new one, whenever somebody looks; and nobody else's to read. Nothing but a file is replaced.
/// Rule: reliability C.3.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if std::fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    let mut file = private::create(&beside)?;
    file.write_all(content)?;
    #[expect(clippy::disallowed_methods, reason = "a cookie file is no transfer's, and is there to be replaced")]
    std::fs::rename(&beside, path).inspect_err(|_| drop(std::fs::remove_file(&beside)))
}
