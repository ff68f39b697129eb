//! nginx as the real server: what a scripted origin answers must hold for one that people run.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::tls::Identity;
use super::wait::{PATIENCE, wait_for};

/// A private nginx on loopback. Killed when dropped.
pub struct Nginx {
    directory: TempDir,
    child: Child,
    port: u16,
    tls_port: u16,
}

impl Nginx {
    /// Starts nginx with these lines in its `location /`. Serves what [`Nginx::put`] writes, over HTTP, and over HTTPS with
    /// HTTP/2 on another port.
    pub fn start(identity: &Identity, location: &str) -> Self {
        Self::start_with(identity, "", location)
    }

    /// The same, with these lines in its `server`, too.
    pub fn start_with(identity: &Identity, server: &str, location: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("nginx").tempdir().unwrap();
        let root = directory.path();
        std::fs::create_dir(root.join("files")).unwrap();
        std::fs::write(root.join("certificate.pem"), &identity.certificate).unwrap();
        std::fs::write(root.join("key.pem"), &identity.key).unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            let (port, tls_port) = (free_port(), free_port());
            std::fs::write(root.join("nginx.conf"), configuration(port, tls_port, server, location)).unwrap();
            let mut child = start(root.join("nginx.conf"));
            if answers(port, &mut child) {
                return Self { directory, child, port, tls_port };
            }
            child.kill().ok(); // somebody else took the port meanwhile
            child.wait().ok();
            let log = std::fs::read_to_string(root.join("error.log")).unwrap_or_default();
            assert!(Instant::now() < until, "nginx does not start (tests/run installs it): {log}");
        }
    }

    /// Writes a file and answers its URL.
    pub fn put(&self, name: &str, content: &[u8]) -> String {
        std::fs::write(self.directory.path().join("files").join(name), content).unwrap();
        format!("http://127.0.0.1:{}/{name}", self.port)
    }

    /// Sets a file's time to long ago, so that its validators become others.
    pub fn age(&self, name: &str) {
        let file = std::fs::File::open(self.directory.path().join("files").join(name)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    }

    /// The same file over HTTPS.
    pub fn tls_url(&self, name: &str) -> String {
        format!("https://127.0.0.1:{}/{name}", self.tls_port)
    }

    /// Its access log, a line each: protocol, path, status, Range and If-Range.
    pub fn log(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.directory.path().join("access.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn configuration(port: u16, tls_port: u16, server: &str, location: &str) -> String {
    format!(
        "daemon off; master_process off; pid nginx.pid; error_log error.log;
        events {{ worker_connections 256; }}
        http {{
            log_format short '$server_protocol $uri $status $http_range $http_if_range';
            access_log access.log short;
            client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
            uwsgi_temp_path uwsgi; scgi_temp_path scgi;
            server {{
                listen 127.0.0.1:{port};
                listen 127.0.0.1:{tls_port} ssl http2;
                ssl_certificate certificate.pem; ssl_certificate_key key.pem;
                root files;
                {server}
                location / {{ {location} }}
            }}
        }}"
    )
}

fn start(configuration: PathBuf) -> Child {
    let prefix = configuration.parent().unwrap();
    let mut command = Command::new("nginx");
    let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
    command.env("PATH", path).arg("-p").arg(prefix).arg("-c").arg(&configuration).args(["-e", "error.log"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("nginx is needed: tests/run installs it")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn answers(port: u16, child: &mut Child) -> bool {
    let listens = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(true);
    let has_ended = |child: &mut Child| child.try_wait().unwrap().is_some().then_some(false);
    wait_for(|| listens().or_else(|| has_ended(child)), || "nginx neither listens nor ends".into())
}
