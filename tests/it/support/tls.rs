//! Certificates made on the spot, and a stream that is plain or encrypted.

use std::io::{Read, Result, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A self-signed certificate for 127.0.0.1 and localhost, with its key.
#[derive(Clone)]
pub struct Identity {
    /// The certificate as PEM: what `--cacert` takes.
    pub certificate: String,
    /// The key as PEM.
    pub key: String,
    config: Arc<ServerConfig>,
}

impl Identity {
    pub fn new() -> Self {
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem(), config: Arc::new(config) }
    }
}

/// A server's side of a connection.
pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Wire {
    pub(super) fn new(tcp: TcpStream, identity: Option<&Identity>) -> Self {
        match identity {
            None => Wire::Plain(tcp),
            Some(identity) => {
                let connection = ServerConnection::new(Arc::clone(&identity.config)).unwrap();
                Wire::Tls(Box::new(StreamOwned::new(connection, tcp)))
            }
        }
    }

    /// Says goodbye where the protocol has a word for it (TLS close_notify).
    pub(super) fn finish(&mut self) {
        if let Wire::Tls(stream) = self {
            stream.conn.send_close_notify();
        }
        self.flush().ok();
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(buffer),
            Wire::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Wire::Plain(stream) => stream.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Wire::Plain(stream) => stream.flush(),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}
