//! Flags of how servers are reached: proxies, TLS, cookies, logins.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args as ClapArgs, ValueEnum};
use haul::transport::MinTls;

/// Flags that say how requests travel: before what profiles say.
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(next_help_heading = "Network options")]
pub(crate) struct NetworkFlags {
    /// http, https, socks5 or socks5h proxy; `env`: as http_proxy, https_proxy and all_proxy say; `none`
    #[arg(long, value_name = "URL")]
    pub(crate) proxy: Option<String>,
    /// Hosts reached without the proxy, set apart by commas [default: those of no_proxy]
    #[arg(long, value_name = "LIST")]
    pub(crate) no_proxy: Option<String>,
    /// PEM file with further trusted certificates
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
    /// PEM file with the client certificate
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// PEM file with its private key, when that is not in the same file
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Accept any certificate
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Accept any certificate of this host; may be repeated
    #[arg(long = "insecure-host", value_name = "HOST[:PORT]")]
    pub(crate) insecure_hosts: Vec<String>,
    /// Accept only these public keys; may be repeated
    #[arg(long = "pinnedpubkey", value_name = "sha256//BASE64", value_delimiter = ';')]
    pub(crate) pinned_keys: Vec<String>,
    /// Lowest version of TLS
    #[arg(long, value_name = "1.2|1.3")]
    pub(crate) tls_min: Option<TlsVersion>,
    /// Do not speak HTTP/2
    #[arg(long = "http1.1")]
    pub(crate) http1: bool,
    /// Take cookies, and keep them in this file, in Netscape's form
    #[arg(long, value_name = "FILE")]
    pub(crate) cookie_jar: Option<PathBuf>,
    /// Take logins from ~/.netrc
    #[arg(long)]
    pub(crate) netrc: bool,
    /// Take logins from this file
    #[arg(long, value_name = "FILE", conflicts_with = "netrc")]
    pub(crate) netrc_file: Option<PathBuf>,
    /// Send no password in the clear: wait until the server, or the http proxy, asks for Digest
    #[arg(long)]
    pub(crate) digest: bool,
}

impl NetworkFlags {
    /// Flags that protect something, be it only who asks: refused where they could not be heeded.
    pub(crate) fn protections(&self) -> [(&'static str, bool); 5] {
        [
            ("--proxy", self.proxy.is_some()),
            ("--no-proxy", self.no_proxy.is_some()),
            ("--pinnedpubkey", !self.pinned_keys.is_empty()),
            ("--tls-min", self.tls_min.is_some()),
            ("--digest", self.digest),
        ]
    }

    /// The others that were given.
    pub(crate) fn others(&self) -> [(&'static str, bool); 9] {
        [
            ("--cacert", self.cacert.is_some()),
            ("--cert", self.cert.is_some()),
            ("--insecure", self.insecure),
            ("--insecure-host", !self.insecure_hosts.is_empty()),
            ("--http1.1", self.http1),
            ("--cookie-jar", self.cookie_jar.is_some()),
            ("--netrc", self.netrc),
            ("--netrc-file", self.netrc_file.is_some()),
            ("--key", self.key.is_some()),
        ]
    }
}

/// `--tls-min` as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TlsVersion {
    /// TLS 1.2
    #[value(name = "1.2")]
    V12,
    /// TLS 1.3
    #[value(name = "1.3")]
    V13,
}

impl From<TlsVersion> for MinTls {
    fn from(typed: TlsVersion) -> Self {
        match typed {
            TlsVersion::V12 => MinTls::V12,
            TlsVersion::V13 => MinTls::V13,
        }
    }
}

/// Flags that prove who asks: their secrets are kept with the task, encrypted.
#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Login options")]
pub(crate) struct LoginFlags {
    /// Login for the URL's server (Basic, or Digest when it asks for that); NAME alone, with --netrc or --netrc-file: its password is there
    #[arg(long, value_name = "NAME:PASSWORD", value_parser = NonEmptyStringValueParser::new(), conflicts_with_all = ["bearer_file", "bearer_env"])]
    pub(crate) user: Option<String>,
    /// File whose first line is a bearer token
    #[arg(long, value_name = "FILE", conflicts_with = "bearer_env")]
    pub(crate) bearer_file: Option<PathBuf>,
    /// Environment variable that holds a bearer token
    #[arg(long, value_name = "NAME")]
    pub(crate) bearer_env: Option<String>,
}
