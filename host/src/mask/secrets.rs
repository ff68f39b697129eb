//! Secrets that are known by their value: what a task brings along, what was put into a request. Wherever a text repeats one
//! of them literally or percent-encoded, it is masked. It cannot recognise what was encoded in any other way or cut in pieces.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{
    MASK, form_of, is_secret_header, is_secret_of_auth, is_secret_parameter, secret_field, split_before, userinfo,
};
use crate::task::{Auth, Pairs, Task};

const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// A shorter secret is not looked for: it might be anything.
const BYTES_MIN: usize = 6;
/// A line that was cut may end in the first bytes of a secret: so many are recognised.
const BEGINNING_BYTES_MIN: usize = 4;

/// See the module.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<String>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

/// A text percent-encoded, as a query parameter's value is.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, &UNRESERVED).to_string()
}

impl Secrets {
    /// Takes up a secret, in both of its forms. Handles of credentials are none.
    pub(crate) fn add(&mut self, secret: &str) {
        if secret.contains("{credential:") {
            return;
        }
        self.insert(secret.to_owned());
        self.insert(encoded(secret));
    }

    /// The longest come first: of a secret within another one, no end may be left over.
    fn insert(&mut self, form: String) {
        if form.len() >= BYTES_MIN && !self.0.contains(&form) {
            let place = self.0.partition_point(|known| known.len() > form.len());
            self.0.insert(place, form);
        }
    }

    /// What a task brings along: values of headers, parameters and form fields that are always masked, logins in URLs, its
    /// auth block. What another body holds is not looked at.
    pub(crate) fn add_task(&mut self, task: &Task) {
        self.add_headers(&task.headers);
        for pairs in [&task.url_query_parameters, &task.fields] {
            self.add_parameters(pairs);
        }
        for url in std::iter::once(&task.url).chain(&task.mirrors) {
            self.add_url(url);
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
    pub(crate) fn add_request(&mut self, url: &str, headers: &Pairs) {
        self.add_url(url);
        self.add_headers(headers);
    }

    fn add_headers(&mut self, headers: &Pairs) {
        for (name, value) in headers.iter().filter(|(name, _)| is_secret_header(name)) {
            self.add_header(name, value);
        }
    }

    /// What an auth block holds.
    pub(crate) fn add_auth(&mut self, auth: &Auth) {
        let Auth { access_token, refresh_token, refresh_url, .. } = auth;
        for token in [access_token, refresh_token].into_iter().flatten() {
            self.add(token);
        }
        for pairs in [&auth.access_headers, &auth.refresh_headers] {
            for (name, value) in pairs.iter().filter(|(name, value)| is_secret_of_auth(name, value)) {
                self.add_header(name, value);
            }
        }
        for pairs in [&auth.access_query_params, &auth.refresh_query_params] {
            for (_, value) in pairs.iter().filter(|(name, value)| is_secret_of_auth(name, value)) {
                self.add(value);
            }
        }
        refresh_url.iter().for_each(|url| self.add_url(url));
    }

    /// The value, what follows the scheme of a login, and the values of cookies.
    fn add_header(&mut self, name: &str, value: &str) {
        self.add(value);
        if name.eq_ignore_ascii_case("cookie") {
            value.split(';').filter_map(|cookie| cookie.split_once('=')).for_each(|(_, value)| self.add(value.trim()));
        } else if let Some((_, credentials)) = value.split_once(' ') {
            self.add(credentials.trim());
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
        more.0.into_iter().for_each(|form| self.insert(form));
    }

    /// Whether a text repeats one.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        self.0.iter().any(|secret| text.contains(secret.as_str()))
    }

    /// A text without them.
    pub(crate) fn mask(&self, text: &mut String) {
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                *text = text.replace(secret.as_str(), MASK);
            }
        }
    }

    /// The end of a text that was cut, without the beginning of one of them.
    pub(crate) fn mask_cut(&self, text: &mut String) {
        let begun = |secret: &String| {
            let lengths = (BEGINNING_BYTES_MIN..secret.len()).rev();
            lengths.filter_map(|length| secret.get(..length)).find(|start| text.ends_with(start)).map(str::len)
        };
        if let Some(length) = self.0.iter().filter_map(begun).max() {
            text.truncate(text.len() - length);
            text.push_str(MASK);
        }
    }

    /// Bytes without them.
    pub(crate) fn mask_bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        let is_in = |secret: &String| bytes.windows(secret.len()).any(|at| at == secret.as_bytes());
        if !self.0.iter().any(is_in) {
            return bytes;
        }
        let mut masked = Vec::with_capacity(bytes.len());
        let mut rest = &bytes[..];
        while let Some(&first) = rest.first() {
            match self.0.iter().find(|secret| rest.starts_with(secret.as_bytes())) {
                Some(secret) => {
                    masked.extend_from_slice(MASK.as_bytes());
                    rest = &rest[secret.len()..];
                }
                None => {
                    masked.push(first);
                    rest = &rest[1..];
                }
            }
        }
        masked
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
    fn the_beginning_of_a_secret_at_the_end_of_what_was_cut_is_masked() {
        let mut secrets = Secrets::default();
        secrets.add("0123456789");
        for (cut, shown) in [("key 012345", "key ***"), ("key 012", "key 012"), ("01234 key", "01234 key")] {
            let mut text = cut.to_owned();
            secrets.mask_cut(&mut text);
            assert_eq!(text, shown);
        }
    }
}
