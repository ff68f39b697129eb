//! A real D-Bus of a test's own, and who answers on it in the place of a desktop and of NetworkManager.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use tempfile::TempDir;
use tokio::runtime::Runtime;
use zbus::zvariant::OwnedValue;
use zbus::{connection, interface};

use super::wait::PATIENCE;
use super::world::World;

/// A private bus with nobody on it. Killed when dropped.
pub struct Bus {
    _directory: TempDir,
    daemon: Child,
    address: String,
}

impl Bus {
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("bus").tempdir().unwrap();
        let configuration = directory.path().join("bus.conf");
        std::fs::write(&configuration, configuration_of(&directory.path().join("bus").to_string_lossy())).unwrap();
        let mut command = Command::new("dbus-daemon");
        command.args(["--nofork", "--print-address", "--config-file"]).arg(configuration);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut daemon = command.spawn().expect("dbus-daemon is needed: tests/run installs it");
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        assert!(address.ends_with('\n'), "dbus-daemon does not start");
        Self { _directory: directory, daemon, address: address.trim_end().to_owned() }
    }

    /// This is the bus of the session and of the system, for all that starts in this world from now on.
    pub fn serve(&self, world: &mut World) {
        world.set("DBUS_SESSION_BUS_ADDRESS", &self.address);
        world.set("DBUS_SYSTEM_BUS_ADDRESS", &self.address);
    }

    fn answer(&self, name: &'static str, path: &'static str, by: impl zbus::object_server::Interface) -> Answering {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let connect = async {
            let builder = connection::Builder::address(self.address.as_str())?;
            builder.name(name)?.serve_at(path, by)?.build().await
        };
        let connection = runtime.block_on(connect).unwrap();
        Answering { _connection: connection, _runtime: runtime }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.daemon.kill().ok();
        self.daemon.wait().ok();
    }
}

fn configuration_of(socket: &str) -> String {
    format!(
        "<busconfig><type>session</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
        <policy context=\"default\">
            <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/><allow own=\"*\"/>
        </policy></busconfig>"
    )
}

/// A name on the bus, until dropped.
struct Answering {
    _connection: zbus::Connection,
    _runtime: Runtime,
}

/// A message that a notification is to be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    pub app: String,
    pub replaces: u32,
    pub title: String,
    pub body: String,
    pub urgency: u8,
}

/// A desktop that shows notifications: it answers 1 for the first one, 2 for the second, and the id of one that is replaced.
pub struct Desktop {
    shown: Arc<(Mutex<Vec<Shown>>, Condvar)>,
    _answering: Answering,
}

impl Desktop {
    /// Refuses notifications whose title says `refused`, and leaves those without an answer that say `slow`.
    pub fn start(bus: &Bus, capabilities: &[&str]) -> Self {
        let shown = Arc::default();
        let capabilities = capabilities.iter().map(|&name| name.to_owned()).collect();
        let server = Notifications { capabilities, shown: Arc::clone(&shown), ids: AtomicU32::new(0) };
        let answering = bus.answer("org.freedesktop.Notifications", "/org/freedesktop/Notifications", server);
        Self { shown, _answering: answering }
    }

    /// Blocks until so many messages have come; answers all.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Shown> {
        let (shown, changed) = &*self.shown;
        let shown = shown.lock().unwrap();
        let (shown, waited) = changed.wait_timeout_while(shown, PATIENCE, |shown| shown.len() < count).unwrap();
        assert!(!waited.timed_out(), "not {count} notifications: {shown:#?}");
        shown.clone()
    }
}

struct Notifications {
    capabilities: Vec<String>,
    shown: Arc<(Mutex<Vec<Shown>>, Condvar)>,
    ids: AtomicU32,
}

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.example.Desktop")]
enum Refusal {
    #[zbus(error)]
    Bus(zbus::Error),
    TooMany(String),
}

#[interface(name = "org.freedesktop.Notifications")]
impl Notifications {
    fn get_capabilities(&self) -> Vec<String> {
        self.capabilities.clone()
    }

    #[allow(clippy::too_many_arguments)] // the specification's
    async fn notify(
        &self,
        app: String,
        replaces: u32,
        _icon: String,
        title: String,
        body: String,
        _actions: Vec<String>,
        mut hints: HashMap<String, OwnedValue>,
        _expires: i32,
    ) -> Result<u32, Refusal> {
        let urgency = hints.remove("urgency").and_then(|value| u8::try_from(value).ok()).unwrap_or(u8::MAX);
        let (is_refused, is_slow) = (title.contains("refused"), title.contains("slow"));
        self.shown.0.lock().unwrap().push(Shown { app, replaces, title, body, urgency });
        self.shown.1.notify_all();
        if is_slow {
            std::future::pending::<()>().await;
        }
        if is_refused {
            return Err(Refusal::TooMany("later".into()));
        }
        Ok(if replaces > 0 { replaces } else { self.ids.fetch_add(1, Ordering::SeqCst) + 1 })
    }
}

/// NetworkManager, as far as it says whether bytes cost money.
pub struct NetworkManager {
    metered: Arc<AtomicU32>,
    _answering: Answering,
}

impl NetworkManager {
    /// `metered`: an NMMetered.
    pub fn start(bus: &Bus, metered: u32) -> Self {
        let metered = Arc::new(AtomicU32::new(metered));
        let manager = Manager { metered: Arc::clone(&metered) };
        let answering = bus.answer("org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager", manager);
        Self { metered, _answering: answering }
    }

    pub fn set(&self, metered: u32) {
        self.metered.store(metered, Ordering::SeqCst);
    }
}

struct Manager {
    metered: Arc<AtomicU32>,
}

#[interface(name = "org.freedesktop.NetworkManager")]
impl Manager {
    #[zbus(property)]
    fn metered(&self) -> u32 {
        self.metered.load(Ordering::SeqCst)
    }
}
