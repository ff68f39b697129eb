//! What the owner allows a component, and to which component a grant is made. Plain data: reads no file, runs nothing; only
//! where paths lead is asked of the file system.
//!
//! A component has nothing but what is granted: what it asks for itself ([`super::Requested`]) grants nothing.

use std::path::{Path, PathBuf};

use crate::task::Pairs;

/// What the owner allows a component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Hosts its HTTP may reach: `host`, `host:port` or `scheme://host:port`, exact. A host that is private or loopback
    /// must be listed like any other; listing it grants its private addresses.
    pub allow_hosts: Vec<String>,
    /// Settings it can read through wasi:config and, as `config-…`, nowhere else.
    pub config: Pairs,
    /// Credentials it may use by handle: it writes `{credential:NAME}`, and never sees the value.
    pub credentials: Vec<String>,
    /// State that it keeps through wasi:keyvalue. `None`: it keeps none.
    pub keyvalue: Option<KeyValueGrant>,
    /// Hard limits, where they differ from the defaults.
    pub limits: CallLimits,
    /// What its failures mean.
    pub fail_mode: FailMode,
}

/// What grants a credential: the end of a sentence about one that is not.
pub(super) fn how_to_grant_credential(name: &str) -> String {
    format!("grant it with credentials = [\"{name}\"] in [[callbacks]] or [[grants]]")
}

/// State that a component keeps from call to call and from process to process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValueGrant {
    /// Whose state it is, e.g. `name:token`: components that share it share the state.
    pub owner: String,
    /// Bytes of keys and values, and 64 for each pair. At most 64 MiB.
    pub quota_bytes: u64,
}

/// What it means when a component fails: it traps, takes too long, or is left alone after many failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailMode {
    /// What the contract says of the hook, which for most of them is that the attempt fails.
    #[default]
    Closed,
    /// It is passed over, as if it did not answer that hook. An answer that cannot be used fails all the same.
    Open,
}

/// Limits of a component. Defaults: reliability.md E.6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Linear memory in all. Default 32 MiB, at most 128 MiB.
    pub memory_bytes: usize,
    /// Time on the CPU per call. Default 250 ms (50 ms for on-progress), at most 2 s.
    pub cpu_ms: u64,
    /// Wall clock per call of a hook that may not use HTTP. Default 2 s.
    pub wall_ms: u64,
    /// Wall clock per call of a hook that may use HTTP. Default 30 s, at most 120 s.
    pub wall_http_ms: u64,
    /// HTTP requests per call. Default 4, at most 30: a minute has no more.
    pub http_requests: u32,
    /// Log bytes per call. Default 16 KiB.
    pub log_bytes: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            memory_bytes: 32 << 20,
            cpu_ms: 250,
            wall_ms: 2_000,
            wall_http_ms: 30_000,
            http_requests: 4,
            log_bytes: 16 << 10,
        }
    }
}

impl CallLimits {
    /// No grant goes beyond these (reliability.md E.6).
    pub(super) fn capped(&self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.min(128 << 20),
            cpu_ms: self.cpu_ms.min(2_000),
            wall_ms: self.wall_ms.min(120_000),
            wall_http_ms: self.wall_http_ms.min(120_000),
            http_requests: self.http_requests.min(30),
            log_bytes: self.log_bytes.min(1 << 20),
        }
    }
}

/// A grant to whatever component is meant, however it is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRule {
    /// To whom.
    pub to: Grantee,
    /// What.
    pub grants: Grants,
}

/// Which component a rule means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grantee {
    /// The file with this SHA-256, in hexadecimal, wherever it lies: a changed file is another component.
    Digest(String),
    /// Whatever file lies there, by whichever path it is attached: links are followed on both sides.
    Path(PathBuf),
    /// Whatever component has this name.
    Name(String),
}

impl Grantee {
    /// Whether it means the component. `sha256` is asked only where it matters.
    fn means(&self, name: &str, path: &Path, sha256: impl FnOnce() -> String) -> bool {
        match self {
            Grantee::Digest(wanted) => wanted.eq_ignore_ascii_case(&sha256()),
            Grantee::Path(wanted) => wanted == path || leads_to_the_same(wanted, path),
            Grantee::Name(wanted) => wanted == name,
        }
    }
}

fn leads_to_the_same(one: &Path, other: &Path) -> bool {
    one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}

impl Grants {
    /// These, and what the rules grant the component besides. What is said here counts more: settings of the same name, and
    /// limits, state and fail mode that are not the defaults.
    pub(super) fn with_rules(&self, rules: &[GrantRule], name: &str, path: &Path, sha256: impl Fn() -> String) -> Self {
        let meant = rules.iter().filter(|rule| rule.to.means(name, path, &sha256));
        let mut all = self.clone();
        for GrantRule { grants, .. } in meant {
            let new = |known: &[String], more: &[String]| {
                more.iter().filter(|item| !known.contains(item)).cloned().collect::<Vec<_>>()
            };
            all.allow_hosts.extend(new(&all.allow_hosts, &grants.allow_hosts));
            all.credentials.extend(new(&all.credentials, &grants.credentials));
            let settings = grants.config.iter().filter(|(key, _)| !all.config.iter().any(|(known, _)| known == key));
            let settings: Pairs = settings.cloned().collect();
            all.config.extend(settings);
            all.keyvalue = all.keyvalue.or_else(|| grants.keyvalue.clone());
            if all.limits == CallLimits::default() {
                all.limits.clone_from(&grants.limits);
            }
            if all.fail_mode == FailMode::default() {
                all.fail_mode = grants.fail_mode;
            }
        }
        all.limits = all.limits.capped();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(to: Grantee, host: &str) -> GrantRule {
        GrantRule { to, grants: Grants { allow_hosts: vec![host.into()], ..Grants::default() } }
    }

    #[test]
    fn a_rule_grants_to_the_digest_the_path_or_the_name_that_it_says_and_to_no_other() {
        let rules = [
            rule(Grantee::Digest("ab".into()), "digest"),
            rule(Grantee::Path("/c/x.wasm".into()), "path"),
            rule(Grantee::Name("x".into()), "name"),
        ];
        let hosts = |name: &str, path: &str, sha256: &str| {
            let granted = Grants::default().with_rules(&rules, name, Path::new(path), || sha256.to_owned());
            granted.allow_hosts
        };
        assert_eq!(hosts("x", "/c/x.wasm", "AB"), ["digest", "path", "name"]);
        assert_eq!(hosts("y", "/c/y.wasm", "ab"), ["digest"]);
        assert!(hosts("y", "/c/y.wasm", "cd").is_empty());
    }

    #[test]
    fn what_is_granted_beside_a_component_counts_more_than_a_rule() {
        let config = |value: &str| vec![("k".to_owned(), value.to_owned())];
        let own = Grants { config: config("own"), ..Grants::default() };
        let limits = CallLimits { cpu_ms: 1_000_000, ..CallLimits::default() };
        let rules = [GrantRule {
            to: Grantee::Name("x".into()),
            grants: Grants { config: config("rule"), limits, fail_mode: FailMode::Open, ..Grants::default() },
        }];
        let granted = own.with_rules(&rules, "x", Path::new("/x"), String::new);
        assert_eq!(granted.config, config("own"));
        assert_eq!(granted.fail_mode, FailMode::Open);
        assert_eq!(granted.limits.cpu_ms, 2_000, "nothing goes beyond the hard limit");
    }
}
