//! Users' components: chains, and every way of misbehaving that tests/components has an example of.

use std::task::Poll;

use super::*;

#[path = "../../../../tests/it/support/components.rs"]
pub(super) mod built;

use built::component;

fn source(name: &str, grants: Grants) -> ComponentSource {
    ComponentSource { name: name.into(), path: component(name), grants, ..ComponentSource::default() }
}

impl Home {
    fn load(&self, name: &str) -> Arc<Component> {
        self.load_with(name, CallLimits::default())
    }

    fn load_with(&self, name: &str, limits: CallLimits) -> Arc<Component> {
        let grants = Grants { limits, ..Grants::default() };
        self.hooks.load(&source(name, grants)).unwrap()
    }

    fn refusal(&self, path: &Path) -> String {
        let source = ComponentSource { name: "it".into(), path: path.into(), ..ComponentSource::default() };
        self.hooks.load(&source).unwrap_err().to_string()
    }
}

async fn retry(chain: &Chain) -> Result<RetryVerdict, Failure> {
    chain.retry(&chain.prepare(&task()), &first_attempt(), &cut()).await
}

fn ended() -> StatusUpdate {
    let (task_id, group, status) = ("t1".into(), "default".into(), crate::task::Status::Complete);
    StatusUpdate { seq: 1, task_id, group, status, at: 0, details: None }
}

fn sentence<T: std::fmt::Debug>(answer: Result<T, Failure>) -> String {
    let failure = answer.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Callback);
    failure.description
}

#[tokio::test]
async fn a_component_answers_its_hook_and_the_policy_the_others() {
    let home = Home::new();
    let chain = home.chain(&[home.load("one-hook-only")]);
    assert!(chain.has(Hook::Retry) && !chain.has(Hook::Filename));
    assert_eq!(retry(&chain).await.unwrap(), RetryVerdict::AfterMs(1234));
    let name = chain.filename(&chain.prepare(&task()), &Head::default().into(), &[]).await;
    assert_eq!(name.unwrap(), "file.txt");
}

/// A component whose start never ends, which exports `retry` with nothing in it.
fn never_started() -> Vec<u8> {
    use wasm_encoder as wasm;
    let (mut types, mut functions, mut code) =
        (wasm::TypeSection::new(), wasm::FunctionSection::new(), wasm::CodeSection::new());
    types.ty().function([], []);
    functions.function(0);
    let mut function = wasm::Function::new([]);
    function.instructions().loop_(wasm::BlockType::Empty).br(0).end().end();
    code.function(&function);
    let mut module = wasm::Module::new();
    module.section(&types).section(&functions).section(&wasm::StartSection { function_index: 0 }).section(&code);
    let (mut started, mut instances, mut exports) =
        (wasm::InstanceSection::new(), wasm::ComponentInstanceSection::new(), wasm::ComponentExportSection::new());
    started.instantiate(0, Vec::<(&str, wasm::ModuleArg)>::new());
    instances.export_items(Vec::<(&str, wasm::ComponentExportKind, u32)>::new());
    exports.export("haul:transfer/retry@0.1.0", wasm::ComponentExportKind::Instance, 0, None);
    let mut component = wasm::Component::new();
    component.section(&wasm::ModuleSection(&module)).section(&started).section(&instances).section(&exports);
    component.finish()
}

#[test]
fn a_component_that_does_not_start_delays_nobody_whose_component_is_loaded() {
    let home = Home::new();
    let loaded = home.load("one-hook-only");
    let path = home.directory.path().join("never.wasm");
    std::fs::write(&path, never_started()).unwrap();
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| home.refusal(&path));
        while !home.hooks.loaded().is_loading("it") {
            std::thread::yield_now();
        }
        assert!(Arc::ptr_eq(&home.load("one-hook-only"), &loaded));
        assert!(!starting.is_finished(), "it waited for the other one");
        let told = starting.join().unwrap();
        // Which of the two comes first is a question of how busy the machine is.
        let limits = ["2000 ms on the CPU to start", "it took longer than 10 s"];
        assert!(limits.iter().any(|limit| told.contains(limit)), "{told}");
    });
    assert!(!home.hooks.loaded().is_loading("it"));
}

#[tokio::test]
async fn decorators_are_asked_in_order_and_ask_the_next_one() {
    let home = Home::new();
    let (a, b) = (home.load("appends-a"), home.load("appends-b"));
    for (components, name) in [([a.clone(), b.clone()], "file.txtba"), ([b, a], "file.txtab")] {
        let chain = home.chain(&components);
        let answer = chain.filename(&chain.prepare(&task()), &Head::default().into(), &[]).await;
        assert_eq!(answer.unwrap(), name);
    }
}

#[tokio::test]
async fn the_same_file_with_the_same_grants_is_loaded_once() {
    let home = Home::new();
    let (first, again) = (home.load("traps"), home.load("traps"));
    let other = home.load_with("traps", CallLimits { cpu_ms: 1, ..CallLimits::default() });
    assert!(Arc::ptr_eq(&first, &again) && !Arc::ptr_eq(&first, &other));
}

#[tokio::test]
async fn a_trap_is_a_failure_that_names_component_and_hook() {
    let home = Home::new();
    let chain = home.chain(&[home.load("traps")]);
    let expected = "component `traps` failed in `retry`: it trapped (a panic, or an abort)";
    assert_eq!(sentence(retry(&chain).await), expected);
    // The panic's message is in the log, and the next call runs on a new instance.
    assert!(home.log().iter().any(|line| line.contains("on purpose")), "{:?}", home.log());
    assert_eq!(sentence(retry(&chain).await), expected);
}

#[tokio::test]
async fn an_endless_loop_ends_at_the_cpu_limit() {
    let home = Home::new();
    let limits = CallLimits { cpu_ms: 50, wall_ms: 60_000, ..CallLimits::default() };
    let chain = home.chain(&[home.load_with("loops-forever", limits)]);
    let told = sentence(retry(&chain).await);
    assert_eq!(told, "component `loops-forever` failed in `retry`: it used up its 50 ms on the CPU (`limits.cpu`)");
}

#[tokio::test]
async fn a_call_that_never_returns_ends_at_the_wall_clock_limit() {
    let home = Home::new();
    let limits = CallLimits { wall_ms: 100, ..CallLimits::default() };
    let chain = home.chain(&[home.load_with("never-returns", limits)]);
    let told = sentence(retry(&chain).await);
    assert_eq!(told, "component `never-returns` failed in `retry`: it took longer than 100 ms (`limits.wall`)");
}

#[tokio::test]
async fn a_component_that_hangs_delays_nobody_else() {
    let home = Home::new();
    let limits = CallLimits { wall_ms: 60_000, ..CallLimits::default() };
    let stuck = home.chain(&[home.load_with("never-returns", limits)]);
    let other = home.chain(&[home.load("one-hook-only")]);
    tokio::select! {
        biased;
        told = retry(&stuck) => panic!("it returned: {told:?}"),
        told = retry(&other) => assert_eq!(told.unwrap(), RetryVerdict::AfterMs(1234)),
    }
}

#[tokio::test]
async fn components_that_hang_delay_nobody_else_however_many_they_are() {
    let home = Home::new();
    let limits = CallLimits { wall_ms: 60_000, ..CallLimits::default() };
    let hanging = |number: usize| {
        let config = vec![("number".into(), number.to_string())];
        let grants = Grants { limits: limits.clone(), config, ..Grants::default() };
        home.chain(&[home.hooks.load(&source("never-returns", grants)).unwrap()])
    };
    let chains: Vec<_> = (0..8).map(hanging).collect();
    let mut calls: Vec<_> = chains.iter().chain(&chains).map(|chain| Box::pin(retry(chain))).collect();
    let first = std::future::poll_fn(|context| {
        let ended = calls.iter_mut().map(|call| call.as_mut().poll(context)).find(Poll::is_ready);
        ended.unwrap_or(Poll::Pending)
    });
    let other = home.chain(&[home.load("one-hook-only")]);
    tokio::select! {
        biased;
        told = first => panic!("it returned: {told:?}"),
        told = retry(&other) => assert_eq!(told.unwrap(), RetryVerdict::AfterMs(1234)),
    }
}

#[tokio::test]
async fn memory_is_limited() {
    let home = Home::new();
    let limits = CallLimits { cpu_ms: 2_000, wall_ms: 60_000, ..CallLimits::default() };
    let chain = home.chain(&[home.load_with("eats-memory", limits)]);
    let told = sentence(retry(&chain).await);
    assert_eq!(
        told,
        "component `eats-memory` failed in `retry`: it wanted more memory than its 32 MiB (`limits.memory`)"
    );
}

#[tokio::test]
async fn logs_are_limited_and_cannot_steer_a_terminal() {
    let home = Home::new();
    let limits = CallLimits { cpu_ms: 2_000, wall_ms: 60_000, ..CallLimits::default() };
    let chain = home.chain(&[home.load_with("floods-log", limits)]);
    chain.on_task_finished(&chain.prepare(&task()), &ended()).await;
    let lines = home.log();
    assert_eq!(lines[0], "floods-log: \\u{1b}[2Jcleared");
    assert!(lines.iter().map(String::len).sum::<usize>() < 32 << 10);
    assert!(lines.last().unwrap().ends_with("bytes of log dropped)"), "{:?}", lines.last());
}

#[tokio::test]
async fn nonsense_is_never_handed_on() {
    let home = Home::new();
    let chain = home.chain(&[home.load("answers-nonsense")]);
    let prepared = chain.prepare(&task());
    for name in ["", "..", "../x", "a/b", "a\u{7}b", ".x.part"] {
        let asks_for = chain.prepare(&Task { meta_data: name.into(), ..task() });
        let told = sentence(chain.filename(&asks_for, &Head::default().into(), &[]).await);
        assert!(told.starts_with("component `answers-nonsense` "), "{told}");
    }
    // Five failures in a row are too many, but of that hook alone.
    let told = sentence(chain.classify(&prepared, &Asked::default(), &Head::default().into()).await);
    assert!(told.contains("in `classify`: ") && told.contains("999"), "{told}");
    let told = sentence(chain.resume(&prepared, 10, &crate::task::ResumeRecord::default()).await);
    assert!(told.contains("in `resume`: `go-on`"), "{told}");
    let auth = Auth::default();
    let told = sentence(chain.authorize(&prepared, &auth, Situation::AsItIs, 0).await);
    assert!(told.contains("`x-a` has control characters"), "{told}");
    let told = sentence(chain.before_task_start(&prepared).await);
    assert!(told.contains("a task cannot end as `running`"), "{told}");
}

#[tokio::test]
async fn some_answers_are_cut_to_what_is_allowed() {
    let home = Home::new();
    let chain = home.chain(&[home.load("answers-nonsense")]);
    let day = 24 * 60 * 60 * 1000;
    assert_eq!(retry(&chain).await.unwrap(), RetryVerdict::AfterMs(day));
    // Priority 99 is not valid, whoever lets it through, and is not the owner's mistake.
    let told = sentence(chain.admit(&[task()], 0).await);
    assert!(told.contains("answer in `admit`: a task that nobody may add: `priority` must be 0 to 10"), "{told}");
    let told = sentence(chain.on_task_start(&chain.prepare(&task())).await);
    assert!(told.ends_with("header `Content-Length`, which the host alone writes: leave it out"), "{told}");
}

#[tokio::test]
async fn a_component_that_fails_too_often_is_left_alone() {
    let home = Home::new();
    let chain = home.chain(&[home.load("traps")]);
    for _ in 0..5 {
        assert!(sentence(retry(&chain).await).contains("it trapped"));
    }
    let told = sentence(retry(&chain).await);
    assert!(told.contains("it failed there too often and is not asked for another"), "{told}");
}

#[tokio::test]
async fn a_hook_that_fails_too_often_takes_no_other_with_it() {
    let home = Home::new();
    let chain = home.chain(&[home.load("steered")]);
    let lines = ["on-progress panic", "on-error panic", "on-task-finished panic"].join("\n");
    let prepared = chain.prepare(&Task { meta_data: lines, ..task() });
    let sample = ProgressSample { bytes_done: 1, total_bytes: None, bytes_per_second: 1 };
    for _ in 0..6 {
        chain.on_progress(&prepared, sample).await;
        chain.on_error(&prepared, &cut(), 1, None).await;
        chain.on_task_finished(&prepared, &ended()).await;
    }

    for hook in ["on-progress", "on-error", "on-task-finished"] {
        let asked = home.log().iter().filter(|line| line.starts_with(&format!("steered: asked {hook}"))).count();
        assert_eq!(asked, 5, "{hook} is left alone");
    }
    assert!(chain.before_task_start(&prepared).await.unwrap().is_none());
    assert_ne!(chain.retry(&prepared, &first_attempt(), &cut()).await.unwrap(), RetryVerdict::GiveUp);
}

#[tokio::test]
async fn secrets_of_the_task_are_masked_in_what_a_component_writes() {
    let home = Home::new();
    let chain = home.chain(&[home.load("steered")]);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let auth = Auth { access_token: Some("cAnArY-token".into()), ..Auth::default() };
    let told = Task {
        url: "http://user:cAnArY-login@127.0.0.1/f?token=cAnArY-query&page=two".into(),
        headers: vec![pair("Authorization", "Bearer cAnArY-header"), pair("Accept", "text/html")],
        auth: Some(auth.clone()),
        meta_data: "on-task-start tell\non-auth tell".into(),
        ..task()
    };

    chain.on_task_start(&chain.prepare(&told)).await.unwrap();
    let fresh = Auth { access_token: Some("cAnArY-fresh".into()), ..auth };
    let again = Task { auth: Some(fresh.clone()), ..told };
    chain.on_auth(&chain.prepare(&again), &fresh, AuthReason::Expiring).await.unwrap();

    let log = home.log().join("\n");
    assert!(log.contains("text/html") && log.contains("page=two") && log.contains("***"), "{log}");
    assert!(!log.contains("cAnArY"), "{log}");
}

#[tokio::test]
async fn a_component_renews_a_credential_where_its_owner_says_or_where_it_may_send() {
    let home = Home::new();
    let auth = Auth {
        access_token: Some("old".into()),
        refresh_token: Some("once".into()),
        refresh_url: Some("https://auth.example/token".into()),
        ..Auth::default()
    };
    let grants = Grants { allow_hosts: vec!["granted.example".into()], ..Grants::default() };
    let granted = home.hooks.load(&source("steered", grants)).unwrap();
    for (component, url, why) in [
        (home.load("steered"), "https://auth.example/other", None),
        (home.load("steered"), "http://auth.example/token", Some("a request to auth.example:80, which is neither")),
        (home.load("steered"), "https://granted.example/token", Some("--allow-host granted.example:443")),
        (granted, "https://granted.example/token", None),
    ] {
        let chain = home.chain(&[component]);
        let task = chain.prepare(&Task { meta_data: format!("authorize send {url}"), ..task() });
        let wanted = Situation::RefreshWanted(AuthReason::Expiring);
        let answer = chain.authorize(&task, &auth, wanted, 0).await;
        match why {
            Some(why) => assert!(sentence(answer).contains(why), "{url}"),
            None => {
                assert!(matches!(answer, Ok(AuthorizeVerdict::Send { .. })), "{url}");
                let is_own = url.starts_with("https://auth.example");
                assert_eq!(chain.renews_at(url, &auth) == Guard::Any, is_own, "{url}: at private addresses");
            }
        }
    }
}

#[tokio::test]
async fn a_component_renews_tokens_and_not_the_way_in_which_they_are_renewed() {
    let home = Home::new();
    let chain = home.chain(&[home.load("steered")]);
    let refresh_url = Some("https://auth.example/token".to_owned());
    let auth = Auth { access_token: Some("old".into()), refresh_url, ..Auth::default() };
    let renewed = async |words: &str| {
        let task = chain.prepare(&Task { meta_data: words.into(), ..task() });
        chain.on_auth(&task, &auth, AuthReason::Expiring).await
    };

    let fresh = renewed("on-auth token new").await.unwrap();

    assert!(matches!(fresh, Some(OnAuthVerdict::Refreshed(fresh)) if fresh.access_token.as_deref() == Some("new")));
    let moved = sentence(renewed("on-auth renew-at https://evil.example/token").await);
    assert!(moved.contains("another `refreshUrl`"), "{moved}");
    let sent = sentence(renewed("on-auth send-along").await);
    assert!(sent.contains("the refresh token in access headers"), "{sent}");
}

#[tokio::test]
async fn a_component_hides_no_file_and_names_no_device_that_its_task_did_not() {
    let home = Home::new();
    let chain = home.chain(&[home.load("steered")]);
    let named = async |name: &str, given: Option<&str>| {
        let task = Task { meta_data: format!("filename call-it {name}"), filename: given.map(Into::into), ..task() };
        chain.filename(&chain.prepare(&task), &Head::default().into(), &[]).await
    };
    let refused = [
        (".bashrc", "hide"),
        ("CON", "device"),
        ("lpt9.txt", "device"),
        ("conin$", "device"),
        ("a\u{202e}gpj.exe", "read"),
        ("\u{3000}", "read"),
    ];
    for (name, why) in refused {
        assert!(sentence(named(name, Some("plain")).await).contains(why), "{name}");
        assert_eq!(named(name, Some(name)).await.unwrap(), name, "the task's own");
    }
    for fine in ["CONTENT.txt", "COM10", "aux2", "a.CON"] {
        assert_eq!(named(fine, None).await.unwrap(), fine);
    }
}

#[test]
fn a_path_in_a_rule_means_the_file_that_lies_there_however_it_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    std::fs::write(file("x.wasm"), "").unwrap();
    std::fs::write(file("y.wasm"), "").unwrap();
    std::os::unix::fs::symlink(file("x.wasm"), file("link.wasm")).unwrap();
    let around = file("../").join(directory.path().file_name().unwrap()).join("x.wasm");
    let granted = |rule_path: &Path, path: &Path| {
        let grants = Grants { allow_hosts: vec!["a.example".into()], ..Grants::default() };
        let rules = [GrantRule { to: Grantee::Path(rule_path.to_owned()), grants }];
        !Grants::default().with_rules(&rules, "x", path, String::new).allow_hosts.is_empty()
    };
    for same in [&file("x.wasm"), &file("link.wasm"), &around] {
        assert!(granted(same, &file("x.wasm")) && granted(&file("x.wasm"), same), "{}", same.display());
    }
    assert!(!granted(&file("link.wasm"), &file("y.wasm")));
    assert!(!granted(&file("gone"), &file("lost")));
}

#[test]
fn what_has_no_hook_is_not_compiled() {
    let home = Home::new();
    let program = Compiler::Child { program: "/no/compiler".into(), arguments: Vec::new() };
    let hooks = Hooks::new(HooksSettings {
        cache_dir: home.directory.path().join("cache"),
        key_dir: home.directory.path().join("home"),
        log: LogSink(Arc::new(|_, _| {})),
        rules: Vec::new(),
        compiler: program,
        record: None,
    })
    .unwrap();
    let told = |name: &str| hooks.load(&source(name, Grants::default())).unwrap_err().to_string();
    assert!(told("exports-nothing").contains("exports no hook"));
    assert!(told("wrong-version").contains("was built for"));
    assert!(told("traps").contains("cannot be compiled"));
}

#[test]
fn being_left_alone_ends_and_old_or_mended_failures_do_not_count() {
    use std::time::Duration;
    let mut health = super::super::health::Health::default();
    let start = tokio::time::Instant::now();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    for second in [0, 20, 40, 59] {
        assert!(!health.failed(at(second)));
    }
    assert!(!health.failed(at(60))); // a minute after the first: counted anew
    health.well();
    for second in [61, 62, 63, 64] {
        assert!(!health.failed(at(second)));
    }
    assert!(health.failed(at(65)));
    assert!(health.left_alone(at(65 + 299)).is_some());
    assert!(health.left_alone(at(65 + 300)).is_none());
}

#[tokio::test]
async fn http_reaches_granted_hosts_only_and_as_often_as_granted() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap().to_string();
    let served = tokio::spawn(serve(server));
    let home = Home::new();
    let outcomes = async |allow_hosts: &[&str]| {
        let allow_hosts = allow_hosts.iter().map(|host| (*host).to_owned()).collect();
        let grants = Grants { allow_hosts, ..Grants::default() };
        let component = home.hooks.load(&source("calls-forbidden-host", grants)).unwrap();
        let chain = home.chain(&[component]);
        let task = Task { url: format!("http://{address}/"), ..task() };
        let changes = chain.on_task_start(&chain.prepare(&task)).await.unwrap();
        changes.headers.into_iter().map(|(_, outcome)| outcome).collect::<Vec<_>>()
    };
    for elsewhere in [vec![], vec!["127.0.0.1"], vec!["127.0.0.1:1"], vec!["localhost"]] {
        assert_eq!(outcomes(&elsewhere).await, ["policy"; 5], "{elsewhere:?}");
    }
    let refusals = home.log();
    let told = format!(
        "calls-forbidden-host: {address} is not granted (grant it with --allow-host {address}, or allow-hosts = [\"{address}\"] in [[callbacks]] or [[grants]])"
    );
    assert_eq!(refusals, vec![told; 4], "once per loaded component");
    assert!(!served.is_finished());
    assert_eq!(outcomes(&[&address]).await, ["204", "204", "204", "204", "policy"]);
    let with_scheme = format!("http://{address}");
    assert_eq!(outcomes(&[&with_scheme]).await[0], "204");
    served.abort();
}

#[tokio::test]
async fn a_call_that_fails_after_its_http_was_refused_says_so() {
    let home = Home::new();
    let chain = home.chain(&[home.load("calls-forbidden-host")]);
    let task = Task { url: "http://auth.example/".into(), meta_data: "panic".into(), ..task() };

    let told = sentence(chain.on_task_start(&chain.prepare(&task)).await);

    let refused = "auth.example:80 is not granted (grant it with --allow-host auth.example:80, or allow-hosts = \
                   [\"auth.example:80\"] in [[callbacks]] or [[grants]])";
    let why = format!("it trapped (a panic, or an abort); it was refused HTTP: {refused}");
    assert_eq!(told, format!("component `calls-forbidden-host` failed in `on-task-start`: {why}"));
}

#[tokio::test]
async fn a_call_that_fails_without_its_state_or_a_setting_says_so() {
    let home = Home::new();
    let chain = home.chain(&[home.load("keeps-state")]);
    for (meta_data, why) in [
        ("panic", "it was refused state, which is not granted (grant it with `keyvalue = \"64K\"` in "),
        ("setting", "it asked for the setting `client-id`, which it is not given (--callback-config client-id=…, or "),
    ] {
        let task = Task { meta_data: meta_data.into(), ..task() };

        let told = sentence(chain.on_task_start(&chain.prepare(&task)).await);

        let failed = "component `keeps-state` failed in `on-task-start`: it trapped (a panic, or an abort)";
        assert!(told.starts_with(&format!("{failed}; {why}")), "{told}");
    }
}

/// Answers 204 to everything.
async fn serve(server: tokio::net::TcpListener) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    loop {
        let (mut stream, _) = server.accept().await.unwrap();
        tokio::spawn(async move {
            let mut seen = [0; 4096];
            while stream.read(&mut seen).await.is_ok_and(|read| read > 0) {
                if stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.is_err() {
                    return;
                }
            }
        });
    }
}

#[test]
fn what_does_not_fit_is_refused_with_one_sentence() {
    let home = Home::new();
    let told = home.refusal(&component("wrong-version"));
    assert_eq!(
        told,
        "component `it` was built for haul:transfer@0.2.0, this haul speaks haul:transfer@0.1.0: rebuild it against the \
         wit/ folder of this version"
    );
    let told = home.refusal(&component("exports-nothing"));
    assert_eq!(told, "component `it` exports no hook of haul:transfer, so there is nothing to ask it");
    let file = |name: &str, bytes: &[u8]| {
        let path = home.directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        home.refusal(&path)
    };
    assert!(file("empty.wasm", b"").ends_with("empty.wasm is empty"));
    assert!(file("junk.wasm", b"hello world").ends_with("junk.wasm is not a WebAssembly component"));
    let core = b"\0asm\x01\0\0\0";
    assert!(file("core.wasm", core).contains("core.wasm is a core WebAssembly module, not a component"));
    let broken = b"\0asm\x0d\0\x01\0\xff\xff";
    assert!(file("broken.wasm", broken).contains("broken.wasm is not a valid component"));
    assert!(home.refusal(Path::new("/nowhere/x.wasm")).starts_with("cannot read component /nowhere/x.wasm"));
}

#[test]
fn an_inspection_tells_hooks_version_and_what_imports_get() {
    let home = Home::new();
    let path = component("calls-forbidden-host");
    let found = home.hooks.inspect(&path, &Grants::default()).unwrap();
    assert_eq!((found.hooks, found.contract), (vec!["on-task-start".to_owned()], Some("0.1.0".into())));
    assert_eq!(found.size, std::fs::metadata(&path).unwrap().len());
    let fetch = found.imports.iter().find(|(name, _)| name.contains("/fetch@")).unwrap();
    assert_eq!(fetch.1, "refused: no host is granted (--allow-host)");
    let wrong = home.hooks.inspect(&component("wrong-version"), &Grants::default()).unwrap();
    assert_eq!((wrong.hooks, wrong.contract), (vec![], Some("0.2.0".into())));
}
