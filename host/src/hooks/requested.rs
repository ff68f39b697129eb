//! What a component asks for: a custom section `haul:grants` with TOML. It grants nothing: it is shown, compared with what the
//! owner grants, and can be granted as a whole by who has read it.

use std::path::Path;

use serde::Deserialize;
use wasmparser::{Parser, Payload};

use super::{CallLimits, FailMode, Grants, KeyValueGrant, check};
use crate::config::{CallbackLimits, granted_host, quota, written_bytes, written_ms};
use crate::error::{Error, Result};
use crate::transport::PRIVATE;

/// Name of the section.
const SECTION: &str = "haul:grants";
const SECTION_BYTES_MAX: usize = 16 << 10;
const ITEMS_MAX: usize = 64;

/// What a component asks for in its section `haul:grants`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requested {
    /// Why, in one sentence of the component's author.
    pub reason: Option<String>,
    /// Hosts that its HTTP wants to reach, as in [`Grants`].
    pub allow_hosts: Vec<String>,
    /// Names of the settings that it reads.
    pub config: Vec<String>,
    /// Names of the credentials that it uses by handle.
    pub credentials: Vec<String>,
    /// Bytes of state that it keeps; 0: none.
    pub keyvalue_bytes: u64,
    /// Limits that it needs; where it says nothing, the defaults.
    pub limits: CallLimits,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Section {
    reason: Option<String>,
    allow_hosts: Vec<String>,
    config: Vec<String>,
    credentials: Vec<String>,
    #[serde(deserialize_with = "quota")]
    keyvalue: Option<u64>,
    limits: CallbackLimits,
}

impl Requested {
    /// What the component of these bytes asks for; `None` when it has no such section. Languages put the section into the
    /// component or into a core module in it: the first one counts.
    ///
    /// # Errors
    /// [`Error::Component`] when the section cannot be understood, with the file's name.
    pub(super) fn of(wasm: &[u8], path: &Path) -> Result<Option<Self>> {
        for payload in Parser::new(0).parse_all(wasm) {
            match payload {
                Ok(Payload::CustomSection(section)) if section.name() == SECTION => {
                    return Self::parse(section.data()).map(Some).map_err(|why| {
                        let (name, why) = (path.display(), check::text(why));
                        Error::Component(format!("{name}: its section `{SECTION}` {why}"))
                    });
                }
                Ok(_) => {}
                Err(_) => return Ok(None), // what is broken is told by who compiles it
            }
        }
        Ok(None)
    }

    fn parse(section: &[u8]) -> std::result::Result<Self, String> {
        if section.len() > SECTION_BYTES_MAX {
            return Err(format!("has {} bytes, at most {SECTION_BYTES_MAX} are read", section.len()));
        }
        let text = std::str::from_utf8(section).map_err(|_| "is not text".to_owned())?;
        // A section of fixed length may be filled up.
        let section: Section = toml::from_str(text.trim_end_matches('\0'))
            .map_err(|error| format!("cannot be understood: {}", error.message()))?;
        let lists = [&section.allow_hosts, &section.config, &section.credentials];
        if lists.iter().any(|list| list.len() > ITEMS_MAX) {
            return Err(format!("has a list of more than {ITEMS_MAX} items"));
        }
        for host in &section.allow_hosts {
            granted_host(host).map_err(|reason| format!("cannot be understood: in `allow-hosts` {reason}"))?;
        }
        let clean = |list: Vec<String>| list.into_iter().map(check::text).collect();
        Ok(Self {
            reason: section.reason.map(check::text),
            allow_hosts: section.allow_hosts,
            config: clean(section.config),
            credentials: clean(section.credentials),
            keyvalue_bytes: section.keyvalue.unwrap_or(0),
            limits: CallLimits::from(section.limits).capped(),
        })
    }

    /// Everything it asks for, one item a line, each as it would be written in the configuration.
    pub fn lines(&self) -> Vec<String> {
        self.missing(&Grants::default())
    }

    /// What of it these grants leave out, one item a line, each as it would be written in the configuration.
    pub fn missing(&self, granted: &Grants) -> Vec<String> {
        let named = |list: &'static str, wanted: &[String], known: &dyn Fn(&String) -> bool| -> Vec<String> {
            wanted.iter().filter(|item| !known(item)).map(|item| format!("{list} {item}")).collect()
        };
        let mut missing = named("allow-hosts", &self.allow_hosts, &|host| has(&granted.allow_hosts, host));
        missing.extend(named("config", &self.config, &|key| granted.config.iter().any(|(known, _)| known == key)));
        missing.extend(named("credentials", &self.credentials, &|name| granted.credentials.contains(name)));
        let kept = granted.keyvalue.as_ref().map_or(0, |grant| grant.quota_bytes);
        let (wanted, granted) = (&self.limits, &granted.limits);
        let written: [fn(u64) -> String; 3] = [written_bytes, written_ms, |number| number.to_string()];
        let [bytes, time, number] = written;
        let numbers = [
            ("keyvalue", bytes, self.keyvalue_bytes, kept),
            ("limits.memory", bytes, wanted.memory_bytes as u64, granted.memory_bytes as u64),
            ("limits.cpu", time, wanted.cpu_ms, granted.cpu_ms),
            ("limits.wall", time, wanted.wall_ms, granted.wall_ms),
            ("limits.wall-http", time, wanted.wall_http_ms, granted.wall_http_ms),
            ("limits.http-requests", number, wanted.http_requests.into(), granted.http_requests.into()),
            ("limits.log", bytes, wanted.log_bytes as u64, granted.log_bytes as u64),
        ];
        let less = numbers.iter().filter(|(_, _, wanted, granted)| wanted > granted);
        missing.extend(less.map(|(name, written, wanted, _)| format!("{name} {}", written(*wanted))));
        missing
    }

    /// The grants that leave nothing out but the values of settings, which only the owner knows. `owner`: whose the state is.
    pub fn grants(&self, owner: &str) -> Grants {
        let keyvalue = KeyValueGrant { owner: owner.into(), quota_bytes: self.keyvalue_bytes };
        Grants {
            allow_hosts: self.allow_hosts.clone(),
            config: Vec::new(),
            credentials: self.credentials.clone(),
            keyvalue: Some(keyvalue).filter(|grant| grant.quota_bytes > 0),
            limits: self.limits.clone(),
            fail_mode: FailMode::default(),
        }
    }
}

/// Whether a host is granted, be it at public addresses only or at private ones, too.
fn has(granted: &[String], host: &str) -> bool {
    granted.iter().any(|known| known == host || known.strip_prefix(PRIVATE) == Some(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "reason = \"Renews tokens.\"\nallow-hosts = [\"auth.example\"]\nconfig = [\"client\"]\n\
                        credentials = [\"corp\"]\nkeyvalue = \"64K\"\n[limits]\ncpu = \"500ms\"\n";

    #[test]
    fn a_request_says_what_is_wanted_and_what_of_it_is_missing() {
        let wanted = Requested::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(wanted.reason.as_deref(), Some("Renews tokens."));
        let all = ["allow-hosts auth.example", "config client", "credentials corp", "keyvalue 64K", "limits.cpu 500ms"];
        assert_eq!(wanted.missing(&Grants::default()), all);
        assert_eq!(wanted.lines(), all);
        assert_eq!(wanted.missing(&wanted.grants("name:x")), ["config client"], "its value is the owner's to say");
    }

    #[test]
    fn a_section_that_makes_no_sense_is_refused_in_one_line() {
        for (text, words) in [
            ("allow-host = [\"x\"]", "unknown field `allow-host`"),
            ("allow-hosts = [\"*.example\"]", "exact"),
            ("reason = \"a\u{7}", "cannot be understood"),
            ("keyvalue = \"2G\"", "keyvalue"),
        ] {
            let told = Requested::parse(text.as_bytes()).unwrap_err();
            assert!(told.contains(words), "{told}");
        }
        assert!(Requested::parse(&[0xff]).unwrap_err().contains("not text"));
        assert!(Requested::parse(&vec![b'#'; 20_000]).unwrap_err().contains("at most"));
    }
}
