//! Masking of secrets in everything that leaves the engine: headers, query parameters, userinfo.

use crate::task::Pairs;

/// What stands in a secret's place.
pub const MASK: &str = "***";

/// Whether a header's value is a secret: Authorization, Proxy-Authorization, Cookie, Set-Cookie, X-Api-Key, and any whose
/// name contains `token` or `secret`.
pub fn is_secret_header(_name: &str) -> bool {
    todo!()
}

/// The URL with secret query parameters and userinfo replaced; other texts that merely contain URLs are not touched.
pub fn url(_url: &str) -> String {
    todo!()
}

/// Headers with secrets replaced, and Location's secrets too.
pub fn headers(_headers: &Pairs) -> Pairs {
    todo!()
}

/// A sentence with the query and userinfo of every URL in it removed.
pub fn text(_text: &str) -> String {
    todo!()
}
