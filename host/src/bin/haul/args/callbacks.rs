//! What was typed after `haul callbacks`: commands of the workshop, and those that attach components to the home.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args as ClapArgs, Subcommand};

use super::{granted_host, key_value};

/// `haul callbacks`.
#[derive(Debug, Subcommand)]
pub(crate) enum Callbacks {
    /// Make a folder with the sources of a component that answers six hooks, and the contract, to build and change
    New(New),
    /// Show a component's hooks and imports, what is granted and what is refused, and its limits
    Check(Check),
    /// Ask a component's hooks with sample or recorded inputs; show verdicts, times, memory and log
    Test(TryOut),
    /// Show what a component would have answered differently to recorded inputs
    Replay(Replay),
    /// List what is attached, by the configuration and to this home
    List,
    /// Attach a component to this home: to every task, or those of a group; in the place of one of the same name
    Attach(Attach),
    /// Take an attached component away
    Detach(Detach),
    /// Go back to the version that was attached before
    #[command(alias = "roll-back")]
    Rollback(RollBack),
    /// Show what components keep in this home (not the values: they may be secrets), or forget it
    State(State),
}

/// `haul callbacks new`.
#[derive(Debug, ClapArgs)]
pub(crate) struct New {
    /// The folder; it must not exist yet, or be empty
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Language of the sources: rust, javascript (QuickJS), typescript (StarlingMonkey), python, go or c
    #[arg(long, value_name = "LANGUAGE")]
    pub(crate) lang: String,
}

/// Flags that say what a component may do.
#[derive(Debug, Default, ClapArgs)]
pub(crate) struct GrantFlags {
    /// Host that its HTTP may reach (`private+HOST`: at a private address, too); may be repeated
    #[arg(long = "allow-host", value_name = "HOST", value_parser = granted_host)]
    pub(crate) allow_hosts: Vec<String>,
    /// Setting that it can read; may be repeated
    #[arg(id = "callback_config", long = "callback-config", value_name = "K=V", value_parser = key_value)]
    pub(crate) config: Vec<(String, String)>,
}

/// `haul callbacks check`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Check {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) grants: GrantFlags,
}

/// `haul callbacks test`.
#[derive(Debug, ClapArgs)]
pub(crate) struct TryOut {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    pub(crate) file: PathBuf,
    /// Calls to make, one JSON object a line, as --record writes them; `-` is stdin [default: samples]
    #[arg(long, value_name = "FILE")]
    pub(crate) inputs: Option<PathBuf>,
    /// Only calls of this hook; may be repeated
    #[arg(long = "hook", value_name = "HOOK")]
    pub(crate) hooks: Vec<String>,
    /// Do it again whenever the component's file changes, until interrupted
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) grants: GrantFlags,
}

/// `haul callbacks replay`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Replay {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    pub(crate) file: PathBuf,
    /// Recorded calls, as --record writes them; `-` is stdin
    #[arg(long, value_name = "RECORD")]
    pub(crate) inputs: PathBuf,
    /// Compare with what this component answers, not with what was recorded
    #[arg(long, value_name = "OTHER.wasm")]
    pub(crate) against: Option<PathBuf>,
    /// Only calls that this component has answered, and the default policy [default: the file's own name, if it has answered any]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) component: Option<String>,
    #[command(flatten)]
    pub(crate) grants: GrantFlags,
}

/// `haul callbacks attach`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Attach {
    /// The component; a copy of it is kept in the home
    #[arg(value_name = "FILE.wasm")]
    pub(crate) file: PathBuf,
    /// Its name [default: the file's, without .wasm]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) name: Option<String>,
    /// Only tasks of this group ask it
    #[arg(long, value_name = "G", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) group: Option<String>,
    /// Let it reach the hosts that it asks for (on a terminal, this is asked)
    #[arg(long)]
    pub(crate) grant_hosts: bool,
    #[command(flatten)]
    pub(crate) grants: GrantFlags,
}

/// `haul callbacks detach`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Detach {
    /// The component's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The group that it is attached to
    #[arg(long, value_name = "G", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) group: Option<String>,
}

/// `haul callbacks state`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct State {
    /// Whose: a component's name, or as listed (`path:...`, `sha256:...`) [default: everybody's]
    #[arg(value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) owner: Option<String>,
    /// Forget it; its next call finds nothing
    #[arg(long, requires = "owner")]
    pub(crate) delete: bool,
    /// Forget only what is in this bucket
    #[arg(long, value_name = "BUCKET", requires = "delete")]
    pub(crate) bucket: Option<String>,
    /// Forget only this key
    #[arg(long, value_name = "KEY", requires = "delete")]
    pub(crate) key: Option<String>,
}

/// `haul callbacks rollback`.
#[derive(Debug, ClapArgs)]
pub(crate) struct RollBack {
    /// The component's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The group that it is attached to
    #[arg(long, value_name = "G", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) group: Option<String>,
    /// The version: a unique beginning of its SHA-256 [default: the last one]
    #[arg(long, value_name = "DIGEST", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) to: Option<String>,
}
