//! Secrets that are known by their value: what a task brings along, what was put into a request, what came with an answer.
//! Wherever a text repeats one of them literally or percent-encoded, in whatever spelling of that, it is masked. It cannot
//! recognise what was encoded in any other way or cut in pieces.

use std::collections::VecDeque;

use base64::Engine;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{
    MASK, ends_url, form_of, is_secret_header, is_secret_of_auth, is_secret_parameter, secret_field, split_before,
    userinfo,
};
use crate::task::{Auth, Pairs, Task};

const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// A shorter secret is not looked for: it might be anything.
const BYTES_MIN: usize = 6;
/// A line that was cut may end in the first bytes of a secret: so many are recognised.
const BEGINNING_BYTES_MIN: usize = 4;

/// Secrets of answers that are remembered, the last ones, and their bytes: servers may send a new cookie each time.
const PASSING_MAX: usize = 256;
const PASSING_BYTES_MAX: usize = 64 << 10;

/// See the module.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    /// The longest come first: of a secret within another one, no end may be left over.
    known: Vec<String>,
    /// Those among them that only answers have brought, the oldest first.
    passing: VecDeque<String>,
}

/// How much of a secret a text begins with.
#[derive(Debug, PartialEq, Eq)]
enum Begins {
    /// All of it, in so many bytes of the text.
    Whole(usize),
    /// So many bytes of it: there the text ends.
    Cut(usize),
    /// It is something else.
    Not,
}

/// Compares each byte of the secret as it is and as `%XX`, a space as `+`, too. What is both (`%` and `%25`) is tried either way.
fn begins(text: &[u8], secret: &[u8]) -> Begins {
    let (mut at, mut known, mut cut) = (0, 0, 0);
    let mut others = Vec::new();
    loop {
        let Some(&byte) = secret.get(known) else { return Begins::Whole(at) };
        let plain = text.get(at).is_some_and(|&first| first == byte || (first == b'+' && byte == b' '));
        let encoded = is_encoded(&text[at..], byte);
        match (plain, encoded) {
            (true, _) => {
                if encoded == Some(true) {
                    others.push((at + 3, known + 1));
                }
                at += 1;
            }
            (false, Some(true)) => at += 3,
            (false, _) => {
                if encoded.is_none() {
                    cut = cut.max(known);
                }
                match others.pop() {
                    Some(other) => (at, known) = other,
                    None if cut > 0 => return Begins::Cut(cut),
                    None => return Begins::Not,
                }
                continue;
            }
        }
        known += 1;
    }
}

/// Whether a text begins with the byte percent-encoded. `None`: it ends before it is told.
fn is_encoded(text: &[u8], byte: u8) -> Option<bool> {
    let start = &text[..text.len().min(3)];
    if start.first().is_some_and(|first| *first != b'%') {
        return Some(false);
    }
    let is_it = format!("%{byte:02X}").as_bytes()[..start.len()].eq_ignore_ascii_case(start);
    if is_it && start.len() < 3 { None } else { Some(is_it) }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.known.len())
    }
}

/// A text percent-encoded, as a query parameter's value is.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, &UNRESERVED).to_string()
}

/// Headers without their owner.
pub(crate) fn as_texts(headers: &Pairs) -> impl Iterator<Item = (&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

impl Secrets {
    /// Takes up a secret. Handles of credentials are none.
    pub(crate) fn add(&mut self, secret: &str) {
        let is_known = || self.known.iter().any(|known| known == secret);
        if secret.len() >= BYTES_MIN && !secret.contains("{credential:") && !is_known() {
            let place = self.known.partition_point(|known| known.len() > secret.len());
            self.known.insert(place, secret.to_owned());
        }
    }

    /// Takes up what an answer brings along: its URL's secrets, values of headers that are always masked (of `Set-Cookie` the
    /// cookie's, too), and secrets in the URLs of others. Of very many answers the last ones' are remembered.
    pub(crate) fn add_answer(&mut self, url: &str, headers: &Pairs) {
        let mut brought = Secrets::default();
        brought.add_request(url, as_texts(headers));
        let is_cookie = |name: &str| name.eq_ignore_ascii_case("set-cookie");
        for (_, cookie) in headers.iter().filter(|(name, _)| is_cookie(name)) {
            let pair = cookie.split(';').next().unwrap_or_default().trim();
            brought.add(pair);
            brought.add(pair.split_once('=').map_or("", |(_, value)| value).trim_matches(['"', ' ']));
        }
        self.add_passing(brought);
    }

    /// Takes up those of another for a while: of very many the last ones are remembered.
    pub(crate) fn add_passing(&mut self, brought: Secrets) {
        if brought.is_empty() {
            return;
        }
        for secret in brought.known {
            if !self.known.contains(&secret) {
                self.add(&secret);
                self.passing.push_back(secret);
            }
        }
        let bytes = |passing: &VecDeque<String>| passing.iter().map(String::len).sum::<usize>();
        while self.passing.len() > PASSING_MAX || bytes(&self.passing) > PASSING_BYTES_MAX {
            let Some(oldest) = self.passing.pop_front() else { break };
            self.known.retain(|known| *known != oldest);
        }
    }

    /// What a task brings along: values of headers, parameters and form fields (among files, too) that are always masked, logins
    /// in URLs, its auth block. What another body holds is not looked at.
    pub(crate) fn add_task(&mut self, task: &Task) {
        self.add_headers(as_texts(&task.headers));
        for pairs in [&task.url_query_parameters, &task.fields] {
            self.add_parameters(pairs);
        }
        for url in std::iter::once(&task.url).chain(&task.mirrors) {
            self.add_url(url);
        }
        for part in task.files.iter().filter(|part| is_secret_parameter(&part.field)) {
            self.add(&String::from_utf8_lossy(part.content.as_deref().unwrap_or_default()));
        }
        let form = form_of(task).unwrap_or_default();
        for (_, value) in form.split('&').filter_map(secret_field) {
            self.add(value);
            self.add(&percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy());
        }
        if let Some(auth) = &task.auth {
            self.add_auth(auth);
        }
    }

    /// What a request brings along.
    pub(crate) fn add_request<'h>(&mut self, url: &str, headers: impl Iterator<Item = (&'h str, &'h str)>) {
        self.add_url(url);
        self.add_headers(headers);
    }

    fn add_headers<'h>(&mut self, headers: impl Iterator<Item = (&'h str, &'h str)>) {
        for (name, value) in headers {
            if is_secret_header(name) {
                self.add_header(name, value);
            } else {
                value.split(ends_url).filter(|word| word.contains(['?', '#', '@'])).for_each(|url| self.add_url(url));
            }
        }
    }

    /// What an auth block has put into a request.
    pub(crate) fn add_filled(&mut self, headers: &Pairs, parameters: &Pairs) {
        for (name, value) in headers.iter().filter(|(name, value)| is_secret_of_auth(name, value)) {
            self.add_header(name, value);
        }
        for (_, value) in parameters.iter().filter(|(name, value)| is_secret_of_auth(name, value)) {
            self.add(value);
        }
    }

    /// What an auth block holds.
    pub(crate) fn add_auth(&mut self, auth: &Auth) {
        let Auth { access_token, refresh_token, refresh_url, .. } = auth;
        for token in [access_token, refresh_token].into_iter().flatten() {
            self.add(token);
        }
        self.add_filled(&auth.access_headers, &auth.access_query_params);
        self.add_filled(&auth.refresh_headers, &auth.refresh_query_params);
        refresh_url.iter().for_each(|url| self.add_url(url));
    }

    /// The value, what follows the scheme of a login and what that says, and the values of cookies.
    fn add_header(&mut self, name: &str, value: &str) {
        self.add(value);
        if name.eq_ignore_ascii_case("set-cookie") {
            // What follows the cookie says whom it is for.
        } else if name.eq_ignore_ascii_case("cookie") {
            value.split(';').filter_map(|cookie| cookie.split_once('=')).for_each(|(_, value)| self.add(value.trim()));
        } else if let Some((scheme, credentials)) = value.split_once(' ') {
            self.add(credentials.trim());
            self.add_proof(scheme, credentials.trim());
        }
    }

    /// Name and password of Basic as they were before they were encoded, and the answer of Digest.
    fn add_proof(&mut self, scheme: &str, credentials: &str) {
        if scheme.eq_ignore_ascii_case("basic") {
            let decoded = base64::prelude::BASE64_STANDARD.decode(credentials).unwrap_or_default();
            let login = String::from_utf8_lossy(&decoded);
            self.add(&login);
            self.add(login.split_once(':').map_or("", |(_, password)| password));
        } else if scheme.eq_ignore_ascii_case("digest") {
            let parameters = credentials.split(',').filter_map(|parameter| parameter.trim().split_once('='));
            for (_, value) in parameters.filter(|(name, _)| name.eq_ignore_ascii_case("response")) {
                self.add(value.trim_matches('"'));
            }
        }
    }

    fn add_parameters(&mut self, parameters: &Pairs) {
        for (_, value) in parameters.iter().filter(|(name, _)| is_secret_parameter(name)) {
            self.add(value);
        }
    }

    /// What a URL holds: its login, and query values of names that say so.
    pub(crate) fn add_url(&mut self, url: &str) {
        let (rest, fragment) = split_before(url, '#');
        let (place, query) = split_before(rest, '?');
        let parameters = [query, fragment].into_iter().flat_map(|part| part.get(1..).unwrap_or("").split('&'));
        let pairs = parameters.filter_map(|parameter| parameter.split_once('='));
        let secret = pairs.filter(|(name, _)| is_secret_parameter(name)).map(|(_, value)| value);
        let login = userinfo(place).map(|(start, end)| place[start..end].split_once(':').map_or("", |(_, word)| word));
        for value in secret.chain(login) {
            self.add(value);
            self.add(&percent_decode_str(value).decode_utf8_lossy());
        }
    }

    /// Those of another.
    pub(crate) fn extend(&mut self, more: Secrets) {
        more.known.iter().for_each(|secret| self.add(secret));
    }

    /// Whether all of another are among them.
    pub(crate) fn has_all(&self, others: &Secrets) -> bool {
        others.known.iter().all(|secret| self.known.contains(secret))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether a text repeats one.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        !self.is_empty() && (0..text.len()).any(|at| self.length_at(&text.as_bytes()[at..]).is_some())
    }

    /// A text without them.
    pub(crate) fn mask(&self, text: &mut String) {
        if let Some(masked) = self.masked(text.as_bytes()) {
            *text = String::from_utf8_lossy(&masked).into_owned();
        }
    }

    /// The end of a text that was cut, without the beginning of one of them.
    pub(crate) fn mask_cut(&self, text: &mut String) {
        if let Some(at) = self.begun_at(text.as_bytes(), BEGINNING_BYTES_MIN) {
            text.truncate(at);
            text.push_str(MASK);
        }
    }

    /// Bytes without them.
    pub(crate) fn mask_bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.masked(&bytes).unwrap_or(bytes)
    }

    /// The first bytes of something, without them. Where there are `limit`, or more, it was cut: not as little as the first byte of
    /// a secret stays at the end.
    pub(crate) fn mask_first_bytes(&self, bytes: Vec<u8>, limit: usize) -> Vec<u8> {
        let is_cut = bytes.len() >= limit;
        let mut masked = self.mask_bytes(bytes);
        if let Some(at) = self.begun_at(&masked, 1).filter(|_| is_cut) {
            masked.truncate(at);
            masked.extend_from_slice(MASK.as_bytes());
        }
        masked
    }

    /// How many bytes at the beginning of a text are one of them.
    fn length_at(&self, text: &[u8]) -> Option<usize> {
        let first = *text.first()?;
        let is_encoded = matches!(first, b'%' | b'+');
        let may_begin = |secret: &&String| is_encoded || secret.as_bytes().first() == Some(&first);
        self.known.iter().filter(may_begin).find_map(|secret| match begins(text, secret.as_bytes()) {
            Begins::Whole(length) => Some(length),
            Begins::Cut(_) | Begins::Not => None,
        })
    }

    /// Where a text begins with so many bytes of one and then ends.
    fn begun_at(&self, text: &[u8], bytes_min: usize) -> Option<usize> {
        let longest = self.known.first().map_or(0, |secret| 3 * secret.len());
        let is_begun = |at: usize| {
            let of =
                |secret: &String| matches!(begins(&text[at..], secret.as_bytes()), Begins::Cut(n) if n >= bytes_min);
            self.known.iter().any(of)
        };
        (text.len().saturating_sub(longest)..text.len()).find(|at| is_begun(*at))
    }

    /// `None`: there is none in it.
    fn masked(&self, text: &[u8]) -> Option<Vec<u8>> {
        if self.is_empty() {
            return None; // as with nearly all tasks
        }
        let (mut masked, mut copied, mut at) = (Vec::new(), 0, 0);
        while at < text.len() {
            let Some(length) = self.length_at(&text[at..]) else {
                at += 1;
                continue;
            };
            masked.extend_from_slice(&text[copied..at]);
            masked.extend_from_slice(MASK.as_bytes());
            at += length;
            copied = at;
        }
        (copied > 0).then(|| {
            masked.extend_from_slice(&text[copied..]);
            masked
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Body;

    fn pairs(pairs: &[(&str, &str)]) -> Pairs {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn what_a_task_brings_along_is_recognised_wherever_it_is_repeated() {
        let auth = Auth {
            access_token: Some("token-in-use".into()),
            refresh_headers: pairs(&[("X-Client", "client-word"), ("Content-Type", "application/json")]),
            access_headers: pairs(&[("X-Tok", "Bearer {accessToken}")]),
            ..Auth::default()
        };
        let task = Task {
            headers: pairs(&[
                ("Authorization", "Bearer bearer-word"),
                ("Cookie", "a=1; sid=cookie-word"),
                ("Accept", "text/html"),
            ]),
            auth: Some(auth),
            body: Body::Bytes(b"a=form&client_secret=form+word%21".to_vec()),
            content_type: Some("application/x-www-form-urlencoded".into()),
            ..Task::download("https://user:pass%2Dword@example.org/f?page=second&sig=sig%2Bword")
        };
        let mut secrets = Secrets::default();
        secrets.add_task(&task);

        let mut text =
            "bearer-word, cookie-word; token-in-use client-word pass-word pass%2Dword sig+word sig%2Bword form word!"
                .to_owned();
        secrets.mask(&mut text);
        assert_eq!(text, "***, ***; *** *** *** *** *** *** ***");

        let harmless = "text/html application/json page=second {accessToken} Bearer";
        let mut text = harmless.to_owned();
        secrets.mask(&mut text);
        assert_eq!(text, harmless);
    }

    #[test]
    fn of_a_login_what_was_encoded_is_recognised_too() {
        let mut secrets = Secrets::default();
        let headers = [
            ("authorization", "Basic bWU6cGFzcy13b3Jk"),
            ("Proxy-Authorization", "Digest username=\"me\", uri=\"/f?page=2\", response=\"0123abcd\", nc=00000001"),
        ];
        secrets.add_request("http://h/f?page=2", headers.into_iter());
        let mut text = "bWU6cGFzcy13b3Jk = me:pass-word, pass-word; response=\\\"0123abcd\\\" me page=2".to_owned();
        secrets.mask(&mut text);
        assert_eq!(text, "*** = ***, ***; response=\\\"***\\\" me page=2");
    }

    #[test]
    fn of_answers_the_secrets_of_the_last_ones_are_known_and_those_of_the_task_stay() {
        let mut secrets = Secrets::default();
        secrets.add("of-the-task");
        for n in 0..2 * PASSING_MAX {
            let cookie = ("set-cookie".to_owned(), format!("s=c{n:05}; HttpOnly; Path=/"));
            let link = ("link".to_owned(), format!("<https://h/?page=2&token=t{n:05}>; rel=\"next\""));
            secrets.add_answer("https://h/?key=of-the-task", &vec![cookie, link]);
        }
        let shown = |text: &str| {
            let mut text = text.to_owned();
            secrets.mask(&mut text);
            text
        };
        assert_eq!(shown("c00511 t00511 of-the-task HttpOnly; Path=/ page=2"), "*** *** *** HttpOnly; Path=/ page=2");
        assert_eq!(shown("c00000 t00000"), "c00000 t00000", "the first ones are forgotten");
        assert!(secrets.known.len() <= PASSING_MAX + 1, "{secrets:?}");
        secrets.add_answer("https://h/", &vec![("x-api-key".to_owned(), "k".repeat(PASSING_BYTES_MAX + 1))]);
        assert_eq!(secrets.known, ["of-the-task"], "nor are they many megabytes");
    }

    #[test]
    fn the_beginning_of_a_secret_at_the_end_of_what_was_cut_is_masked() {
        let mut secrets = Secrets::default();
        secrets.add("0123456789");
        for (cut, shown) in [("key 012345", "key ***"), ("key 012", "key 012"), ("01234 key", "01234 key")] {
            let mut text = cut.to_owned();
            secrets.mask_cut(&mut text);
            assert_eq!(text, shown);
        }
    }

    #[test]
    fn a_percent_encoded_secret_is_recognised_in_every_spelling() {
        let mut secrets = Secrets::default();
        secrets.add("a+/ %25é");
        for text in
            ["a+/ %25é", "a%2B%2F%20%2525%C3%A9", "a%2b%2f%20%2525%c3%a9", "a%2B/+%2525%C3%a9", "%61%2b/+%25%32%35é"]
        {
            let mut masked = format!("<{text}>");
            secrets.mask(&mut masked);
            assert_eq!(masked, "<***>", "{text}");
            assert!(secrets.is_in(text));
        }
        for other in ["a+/ %é", "a%2B%2F%20%252%C3%A9", "a+/ %25e", "%"] {
            let mut kept = other.to_owned();
            secrets.mask(&mut kept);
            assert_eq!(kept, other);
        }
    }

    #[test]
    fn of_the_first_bytes_of_a_text_no_beginning_of_a_secret_is_left() {
        let mut secrets = Secrets::default();
        secrets.add("s3cret+word");
        for (cut, shown) in [
            ("#s", "#***"),
            ("#s3cret+wor", "#***"),
            ("#s3cret%2Bwor", "#***"),
            ("#s3cret%2", "#***"),
            ("#s3cret+word#", "#***#"),
            ("#s3cret-", "#s3cret-"),
        ] {
            assert_eq!(secrets.mask_first_bytes(cut.as_bytes().to_vec(), cut.len()), shown.as_bytes(), "{cut}");
        }
        assert_eq!(secrets.mask_first_bytes(b"#s3cret".to_vec(), 100), b"#s3cret", "nothing was cut");
    }
}
