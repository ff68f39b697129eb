//! The netrc file: logins by host, as ftp, curl and git read them.
//!
//! Macros are passed over. It says nothing about which requests use it.

use std::path::Path;

use super::credentials::Login;
use crate::error::{Failure, FailureKind};
use crate::regular;

/// Longest file.
const MAX_FILE: usize = 1 << 20;

/// The entries of a file, in order.
pub(super) struct Netrc(Vec<Entry>);

#[derive(Default)]
struct Entry {
    /// `None`: `default`, for every host.
    machine: Option<String>,
    login: String,
    password: String,
}

impl Netrc {
    /// Reads a file.
    ///
    /// # Errors
    /// [`FailureKind::Policy`] when it cannot be read or is none; no word of it is quoted.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let unusable = |why: String| {
            Failure::new(FailureKind::Policy, format!("cannot use the netrc file `{}`: {why}", path.display()))
        };
        let bytes = regular::read(path).map_err(|error| unusable(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| unusable("it is not UTF-8".into()))?;
        if text.len() > MAX_FILE {
            return Err(unusable("it is larger than 1 MiB".into()));
        }
        Self::parse(&text).ok_or_else(|| unusable("it is not made of `machine HOST login NAME password WORD`".into()))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut entries = Vec::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let mut words = words(line.trim_start()).into_iter();
            while let Some(word) = words.next() {
                match word.as_str() {
                    "machine" => {
                        entries.push(Entry { machine: Some(words.next()?.to_ascii_lowercase()), ..Entry::default() })
                    }
                    "default" => entries.push(Entry::default()),
                    "login" => entries.last_mut()?.login = words.next()?,
                    "password" => entries.last_mut()?.password = words.next()?,
                    "account" => drop(words.next()?),
                    // Ends with an empty line.
                    "macdef" => {
                        let _ = lines.by_ref().find(|line| line.trim().is_empty());
                        break;
                    }
                    comment if comment.starts_with('#') => break,
                    _ => return None,
                }
            }
        }
        Some(Self(entries))
    }

    /// The first login for a host, of that user where one is named.
    pub(super) fn login(&self, host: &str, user: Option<&str>) -> Option<Login> {
        let fits = |entry: &&Entry| {
            entry.machine.as_deref().is_none_or(|machine| machine.eq_ignore_ascii_case(host))
                && user.is_none_or(|user| entry.login == user)
        };
        self.0.iter().find(fits).map(|entry| Login { user: entry.login.clone(), password: entry.password.clone() })
    }
}

/// The words of a line; one in double quotes may hold spaces, and `\` takes the next character as it is.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut chars = line.chars().peekable();
    while let Some(first) = chars.next() {
        if first.is_whitespace() {
            continue;
        }
        let quoted = first == '"';
        let mut word = if quoted { String::new() } else { first.to_string() };
        while let Some(next) = chars.next_if(|next| if quoted { *next != '"' } else { !next.is_whitespace() }) {
            word.extend(if quoted && next == '\\' { chars.next() } else { Some(next) });
        }
        if quoted {
            chars.next();
        }
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_found_by_host_and_user_in_the_order_of_the_file() {
        let text = "# mine\nmachine a.example login me password \"pass word\\\"\"\nmachine A.example\n  login you\n\
                    \tpassword two # why\nmacdef init\n machine evil login x password y\n\nmachine b.example password p3\n\
                    default login anonymous password guest\n";
        let netrc = Netrc::parse(text).unwrap();
        let login = |host: &str, user: Option<&str>| {
            netrc.login(host, user).map(|login| format!("{}:{}", login.user, login.password))
        };
        assert_eq!(login("a.example", None).unwrap(), "me:pass word\"");
        assert_eq!(login("A.EXAMPLE", Some("you")).unwrap(), "you:two");
        assert_eq!(login("b.example", None).unwrap(), ":p3");
        assert_eq!(login("evil", None).unwrap(), "anonymous:guest");
        assert_eq!(login("a.example", Some("nobody")), None);
        for wrong in ["machine", "login me", "machine a user me", "{\"json\": 1}"] {
            assert!(Netrc::parse(wrong).is_none(), "{wrong}");
        }
    }
}
