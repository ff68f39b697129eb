//! Credentials by handle: `{credential:NAME}` in a header's value or in a query parameter stands for a secret that the
//! owner's configuration names, and that only some origins get. The secret takes its place when a request is written, after
//! all hooks: whoever wrote the handle never has it. Where an answer repeats it, it is masked again.
//!
//! Paths and bodies are left as they are. Who may write which handle is decided by who takes answers of components.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use url::Url;

use super::Secret;
use super::redirect::Hop;
use crate::error::{Error, Failure, FailureKind};
use crate::mask::{Secrets, encoded};

const MARK: &str = "{credential:";

/// A secret with a name, and who gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCredential {
    /// URLs of the origins it may be sent to, and to no other.
    pub origins: Vec<String>,
    /// The secret.
    pub secret: Secret,
}

impl NamedCredential {
    /// Whether the secret can be had now.
    ///
    /// # Errors
    /// [`Error::Usage`]: why it cannot.
    pub fn check(&self) -> Result<(), Error> {
        self.secret.read_blocking().map(drop).map_err(|failure| Error::Usage(failure.description))
    }
}

/// The credentials that can be used by handle, by name. Cheap to clone.
pub type NamedCredentials = Arc<BTreeMap<String, NamedCredential>>;

/// The names of the credentials that a header's value, a URL or a parameter (encoded or not) has handles of.
pub(crate) fn names(text: &str) -> Vec<String> {
    if !text.contains("credential") {
        return Vec::new();
    }
    let decoded = percent_decode_str(text).decode_utf8_lossy();
    decoded.split(MARK).skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name.to_owned()).collect()
}

/// The name of a credential whose handle stands in a URL before the query.
pub(crate) fn name_before_query(url: &str) -> Option<String> {
    names(url.split(['?', '#']).next().unwrap_or_default()).pop()
}

/// What becomes of a handle in a URL before the query, or in a body: surely its author meant something else.
pub(crate) const SENT_AS_IT_IS: &str =
    "is sent as it stands: a secret takes its place only in values of headers and of query parameters";

/// The secrets that were put into a request: what must not be seen in its answer.
pub(super) type Used = Secrets;

/// The request with secrets in the place of their handles, and which they are.
///
/// # Errors
/// [`FailureKind::Policy`]: there is no such credential, it is not for this origin, or it cannot be had.
pub(super) async fn fill<'a>(credentials: &NamedCredentials, hop: &'a Hop) -> Result<(Cow<'a, Hop>, Used), Failure> {
    let in_query = hop.url.query().is_some_and(|query| !names(query).is_empty());
    let in_headers = hop.headers.iter().any(|(_, value)| value.contains(MARK));
    let mut used = Used::default();
    if !in_query && !in_headers {
        return Ok((Cow::Borrowed(hop), used));
    }
    let mut filled = hop.clone();
    for (_, value) in filled.headers.iter_mut().filter(|(_, value)| value.contains(MARK)) {
        *value = replaced(credentials, &hop.url, value, &mut used).await?;
    }
    if let Some(query) = hop.url.query().filter(|_| in_query) {
        filled.url.set_query(Some(&query_with(credentials, &hop.url, query, &mut used).await?));
    }
    Ok((Cow::Owned(filled), used))
}

/// A query whose parameters with handles have the secrets, encoded; the others stay byte for byte.
async fn query_with(
    credentials: &NamedCredentials,
    url: &Url,
    query: &str,
    used: &mut Used,
) -> Result<String, Failure> {
    let mut parts = Vec::new();
    for part in query.split('&') {
        parts.push(if names(part).is_empty() {
            part.to_owned()
        } else {
            let (name, value) = part.split_once('=').unwrap_or(("", part));
            let value = percent_decode_str(value).decode_utf8_lossy();
            let value = encoded(&replaced(credentials, url, &value, used).await?);
            if part.contains('=') { format!("{name}={value}") } else { value }
        });
    }
    Ok(parts.join("&"))
}

async fn replaced(credentials: &NamedCredentials, url: &Url, text: &str, used: &mut Used) -> Result<String, Failure> {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(MARK) {
        let Some((name, left)) = after.split_once('}') else { break };
        whole.push_str(before);
        let credential = for_origin(credentials, url, name)?;
        let secret = fit_for_a_header(name, credential.secret.read().await?)?;
        used.add(&secret);
        whole.push_str(&secret);
        rest = left;
    }
    whole.push_str(rest);
    Ok(whole)
}

/// All of them that can be had.
pub(super) async fn secrets(credentials: &NamedCredentials) -> Secrets {
    let mut secrets = Secrets::default();
    for credential in credentials.values() {
        if let Ok(secret) = credential.secret.read().await {
            secrets.add(&secret);
        }
    }
    secrets
}

/// Whether the secret of that name can be had for a request to that URL. Blocks where its file does.
///
/// # Errors
/// As for [`fill`].
pub(crate) fn check(credentials: &BTreeMap<String, NamedCredential>, url: &Url, name: &str) -> Result<(), Failure> {
    let credential = for_origin(credentials, url, name)?;
    fit_for_a_header(name, credential.secret.read_blocking()?).map(drop)
}

/// The credential of that name, if a request to that URL may have it.
fn for_origin<'c>(
    credentials: &'c BTreeMap<String, NamedCredential>,
    url: &Url,
    name: &str,
) -> Result<&'c NamedCredential, Failure> {
    let refuse = |why: String| refused(name, &why);
    let Some(credential) = credentials.get(name) else {
        return Err(refuse(format!("is not in the configuration; `[credentials.{name}]` would be it")));
    };
    let is_for = |origin: &String| Url::parse(origin).is_ok_and(|known| known.origin() == url.origin());
    if !credential.origins.iter().any(is_for) {
        let place = url.origin().ascii_serialization();
        return Err(refuse(format!("is not for {place}: its `origins` do not have it")));
    }
    Ok(credential)
}

fn fit_for_a_header(name: &str, secret: String) -> Result<String, Failure> {
    match http::HeaderValue::from_str(&secret) {
        Ok(_) => Ok(secret),
        Err(_) => Err(refused(name, "has characters that no header can carry")),
    }
}

fn refused(name: &str, why: &str) -> Failure {
    Failure::new(FailureKind::Policy, format!("credential `{name}` {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Payload;

    fn credentials() -> NamedCredentials {
        let origins = vec!["https://api.example".to_owned()];
        let named = |secret: &str| NamedCredential { origins: origins.clone(), secret: Secret::Text(secret.into()) };
        Arc::new([("corp".to_owned(), named("s3cret&more")), ("b".into(), named("another"))].into())
    }

    fn hop(url: &str, headers: &[(&str, &str)]) -> Hop {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Hop { method: "GET".into(), url: Url::parse(url).unwrap(), headers, body: Payload::default(), login: None }
    }

    #[tokio::test]
    async fn a_secret_takes_the_place_of_its_handle_in_headers_and_parameters() {
        let url = "https://api.example/p?x=%20&k={credential:corp}&l=a%7Bcredential%3Ab%7D";
        let given = hop(url, &[("X-A", "Bearer {credential:corp}, {credential:b}"), ("X-B", "{credential:")]);
        let (filled, used) = fill(&credentials(), &given).await.unwrap();
        assert_eq!(filled.headers[0].1, "Bearer s3cret&more, another");
        assert_eq!(filled.headers[1].1, "{credential:");
        assert_eq!(filled.url.as_str(), "https://api.example/p?x=%20&k=s3cret%26more&l=aanother");
        let mut told = "got s3cret&more as s3cret%26more".to_owned();
        used.mask(&mut told);
        assert_eq!(told, "got *** as ***");
        assert_eq!(used.mask_bytes(b"[another]".to_vec()), b"[***]");
        assert!(!format!("{used:?}").contains("another"));
    }

    #[tokio::test]
    async fn another_origin_an_unknown_name_and_a_useless_value_fail_the_request() {
        let told = async |hop: &Hop| fill(&credentials(), hop).await.unwrap_err();
        for place in ["http://api.example/", "https://api.example:444/", "https://evil.example/"] {
            let failure = told(&hop(place, &[("X-A", "{credential:corp}")])).await;
            assert_eq!(failure.kind, FailureKind::Policy);
            assert!(failure.description.starts_with("credential `corp` is not for http"), "{}", failure.description);
        }
        let unknown = told(&hop("https://api.example/?k=%7Bcredential:nobody%7D", &[])).await;
        assert!(unknown.description.contains("`[credentials.nobody]`"), "{}", unknown.description);
    }

    #[test]
    fn handles_are_found_in_any_form_that_is_filled() {
        assert_eq!(names("a {credential:x}{credential:y"), ["x"]);
        assert_eq!(names("?a=%7bcredential%3ax%7d&b=%7Bcredential:y%7D"), ["x", "y"]);
        assert!(names("{accessToken} credential").is_empty());
        assert_eq!(name_before_query("https://h/%7Bcredential:x%7D?k={credential:y}"), Some("x".into()));
        assert_eq!(name_before_query("https://h/p?k={credential:y}"), None);
    }
}
