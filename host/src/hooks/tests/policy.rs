//! The embedded default policy: what it may import, and that it answers through the component boundary as the guest's own
//! tables say (guest/src/*/tests.rs hold the cases; these are samples).

use std::sync::atomic::{AtomicBool, Ordering};

use super::components::built::component;
use super::*;

#[tokio::test]
async fn the_policy_imports_nothing_but_types() {
    let engine = runtime::engine(runtime::Space::Wide).unwrap();
    let component = wasmtime::component::Component::from_binary(&engine, super::super::policy::WASM).unwrap();
    let found = interfaces::Interfaces::of(&engine, &component);
    let imports: Vec<_> = found.imports.iter().filter(|name| !name.starts_with("haul:transfer/types@")).collect();
    assert!(imports.is_empty(), "{imports:?}");
    let mut decisions = found.hooks;
    decisions.retain(|hook| hook.is_decision());
    assert_eq!(decisions.len(), 7);
}

#[tokio::test]
async fn a_task_is_admitted_in_its_normal_form_or_refused_with_all_its_problems() {
    let chain = Home::new().chain(&[]);
    let broken = Task { retries: 11, priority: 12, ..task() };
    let answers = chain.admit(&[task(), broken], 1_700_000_000_000).await.unwrap();
    let admitted = answers[0].as_ref().unwrap();
    assert_eq!((admitted.task_id.as_str(), admitted.url.as_str()), ("t1", "http://127.0.0.1/dir/file.txt"));
    let problems = answers[1].as_ref().unwrap_err();
    let mut fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["priority", "retries"]);
}

#[tokio::test]
async fn waits_double_from_two_seconds_and_retry_after_wins() {
    let chain = Home::new().chain(&[]);
    let prepared = chain.prepare(&task());
    for (number, wait) in [(1, 2_000), (2, 4_000), (3, 8_000)] {
        let attempt = Attempt { number, ..first_attempt() };
        let verdict = chain.retry(&prepared, &attempt, &cut()).await.unwrap();
        assert_eq!(verdict, RetryVerdict::AfterMs(wait), "attempt {number}");
    }
    let busy = Failure {
        http_status: Some(503),
        retry_after_ms: Some(30_000),
        ..Failure::new(FailureKind::HttpResponse, "503")
    };
    let verdict = chain.retry(&prepared, &first_attempt(), &busy).await.unwrap();
    assert_eq!(verdict, RetryVerdict::AfterMs(30_000));
    let none_left = Attempt { retries_remaining: 0, ..first_attempt() };
    let verdict = chain.retry(&prepared, &none_left, &cut()).await.unwrap();
    assert_eq!(verdict, RetryVerdict::GiveUp);
}

/// All methods that are registered, and one that is not.
const METHODS: &str = "ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT CONNECT COPY DELETE GET HEAD LABEL LINK LOCK MERGE MKACTIVITY \
    MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE OPTIONS ORDERPATCH PATCH POST PRI PROPFIND PROPPATCH PUT QUERY REBIND \
    REPORT SEARCH TRACE UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL FROB";

#[tokio::test]
async fn the_policy_and_the_transport_agree_which_methods_may_be_repeated() {
    let chain = Home::new().chain(&[]);
    let broken = Failure { http_status: Some(502), ..Failure::new(FailureKind::HttpResponse, "502") };
    let mut repeated = 0;
    for method in METHODS.split_whitespace() {
        let prepared = chain.prepare(&Task { http_request_method: method.into(), ..task() });
        let verdict = chain.retry(&prepared, &first_attempt(), &broken).await.unwrap();
        let is_idempotent = crate::transport::is_idempotent(method);
        assert_eq!(verdict != RetryVerdict::GiveUp, is_idempotent, "{method}");
        repeated += u32::from(is_idempotent);
    }
    assert!(repeated > 0);
}

#[tokio::test]
async fn names_come_from_the_headers_then_the_url_and_are_unique() {
    let chain = Home::new().chain(&[]);
    let prepared = chain.prepare(&task());
    let named = HookHead::from(Head {
        status: 200,
        headers: vec![("content-disposition".into(), "attachment; filename=\"a b.txt\"".into())],
        ..Head::default()
    });
    let plain = HookHead::from(Head { status: 200, ..Head::default() });
    assert_eq!(chain.filename(&prepared, &named, &[]).await.unwrap(), "a b.txt");
    assert_eq!(chain.filename(&prepared, &plain, &[]).await.unwrap(), "file.txt");
    let taken = ["file.txt".to_owned()];
    assert_eq!(chain.filename(&prepared, &plain, &taken).await.unwrap(), "file (1).txt");
}

#[tokio::test]
async fn responses_are_judged_by_status_and_range() {
    let chain = Home::new().chain(&[]);
    let prepared = chain.prepare(&task());
    let head = |status: u16| HookHead::from(Head { status, url: task().url, ..Head::default() });
    let asked = Asked::default();
    assert_eq!(chain.classify(&prepared, &asked, &head(200)).await.unwrap(), Classified::Success);
    assert_eq!(chain.classify(&prepared, &asked, &head(404)).await.unwrap(), Classified::NotFound(None));
    let Classified::Failed(failure) = chain.classify(&prepared, &asked, &head(500)).await.unwrap() else {
        panic!("a 500 is not a failure");
    };
    assert_eq!((failure.kind, failure.http_status), (FailureKind::HttpResponse, Some(500)));
}

#[tokio::test]
async fn ticks_of_the_clock_are_no_time_on_the_cpu() {
    let home = Home::new();
    let chain = home.chain(&[]);
    let tasks: Vec<_> = (0..1_000).map(|number| Task { task_id: format!("t{number}"), ..task() }).collect();
    let is_over = Arc::new(AtomicBool::new(false));
    let (engine, until) = (home.hooks.shared.engine.clone(), Arc::clone(&is_over));
    let busy = std::thread::spawn(move || {
        while !until.load(Ordering::Relaxed) {
            engine.increment_epoch(); // as where so many ticks pass until a call has had its 20 ms
        }
    });
    let admitted = chain.admit(&tasks, 1_700_000_000_000).await;
    is_over.store(true, Ordering::Relaxed);
    busy.join().unwrap();
    assert_eq!(admitted.unwrap().len(), tasks.len());
}

#[tokio::test]
async fn a_decision_that_computes_without_end_is_ended() {
    let home = Home::new();
    let shared = &home.hooks.shared;
    let path = component("loops-forever");
    let file = ComponentFile::open(&path, &shared.cache).unwrap();
    let endless = super::super::component::compile(shared, &file, "it").unwrap();
    let policy = super::super::policy::Policy::new(&shared.engine, &endless).unwrap();
    let asked =
        (home.chain(&[]).prepare(&task()).wit.clone(), convert::attempt(&first_attempt()), convert::failure(&cut()));
    let told = policy.ask::<functions::Retry>(&shared.ticker, asked).unwrap_err().description;
    assert_eq!(told, "the default policy failed in `retry`: it used up its 2 s on the CPU");
}
