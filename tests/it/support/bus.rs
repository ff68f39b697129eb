//! A real D-Bus of a test's own, and who answers on it in the place of NetworkManager.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use tempfile::TempDir;
use tokio::runtime::Runtime;
use zbus::{connection, interface};

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
