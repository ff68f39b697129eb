//! Components of WASI 0.3: the same sandbox and limits as for those of 0.2, and nothing of them goes on after their calls.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::components::built::{component, component_0_3};
use super::*;
use crate::task::Auth;

impl Home {
    fn load_0_3(&self, name: &str, grants: Grants) -> Chain {
        let path = component_0_3(name);
        let source = ComponentSource { name: name.into(), path, grants, ..ComponentSource::default() };
        self.chain(&[self.hooks.load(&source).unwrap()])
    }
}

fn within(limits: CallLimits) -> Grants {
    Grants { limits, ..Grants::default() }
}

/// What `waits` made of a deed: how many calls its instance has had, and what came of it.
async fn done(chain: &Chain, deed: &str) -> Result<(String, String), Failure> {
    let changes = chain.on_task_start(&chain.prepare(&Task { meta_data: deed.into(), ..task() })).await?;
    let mut values = changes.headers.into_iter().map(|(_, value)| value);
    Ok((values.next().unwrap(), values.next().unwrap()))
}

async fn outcome(chain: &Chain, deed: &str) -> String {
    done(chain, deed).await.unwrap().1
}

async fn refusal(chain: &Chain, deed: &str) -> String {
    let failure = done(chain, deed).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Callback);
    failure.description.split_once(": ").unwrap().1.to_owned()
}

/// Answers each request with the body that it came with, and says how many there were.
async fn echo(server: TcpListener) {
    loop {
        let (mut stream, _) = server.accept().await.unwrap();
        tokio::spawn(async move {
            let mut seen = Vec::new();
            while !seen.ends_with(b"0\r\n\r\n") && !seen.ends_with(b"once") {
                let mut piece = [0; 4096];
                match stream.read(&mut piece).await {
                    Ok(0) | Err(_) => return,
                    Ok(read) => seen.extend_from_slice(&piece[..read]),
                }
            }
            let body = if seen.windows(4).any(|word| word == b"once") { "renewed" } else { "nothing" };
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        });
    }
}

/// A server, and grants that lead to it.
async fn server() -> (String, Grants) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap().to_string();
    tokio::spawn(echo(server));
    let grants = Grants { allow_hosts: vec![address.clone()], ..Grants::default() };
    (address, grants)
}

#[tokio::test]
async fn http_of_0_3_reaches_granted_hosts_only() {
    let home = Home::new();
    let (address, grants) = server().await;
    let auth = Auth {
        access_token: Some("old".into()),
        refresh_token: Some("once".into()),
        refresh_url: Some(format!("http://{address}/token")),
        ..Auth::default()
    };
    let renewed = async |grants: Grants| {
        let chain = home.load_0_3("waits", grants);
        let verdict = chain.on_auth(&chain.prepare(&task()), &auth, AuthReason::Expiring).await;
        verdict.unwrap().unwrap()
    };

    let OnAuthVerdict::Refreshed(fresh) = renewed(grants).await else { panic!("it was granted") };
    assert_eq!(fresh.access_token.as_deref(), Some("renewed"));
    let refused = format!("{:?}", renewed(Grants::default()).await);
    assert!(refused.contains("HttpRequestDenied"), "{refused}");
    let told = home.log();
    assert!(told[0].starts_with(&format!("waits: {address} is not granted")), "{told:?}");
}

#[tokio::test]
async fn a_component_of_0_3_sees_no_more_of_the_machine_than_one_of_0_2() {
    let home = Home::new();
    let chain = home.load_0_3("waits", Grants::default());
    let nothing = "fine=0 coarse=true random=4096 variables=0 folders=0 tcp=false udp=false";
    assert_eq!(outcome(&chain, "look").await, nothing);
    assert_eq!(outcome(&chain, "wait").await, "true");
}

#[tokio::test]
async fn an_instance_is_called_again_unless_something_of_a_call_goes_on() {
    let home = Home::new();
    let (address, grants) = server().await;
    let chain = home.load_0_3("waits", grants);
    let calls = async |deed: &str| done(&chain, deed).await.unwrap().0;

    assert_eq!((calls("").await, calls("wait").await, calls("").await), ("1".into(), "2".into(), "3".into()));
    for deed in ["go-on".to_owned(), format!("leave-a-request http://{address}/")] {
        let last = calls(&deed).await;
        assert_ne!(last, "1", "{deed}");
        assert_eq!((calls("").await, calls("").await), ("1".into(), "2".into()), "after {deed}");
    }
    assert!(!home.log().iter().any(|line| line.contains("still there")), "{:?}", home.log());
}

#[tokio::test]
async fn an_instance_that_takes_no_more_calls_fails_none() {
    let home = Home::new();
    let chain = home.load_0_3("waits", Grants::default());
    for _ in 0..3 {
        assert_eq!(done(&chain, "take-no-more-calls").await.unwrap().0, "1");
    }
    assert_eq!((done(&chain, "").await.unwrap().0, done(&chain, "").await.unwrap().0), ("1".into(), "2".into()));
}

#[tokio::test]
async fn waiting_takes_nothing_from_the_time_on_the_cpu() {
    let home = Home::new();
    let chain = home.load_0_3("waits", within(CallLimits { cpu_ms: 100, ..CallLimits::default() }));
    assert_eq!(outcome(&chain, "wait-often").await, "", "40 times, longer than a tick");
}

#[tokio::test]
async fn what_the_host_alone_writes_into_requests_is_refused_where_it_is_said() {
    let home = Home::new();
    let (address, grants) = server().await;
    let chain = home.load_0_3("waits", grants);
    let said = async |words: &str| outcome(&chain, &format!("say http://{address}/ {words}")).await;
    for name in ["Host evil", "Transfer-Encoding chunked", "Expect 100-continue", "TE trailers", "Trailer x"] {
        assert!(said(name).await.contains("Forbidden"), "{name}");
    }
    assert!(home.log().is_empty());
    assert_eq!(said("Content-Length 4").await, "200");
}

#[tokio::test]
async fn waiting_and_computing_end_at_the_limits_of_a_call() {
    let home = Home::new();
    let limits = CallLimits { cpu_ms: 100, wall_http_ms: 300, ..CallLimits::default() };
    let chain = home.load_0_3("waits", within(limits));
    assert_eq!(refusal(&chain, "wait-without-end").await, "it took longer than 300 ms (`limits.wall-http`)");
    assert_eq!(refusal(&chain, "wait-for-nothing").await, "it waits for nothing that could come");
    for deed in ["compute-without-end", "write-without-end"] {
        let told = refusal(&chain, deed).await;
        let limits = ["it used up its 100 ms on the CPU", "it took longer than 300 ms"];
        assert!(limits.iter().any(|limit| told.starts_with(limit)), "{deed}: {told}");
    }
}

#[tokio::test]
async fn what_is_written_without_end_is_logged_up_to_its_limit() {
    let home = Home::new();
    let chain = home.load_0_3("waits", Grants::default());
    refusal(&chain, "write-without-end").await;
    let lines = home.log();
    assert!(lines.iter().map(String::len).sum::<usize>() < 32 << 10, "{} lines", lines.len());
    assert!(lines.iter().any(|line| line.ends_with("bytes of log dropped)")), "{lines:?}");
}

#[tokio::test]
async fn tasks_and_streams_are_as_many_as_a_limit_allows() {
    let home = Home::new();
    let limits = CallLimits { cpu_ms: 2_000, ..CallLimits::default() };
    let chain = home.load_0_3("waits", within(limits));
    for deed in ["begin-many", "make-many-streams"] {
        let told = refusal(&chain, deed).await;
        assert_eq!(told, "it holds more than 256 handles of the host, or 1024 of tasks and streams", "{deed}");
    }
}

#[tokio::test]
async fn a_body_without_end_is_refused_where_it_exceeds_its_limit() {
    let home = Home::new();
    let (address, grants) = server().await;
    let chain = home.load_0_3("waits", grants);
    let told = outcome(&chain, &format!("send-without-end http://{address}/")).await;
    assert!(told.contains("HttpRequestBodySize"), "{told}");
}

#[tokio::test]
async fn requests_are_refused_before_their_bodies_are_read() {
    let home = Home::new();
    let (address, grants) = server().await;
    let chain = home.load_0_3("waits", grants);
    let told = outcome(&chain, &format!("send-many http://{address}/")).await;
    assert!(told.contains("HttpRequestDenied"), "the fifth, while four are waited for: {told}");
    assert!(home.log()[0].contains("its 4 requests of a call are used up"), "{:?}", home.log());
}

#[tokio::test]
async fn exit_ends_the_call_and_nothing_else() {
    let home = Home::new();
    let chain = home.load_0_3("waits", Grants::default());
    assert_eq!(refusal(&chain, "exit").await, "it ended itself (exit) instead of answering");
    assert_eq!(done(&chain, "").await.unwrap().0, "1");
}

#[tokio::test]
async fn who_waits_holds_up_no_other() {
    let home = Home::new();
    let chain = home.load_0_3("waits", Grants::default());
    let (wait, answer) = (done(&chain, "wait-without-end"), done(&chain, ""));
    tokio::select! {
        biased;
        told = wait => panic!("it returned: {told:?}"),
        told = answer => assert_eq!(told.unwrap().0, "1"),
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("it was held up"),
    }
}

#[tokio::test]
async fn a_hook_that_is_a_plain_function_may_use_0_3_as_far_as_it_need_not_wait() {
    let home = Home::new();
    let chain = home.load_0_3("waits-in-plain", Grants::default());
    let asked = async |words: &str| {
        let prepared = chain.prepare(&Task { meta_data: words.into(), ..task() });
        chain.retry(&prepared, &first_attempt(), &cut()).await
    };
    assert_eq!(asked("").await.unwrap(), RetryVerdict::AfterMs(1_000));
    assert_eq!(home.log(), ["waits-in-plain: written without waiting"]);
    let told = asked("wait").await.unwrap_err().description;
    assert!(told.contains("only a hook that is an `async func` may"), "{told}");
}

#[tokio::test]
async fn components_of_0_2_and_0_3_ask_each_other_and_wait() {
    let home = Home::new();
    let load = |name: &str, path: PathBuf| {
        let source = ComponentSource { name: name.into(), path, ..ComponentSource::default() };
        home.hooks.load(&source).unwrap()
    };
    let (waits, decides) = (load("waits", component_0_3("waits")), load("decides", component_0_3("decides")));
    let chain = home.chain(&[waits, load("appends-a", component("appends-a")), decides]);
    assert_eq!(outcome(&chain, "ask-next").await, "waited.txta");
    assert_eq!(outcome(&chain, "ask-next").await, "waited.txta", "on the same instances");
}

#[test]
fn a_decorator_is_told_that_what_it_imports_is_a_plain_function() {
    let home = Home::new();
    let path = component_0_3("decorates");
    let source = ComponentSource { name: "it".into(), path, ..ComponentSource::default() };
    let told = home.hooks.load(&source).unwrap_err().to_string();
    assert!(told.contains("`haul:transfer/retry@0.1.0`") && told.contains("only hooks may be"), "{told}");
    assert!(!told.contains("func_wrap"), "{told}");
}
