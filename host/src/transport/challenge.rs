//! One Digest challenge, and the answers to it (RFC 7616).
//!
//! How often it was answered is counted here; which of a server's challenges a request answers is decided in `nonces`.

use http::HeaderMap;
use http::header::HeaderName;
use http_auth::digest::{Algorithm, DigestClient, Qop};
use http_auth::parser::ChallengeParser;
use http_auth::{ChallengeRef, PasswordParams};

use super::credentials::Login;
use super::text;

/// Where servers name the nonce of the next request.
pub(super) const INFO: &str = "authentication-info";

/// A challenge that can be answered.
pub(super) struct Challenge {
    client: DigestClient,
    /// The server reads names of users that are not ASCII as RFC 7616 writes them; others know what RFC 2617 has.
    has_utf8_names: bool,
    /// For whoever comes next, and not of a refusal.
    is_for_next: bool,
}

impl Challenge {
    /// The first of these that can be answered: servers name what they like best first. What wants a digest of the body
    /// (`qop=auth-int` alone) or an unknown algorithm cannot.
    pub(super) fn first<'a>(values: impl Iterator<Item = &'a str>) -> Option<Self> {
        values
            .flat_map(|value| ChallengeParser::new(value).map_while(Result::ok).collect::<Vec<_>>())
            .filter(|challenge| challenge.scheme.eq_ignore_ascii_case("digest"))
            .find_map(|challenge| Self::of(&challenge))
    }

    /// The same, from a response.
    pub(super) fn of_answer(headers: &HeaderMap, name: HeaderName) -> Option<Self> {
        let values: Vec<String> = headers.get_all(name).iter().map(text).collect();
        Self::first(values.iter().map(String::as_str))
    }

    fn of(challenge: &ChallengeRef<'_>) -> Option<Self> {
        let client = DigestClient::try_from(challenge).ok().filter(|client| client.qop() & Qop::Auth)?;
        let is_utf8 = |value: &str| value.eq_ignore_ascii_case("utf-8");
        let mut params = challenge.params.iter();
        let has_utf8_names =
            params.any(|(name, value)| name.eq_ignore_ascii_case("charset") && is_utf8(value.as_escaped()));
        Some(Self { client, has_utf8_names, is_for_next: false })
    }

    /// The challenge of a server that names the nonce of the next request, which is otherwise like this one. `None`: it names
    /// none (RFC 7616 section 3.5).
    pub(super) fn next(&self, headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(INFO).map(text)?;
        // It has the form of a challenge without its scheme.
        let info = format!("Info {value}");
        let info = ChallengeParser::new(&info).next()?.ok()?;
        let (_, nonce) = info.params.iter().find(|(name, _)| name.eq_ignore_ascii_case("nextnonce"))?;
        let client = &self.client;
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let algorithm = match (client.algorithm(), client.session()) {
            (Algorithm::Sha256, false) => "SHA-256",
            (Algorithm::Sha256, true) => "SHA-256-sess",
            (Algorithm::Sha512Trunc256, false) => "SHA-512-256",
            (Algorithm::Sha512Trunc256, true) => "SHA-512-256-sess",
            (Algorithm::Md5, true) => "MD5-sess",
            _ => "MD5",
        };
        let mut whole = format!(
            "Digest realm=\"{}\", nonce=\"{}\", algorithm={algorithm}",
            quoted(client.realm()),
            nonce.as_escaped()
        );
        if let Some(opaque) = client.opaque() {
            whole.push_str(&format!(", opaque=\"{}\"", quoted(opaque)));
        }
        if !client.rfc2069_compat() {
            whole.push_str(", qop=\"auth\"");
        }
        Self::first([whole.as_str()].into_iter()).map(|next| Self {
            has_utf8_names: self.has_utf8_names,
            is_for_next: true,
            ..next
        })
    }

    pub(super) fn nonce(&self) -> &str {
        self.client.nonce()
    }

    /// It says no more than that the nonce has become too old.
    pub(super) fn is_stale(&self) -> bool {
        self.client.stale()
    }

    /// Whether it may be answered by a request that was not challenged.
    pub(super) fn is_for_others(&self) -> bool {
        self.is_for_next || self.client.nonce_count() > 0
    }

    /// The value of the header for a request; `None` where its target cannot be written.
    pub(super) fn answer(&mut self, login: &Login, method: &str, uri: &str) -> Option<String> {
        let params = PasswordParams { username: &login.user, password: &login.password, uri, method, body: None };
        let value = self.client.respond(&params).ok()?;
        Some(if self.has_utf8_names { value } else { with_plain_name(value, &login.user) })
    }
}

/// The answer with the user's name as RFC 2617 has it, in UTF-8 like the password: `username*` is nothing that every server knows.
fn with_plain_name(value: String, user: &str) -> String {
    const EXTENDED: &str = "Digest username*=";
    let Some((_, rest)) = value.strip_prefix(EXTENDED).and_then(|rest| rest.split_once(", ")) else { return value };
    if user.chars().any(char::is_control) {
        return value;
    }
    format!("Digest username=\"{}\", {rest}", user.replace('\\', "\\\\").replace('"', "\\\""))
}
