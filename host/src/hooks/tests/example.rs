//! The component that users copy (callbacks-example/rust) does what its README says.

use super::components::built::example;
use super::*;
use crate::task::Status;

impl Home {
    fn example(&self, allow_hosts: Vec<String>) -> Chain {
        let grants = Grants { allow_hosts, ..Grants::default() };
        let source = ComponentSource { name: "example".into(), path: example(), grants, ..ComponentSource::default() };
        self.chain(&[self.hooks.load(&source).unwrap()])
    }
}

#[tokio::test]
async fn it_vetoes_stamps_renames_and_doubles_waits() {
    let home = Home::new();
    let chain = home.example(vec![]);
    let plain = chain.prepare(&task());
    assert_eq!(chain.before_task_start(&plain).await.unwrap(), None);
    let vetoed = chain.prepare(&Task { meta_data: "veto".into(), ..task() });
    let update = chain.before_task_start(&vetoed).await.unwrap().unwrap();
    assert_eq!((update.status, update.task_id.as_str()), (Status::Canceled, "t1"));
    assert_eq!(update.details.unwrap().response_body.as_deref().unwrap(), "vetoed by the example");

    let changes = chain.on_task_start(&plain).await.unwrap();
    assert_eq!(changes.headers, [("x-haul-example".to_owned(), "t1".to_owned())]);

    let renamed = chain.prepare(&Task { meta_data: "rename".into(), group: "films".into(), ..task() });
    let taken = ["films-file.txt".to_owned(), "file (1).txt".to_owned()];
    assert_eq!(chain.filename(&plain, &Head::default().into(), &[]).await.unwrap(), "file.txt");
    let name = chain.filename(&renamed, &Head::default().into(), &taken).await.unwrap();
    assert_eq!(name, "films-file (1).txt");

    let busy = Failure { http_status: Some(503), ..Failure::new(FailureKind::HttpResponse, "503") };
    let verdict = chain.retry(&plain, &first_attempt(), &busy).await.unwrap();
    assert_eq!(verdict, RetryVerdict::AfterMs(4_000));
    let verdict = chain.retry(&plain, &first_attempt(), &cut()).await.unwrap();
    assert_eq!(verdict, RetryVerdict::AfterMs(2_000));
}

#[tokio::test]
async fn it_tells_the_log_how_a_task_ended() {
    let home = Home::new();
    let chain = home.example(vec![]);
    let update = StatusUpdate {
        seq: 7,
        task_id: "t1".into(),
        group: "default".into(),
        status: Status::Complete,
        at: 0,
        details: None,
    };
    chain.on_task_finished(&chain.prepare(&task()), &update).await;
    let lines = home.lines.lock().unwrap().clone();
    assert_eq!(lines, ["example: task t1 of group default ended: complete"]);
}

#[tokio::test]
async fn it_renews_tokens_over_wasi_http_where_that_is_granted() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap().to_string();
    let auth = Auth {
        access_token: Some("old".into()),
        refresh_token: Some("secret".into()),
        refresh_url: Some(format!("http://{address}/token")),
        ..Auth::default()
    };
    let home = Home::new();
    let renew = async |chain: &Chain| {
        let prepared = chain.prepare(&task());
        chain.on_auth(&prepared, &auth, AuthReason::Unauthorized).await.unwrap().unwrap()
    };
    let OnAuthVerdict::Failed(why) = renew(&home.example(vec![])).await else {
        panic!("it reached a host that was not granted");
    };
    assert!(why.contains("HttpRequestDenied"), "{why}");

    let asked = tokio::spawn(answer_once(server));
    let OnAuthVerdict::Refreshed(renewed) = renew(&home.example(vec![address.clone()])).await else {
        panic!("not refreshed: {:?}", home.lines);
    };
    assert_eq!(renewed.access_token.as_deref(), Some("new"));
    assert_eq!(renewed.refresh_token.as_deref(), Some("secret"));
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("POST /token HTTP/1.1\r\n"), "{asked}");
    assert!(asked.ends_with(r#"{"grant_type":"refresh_token","refresh_token":"secret"}"#), "{asked}");
}

/// Takes one request with a JSON body, and answers a token.
async fn answer_once(server: tokio::net::TcpListener) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut stream, _) = server.accept().await.unwrap();
    let mut asked = Vec::new();
    while !asked.ends_with(b"}") {
        assert_ne!(stream.read_buf(&mut asked).await.unwrap(), 0);
    }
    let body = r#"{"access_token":"new","expires_in":60}"#;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    String::from_utf8(asked).unwrap()
}
