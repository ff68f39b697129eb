//! JSON that remembers which keys came twice: which of two values counts is for nobody to guess.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A value, and the paths (`headers.A`) of the keys in it that were given more than once; the last one is in the value.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) json: Value,
    pub(super) repeated: Vec<String>,
}

impl From<Value> for Parsed {
    fn from(json: Value) -> Self {
        Self { json, repeated: Vec::new() }
    }
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Parsed, E> {
        Ok(Value::Null.into())
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Parsed, E> {
        Ok(Value::from(flag).into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Parsed, E> {
        Ok(Value::from(number).into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Parsed, E> {
        Ok(Value::from(number).into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Parsed, E> {
        let number = Number::from_f64(number).ok_or_else(|| E::custom("a number is out of range"))?;
        Ok(Value::Number(number).into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Parsed, E> {
        Ok(Value::from(text).into())
    }

    fn visit_string<E>(self, text: String) -> Result<Parsed, E> {
        Ok(Value::from(text).into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Parsed, A::Error> {
        let (mut list, mut repeated) = (Vec::new(), Vec::new());
        while let Some(element) = elements.next_element::<Parsed>()? {
            list.push(element.json);
            repeated.extend(element.repeated);
        }
        Ok(Parsed { json: Value::Array(list), repeated })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Parsed, A::Error> {
        let (mut map, mut repeated) = (Map::new(), Vec::new());
        while let Some((key, value)) = entries.next_entry::<String, Parsed>()? {
            repeated.extend(value.repeated.into_iter().map(|inner| format!("{key}.{inner}")));
            if map.contains_key(&key) && !repeated.contains(&key) {
                repeated.push(key.clone());
            }
            map.insert(key, value.json);
        }
        Ok(Parsed { json: Value::Object(map), repeated })
    }
}
