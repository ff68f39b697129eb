//! Webhooks: where final updates are sent, and how what is sent is signed. Delivering is `engine/webhooks.rs`.
//!
//! The form is that of the Standard Webhooks specification: the headers `webhook-id`, `webhook-timestamp` and
//! `webhook-signature: v1,BASE64`, an HMAC-SHA256 over `id.timestamp.body`. Receivers check it with any of its libraries.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::event::StatusUpdate;
use crate::task::{Pairs, Status};

/// Where final updates are sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Names its position in the event log (consumer `haul.webhook.NAME`).
    pub name: String,
    /// Absolute http or https URL; each update is POSTed to it as JSON.
    pub url: String,
    /// Key of the signature; `None`: nothing is signed.
    pub secret: Option<Vec<u8>>,
    /// Final statuses that are sent; empty: all.
    pub statuses: Vec<Status>,
    /// Groups whose tasks are told of; empty: all.
    pub groups: Vec<String>,
    /// Time limit of one delivery in milliseconds.
    pub timeout_ms: u64,
    /// An update that nobody has taken for so long, in milliseconds, is given up, so that the others go on.
    pub give_up_after_ms: u64,
}

impl Webhook {
    /// All final updates, 10 s each, three days of patience, unsigned.
    pub fn new(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            secret: None,
            statuses: Vec::new(),
            groups: Vec::new(),
            timeout_ms: 10_000,
            give_up_after_ms: 3 * 24 * 60 * 60 * 1000,
        }
    }

    /// Whether it is told of this update.
    pub(crate) fn wants(&self, update: &StatusUpdate) -> bool {
        update.status.is_final()
            && (self.statuses.is_empty() || self.statuses.contains(&update.status))
            && (self.groups.is_empty() || self.groups.contains(&update.group))
    }

    /// Headers of a delivery at `now_s`, in seconds since 1970. `id` stays the same when it is repeated.
    pub(crate) fn headers(&self, id: &str, now_s: u64, body: &[u8]) -> Pairs {
        let mut headers: Pairs = vec![
            ("Content-Type".into(), "application/json".into()),
            ("webhook-id".into(), id.into()),
            ("webhook-timestamp".into(), now_s.to_string()),
        ];
        if let Some(secret) = &self.secret {
            headers.push(("webhook-signature".into(), sign(secret, id, now_s, body)));
        }
        headers
    }
}

/// No secret.
impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook")
            .field("name", &self.name)
            .field("url", &crate::mask::url(&self.url))
            .finish_non_exhaustive()
    }
}

/// The key that a secret means: `whsec_BASE64` the bytes, any other text its own.
///
/// # Errors
/// What follows the secret's name: there are no bytes, or what stands after `whsec_` is not base64. No receiver could check what
/// such a key signs, or anybody could sign with it.
pub fn key(secret: &str) -> Result<Vec<u8>, &'static str> {
    let key = match secret.strip_prefix("whsec_") {
        Some(text) => STANDARD.decode(text).map_err(|_| "has something after `whsec_` that is not base64")?,
        None => secret.as_bytes().to_vec(),
    };
    if key.is_empty() { Err("holds no key") } else { Ok(key) }
}

/// `v1,` and the signature in base64, over `id.timestamp.body`.
pub fn sign(key: &[u8], id: &str, timestamp_s: u64, body: &[u8]) -> String {
    use aws_lc_rs::hmac;
    let mut signing = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    signing.update(format!("{id}.{timestamp_s}.").as_bytes());
    signing.update(body);
    format!("v1,{}", STANDARD.encode(signing.sign().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_standard_webhooks() {
        // The example of the specification's reference implementations.
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
