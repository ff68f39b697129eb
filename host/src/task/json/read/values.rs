//! Single JSON values: each reader answers the value, or notes a problem and answers nothing. `null` is nothing, without a
//! problem.

use serde_json::{Map, Value};

use super::KNOWN;
use crate::config::reason;
use crate::task::{Pairs, Problem};

/// The problems found so far.
#[derive(Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    /// All of them, in the order they were found.
    pub(super) fn all(self) -> Vec<Problem> {
        self.0
    }

    /// Notes a problem; always `None`, for use in place of a value.
    pub(super) fn problem<T>(&mut self, field: &str, reason: impl Into<String>) -> Option<T> {
        self.0.push(Problem { field: field.into(), reason: reason.into() });
        None
    }

    /// Notes that a key means nothing, and which one may have been meant.
    pub(super) fn unknown(&mut self, prefix: &str, key: &str, of: &str) {
        let plain = |name: &str| name.replace(['-', '_', ' '], "").to_ascii_lowercase();
        let meant = KNOWN.iter().find(|known| plain(known) == plain(key) && **known != key);
        let hint = meant.map_or(String::new(), |known| format!("; `{known}` is"));
        self.problem::<()>(&format!("{prefix}{key}"), format!("is no field of {of}{hint}"));
    }

    pub(super) fn text(&mut self, field: &str, value: &Value) -> Option<String> {
        match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            _ => self.problem(field, format!("must be text, not {}", kind(value))),
        }
    }

    pub(super) fn flag(&mut self, field: &str, value: &Value) -> Option<bool> {
        match value {
            Value::Null => None,
            Value::Bool(flag) => Some(*flag),
            _ => self.problem(field, format!("must be true or false, not {}", kind(value))),
        }
    }

    /// A whole number that fits; `5.0` is one (A.17).
    /// A number from 0.0 to 1.0.
    pub(super) fn share(&mut self, field: &str, value: &Value) -> Option<f64> {
        match value.as_f64() {
            Some(share) if (0.0..=1.0).contains(&share) => Some(share),
            _ if value.is_null() => None,
            _ => self.problem(field, format!("must be a number from 0.0 to 1.0, not {value}")),
        }
    }

    pub(super) fn whole<T: TryFrom<i128>>(&mut self, field: &str, value: &Value) -> Option<T> {
        let Value::Number(number) = value else {
            return match value {
                Value::Null => None,
                _ => self.problem(field, format!("must be a whole number, not {}", kind(value))),
            };
        };
        match whole(value) {
            Some(whole) => match T::try_from(whole) {
                Ok(fitting) => Some(fitting),
                Err(_) => self.problem(field, format!("cannot be {number}")),
            },
            None => self.problem(field, format!("must be a whole number, not {number}")),
        }
    }

    /// One of `names`; with `numbered`, its place in the list will do too (A.16).
    pub(super) fn named<T: Clone>(
        &mut self,
        field: &str,
        value: &Value,
        names: &[(&str, T)],
        numbered: bool,
    ) -> Option<T> {
        let found = match value {
            Value::Null => return None,
            Value::String(text) => names.iter().find(|(name, _)| name == text),
            Value::Number(_) if numbered => {
                whole(value).and_then(|at| usize::try_from(at).ok()).and_then(|at| names.get(at))
            }
            _ => None,
        };
        if let Some((_, value)) = found {
            return Some(value.clone());
        }
        let all: Vec<String> = names.iter().map(|(name, _)| format!("`{name}`")).collect();
        let given = match value {
            Value::String(_) | Value::Number(_) => {
                format!("`{}`", value.to_string().trim_matches('"'))
            }
            _ => kind(value).into(),
        };
        self.problem(field, format!("must be one of {}, not {given}", all.join(", ")))
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, field: &str, value: &Value) -> Option<Vec<String>> {
        let Value::Array(items) = value else {
            return match value {
                Value::Null => None,
                _ => self.problem(field, format!("must be a list of texts, not {}", kind(value))),
            };
        };
        let texts: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(String::from)).collect();
        texts.or_else(|| self.problem(field, "must be a list of texts only"))
    }

    pub(super) fn object<'v>(&mut self, field: &str, value: &'v Value) -> Option<&'v Map<String, Value>> {
        match value {
            Value::Null => None,
            Value::Object(map) => Some(map),
            _ => self.problem(field, format!("must be an object, not {}", kind(value))),
        }
    }

    /// Names and values: `{"name": "value", "repeated": ["a", "b"]}`, or `[["name", "value"], …]` where the order of
    /// repeated names matters. Numbers and truth values are taken as their text.
    pub(super) fn pairs(&mut self, field: &str, value: &Value) -> Option<Pairs> {
        let mut pairs = Pairs::new();
        match value {
            Value::Null => return None,
            Value::Object(map) => {
                for (name, value) in map {
                    match value {
                        Value::Array(values) => {
                            for value in values {
                                pairs.push((name.clone(), self.pair_value(field, name, value)?));
                            }
                        }
                        _ => pairs.push((name.clone(), self.pair_value(field, name, value)?)),
                    }
                }
            }
            Value::Array(items) => {
                for item in items {
                    match item.as_array().map(Vec::as_slice) {
                        Some([Value::String(name), value]) => {
                            pairs.push((name.clone(), self.pair_value(field, name, value)?));
                        }
                        _ => return self.problem(field, "must be a list of [name, value] only"),
                    }
                }
            }
            _ => {
                return self.problem(field, format!("must be an object of texts, not {}", kind(value)));
            }
        }
        Some(pairs)
    }

    /// Pairs, and the names whose value is null: what nobody else is to add either.
    pub(super) fn headers(&mut self, field: &str, value: &Value) -> Option<(Pairs, Vec<String>)> {
        let mut left_out = Vec::new();
        let mut given = value.clone();
        match &mut given {
            Value::Object(map) => map.retain(|name, value| {
                left_out.extend(value.is_null().then(|| name.clone()));
                !value.is_null()
            }),
            Value::Array(items) => items.retain(|item| match item.as_array().map(Vec::as_slice) {
                Some([Value::String(name), Value::Null]) => {
                    left_out.push(name.clone());
                    false
                }
                _ => true,
            }),
            _ => {}
        }
        Some((self.pairs(field, &given)?, left_out))
    }

    /// Pairs whose values may be any JSON: what is no text is kept as JSON text.
    pub(super) fn extra(&mut self, field: &str, value: &Value) -> Option<Pairs> {
        match value {
            Value::Object(map) => {
                let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
                Some(map.iter().map(|(key, value)| (key.clone(), text(value))).collect())
            }
            _ => self.pairs(field, value),
        }
    }

    pub(super) fn statuses(&mut self, field: &str, value: &Value) -> Option<Vec<(u16, u16)>> {
        let read = match value {
            Value::Null => return None,
            Value::String(text) => reason::status_list(text),
            Value::Array(items) => items
                .iter()
                .map(|item| match (item.as_str(), number_text(item)) {
                    (Some(text), _) => reason::status_range(text),
                    (None, Some(number)) => reason::status_range(&number),
                    _ => Err(format!("must be a list of texts or numbers, not of {}", kind(item))),
                })
                .collect(),
            _ => Err(format!("must be a list such as [\"2xx\", 304], not {}", kind(value))),
        };
        read.map_or_else(|reason| self.problem(field, reason), Some)
    }

    /// RFC 3339, `+DUR`, or milliseconds since 1970.
    pub(super) fn time(&mut self, field: &str, value: &Value, now_ms: u64) -> Option<u64> {
        match value {
            Value::String(text) => {
                reason::time_ms(text, now_ms).map_or_else(|reason| self.problem(field, reason), Some)
            }
            _ => {
                let at = self.whole(field, value)?;
                reason::writable_time(at, &at.to_string()).map_or_else(|reason| self.problem(field, reason), Some)
            }
        }
    }

    /// Text with a unit, or a number in the smallest unit.
    pub(super) fn unit(&mut self, field: &str, value: &Value, parse: fn(&str) -> Result<u64, String>) -> Option<u64> {
        match value {
            Value::String(text) => parse(text).map_or_else(|reason| self.problem(field, reason), Some),
            _ => self.whole(field, value),
        }
    }

    fn pair_value(&mut self, field: &str, name: &str, value: &Value) -> Option<String> {
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Number(_) => number_text(value),
            _ => self.problem(&format!("{field}.{name}"), format!("must be text, not {}", kind(value))),
        }
    }
}

/// The number, when it is a whole one of at most 53 bits if written with a point.
fn whole(value: &Value) -> Option<i128> {
    if let Some(number) = value.as_i64() {
        return Some(number.into());
    }
    if let Some(number) = value.as_u64() {
        return Some(number.into());
    }
    let number = value.as_f64()?;
    let exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 53 bits")]
    exact.then_some(number as i128)
}

/// A number as text: whole ones without a point.
fn number_text(value: &Value) -> Option<String> {
    let number = value.as_number()?;
    Some(whole(value).map_or_else(|| number.to_string(), |whole| whole.to_string()))
}

/// What a value is, for people.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
