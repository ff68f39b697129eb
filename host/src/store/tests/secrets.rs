//! Tests of what is sealed: rows moved, credentials.

use rusqlite::Connection;

use super::*;
use crate::task::Auth;

fn secret_task(id: &str) -> Task {
    let auth = Auth { access_token: Some(format!("cAnArY {id}")), ..Auth::default() };
    let headers = vec![("Authorization".to_owned(), "cAnArY".to_owned()), ("Accept".to_owned(), "a".to_owned())];
    Task { auth: Some(auth), headers, url: format!("http://u:cAnArY@h/{id}?token=cAnArY"), ..task(id) }
}

fn change(home: &std::path::Path, sql: &str) {
    Connection::open(home.join("haul.db")).unwrap().execute_batch(sql).unwrap();
}

fn reopened(home: Home, sql: &str) -> Home {
    home.store.close();
    change(home.directory.path(), sql);
    open_in(home.directory)
}

#[test]
fn secrets_come_back_as_they_were_and_after_a_change() {
    let home = home();
    let key = home.add(secret_task("a"));
    let read = |home: &Home| Task::clone(&home.store.record_of(key).unwrap().unwrap().task);
    assert_eq!(read(&home).auth, secret_task("a").auth);
    assert_eq!((&read(&home).url, &read(&home).headers), (&secret_task("a").url, &secret_task("a").headers));
    let plain = Task { auth: None, headers: Vec::new(), ..task("a") };
    home.write(Change::Replace { key, task: Box::new(plain.clone()) });
    assert_eq!((read(&home).auth, read(&home).url), (None, plain.url));
    home.write(Change::Replace { key, task: Box::new(secret_task("a")) });
    let home = reopened(home, "");
    assert_eq!(read(&home).url, secret_task("a").url);
}

#[test]
fn secrets_moved_to_another_task_do_not_open() {
    let home = home();
    home.add(secret_task("a"));
    let key = home.add(secret_task("b"));
    let home = reopened(home, "UPDATE task SET sealed = (SELECT sealed FROM task WHERE task_id = 'a')");
    let answer = home.store.record_of(key);
    assert!(matches!(answer, Err(Error::Damaged(_))), "{answer:?}");
}

#[test]
fn a_refreshed_credential_is_found_by_what_it_is_and_by_nothing_else() {
    let home = home();
    let (asked, fresh) = (Auth::default(), secret_task("a").auth.unwrap());
    let name = home.store.credential_name(b"one");
    assert_eq!(home.store.credential(&name).unwrap(), None);
    home.store.keep_credential(&name, &asked, &fresh, 1).wait().unwrap();
    let home = reopened(home, "");
    assert_eq!(home.store.credential_name(b"one"), name);
    assert_eq!(home.store.credential(&name).unwrap(), Some((asked, fresh)));
    assert_eq!(home.store.credential(&home.store.credential_name(b"two")).unwrap(), None);
}

#[test]
fn what_components_have_changed_is_kept_sealed_until_it_is_replaced() {
    let home = home();
    let (key, other) = (home.add(task("a")), home.add(task("b")));
    let changes = crate::task::Changes {
        url: Some("http://h/?sig=cAnArY".into()),
        headers: vec![("x-key".into(), "cAnArY".into())],
        is_joined: true,
        by: "renews".into(),
        is_over: true,
    };
    assert_eq!(home.store.record_of(key).unwrap().unwrap().changes, None);

    home.write(Change::Changes { key, changes: Some(Box::new(changes.clone())) });

    let home = reopened(home, "");
    assert_eq!(home.store.record_of(key).unwrap().unwrap().changes, Some(changes));
    let database = std::fs::read(home.directory.path().join("haul.db")).unwrap();
    assert!(!database.windows(6).any(|bytes| bytes == b"cAnArY"));
    home.write(Change::Changes { key, changes: None });
    assert_eq!(home.store.record_of(key).unwrap().unwrap().changes, None);
    let home = reopened(home, &format!("UPDATE task SET changes = x'01' WHERE key = {other}"));
    assert!(matches!(home.store.record_of(other), Err(Error::Damaged(_))));
}
