//! SOCKS5 (RFC 1928) with user and password (RFC 1929): asks a proxy for a connection to a host.
//!
//! It opens no connection itself and knows no other command than CONNECT.

use std::net::IpAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connect::Stream;
use super::credentials::Login;
use super::words;
use crate::error::Failure;

/// Where the proxy is to connect to.
pub(super) enum Target<'a> {
    /// A name that the proxy looks up.
    Name(&'a str),
    /// An address that we have looked up.
    Address(IpAddr),
}

/// Turns a fresh connection to the proxy into one to the target. `proxy`: its name for sentences.
pub(super) async fn open(
    stream: &mut Box<dyn Stream>,
    proxy: &str,
    login: Option<&Login>,
    target: Target<'_>,
    port: u16,
) -> Result<(), Failure> {
    let result = handshake(stream, proxy, login, target, port).await;
    result.map_err(|problem| match problem {
        Problem::Lost(error) => words::not_connected(format!("the proxy {proxy} broke off: {}", words::system(&error))),
        Problem::Refused(failure) => failure,
    })
}

enum Problem {
    Lost(std::io::Error),
    Refused(Failure),
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Problem::Lost(error)
    }
}

async fn handshake(
    stream: &mut Box<dyn Stream>,
    proxy: &str,
    login: Option<&Login>,
    target: Target<'_>,
    port: u16,
) -> Result<(), Problem> {
    const NOTHING: u8 = 0;
    const PASSWORD: u8 = 2;
    let methods: &[u8] = if login.is_some() { &[NOTHING, PASSWORD] } else { &[NOTHING] };
    stream.write_all(&[&[5, methods.len() as u8], methods].concat()).await?;
    stream.flush().await?;
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen).await?;
    match (chosen, login) {
        ([5, NOTHING], _) => {}
        ([5, PASSWORD], Some(login)) => prove(stream, proxy, login).await?,
        ([5, _], _) => return Err(denied(proxy, "wants another login than it was given")),
        _ => return Err(Problem::Refused(words::protocol(format!("the proxy {proxy} does not speak SOCKS5")))),
    }
    let mut request = vec![5, 1, 0];
    match target {
        Target::Name(name) => {
            let length = u8::try_from(name.len()).map_err(|_| denied(proxy, "cannot be asked for so long a name"))?;
            request.extend([3, length]);
            request.extend(name.as_bytes());
        }
        Target::Address(IpAddr::V4(v4)) => {
            request.push(1);
            request.extend(v4.octets());
        }
        Target::Address(IpAddr::V6(v6)) => {
            request.push(4);
            request.extend(v6.octets());
        }
    }
    request.extend(port.to_be_bytes());
    stream.write_all(&request).await?;
    stream.flush().await?;
    answer(stream, proxy).await
}

async fn prove(stream: &mut Box<dyn Stream>, proxy: &str, login: &Login) -> Result<(), Problem> {
    let length = |text: &str| u8::try_from(text.len()).map_err(|_| denied(proxy, "cannot be given so long a login"));
    let mut request = vec![1, length(&login.user)?];
    request.extend(login.user.as_bytes());
    request.push(length(&login.password)?);
    request.extend(login.password.as_bytes());
    stream.write_all(&request).await?;
    stream.flush().await?;
    let mut verdict = [0; 2];
    stream.read_exact(&mut verdict).await?;
    if verdict[1] == 0 { Ok(()) } else { Err(denied(proxy, "refused the login")) }
}

async fn answer(stream: &mut Box<dyn Stream>, proxy: &str) -> Result<(), Problem> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [_, verdict, _, kind] = head;
    if verdict != 0 {
        let why = match verdict {
            2 => "does not allow it",
            3 => "cannot reach its network",
            4 => "cannot reach it",
            5 => "was refused there",
            6 => "waited too long for it",
            _ => "failed",
        };
        let text = format!("the proxy {proxy} made no connection to the host: it {why} (SOCKS {verdict})");
        return Err(Problem::Refused(words::not_connected(text)));
    }
    // The address it is bound to, which nobody needs.
    let length = match kind {
        1 => 4,
        4 => 16,
        _ => usize::from(stream.read_u8().await?),
    };
    let mut bound = vec![0; length + 2];
    stream.read_exact(&mut bound).await?;
    Ok(())
}

/// The proxy's 407.
fn denied(proxy: &str, why: &str) -> Problem {
    let mut failure =
        Failure::new(crate::error::FailureKind::HttpResponse, format!("the proxy {proxy} {why} (as status 407)"));
    failure.http_status = Some(407);
    Problem::Refused(failure)
}
