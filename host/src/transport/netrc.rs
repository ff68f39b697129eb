//! The netrc file: logins by host, as ftp, curl and git read them.
//!
//! Its words are set apart by white space, line ends included, and keywords may be in any case. Macros are passed over, and so are
//! words that nobody knows. It says nothing about which requests use it.

use std::path::Path;
use std::str::Chars;

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
    login: Option<String>,
    password: Option<String>,
}

/// A keyword, whose value is the next word.
#[derive(Clone, Copy)]
enum Field {
    Machine,
    Login,
    Password,
    Account,
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
        Self::parse(&text).map_err(|line| unusable(format!("line {line} has a quote that is not closed")))
    }

    /// The error is the number of a line with a quote that is not closed there.
    fn parse(text: &str) -> Result<Self, usize> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut wanted: Option<Field> = None;
        let mut lines = text.lines().zip(1_usize..);
        while let Some((line, number)) = lines.next() {
            let mut rest = line.chars();
            while let Some(word) = next_word(&mut rest).map_err(|Unclosed| number)? {
                if let Some(field) = wanted.take() {
                    set(&mut entries, field, word);
                    continue;
                }
                match word.to_ascii_lowercase().as_str() {
                    "machine" => wanted = Some(Field::Machine),
                    "login" => wanted = Some(Field::Login),
                    "password" => wanted = Some(Field::Password),
                    "account" => wanted = Some(Field::Account),
                    "default" => entries.push(Entry::default()),
                    // Ends with an empty line.
                    "macdef" => {
                        let _ = lines.by_ref().find(|(line, _)| line.trim().is_empty());
                        break;
                    }
                    comment if comment.starts_with('#') => break,
                    _ => {}
                }
            }
        }
        Ok(Self(entries))
    }

    /// The first login for a host, of that user where one is named. An entry without name and password is none.
    pub(super) fn login(&self, host: &str, user: Option<&str>) -> Option<Login> {
        let fits = |entry: &&Entry| {
            entry.machine.as_deref().is_none_or(|machine| machine.eq_ignore_ascii_case(host))
                && (entry.login.is_some() || entry.password.is_some())
                && user.is_none_or(|user| entry.login.as_deref().unwrap_or_default() == user)
        };
        self.0.iter().find(fits).map(|entry| Login {
            user: entry.login.clone().unwrap_or_default(),
            password: entry.password.clone().unwrap_or_default(),
            is_open: false,
        })
    }
}

/// Takes the value of a keyword. Before the first entry it belongs to nobody.
fn set(entries: &mut Vec<Entry>, field: Field, value: String) {
    match (field, entries.last_mut()) {
        (Field::Machine, _) => entries.push(Entry { machine: Some(value), ..Entry::default() }),
        (Field::Login, Some(entry)) => entry.login = Some(value),
        (Field::Password, Some(entry)) => entry.password = Some(value),
        (Field::Account | Field::Login | Field::Password, _) => {}
    }
}

/// A quote without its end.
struct Unclosed;

/// The next word of a line; one in double quotes may hold spaces, and `\` takes the next character as it is, but for `\n`, `\r` and
/// `\t`.
fn next_word(rest: &mut Chars<'_>) -> Result<Option<String>, Unclosed> {
    let text = rest.as_str().trim_start();
    *rest = text.chars();
    let Some(quoted) = text.strip_prefix('"') else {
        let word = text.split(char::is_whitespace).next().unwrap_or_default();
        *rest = text[word.len()..].chars();
        return Ok(Some(word.to_owned()).filter(|word| !word.is_empty()));
    };
    *rest = quoted.chars();
    let mut word = String::new();
    loop {
        word.push(match rest.next().ok_or(Unclosed)? {
            '"' => return Ok(Some(word)),
            '\\' => match rest.next().ok_or(Unclosed)? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                itself => itself,
            },
            other => other,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(text: &str, host: &str, user: Option<&str>) -> Option<String> {
        let netrc = Netrc::parse(text).unwrap_or_else(|line| panic!("line {line} of {text}"));
        netrc.login(host, user).map(|login| format!("{}:{}", login.user, login.password))
    }

    #[test]
    fn logins_are_found_by_host_and_user_in_the_order_of_the_file() {
        let text = "# mine, don't \"worry\nmachine a.example login me password \"pass word\\\"\"\nmachine A.example\n  login you\n\
                    \tpassword two # why\nmacdef init\n machine evil login x password y\n\nmachine b.example password p3\n\
                    default login anonymous password guest\n";
        assert_eq!(login(text, "a.example", None).unwrap(), "me:pass word\"");
        assert_eq!(login(text, "A.EXAMPLE", Some("you")).unwrap(), "you:two");
        assert_eq!(login(text, "b.example", None).unwrap(), ":p3");
        assert_eq!(login(text, "evil", None).unwrap(), "anonymous:guest");
        assert_eq!(login(text, "a.example", Some("nobody")), None);
    }

    #[test]
    fn words_may_stand_on_lines_of_their_own_in_any_case_and_among_others() {
        for text in [
            "machine\nh\nlogin\nu\npassword\np",
            "MACHINE h\tLOGIN u Password p",
            "junk\nmachine h port 21 login u password p",
            "login nobody machine h account x login u password p",
        ] {
            assert_eq!(login(text, "h", None).as_deref(), Some("u:p"), "{text}");
        }
        let text = r#"machine h login "a\tb\nc" password "\\\"""#;
        assert_eq!(login(text, "h", None).as_deref(), Some("a\tb\nc:\\\""));
    }

    #[test]
    fn an_entry_without_name_and_password_is_none() {
        assert_eq!(login("machine h", "h", None), None);
        assert_eq!(login("machine h default", "h", None), None);
        assert_eq!(login("machine h machine h login u", "h", None).as_deref(), Some("u:"));
    }

    #[test]
    fn an_open_quote_is_told_by_its_line() {
        assert_eq!(Netrc::parse("machine h\nlogin \"u password p\npassword \"x\"").err(), Some(2));
        assert_eq!(Netrc::parse("machine h login \"u\\").err(), Some(1));
    }
}
