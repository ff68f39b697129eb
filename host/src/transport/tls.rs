//! TLS: which certificates are trusted, pinned keys, and what a failed handshake means.
//!
//! Built at the first https connection and not before: reading the system's certificates takes time that plain http need
//! not pay. It keeps no certificates of its own.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

use super::connect::Stream;
use super::{MinTls, TransportSettings, words};
use crate::error::Failure;
use crate::{clock, regular};

/// The TLS client of an engine, made when first needed.
pub(super) struct Tls {
    settings: TransportSettings,
    configs: OnceCell<Configs>,
}

#[derive(Clone)]
struct Configs {
    origin: Arc<ClientConfig>,
    /// For hosts whose certificate is not looked at, but for their pins.
    insecure: Arc<ClientConfig>,
    proxy: Arc<ClientConfig>,
}

impl Tls {
    pub(super) fn new(settings: TransportSettings) -> Self {
        Self { settings, configs: OnceCell::new() }
    }

    /// Reads certificates, if that was not done yet.
    pub(super) async fn prepare(&self) {
        let _ = self.configs().await; // asked again, and then told, by the handshake
    }

    /// TLS to an origin over a fresh connection, and whether HTTP/2 was agreed on. It is offered where `h2` and the settings say so.
    pub(super) async fn origin(
        &self,
        stream: Box<dyn Stream>,
        host: &str,
        port: u16,
        h2: bool,
    ) -> Result<(Box<dyn Stream>, bool), Failure> {
        let configs = self.configs().await?;
        let is_insecure = self.settings.is_insecure(host, port);
        let mut config = if is_insecure { &configs.insecure } else { &configs.origin }.clone();
        if !h2 {
            Arc::make_mut(&mut config).alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        let stream = self.shake_hands(config, stream, host, port).await?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Box::new(stream), h2))
    }

    /// TLS to a proxy. Pins are about origins and not asked here.
    pub(super) async fn proxy(
        &self,
        stream: Box<dyn Stream>,
        host: &str,
        port: u16,
    ) -> Result<Box<dyn Stream>, Failure> {
        let config = self.configs().await?.proxy.clone();
        Ok(Box::new(self.shake_hands(config, stream, host, port).await?))
    }

    async fn shake_hands(
        &self,
        config: Arc<ClientConfig>,
        stream: Box<dyn Stream>,
        host: &str,
        port: u16,
    ) -> Result<tokio_rustls::client::TlsStream<Box<dyn Stream>>, Failure> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| words::tls(format!("`{host}` cannot stand in a certificate")))?;
        let shaken = TlsConnector::from(config).connect(name, stream).await;
        shaken.map_err(|error| failure(&error, host, port, self.settings.min_tls))
    }

    async fn configs(&self) -> Result<&Configs, Failure> {
        self.configs
            .get_or_try_init(|| async {
                let settings = self.settings.clone();
                // Files are read: not on the thread that moves bytes.
                match tokio::task::spawn_blocking(move || Configs::build(&settings)).await {
                    Ok(built) => built,
                    Err(_) => Err(words::tls("cannot set up TLS".into())),
                }
            })
            .await
    }
}

impl Configs {
    fn build(settings: &TransportSettings) -> Result<Self, Failure> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let pins = settings.pinned_keys.iter().map(|pin| read_pin(pin)).collect::<Result<Vec<_>, _>>()?;
        let named: Arc<[_]> = settings.cacert.as_deref().map_or(Ok(Vec::new()), read_trusted)?.into();
        let unchecked = || Arc::new(Unchecked(provider.clone())) as Arc<dyn ServerCertVerifier>;
        // Where nothing is checked, the system need not have certificates.
        let trust = if settings.insecure { unchecked() } else { trust(named.to_vec(), &provider)? };
        let identity = identity(settings)?;
        let checked = |trust, pins| Arc::new(Checked { trust, named: named.clone(), pins });
        let client = |verifier, protocols| client(settings, &provider, verifier, identity.as_ref(), protocols);
        let protocols: &[&[u8]] = if settings.http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        Ok(Self {
            insecure: client(checked(unchecked(), pins.clone()), protocols)?,
            proxy: client(checked(trust.clone(), Vec::new()), &[b"http/1.1"])?,
            origin: client(checked(trust, pins), protocols)?,
        })
    }
}

/// Whether the pins and the files of certificates can be used. Reads those files and no other.
pub(super) fn check(settings: &TransportSettings) -> Result<(), Failure> {
    identity(settings)?;
    settings.pinned_keys.iter().try_for_each(|pin| read_pin(pin).map(|_| ()))?;
    settings.cacert.as_deref().map_or(Ok(()), |path| read_trusted(path).map(|_| ()))
}

/// What is shown to servers that ask who we are.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(settings: &TransportSettings) -> Result<Option<Identity>, Failure> {
    let Some(cert) = &settings.client_cert else {
        return match &settings.client_key {
            Some(key) => {
                Err(words::tls(format!("the key {} is for a client certificate, and there is none", key.display())))
            }
            None => Ok(None),
        };
    };
    let chain = read_certificates(cert)?;
    let path = settings.client_key.as_ref().unwrap_or(cert);
    let unusable = |why: String| words::tls(format!("cannot use the private key in {}: {why}", path.display()));
    let pem = regular::read(path).map_err(|error| unusable(words::system(&error)))?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| unusable(no_key(&error, &pem, settings)))?;
    // Told when the file is read, not when a server asks.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider).map_err(|error| {
        unusable(match error {
            rustls::Error::InconsistentKeys(_) => {
                format!("it does not belong to the certificate in {}", cert.display())
            }
            error => error.to_string(),
        })
    })?;
    Ok(Some((chain, key)))
}

/// Why a PEM file has no key that can be used.
fn no_key(error: &rustls::pki_types::pem::Error, pem: &[u8], settings: &TransportSettings) -> String {
    let has = |mark: &[u8]| pem.windows(mark.len()).any(|part| part == mark);
    match error {
        rustls::pki_types::pem::Error::NoItemsFound if has(b"ENCRYPTED") => {
            "it is encrypted (`openssl pkey -in FILE -out FILE.open` writes it without its password)".into()
        }
        rustls::pki_types::pem::Error::NoItemsFound if settings.client_key.is_none() && has(b"CERTIFICATE-----") => {
            "there is none beside the certificate; --key (or a profile's `client-key`) names the file that holds it"
                .into()
        }
        error => words::pem(error),
    }
}

fn client(
    settings: &TransportSettings,
    provider: &Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
    identity: Option<&Identity>,
    protocols: &[&[u8]],
) -> Result<Arc<ClientConfig>, Failure> {
    let cannot = |error: rustls::Error| words::tls(format!("cannot set up TLS: {error}"));
    let versions: &[_] = match settings.min_tls {
        MinTls::V12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        MinTls::V13 => &[&rustls::version::TLS13],
    };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(cannot)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(cannot)?,
    };
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

/// Who is trusted: the system's certificates (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured), and the extra ones.
fn trust(
    extra: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Failure> {
    rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider.clone())
        .map(|verifier| Arc::new(verifier) as Arc<dyn ServerCertVerifier>)
        .map_err(|error| {
            words::tls(format!(
                "cannot check certificates with those of this system ({error}); \
                 install its CA certificates, set SSL_CERT_FILE, or name a file with `cacert`"
            ))
        })
}

/// Certificates that are trusted: each of them can be. Told when the file is read, not when a server is asked.
fn read_trusted(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let found = read_certificates(path)?;
    let mut roots = RootCertStore::empty();
    for (index, certificate) in found.iter().enumerate() {
        roots.add(certificate.clone()).map_err(|_| {
            unusable(path, &format!("number {} of them is no certificate that can be trusted", index + 1))
        })?;
    }
    Ok(found)
}

fn unusable(path: &Path, why: &str) -> Failure {
    words::tls(format!("cannot use the certificates in {}: {why}", path.display()))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let pem = regular::read(path).map_err(|error| unusable(path, &words::system(&error)))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| unusable(path, &words::pem(&error)))?;
    if found.is_empty() {
        return Err(unusable(path, words::NO_PEM));
    }
    Ok(found)
}

fn read_pin(pin: &str) -> Result<[u8; 32], Failure> {
    pin.strip_prefix("sha256//")
        .and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok())
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| words::tls(format!("the pinned key `{pin}` is not `sha256//` and 32 bytes in base64")))
}

/// What a failed handshake means. Lost connections are no judgement on the certificate and may be tried again.
fn failure(error: &io::Error, host: &str, port: u16, least: MinTls) -> Failure {
    let place = format!("{host}:{port}");
    match words::find::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(reason)) => words::tls(certificate_sentence(reason, &place)),
        Some(rustls::Error::InvalidMessage(_)) => words::protocol(format!(
            "{place} does not speak TLS (perhaps it speaks plain HTTP: then the URL begins with `http:`)"
        )),
        Some(rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)) => words::tls(match least {
            MinTls::V12 => format!("{place} speaks no version of TLS that is allowed: at least 1.2"),
            MinTls::V13 => format!(
                "{place} speaks no version of TLS that is allowed: at least 1.3, by --tls-min (or a profile's `min-tls`)"
            ),
        }),
        Some(rustls::Error::AlertReceived(alert)) => refusal(*alert, &place)
            .unwrap_or_else(|| words::tls(format!("{place} refused the TLS handshake ({alert:?})"))),
        Some(other) => words::tls(format!("no TLS connection to {place}: {other}")),
        None => {
            let is_end = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset);
            let is_strange = port != 443 && is_end;
            let hint =
                if is_strange { " (perhaps it speaks plain HTTP: then the URL begins with `http:`)" } else { "" };
            let why = words::system(error);
            words::not_connected(format!("connection to {place} lost in the TLS handshake: {why}{hint}"))
        }
    }
}

/// What a server says of a client's certificate: within the handshake or, with TLS 1.3, after it (RFC 8446 section 4.4.2.4).
/// Trying again cannot help. `None` for an alert about something else.
pub(super) fn refusal(alert: AlertDescription, place: &str) -> Option<Failure> {
    use AlertDescription as Alert;
    match alert {
        Alert::CertificateRequired => Some(words::tls(format!(
            "{place} wants a client certificate, which --cert (or a profile's `client-cert`) names"
        ))),
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied => Some(words::tls(format!(
            "{place} refused the client certificate, or that there is none ({alert:?}); --cert (or a profile's `client-cert`) \
             names it"
        ))),
        // With TLS 1.2 it is all that a server says that wants a certificate.
        Alert::HandshakeFailure => Some(words::tls(format!(
            "{place} refused the TLS handshake (HandshakeFailure): it may want a client certificate, which --cert (or a \
             profile's `client-cert`) names, or other ciphers"
        ))),
        _ => None,
    }
}

fn certificate_sentence(reason: &CertificateError, place: &str) -> String {
    let whose = format!("the certificate of {place}");
    match reason {
        CertificateError::ExpiredContext { time, not_after } => {
            format!("{whose} expired on {}; the clock of this machine says {}", date(*not_after), date(*time))
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            format!("{whose} is not valid before {}; the clock of this machine says {}", date(*not_before), date(*time))
        }
        CertificateError::Expired => format!("{whose} has expired; {}", now()),
        CertificateError::NotValidYet => format!("{whose} is not valid yet; {}", now()),
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!("{whose} is not issued by anybody this system trusts")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("{whose} is for another host")
        }
        reason if is_of_a_ca(reason) => {
            format!("{whose} is a CA's own and not issued by anybody this system trusts; --cacert can name it")
        }
        CertificateError::Revoked => format!("{whose} was revoked"),
        CertificateError::Other(OtherError(inner)) => match inner.downcast_ref::<WrongKey>() {
            Some(WrongKey) => format!("the public key of {place} is none of the pinned ones"),
            None => format!("{whose} is refused: {inner}"),
        },
        other => format!("{whose} is refused: {other}"),
    }
}

/// A wrong clock is the likelier fault (reliability.md B.6).
fn now() -> String {
    let now = UnixTime::since_unix_epoch(Duration::from_millis(clock::unix_ms()));
    format!("the clock of this machine says {}", date(now))
}

fn date(time: UnixTime) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(time.as_secs()))
}

#[derive(Debug, thiserror::Error)]
#[error("the public key is none of the pinned ones")]
struct WrongKey;

/// Whether the complaint is that a server presents a certificate made for issuing others. It comes after the dates are
/// checked, and instead of the search for an issuer.
fn is_of_a_ca(reason: &CertificateError) -> bool {
    matches!(reason, CertificateError::Other(OtherError(inner)) if inner.to_string().contains("CaUsedAsEndEntity"))
}

/// Asks for the usual trust, and for one of some public keys in the server's own certificate, if there are any.
#[derive(Debug)]
struct Checked {
    trust: Arc<dyn ServerCertVerifier>,
    /// Certificates that the user named. A server may present one of them as it is: what `openssl req -x509` makes is
    /// marked as a CA's own, and curl takes it.
    named: Arc<[CertificateDer<'static>]>,
    /// None: any key will do.
    pins: Vec<[u8; 32]>,
}

impl ServerCertVerifier for Checked {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.trust.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Ok(_) => {}
            Err(rustls::Error::InvalidCertificate(reason))
                if is_of_a_ca(&reason) && self.named.contains(end_entity) =>
            {
                rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
            Err(error) => return Err(error),
        }
        let key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
        let digest: [u8; 32] = Sha256::digest(&key).into();
        if self.pins.is_empty() || self.pins.contains(&digest) {
            Ok(ServerCertVerified::assertion())
        } else {
            let reason = CertificateError::Other(OtherError(Arc::new(WrongKey)));
            Err(reason.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trust.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trust.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.supported_verify_schemes()
    }
}

/// Takes any certificate; only that the server holds its key is checked.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
