//! What hooks are asked and what they answer, as JSON: between the values of a call, JSON with the names of the generated
//! Rust types, and the JSON that people read and write (docs/workshop.md). The form of the latter is given by a component's
//! own types, the same way for all hooks. It judges nothing, and masks nothing.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};
use wasmtime::Engine;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, Type};

use super::Hook;
use super::bindings::haul::transfer as wit;
use super::functions::VERSION;

/// A value of the contract as JSON in serde's form, with the names of Rust.
pub(super) trait Word: Sized {
    fn say(&self) -> Value;
    fn hear(value: Value) -> Result<Self, String>;
}

/// The parameters or results of a function, in order.
pub(super) trait Words: Sized {
    fn say(&self) -> Vec<Value>;
    /// `values` has as many items as the function has parameters.
    fn hear(values: Vec<Value>) -> Result<Self, String>;
}

macro_rules! word {
    ($($ty:ty),* $(,)?) => {
        $(impl Word for $ty {
            fn say(&self) -> Value {
                serde_json::to_value(self).unwrap_or_default()
            }

            fn hear(value: Value) -> Result<Self, String> {
                serde_json::from_value(value).map_err(|error| error.to_string())
            }
        })*
    };
}

// A list, because serde says nothing of Arc here.
word! {
    u32, u64, String, Vec<String>, Result<(), String>,
    wit::types::Task, wit::types::Auth, wit::types::Failure, wit::types::Request, wit::types::Response,
    wit::types::Update, Option<wit::types::Update>, Vec<wit::types::Task>,
    wit::admit::Context, Vec<Result<wit::types::Task, Vec<wit::admit::Problem>>>,
    wit::authorize::Situation, wit::authorize::Reason, wit::authorize::Verdict, wit::on_auth::Verdict,
    Option<wit::on_task_start::Changes>, wit::resume::Stored, wit::resume::Answer,
    wit::on_request::Verdict, wit::on_redirect::Hop, wit::on_redirect::Verdict, wit::on_response::Verdict,
    wit::classify::Asked, wit::classify::Verdict, wit::parts::Known, wit::parts::Verdict,
    wit::on_progress::Progress, wit::on_progress::Verdict, wit::on_error::Verdict,
    wit::retry::Attempt, wit::retry::Verdict, wit::verify::Finished,
}

impl<T: Word> Word for Arc<T> {
    fn say(&self) -> Value {
        T::say(self)
    }

    fn hear(value: Value) -> Result<Self, String> {
        T::hear(value).map(Arc::new)
    }
}

macro_rules! words {
    ($($item:ident)*) => {
        impl<$($item: Word),*> Words for ($($item,)*) {
            #[allow(non_snake_case)]
            fn say(&self) -> Vec<Value> {
                let ($($item,)*) = self;
                vec![$($item.say()),*]
            }

            #[allow(unused_mut, unused_variables)]
            fn hear(values: Vec<Value>) -> Result<Self, String> {
                let mut values = values.into_iter();
                Ok(($($item::hear(values.next().unwrap_or_default())?,)*))
            }
        }
    };
}

words!();
words!(A);
words!(A B);
words!(A B C);
words!(A B C D);

/// The type of a hook's function as a component exports it.
pub(super) fn function(engine: &Engine, component: &Component, hook: Hook) -> Option<ComponentFunc> {
    let name = format!("haul:transfer/{}@{VERSION}", hook.name());
    let ComponentItem::ComponentInstance(interface) = component.component_type().get_export(engine, &name)?.ty else {
        return None;
    };
    match interface.get_export(engine, hook.function())?.ty {
        ComponentItem::ComponentFunc(function) => Some(function),
        _ => None,
    }
}

/// What a hook was asked, as an object: a member for each parameter.
pub(super) fn question(function: &ComponentFunc, said: &[Value]) -> Value {
    let members = function.params().zip(said);
    Value::Object(members.map(|((name, ty), value)| (camel(name), from_rust(value, &ty))).collect())
}

/// What it answered; null where there is nothing to answer.
pub(super) fn answer(function: &ComponentFunc, said: &[Value]) -> Value {
    let result = function.results().zip(said).next();
    result.map_or(Value::Null, |(ty, value)| from_rust(value, &ty))
}

/// The parameters that an object means. What it leaves out is nothing: no text, 0, false, an empty list, the first case.
/// The error names the place.
pub(super) fn parameters(function: &ComponentFunc, question: &Value) -> Result<Vec<Value>, String> {
    let fields: Vec<(String, Type)> = function.params().map(|(name, ty)| (name.to_owned(), ty)).collect();
    let members = members(question, &fields, "input")?;
    Ok(members.into_iter().map(|(_, value)| value).collect())
}

/// From the names of Rust to those of files.
fn from_rust(value: &Value, ty: &Type) -> Value {
    match (ty, value) {
        (_, Value::Null) => Value::Null,
        (Type::Option(option), value) => from_rust(value, &option.ty()),
        (Type::List(list), Value::Array(items)) if list.ty() == Type::U8 => bytes(items),
        (Type::List(list), Value::Array(items)) => items.iter().map(|item| from_rust(item, &list.ty())).collect(),
        (Type::Tuple(tuple), Value::Array(items)) => {
            tuple.types().zip(items).map(|(ty, item)| from_rust(item, &ty)).collect()
        }
        (Type::Record(record), Value::Object(members)) => {
            let named = |name: &str| members.get(&snake(name)).cloned().unwrap_or_default();
            let fields = record.fields().map(|field| (camel(field.name), from_rust(&named(field.name), &field.ty)));
            Value::Object(fields.collect())
        }
        (Type::Result(result), Value::Object(members)) => {
            let side = |rust: &str, name: &str, ty: Option<Type>| {
                let value = members.get(rust)?;
                Some(json!({ name: ty.map_or(Value::Null, |ty| from_rust(value, &ty)) }))
            };
            side("Ok", "ok", result.ok()).or_else(|| side("Err", "err", result.err())).unwrap_or_default()
        }
        (Type::Variant(_) | Type::Enum(_), Value::String(case)) => {
            let mut letters = case.chars();
            let first = letters.next().map(|letter| letter.to_ascii_lowercase());
            Value::String(first.into_iter().chain(letters).collect())
        }
        (Type::Variant(variant), Value::Object(members)) => {
            let payload = |case: wasmtime::component::types::Case<'_>| {
                let value = members.get(&upper(case.name))?;
                Some(json!({ camel(case.name): from_rust(value, &case.ty?) }))
            };
            variant.cases().find_map(payload).unwrap_or_default()
        }
        (_, value) => value.clone(),
    }
}

/// From the names of files, in any spelling, to those of Rust. `at`: the place, for the error.
fn to_rust(value: &Value, ty: &Type, at: &str) -> Result<Value, String> {
    match (ty, value) {
        (Type::Option(_), Value::Null) => Ok(Value::Null),
        (Type::Option(option), value) => to_rust(value, &option.ty(), at),
        (Type::List(list), value) if list.ty() == Type::U8 => octets(value, at),
        (Type::List(list), Value::Array(items)) => {
            let item = |(index, item)| to_rust(item, &list.ty(), &format!("{at}[{index}]"));
            items.iter().enumerate().map(item).collect()
        }
        (Type::Tuple(tuple), Value::Array(items)) => {
            let types: Vec<Type> = tuple.types().collect();
            if types.len() != items.len() {
                return Err(format!("`{at}` has {} items, it must have {}", items.len(), types.len()));
            }
            let item = |(index, (ty, item))| to_rust(item, ty, &format!("{at}[{index}]"));
            types.iter().zip(items).enumerate().map(item).collect()
        }
        (Type::Record(record), value) => {
            let fields: Vec<_> = record.fields().map(|field| (field.name.to_owned(), field.ty)).collect();
            let members = members(value, &fields, at)?;
            Ok(Value::Object(members.into_iter().map(|(name, value)| (snake(&name), value)).collect()))
        }
        (Type::Result(result), Value::Object(members)) if members.len() == 1 => {
            let (side, ty, value) = match (members.get("ok"), members.get("err")) {
                (Some(value), _) => ("Ok", result.ok(), value),
                (_, Some(value)) => ("Err", result.err(), value),
                _ => return Err(format!("`{at}` must be {{\"ok\": ...}} or {{\"err\": ...}}")),
            };
            let value =
                ty.map_or(Ok(Value::Null), |ty| to_rust(value, &ty, &format!("{at}.{}", side.to_lowercase())))?;
            Ok(json!({ side: value }))
        }
        (Type::Variant(variant), value) => case_to_rust(variant, value, at),
        (Type::Bool, Value::Bool(_)) | (Type::String, Value::String(_)) => Ok(value.clone()),
        (Type::U8 | Type::U16 | Type::U32 | Type::U64, Value::Number(number))
            if number.as_u64().is_some_and(|number| number <= most(ty)) =>
        {
            Ok(value.clone())
        }
        (Type::S32 | Type::S64, Value::Number(number)) if number.is_i64() => Ok(value.clone()),
        (ty, _) => Err(format!("`{at}` must be {}", kind(ty))),
    }
}

fn case_to_rust(variant: &wasmtime::component::types::Variant, value: &Value, at: &str) -> Result<Value, String> {
    let (name, payload) = match value {
        Value::String(name) => (name.as_str(), None),
        Value::Object(members) if members.len() == 1 => {
            members.iter().next().map_or(("", None), |(name, payload)| (name.as_str(), Some(payload)))
        }
        _ => return Err(format!("`{at}` must be the name of a case, or an object of a case and its value")),
    };
    let Some(case) = variant.cases().find(|case| plain(case.name) == plain(name)) else {
        let known: Vec<String> = variant.cases().map(|case| camel(case.name)).collect();
        return Err(format!("`{at}` has no case `{name}`; there are {}", known.join(", ")));
    };
    let at = format!("{at}.{name}");
    match (case.ty, payload) {
        (None, None) => Ok(Value::String(upper(case.name))),
        (Some(ty), Some(payload)) => Ok(json!({ upper(case.name): to_rust(payload, &ty, &at)? })),
        (Some(_), None) => Err(format!("`{at}` needs a value: {{\"{name}\": ...}}")),
        (None, Some(_)) => Err(format!("`{at}` has no value: it is written \"{name}\"")),
    }
}

/// The members of an object in the order of the fields, each in the names of Rust.
fn members(value: &Value, fields: &[(String, Type)], at: &str) -> Result<Vec<(String, Value)>, String> {
    let Value::Object(members) = value else {
        return Err(format!("`{at}` must be an object"));
    };
    let known = |name: &String| fields.iter().any(|(field, _)| plain(field) == plain(name));
    if let Some(unknown) = members.keys().find(|name| !known(name)) {
        let known: Vec<String> = fields.iter().map(|(name, _)| camel(name)).collect();
        return Err(format!("`{at}` has no `{unknown}`; there are {}", known.join(", ")));
    }
    let same = |name: &&String| members.keys().filter(|other| plain(other) == plain(name)).count() > 1;
    if let Some(twice) = members.keys().find(same) {
        return Err(format!("`{at}` has `{twice}` in two spellings: one of them is wanted"));
    }
    let field = |(name, ty): &(String, Type)| {
        let given = members.iter().find(|(member, _)| plain(member) == plain(name));
        let value = match given {
            Some((_, value)) => to_rust(value, ty, &format!("{at}.{}", camel(name)))?,
            None => nothing(ty),
        };
        Ok((name.clone(), value))
    };
    fields.iter().map(field).collect()
}

/// What stands for a value that was left out, in the names of Rust.
fn nothing(ty: &Type) -> Value {
    match ty {
        Type::Bool => Value::Bool(false),
        Type::String => Value::String(String::new()),
        Type::List(_) => Value::Array(Vec::new()),
        Type::Tuple(tuple) => tuple.types().map(|ty| nothing(&ty)).collect(),
        Type::Record(record) => {
            let fields = record.fields().map(|field| (snake(field.name), nothing(&field.ty)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Type::Variant(variant) => match variant.cases().next() {
            Some(case) => match case.ty {
                Some(ty) => json!({ upper(case.name): nothing(&ty) }),
                None => Value::String(upper(case.name)),
            },
            None => Value::Null,
        },
        Type::Option(_) => Value::Null,
        Type::Result(result) => json!({ "Ok": result.ok().map_or(Value::Null, |ty| nothing(&ty)) }),
        _ => json!(0),
    }
}

fn kind(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "true or false",
        Type::String => "a text",
        Type::List(_) | Type::Tuple(_) => "a list",
        Type::Record(_) | Type::Result(_) => "an object",
        Type::S32 | Type::S64 => "a whole number",
        Type::U8 => "a whole number of 0 to 255",
        Type::U16 => "a whole number of 0 to 65535",
        Type::U32 => "a whole number of 0 to 4294967295",
        _ => "a whole number of 0 or more",
    }
}

/// The largest number of a type.
fn most(ty: &Type) -> u64 {
    match ty {
        Type::U8 => u8::MAX.into(),
        Type::U16 => u16::MAX.into(),
        Type::U32 => u32::MAX.into(),
        _ => u64::MAX,
    }
}

/// Bytes as text where they are UTF-8, else as Base64.
fn bytes(items: &[Value]) -> Value {
    let octets: Vec<u8> = items.iter().filter_map(|item| u8::try_from(item.as_u64()?).ok()).collect();
    match String::from_utf8(octets) {
        Ok(text) => Value::String(text),
        Err(error) => json!({ "base64": BASE64.encode(error.as_bytes()) }),
    }
}

fn octets(value: &Value, at: &str) -> Result<Value, String> {
    let octets = match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Object(members) if members.len() == 1 => {
            members.get("base64").and_then(Value::as_str).and_then(|text| BASE64.decode(text).ok())
        }
        _ => None,
    };
    octets.map(Value::from).ok_or_else(|| format!("`{at}` must be a text, or {{\"base64\": ...}}"))
}

/// A name without its spelling: `retry-after-ms`, `retryAfterMs` and `retry_after_ms` are one.
fn plain(name: &str) -> String {
    name.chars().filter(|letter| !matches!(letter, '-' | '_')).map(|letter| letter.to_ascii_lowercase()).collect()
}

fn snake(name: &str) -> String {
    name.replace('-', "_")
}

fn upper(name: &str) -> String {
    name.split('-').map(capital).collect()
}

fn camel(name: &str) -> String {
    let (first, rest) = name.split_once('-').map_or((name, ""), |(first, rest)| (first, rest));
    format!("{first}{}", upper(rest))
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|letter| letter.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
