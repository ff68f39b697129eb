//! Names and values with lists and maps in them, as a query or an URL-encoded form: dio's six ways to write a list.
//!
//! It encodes what it is given. `urlQueryParameters`, background_downloader's field, is appended as it is and does not
//! come here.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use crate::task::Pairs;

/// How a list is written. The names are dio's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListFormat {
    /// `a=1&a=2`.
    #[default]
    Multi,
    /// `a[]=1&a[]=2`.
    MultiCompatible,
    /// `a=1,2`.
    Csv,
    /// `a=1%202`.
    Ssv,
    /// `a=1\t2`, with a backslash and a `t`, encoded (as dio does it).
    Tsv,
    /// `a=1|2`, where the bar is encoded when it is sent.
    Pipes,
}

impl ListFormat {
    /// All of them with their names in JSON.
    pub const NAMES: [(&'static str, ListFormat); 6] = [
        ("multi", ListFormat::Multi),
        ("multiCompatible", ListFormat::MultiCompatible),
        ("csv", ListFormat::Csv),
        ("ssv", ListFormat::Ssv),
        ("tsv", ListFormat::Tsv),
        ("pipes", ListFormat::Pipes),
    ];

    /// What stands between the members, not encoded; `None` where each has a name of its own.
    fn separator(self) -> Option<&'static str> {
        match self {
            ListFormat::Multi | ListFormat::MultiCompatible => None,
            ListFormat::Csv => Some(","),
            ListFormat::Ssv => Some(" "),
            ListFormat::Tsv => Some("\\t"),
            ListFormat::Pipes => Some("|"),
        }
    }
}

/// How the lists of a query or form are written, each by the name at its top.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListFormats {
    /// Those that are not named.
    pub others: ListFormat,
    /// Those of these names (dio's `ListParam`).
    pub by_name: BTreeMap<String, ListFormat>,
}

impl ListFormats {
    fn of(&self, name: &str) -> ListFormat {
        self.by_name.get(name).copied().unwrap_or(self.others)
    }
}

impl From<ListFormat> for ListFormats {
    fn from(others: ListFormat) -> Self {
        Self { others, by_name: BTreeMap::new() }
    }
}

/// What stays as it is (RFC 3986 section 2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// What also stays in a query, where it was put there to divide.
const DIVIDERS: &AsciiSet = &UNRESERVED.remove(b',').remove(b'|').remove(b'[').remove(b']');

/// Query parameters, encoded, in the order of the map. Nested maps have names like `a[b]`; `null` is an empty text.
pub fn parameters(values: &Map<String, Value>, formats: &ListFormats) -> Pairs {
    plain(values, formats)
        .into_iter()
        .map(|(name, members, format)| {
            let members: Vec<String> = members.iter().map(|member| encoded(member, UNRESERVED)).collect();
            let separator = encoded(format.separator().unwrap_or_default(), DIVIDERS);
            (encoded(&name, DIVIDERS), members.join(&separator))
        })
        .collect()
}

/// A body of media type `application/x-www-form-urlencoded`.
pub fn form(values: &Map<String, Value>, formats: &ListFormats) -> String {
    let fields = plain(values, formats).into_iter().map(|(name, members, format)| {
        let value = members.join(format.separator().unwrap_or_default());
        format!("{}={}", encoded(&name, UNRESERVED), encoded(&value, UNRESERVED))
    });
    fields.collect::<Vec<_>>().join("&")
}

/// Names that repeat become one name with a list.
pub fn grouped(pairs: &Pairs) -> Map<String, Value> {
    let mut map = Map::new();
    for (name, value) in pairs {
        match map.get_mut(name) {
            None => drop(map.insert(name.clone(), value.as_str().into())),
            Some(Value::Array(values)) => values.push(value.as_str().into()),
            Some(first) => *first = Value::Array(vec![first.take(), value.as_str().into()]),
        }
    }
    map
}

/// Names, the members that share one, and how those are written.
fn plain(values: &Map<String, Value>, formats: &ListFormats) -> Vec<(String, Vec<String>, ListFormat)> {
    let mut out = Vec::new();
    for (name, value) in values {
        let (format, mut found) = (formats.of(name), Vec::new());
        put(&mut found, name, value, format);
        out.extend(found.into_iter().map(|(name, members)| (name, members, format)));
    }
    out
}

fn put(out: &mut Vec<(String, Vec<String>)>, name: &str, value: &Value, format: ListFormat) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| put(out, &format!("{name}[{key}]"), value, format)),
        Value::Array(members) => match format.separator() {
            Some(_) => out.push((name.to_owned(), members.iter().map(text).collect())),
            None => {
                let name = if format == ListFormat::MultiCompatible { format!("{name}[]") } else { name.to_owned() };
                members.iter().for_each(|member| put(out, &name, member, format));
            }
        },
        value => out.push((name.to_owned(), vec![text(value)])),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn encoded(text: &str, kept: &'static AsciiSet) -> String {
    utf8_percent_encode(text, kept).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(json: &str) -> Map<String, Value> {
        serde_json::from_str(json).unwrap()
    }

    fn query(json: &str, format: ListFormat) -> String {
        let pairs = parameters(&map(json), &format.into());
        pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }

    #[test]
    fn a_list_is_written_in_each_of_six_ways() {
        let json = r#"{"x":1,"a":["1","b c",true]}"#;
        let queries = ["a=1&a=b%20c&a=true", "a[]=1&a[]=b%20c&a[]=true", "a=1,b%20c,true", "a=1%20b%20c%20true"];
        let queries = queries.into_iter().chain(["a=1%5Ctb%20c%5Cttrue", "a=1|b%20c|true"]);
        for ((name, format), expected) in ListFormat::NAMES.into_iter().zip(queries) {
            assert_eq!(query(json, format), format!("x=1&{expected}"), "{name}");
        }
        assert_eq!(form(&map(json), &ListFormat::MultiCompatible.into()), "x=1&a%5B%5D=1&a%5B%5D=b%20c&a%5B%5D=true");
        assert_eq!(form(&map(json), &ListFormat::Csv.into()), "x=1&a=1%2Cb%20c%2Ctrue");
    }

    #[test]
    fn maps_nest_and_everything_is_encoded() {
        let json = r#"{"a":{"b":{"c":"d"},"e":[1,2]},"n":null,"q":"x&y=z+ü"}"#;
        assert_eq!(query(json, ListFormat::Multi), "a[b][c]=d&a[e]=1&a[e]=2&n=&q=x%26y%3Dz%2B%C3%BC");
    }

    #[test]
    fn a_name_may_have_a_format_of_its_own() {
        let by_name = [("a".to_owned(), ListFormat::Csv), ("m".to_owned(), ListFormat::Pipes)].into();
        let formats = ListFormats { others: ListFormat::MultiCompatible, by_name };
        let values = map(r#"{"a":[1,2],"b":[1,2],"m":{"x":[3,4]}}"#);
        let pairs = parameters(&values, &formats);
        let query: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(query, ["a=1,2", "b[]=1", "b[]=2", "m[x]=3|4"]);
    }

    #[test]
    fn repeated_names_are_a_list() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let pairs = vec![pair("a", "1"), pair("b", "x"), pair("a", "2"), pair("a", "3")];
        assert_eq!(grouped(&pairs), map(r#"{"a":["1","2","3"],"b":"x"}"#));
    }
}
