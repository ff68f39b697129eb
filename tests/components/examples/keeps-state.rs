//! Keeps state by wasi:keyvalue: counts its tasks, and keeps `metaData`; tells in headers what became of it. Carries a
//! request for what it needs. Panics without state where `metaData` is `panic`, and without a setting where it is `setting`.

wit_bindgen::generate!({
    inline: "
        package test:keeps;
        package wasi:keyvalue@0.2.0-draft2 {
            interface store {
                variant error { no-such-store, access-denied, other(string) }
                record key-response { keys: list<string>, cursor: option<string> }
                open: func(identifier: string) -> result<bucket, error>;
                resource bucket {
                    get: func(key: string) -> result<option<list<u8>>, error>;
                    set: func(key: string, value: list<u8>) -> result<_, error>;
                    delete: func(key: string) -> result<_, error>;
                    exists: func(key: string) -> result<bool, error>;
                    list-keys: func(cursor: option<string>) -> result<key-response, error>;
                }
            }
            interface atomics {
                use store.{bucket, error};
                increment: func(bucket: borrow<bucket>, key: string, delta: s64) -> result<s64, error>;
            }
            interface batch {
                use store.{bucket, error};
                get-many: func(bucket: borrow<bucket>, keys: list<string>)
                    -> result<list<option<tuple<string, list<u8>>>>, error>;
                set-many: func(bucket: borrow<bucket>, key-values: list<tuple<string, list<u8>>>) -> result<_, error>;
                delete-many: func(bucket: borrow<bucket>, keys: list<string>) -> result<_, error>;
            }
        }
        package wasi:config@0.2.0-draft {
            interface store {
                variant error { upstream(string), io(string) }
                get: func(key: string) -> result<option<string>, error>;
            }
        }
        world w {
            import wasi:config/store@0.2.0-draft;
            import wasi:keyvalue/store@0.2.0-draft2;
            import wasi:keyvalue/atomics@0.2.0-draft2;
            import wasi:keyvalue/batch@0.2.0-draft2;
            export haul:transfer/on-task-start@0.1.0;
        }
    ",
    path: "../../wit",
    generate_all,
});

use exports::haul::transfer::on_task_start::{Changes, Guest};
use haul::transfer::types::Task;
use wasi::keyvalue::store::{Error, open};
use wasi::keyvalue::{atomics, batch};

/// What it asks for, in the section where haul looks for it.
#[used]
#[unsafe(link_section = "haul:grants")]
static ASKS: [u8; 100] = *b"\
reason = \"Counts tasks.\"\n\
allow-hosts = [\"auth.example.org\"]\n\
credentials = [\"corp\"]\n\
keyvalue = \"64K\"\n\
";

struct Component;

impl Guest for Component {
    fn handle(task: Task) -> Option<Changes> {
        if task.meta_data == "setting" {
            wasi::config::store::get("client-id").unwrap().unwrap();
        }
        let told = match keep(&task) {
            Err(Error::AccessDenied) if task.meta_data == "panic" => panic!("on purpose"),
            Ok(told) => told,
            Err(Error::AccessDenied) => "denied".into(),
            Err(Error::NoSuchStore) => "no such store".into(),
            Err(Error::Other(why)) => why,
        };
        Some(Changes { url: None, headers: vec![("x-state".into(), told)], remove_headers: vec![] })
    }
}

fn keep(task: &Task) -> Result<String, Error> {
    let bucket = open("tasks")?;
    let count = atomics::increment(&bucket, "count", 1)?;
    let before = bucket.get("last")?.map_or("none".into(), |last| String::from_utf8_lossy(&last).into_owned());
    let value = if task.meta_data == "huge" { "a".repeat(70_000) } else { task.meta_data.clone() };
    bucket.set("last", value.as_bytes())?;
    batch::set_many(&bucket, &[("a".into(), b"1".to_vec()), ("b".into(), b"2".to_vec())])?;
    batch::delete_many(&bucket, &["a".into()])?;
    let many = batch::get_many(&bucket, &["a".into(), "b".into()])?.into_iter().flatten().count();
    let exists = bucket.exists("a")? || !bucket.exists("b")?;
    bucket.delete("b")?;
    let keys = bucket.list_keys(None)?.keys.join(",");
    Ok(format!("{count} {before} {keys} {many} {exists}"))
}

export!(Component);
