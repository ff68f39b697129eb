//! Chains of components that decorate a decision: who is passed over, who is blamed, whose time it is.

use super::components::built::component;
use super::*;

/// A chain of `decorates-a`, `-b` and `-c` as `a`, `b` and `c`: with these fail modes, and this limit of the clock.
fn chain(home: &Home, modes: [FailMode; 3], wall_ms: [u64; 3]) -> Chain {
    let components = ["a", "b", "c"].into_iter().zip(modes).zip(wall_ms).map(|((name, fail_mode), wall_ms)| {
        let limits = CallLimits { wall_ms, cpu_ms: 2_000, ..CallLimits::default() };
        load(home, name, &format!("decorates-{name}"), Grants { fail_mode, limits, ..Grants::default() })
    });
    home.chain(&components.collect::<Vec<_>>())
}

fn load(home: &Home, name: &str, file: &str, grants: Grants) -> Arc<Component> {
    let source = ComponentSource { name: name.into(), path: component(file), grants, ..ComponentSource::default() };
    home.hooks.load(&source).unwrap()
}

/// What the file is called by a chain that is told this, or why there is no name.
async fn named(chain: &Chain, words: &str) -> Result<String, String> {
    let task = chain.prepare(&Task { meta_data: words.into(), ..task() });
    chain.filename(&task, &Head::default().into(), &[]).await.map_err(|failure| failure.description)
}

const LONG: [u64; 3] = [60_000; 3];

#[tokio::test]
async fn an_open_component_behind_a_decorator_is_passed_over_within_the_call() {
    use FailMode::{Closed, Open};
    let home = Home::new();
    for modes in [[Closed, Open, Closed], [Closed, Open, Open], [Open, Open, Open], [Open, Open, Closed]] {
        let chain = chain(&home, modes, LONG);
        assert_eq!(named(&chain, "b panic").await.unwrap(), "file.txtca", "{modes:?}");
        assert_eq!(named(&chain, "b panic-late").await.unwrap(), "file.txtca", "{modes:?}");
        let last = named(&chain, "c panic").await;
        match modes[2] {
            Open => assert_eq!(last.unwrap(), "file.txtba", "{modes:?}"),
            Closed => assert!(last.unwrap_err().starts_with("component `c` failed in `filename`"), "{modes:?}"),
        }
    }
}

#[tokio::test]
async fn an_open_component_behind_a_decorator_is_asked_once_and_harms_nobody_while_it_is_left_alone() {
    use FailMode::{Closed, Open};
    let home = Home::new();
    for (modes, wall_ms) in [([Open, Open, Open], 60_000), ([Closed, Closed, Open], 50_000)] {
        let chain = chain(&home, modes, [wall_ms; 3]); // not the same components again
        for _ in 0..7 {
            assert_eq!(named(&chain, "c panic").await.unwrap(), "file.txtba", "{modes:?}");
        }
    }
    let failures = home.log().iter().filter(|line| line.contains("failed in `filename`")).count();
    assert_eq!(failures, 2 * 5, "{:?}", home.log());
}

#[tokio::test]
async fn what_a_decorator_hands_on_is_laid_to_who_has_answered_so() {
    let home = Home::new();
    let chain = chain(&home, [FailMode::Closed, FailMode::Open, FailMode::Open], LONG);
    for _ in 0..5 {
        let told = named(&chain, "a hand-on\nb hand-on\nc escape").await.unwrap_err();
        let expected =
            "component `c` gave an unusable answer in `filename`: the name `../escaped` has a directory in it";
        assert_eq!(told, expected, "in either fail mode");
    }
    assert_eq!(named(&chain, "").await.unwrap(), "file.txtba", "it is c that is left alone");
}

#[tokio::test]
async fn a_reason_that_a_decorator_hands_on_names_who_gives_it() {
    let home = Home::new();
    let decorator = load(&home, "a", "decorates-a", Grants::default());
    let chain = home.chain(&[decorator, load(&home, "c", "steered", Grants::default())]);
    let task = chain.prepare(&Task { meta_data: "classify 200 failed".into(), ..task() });
    let head = Head { status: 200, ..Head::default() };

    let verdict = chain.classify(&task, &Asked::default(), &head.into()).await.unwrap();

    let Classified::Failed(failure) = verdict else { panic!("{verdict:?}") };
    assert_eq!(failure.description, "component `c` in `classify`: rejected answer");
}

#[tokio::test]
async fn the_clock_of_a_decorator_stands_while_the_next_one_works() {
    let home = Home::new();
    let closed = [FailMode::Closed; 3];
    let chain = chain(&home, closed, [1_500, 1_500, 60_000]);
    assert_eq!(named(&chain, "b take-a-second\nc take-a-second").await.unwrap(), "file.txtcba");
}

#[tokio::test]
async fn who_asks_the_next_one_for_ever_ends_where_the_limits_of_all_of_them_end() {
    let home = Home::new();
    let chain = chain(&home, [FailMode::Closed; 3], [1_000, 2_000, 500]);
    let told = named(&chain, "a ask-for-ever\nb take-a-second").await.unwrap_err();
    assert_eq!(
        told,
        "component `a` failed in `filename`: it took longer than 3500 ms with what it asked of the next ones, which is all that \
         it and they may take (`limits.wall`)"
    );
}

#[tokio::test]
async fn what_is_asked_for_a_look_does_not_count_as_failures() {
    let home = Home::new();
    let a = load(&home, "a", "decorates-a", Grants::default());
    let looks = home.chain(&[Arc::clone(&a)]).for_a_look();
    for _ in 0..6 {
        let told = named(&looks, "a panic").await.unwrap_err();
        assert!(!told.contains("too often"), "{told}");
    }
    assert!(a.left_alone().is_empty());
    assert!(!home.log().iter().any(|line| line.contains("failed in")), "{:?}", home.log());

    let works = home.chain(&[Arc::clone(&a)]);
    for _ in 0..4 {
        named(&works, "a panic").await.unwrap_err();
    }
    assert_eq!(named(&looks, "").await.unwrap(), "file.txta");
    named(&works, "a panic").await.unwrap_err();
    assert_eq!(a.left_alone().len(), 1, "a look that goes well makes nothing good either");
}
