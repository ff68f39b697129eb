//! Tests of logins and cookies: what is proved to whom, and what is carried where.

use std::collections::HashMap;
use std::io::Write;

use super::*;

fn with(change: impl FnOnce(&mut TransportSettings)) -> Transport {
    let mut settings = TransportSettings::default();
    change(&mut settings);
    Transport::new(settings)
}

fn asks(challenge: &str) -> Step {
    say(format!("HTTP/1.1 401 X\r\nwww-authenticate: {challenge}\r\ncontent-length: 3\r\n\r\nwho"))
}

/// The value of a request's Authorization.
fn authorization(request: &str) -> Option<&str> {
    request.lines().find_map(|line| line.strip_prefix("authorization: "))
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks an answer to a challenge by the formulas of RFC 7616 section 3.4.1, for user `Mufasa`.
fn is_right(request: &str, password: &str) -> bool {
    use sha2::Digest;
    let given = authorization(request).and_then(|value| value.strip_prefix("Digest ")).unwrap();
    let fields: HashMap<&str, &str> = given
        .split(", ")
        .map(|field| field.split_once('=').map(|(name, value)| (name, value.trim_matches('"'))).unwrap())
        .collect();
    let algorithm = fields["algorithm"];
    let h = |text: String| match algorithm.trim_end_matches("-sess") {
        "MD5" => hex(md5::Md5::digest(text)),
        "SHA-256" => hex(sha2::Sha256::digest(text)),
        other => panic!("{other}"),
    };
    let (nonce, cnonce) = (fields["nonce"], fields["cnonce"]);
    let mut a1 = h(format!("Mufasa:{}:{password}", fields["realm"]));
    if algorithm.ends_with("-sess") {
        a1 = h(format!("{a1}:{nonce}:{cnonce}"));
    }
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    assert_eq!((fields["username"], fields["uri"], fields["qop"]), ("Mufasa", target, "auth"));
    let a2 = h(format!("{method}:{target}"));
    fields["response"] == h(format!("{a1}:{nonce}:{}:{cnonce}:auth:{a2}", fields["nc"]))
}

#[tokio::test]
async fn digest_is_answered_in_every_form_and_counted_on() {
    for algorithm in ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess"] {
        let challenge = format!(
            "Negotiate, Digest realm=\"a b\", qop=\"auth-int, auth\", algorithm={algorithm}, nonce=\"n1\", opaque=\"o\", \
             Basic realm=\"x\""
        );
        let server = Server::one(vec![Request, asks(&challenge), Request, ok("1"), Request, ok("2")]).await;
        let transport = with(|settings| settings.digest_only = true);
        let url = server.url("/dir/index.html?q=1").replace("//", "//Mufasa:Circle%20of%20Life@");
        for expected in ["1", "2"] {
            assert_eq!(fetch(&transport, get(&url)).await.unwrap().1, expected);
        }
        let seen = server.seen();
        assert_eq!(authorization(&seen[0]), None, "no password before it is asked for");
        assert_eq!(server.connections(), [0, 0, 0], "the refusal's body was read");
        for (request, count) in seen[1..].iter().zip(["nc=00000001", "nc=00000002"]) {
            assert!(is_right(request, "Circle of Life"), "{request}");
            assert!(request.contains(count) && request.contains("opaque=\"o\""), "{request}");
        }
    }
}

#[tokio::test]
async fn a_stale_nonce_is_renewed_and_a_wrong_password_is_not_tried_twice() {
    let nonce = |nonce: &str, stale: bool| {
        asks(&format!("Digest realm=\"r\", qop=\"auth\", algorithm=MD5, nonce=\"{nonce}\", stale={stale}"))
    };
    let script = vec![Request, nonce("n1", false), Request, nonce("n2", true), Request, ok("in"), Request];
    let server = Server::one([script, vec![nonce("n3", true), Request, nonce("n4", false), Hold]].concat()).await;
    let transport = transport();
    let url = server.url("/").replace("//", "//Mufasa:pw@");
    assert_eq!(fetch(&transport, get(&url)).await.unwrap().1, "in");
    let (answer, body) = fetch(&transport, get(&url)).await.unwrap();
    assert_eq!((answer.status, body.as_str()), (401, "who"), "the last refusal is the answer");
    let seen = server.seen();
    assert_eq!(seen.len(), 5);
    assert!(authorization(&seen[0]).unwrap().starts_with("Basic "));
    for (request, nonce) in seen[1..].iter().zip(["n1", "n2", "n2", "n3"]) {
        assert!(is_right(request, "pw") && request.contains(&format!("nonce=\"{nonce}\"")), "{request}");
    }
}

#[tokio::test]
async fn a_request_that_is_sent_again_because_its_connection_died_has_a_count_of_its_own() {
    let challenge = || asks("Digest realm=\"r\", qop=\"auth\", algorithm=MD5, nonce=\"n\"");
    // The server counts the second request, and closes.
    let server = Server::start(vec![vec![Request, challenge(), Request], vec![Request, ok("in")]]).await;
    let url = server.url("/").replace("//", "//Mufasa:pw@");
    assert_eq!(fetch(&with(|settings| settings.digest_only = true), get(&url)).await.unwrap().1, "in");
    let seen = server.seen();
    for (request, count) in seen[1..].iter().zip(["nc=00000001", "nc=00000002"]) {
        assert!(is_right(request, "pw") && request.contains(count), "{request}");
    }
    assert_eq!(seen.len(), 3);
}

#[tokio::test]
async fn a_digest_of_the_body_is_not_asked_for_twice() {
    let challenge = || asks("Digest realm=\"r\", qop=\"auth-int\", algorithm=MD5, nonce=\"n\"");
    let server = Server::one(vec![Request, challenge(), Request, challenge()]).await;
    let url = server.url("/").replace("//", "//Mufasa:pw@");
    let (answer, _) = fetch(&with(|settings| settings.digest_only = true), get(&url)).await.unwrap();
    assert_eq!((answer.status, server.seen().len()), (401, 1));
}

#[tokio::test]
async fn the_nonce_that_an_answer_names_is_the_next_requests() {
    let next = "HTTP/1.1 200 X\r\nauthentication-info: qop=auth, nextnonce=\"n2\"\r\ncontent-length: 2\r\n\r\nok";
    let challenge = asks("Digest realm=\"a \\\"b\\\"\", qop=\"auth\", algorithm=SHA-256, nonce=\"n1\", opaque=\"o\"");
    let server = Server::one(vec![Request, challenge, Request, say(next), Request, ok("2"), Request, ok("3")]).await;
    let transport = with(|settings| settings.digest_only = true);
    let url = server.url("/").replace("//", "//Mufasa:pw@");
    for expected in ["ok", "2", "3"] {
        assert_eq!(fetch(&transport, get(&url)).await.unwrap().1, expected);
    }
    let seen = server.seen();
    for (request, (nonce, count)) in seen[1..].iter().zip([("n1", "01"), ("n2", "01"), ("n2", "02")]) {
        let words = [format!("nonce=\"{nonce}\""), format!("nc=000000{count}"), "opaque=\"o\"".into()];
        assert!(words.iter().all(|word| request.contains(word)), "{request}");
        assert!(request.contains("realm=\"a \\\"b\\\"\""), "{request}");
    }
}

#[tokio::test]
async fn a_name_that_is_not_ascii_is_written_as_the_server_reads_it() {
    for (charset, written) in [("", "username=\"Müller\""), (", charset=UTF-8", "username*=UTF-8''M%C3%BCller")] {
        let challenge = asks(&format!("Digest realm=\"r\", qop=\"auth\", algorithm=MD5, nonce=\"n\"{charset}"));
        let server = Server::one(vec![Request, challenge, Request, ok("in")]).await;
        let url = server.url("/").replace("//", "//M%C3%BCller:pw@");
        assert_eq!(fetch(&with(|settings| settings.digest_only = true), get(&url)).await.unwrap().1, "in");
        let seen = server.seen();
        assert!(seen[1].contains(written), "{}", seen[1]);
    }
}

#[tokio::test]
async fn transports_of_two_threads_count_a_nonce_together() {
    let challenge = || asks("Digest realm=\"r\", qop=\"auth\", algorithm=MD5, nonce=\"n\"");
    let first = vec![Request, challenge(), Request, ok("1")];
    let server = Server::start(vec![first, vec![Request, ok("2")]]).await;
    let transport = with(|settings| settings.digest_only = true);
    let url = server.url("/").replace("//", "//Mufasa:pw@");
    for (transport, expected) in [(transport.clone(), "1"), (transport.twin(), "2")] {
        assert_eq!(fetch(&transport, get(&url)).await.unwrap().1, expected);
    }
    let seen = server.seen();
    assert!(seen[1].contains("nc=00000001") && seen[2].contains("nc=00000002"), "{seen:?}");
}

#[tokio::test]
async fn a_login_is_for_its_origin_and_not_for_where_that_redirects_to() {
    let other = Server::one(vec![Request, asks("Digest realm=\"r\", qop=\"auth\", nonce=\"n\"")]).await;
    let moved = format!("HTTP/1.1 302 X\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", other.url("/"));
    let server = Server::one(vec![Request, say(moved)]).await;
    let url = server.url("/").replace("//", "//Mufasa:pw@");
    let (answer, _) = fetch(&transport(), get(url)).await.unwrap();
    assert_eq!(answer.status, 401);
    assert_eq!(other.seen().len(), 1, "the challenge of another origin is not answered");
    assert_eq!(authorization(&other.seen()[0]), None);
}

#[tokio::test]
async fn netrc_is_asked_for_each_host_on_the_way_and_not_for_components() {
    let mut netrc = tempfile::NamedTempFile::new().unwrap();
    writeln!(netrc, "machine 127.0.0.1 login me password pw\nmachine localhost login you password two").unwrap();
    let there = Server::start(vec![vec![Request, ok("there")], vec![Request, ok("there")]]).await;
    let moved = format!("HTTP/1.1 302 X\r\nlocation: http://localhost:{}/\r\ncontent-length: 0\r\n\r\n", there.port);
    let server = Server::one(vec![Request, say(moved)]).await;
    let transport = with(|settings| settings.netrc = Some(netrc.path().to_owned()));
    fetch(&transport, get(server.url("/"))).await.unwrap();
    fetch(&transport, Call { ambient: false, ..get(there.url("/")) }).await.unwrap();
    let basic = |text: &str| format!("Basic {}", base64::Engine::encode(&base64::prelude::BASE64_STANDARD, text));
    assert_eq!(authorization(&server.seen()[0]), Some(basic("me:pw").as_str()));
    assert_eq!(authorization(&there.seen()[0]), Some(basic("you:two").as_str()));
    assert_eq!(authorization(&there.seen()[1]), None);
}

#[tokio::test]
async fn a_bearer_token_is_read_from_its_file_for_each_request_and_goes_to_its_origin_only() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let server = Server::one(vec![Request, ok("1"), Request, ok("2"), Request, ok("3")]).await;
    let other = Server::one(vec![Request, ok("")]).await;
    let proof = Proof::Bearer(Secret::File(file.path().to_owned()));
    let credentials = Credentials { origin: server.url("/api/"), proof };
    let transport = with(|settings| settings.credentials = Some(credentials));
    let failure = fetch(&transport, get(server.url("/"))).await.map(drop).unwrap_err();
    assert!(failure.description.contains("holds no secret"), "{failure}");
    for token in ["one", "two"] {
        std::fs::write(file.path(), format!("{token}\n")).unwrap();
        fetch(&transport, get(server.url("/"))).await.unwrap();
    }
    let own = Call { headers: vec![("authorization".into(), "mine".into())], ..get(server.url("/")) };
    fetch(&transport, own).await.unwrap();
    fetch(&transport, get(other.url("/"))).await.unwrap();
    let seen = server.seen();
    let given: Vec<_> = seen.iter().map(|request| authorization(request)).collect();
    assert_eq!(given, [Some("Bearer one"), Some("Bearer two"), Some("mine")]);
    assert_eq!(authorization(&other.seen()[0]), None);
}

#[tokio::test]
async fn a_secret_is_read_from_a_small_file_and_never_waited_for_at_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, large) = (folder.path().join("pipe"), folder.path().join("large"));
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    std::fs::write(&large, vec![b'x'; (64 << 10) + 1]).unwrap();
    let server = Server::one(vec![Request, ok("there")]).await;
    for (path, expected) in [(pipe, "it is not a regular file"), (large, "it is larger than 64 KiB")] {
        let credential = NamedCredential { origins: vec![server.url("/")], secret: Secret::File(path.clone()) };
        let known = [("corp".to_owned(), credential)];
        let transport = with(|settings| settings.named_credentials = Arc::new(known.into()));
        let call = Call { headers: vec![("X-Key".into(), "{credential:corp}".into())], ..get(server.url("/")) };
        let failure = fetch(&transport, call).await.map(drop).unwrap_err();
        assert_eq!(failure.description, format!("cannot read the secret in `{}`: {expected}", path.display()));
        let proof = Proof::Bearer(Secret::File(path));
        let credentials = Credentials { origin: server.url("/"), proof };
        let transport = with(|settings| settings.credentials = Some(credentials));
        let failure = fetch(&transport, get(server.url("/"))).await.map(drop).unwrap_err();
        assert!(failure.description.ends_with(expected), "{failure}");
    }
    let unasked = with(|settings| settings.netrc = None);
    fetch(&unasked, get(server.url("/"))).await.unwrap();
    assert_eq!(server.seen().len(), 1, "who got no secret has sent nothing");
}

#[tokio::test]
async fn cookies_of_every_hop_are_taken_and_go_back_where_they_belong() {
    let there = Server::one(vec![Request, say("HTTP/1.1 200 X\r\nset-cookie: b=2\r\ncontent-length: 0\r\n\r\n")]).await;
    let moved = format!(
        "HTTP/1.1 302 X\r\nset-cookie: a=1; Path=/x\r\nset-cookie: s=9; Secure\r\nset-cookie: h=0; Path=/\r\n\
         location: http://localhost:{}/x\r\ncontent-length: 0\r\n\r\n",
        there.port
    );
    let server = Server::one(vec![Request, say(moved), Request, ok(""), Request, ok(""), Request, ok("")]).await;
    let jar = Jar::default();
    let transport = with(|settings| settings.cookies = Some(jar.clone()));
    fetch(&transport, get(server.url("/x"))).await.unwrap();
    fetch(&transport, get(server.url("/x/y"))).await.unwrap();
    let own = Call { headers: vec![("Cookie".into(), "mine=1".into())], ..get(server.url("/")) };
    fetch(&transport, own).await.unwrap();
    fetch(&transport, Call { ambient: false, ..get(server.url("/")) }).await.unwrap();
    let cookies = |request: &String| request.lines().find_map(|line| line.strip_prefix("cookie: ").map(str::to_owned));
    let given: Vec<_> = server.seen().iter().map(cookies).collect();
    assert_eq!(given, [None, Some("a=1; h=0".into()), Some("mine=1".into()), None]);
    assert_eq!(cookies(&there.seen()[0]), None, "another host");
    let text = String::from_utf8(jar.text(0)).unwrap();
    assert!(text.contains("localhost\tFALSE\t/\tFALSE\t0\tb\t2\n"), "{text}");
}
