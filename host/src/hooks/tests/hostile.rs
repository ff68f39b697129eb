//! The hostile set of reliability.md E.1: each attack is a component of tests/components, and ends at the limit that is meant
//! for it. That all of them together harm no other task is tested with the binary (tests/it/hostile.rs).

use super::components::built::component;
use super::*;

/// Wide enough that no other limit ends the call first.
fn wide() -> CallLimits {
    CallLimits { cpu_ms: 2_000, wall_ms: 60_000, wall_http_ms: 60_000, ..CallLimits::default() }
}

impl Home {
    fn attack(&self, name: &str, limits: CallLimits) -> Chain {
        let grants = Grants { limits, ..Grants::default() };
        let source = ComponentSource { name: name.into(), path: component(name), grants, ..ComponentSource::default() };
        self.chain(&[self.hooks.load(&source).unwrap()])
    }
}

async fn retried(chain: &Chain) -> String {
    let failure = chain.retry(&chain.prepare(&task()), &first_attempt(), &cut()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Callback);
    failure.description.split_once(": ").unwrap().1.to_owned()
}

#[tokio::test]
async fn recursion_ends_with_the_stack() {
    let home = Home::new();
    assert_eq!(retried(&home.attack("recurses", wide())).await, "it ran out of stack");
}

#[tokio::test]
async fn instructions_that_take_long_end_at_the_cpu_limit() {
    let home = Home::new();
    let limits = CallLimits { cpu_ms: 50, ..wide() };
    assert_eq!(retried(&home.attack("fills-memory", limits)).await, "it used up its 50 ms on the CPU (`limits.cpu`)");
}

#[tokio::test]
async fn asking_the_next_one_without_end_ends_at_a_limit_of_time() {
    let home = Home::new();
    let limits = CallLimits { cpu_ms: 50, wall_ms: 5_000, ..wide() };
    let told = retried(&home.attack("asks-again", limits)).await;
    assert!(
        told.starts_with("it used up its 50 ms on the CPU") || told.starts_with("it took longer than 5000 ms"),
        "{told}"
    );
}

#[tokio::test]
async fn handles_that_are_not_given_back_run_out() {
    let home = Home::new();
    let told = retried(&home.attack("leaks-handles", wide())).await;
    assert!(told.contains("more than 256 handles"), "{told}");
}

#[tokio::test]
async fn headers_that_are_piled_up_end_at_their_limit() {
    let home = Home::new();
    let told = retried(&home.attack("piles-headers", wide())).await;
    assert!(told.contains("trapped") || told.contains("size"), "{told}");
}

#[tokio::test]
async fn randomness_is_given_in_small_portions() {
    let home = Home::new();
    let told = retried(&home.attack("wants-random", wide())).await;
    assert!(told.contains("max") || told.contains("limit") || told.contains("bytes"), "{told}");
}

#[tokio::test]
async fn an_answer_costs_the_host_no_more_than_its_limit() {
    let home = Home::new();
    let chain = home.attack("answers-hugely", wide());
    let prepared = chain.prepare(&task());
    let named = chain.filename(&prepared, &Head::default().into(), &[]).await.unwrap_err();
    assert!(named.description.contains("more than 1 MiB"), "{}", named.description);
    let started = chain.on_task_start(&prepared).await.unwrap_err();
    assert!(started.description.contains("more than 1 MiB"), "200,000 times the same bytes: {}", started.description);
}

#[tokio::test]
async fn clocks_tell_milliseconds_and_nothing_finer() {
    let home = Home::new();
    let chain = home.attack("reads-clocks", wide());
    let fine = chain.retry(&chain.prepare(&task()), &first_attempt(), &cut()).await.unwrap();
    assert_eq!(fine, RetryVerdict::AfterMs(100), "none of them: that is the least wait");
}

#[test]
fn a_component_that_never_starts_is_refused() {
    let home = Home::new();
    let source = ComponentSource { name: "it".into(), path: component("starts-forever"), ..ComponentSource::default() };
    let told = home.hooks.load(&source).unwrap_err().to_string();
    // Which of the two comes first is a question of how busy the machine is.
    let limits = ["it used up its 2000 ms on the CPU to start", "it took longer than 10 s"];
    assert!(limits.iter().any(|limit| told == format!("component `it` cannot be started: {limit}")), "{told}");
}

#[tokio::test]
async fn a_component_built_for_the_released_contract_loads_and_runs() {
    let home = Home::new();
    let chain = home.attack("built-for-0-1-0", CallLimits::default());
    let prepared = chain.prepare(&task());
    let name = chain.filename(&prepared, &Head::default().into(), &[]).await.unwrap();
    assert_eq!(name, "old-file.txt");
    let changes = chain.on_task_start(&prepared).await.unwrap();
    assert_eq!(changes.headers, [("x-old".to_owned(), "t1".to_owned())]);
    assert_eq!(chain.before_task_start(&prepared).await.unwrap(), None);
}

#[tokio::test]
async fn what_calls_leave_in_memory_fails_none_of_them() {
    let home = Home::new();
    let chain = home.attack("leaks-memory", CallLimits { memory_bytes: 8 << 20, ..CallLimits::default() });
    let prepared = chain.prepare(&task());
    for _ in 0..40 {
        assert_eq!(chain.retry(&prepared, &first_attempt(), &cut()).await.unwrap(), RetryVerdict::GiveUp);
    }
}

#[tokio::test]
async fn handles_that_calls_leave_behind_fail_none_of_them() {
    let home = Home::new();
    let chain = home.attack("leaks-handles", CallLimits::default());
    let prepared = chain.prepare(&Task { meta_data: "7".into(), ..task() });
    for _ in 0..80 {
        assert_eq!(chain.retry(&prepared, &first_attempt(), &cut()).await.unwrap(), RetryVerdict::GiveUp);
    }
}
