//! Profiles: defaults of tasks, how requests travel, and logins.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::support::*;

/// A header of each request.
fn sent(resource: &Resource, name: &str) -> Vec<Option<String>> {
    resource.requests().iter().map(|request| request.header(name).map(str::to_owned)).collect()
}

#[test]
fn a_profile_completes_the_tasks_that_name_it() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/api/film", status(299).body(b"x"));
    world.config(&format!(
        "[profiles.base]\nbase-url = \"{}\"\nheaders = {{ X-Team = \"t\", Accept = \"a\" }}\n\
         [profiles.corp]\ninherits = \"base\"\nquery = {{ v = \"1 2\" }}\naccept-status = \"2xx\"\ngroup = \"corp\"\n",
        origin.url("/api/")
    ));

    world.get(&["film", "--profile", "corp", "-H", "Accept: mine"]).exits(0);
    let ids = world.add(&[json!({"url": "film", "profile": "corp", "extra": {"mine": "1"}})]);
    world.run().exits(0);

    let request = &film.requests()[0];
    assert_eq!((request.target.as_str(), request.header("x-team")), ("/api/film?v=1%202", Some("t")));
    assert_eq!(sent(&film, "accept"), [Some("mine".into()), Some("a".into())]);
    let record = world.show(&ids[0]);
    assert_eq!((&record["profile"], &record["group"]), (&json!("corp"), &json!("corp")));
    assert_eq!((&record["extra"], &record["url"]), (&json!({"mine": "1"}), &json!(origin.url("/api/film?v=1%202"))));
}

#[test]
fn a_header_that_a_profile_or_haul_would_add_is_left_out_or_sent_empty_as_curl_does() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/film", file(b"x"));
    world.config(&format!(
        "[profiles.corp]\nbase-url = \"{}\"\nheaders = {{ X-Team = \"t\", X-Unit = \"u\" }}\n\
         auth = {{ user = \"me\", password = \"pw\" }}\n",
        origin.url("/")
    ));
    let left_out = ["-H", "x-team:", "-H", "X-Unit;", "-H", "User-Agent:", "-H", "Authorization: ", "-H", "Accept:"];

    world.get(&[&["film", "--profile", "corp", "-H", "Accept: mine"], left_out.as_slice()].concat()).exits(0);
    let ids = world.add(&[
        json!({"url": "film", "profile": "corp", "headers": {"X-Team": null, "X-Unit": "", "Accept-Encoding": null}}),
        json!({"url": "film", "profile": "corp", "headers": [["X-Team", null], ["A", "1"], ["A", "2"]]}),
    ]);
    world.haul(&["run", "--until-idle", "-j", "1"]).exits(0); // in this order

    assert_eq!(sent(&film, "x-team"), [None, None, None]);
    assert_eq!(sent(&film, "x-unit"), [Some(String::new()), Some(String::new()), Some("u".into())]);
    let first = &film.requests()[0];
    assert_eq!((first.header("user-agent"), first.header("authorization")), (None, None));
    assert_eq!(first.header("accept"), Some("mine"), "the task's own stays");
    let encodings = sent(&film, "accept-encoding");
    assert_eq!(encodings, [Some("identity".into()), None, Some("identity".into())]);
    assert!(sent(&film, "authorization")[1].is_some());
    let shown = world.show(&ids[0]);
    assert_eq!(shown["headers"], json!({"X-Unit": "", "X-Team": null, "Accept-Encoding": null}));
    assert!(shown["extra"].is_null(), "{shown}");
    world.get(&[film.url(), "-H", "Host:"]).exits(2).says("must not leave out `Host`");
    world.get(&[film.url(), "-H", "a b:"]).exits(2).says("must leave out names of");
}

#[test]
fn a_large_body_is_sent_without_asking_first_where_expect_is_left_out() {
    let (world, origin) = (World::new(), Origin::start());
    let inbox = origin.serve("/in", status(200).body(b"ok"));
    let large = world.write("large", vec![7; 2 << 20]);
    let large = large.to_str().unwrap();

    world.haul(&["put", large, inbox.url()]).exits(0);
    world.haul(&["put", "--binary", large, inbox.url(), "-H", "Expect:", "-H", "Content-Type:"]).exits(0);

    assert_eq!(sent(&inbox, "expect"), [Some("100-continue".into()), None]);
    assert_eq!(sent(&inbox, "content-type")[1], None);
}

#[test]
fn a_task_keeps_what_it_was_added_with_and_fails_when_its_profile_is_gone() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    world.config("[profiles.corp]\nheaders = { X-Team = \"one\" }\nuser-agent = \"one\"\n");
    world.add(&[json!({"url": film.url(), "taskId": "a", "profile": "corp"})]);
    world.config("[profiles.corp]\nheaders = { X-Team = \"two\" }\nuser-agent = \"two\"\n");
    world.run().exits(0);
    world.add(&[json!({"url": film.url(), "taskId": "b", "profile": "corp"})]);
    world.config("");
    world.run().exits(1);

    assert_eq!(
        (sent(&film, "x-team"), sent(&film, "user-agent")),
        (vec![Some("one".into())], vec![Some("two".into())])
    );
    let record = world.show("b");
    assert!(record["exception"]["description"].as_str().unwrap().contains("[profiles.corp]"), "{record}");
    world.get(&[film.url(), "--profile", "corp"]).exits(2).says("`corp` is not in the engine's configuration");
}

#[test]
fn each_profile_has_its_own_proxy_and_trust() {
    let identity = Identity::new();
    let (world, proxy, origin) = (World::new(), Origin::start(), Origin::start_tls(&identity));
    let cacert = world.write("ca.pem", &identity.certificate);
    let film = origin.serve("/f", file(b"x"));
    let away = proxy.serve("http://far.invalid/g", file(b"y"));
    let host = origin.authority();
    world.config(&format!(
        "[profiles.far]\nproxy = \"http://u:cAnArY@{}\"\nno-proxy = [\"127.0.0.1\"]\n[profiles.near]\ncacert = {cacert:?}\n\
         [profiles.lax]\ninsecure-hosts = [{host:?}]\n",
        proxy.authority()
    ));

    world.get(&["http://far.invalid/g", "--profile", "far"]).exits(0);
    world.get(&[film.url(), "--profile", "near", "-o", "f"]).exits(0);
    world.get(&[film.url(), "-o", "f", "--retries", "0"]).exits(5);
    let lax = world.get(&[film.url(), "--profile", "lax", "-o", "f"]).exits(0);

    assert_eq!(sent(&away, "proxy-authorization"), [Some("Basic dTpjQW5Bclk=".into())]);
    assert!(lax.only_final()["notes"].to_string().contains("insecure-tls"), "{}", lax.stdout);
}

#[test]
fn a_certificate_that_nobody_could_trust_is_told_before_anything_is_asked() {
    let identity = Identity::new();
    let (world, origin) = (World::new(), Origin::start_tls(&identity));
    let film = origin.serve("/f", file(b"x"));
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAAAAAA\n-----END CERTIFICATE-----\n";
    let cacert = world.write("both.pem", format!("{}\n{garbage}", identity.certificate));

    let told = world.get(&[film.url(), "--cacert", cacert.to_str().unwrap()]).exits(2);

    told.says("both.pem").says("number 2");
    assert_eq!(film.requests().len(), 0);
}

#[test]
fn logins_come_from_flags_netrc_and_profiles() {
    let (mut world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let netrc = world.write("netrc", "machine 127.0.0.1 login n password p\n");
    let token = world.write("token", "from-file\n");
    world.set("TOKEN", "from-env");
    let base = origin.url("/");
    world.config(&format!(
        "[profiles.a]\nbase-url = {base:?}\nauth = {{ bearer-file = {token:?} }}\n\
         [profiles.b]\nbase-url = {base:?}\nauth = {{ user = \"u\", password-env = \"TOKEN\" }}\n"
    ));
    let get = |more: &[&str]| drop(world.get(&[&[film.url(), "-o", "f"], more].concat()).exits(0));

    get(&["--user", "me:pa:ss"]);
    get(&["--netrc-file", netrc.to_str().unwrap()]);
    get(&["--bearer-env", "TOKEN"]);
    get(&["--bearer-file", token.to_str().unwrap()]);
    get(&["--profile", "a"]);
    get(&["--profile", "b"]);
    world.get(&[film.url(), "--bearer-env", "UNSET"]).exits(2).says("`UNSET` is not set");

    let basic = |text: &str| {
        let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, text);
        Some(format!("Basic {encoded}"))
    };
    let (env, from_file) = (Some("Bearer from-env".into()), Some("Bearer from-file".into()));
    let expected = [basic("me:pa:ss"), basic("n:p"), env, from_file.clone(), from_file, basic("u:from-env")];
    assert_eq!(sent(&film, "authorization"), expected);
}

#[test]
fn digest_is_answered_and_a_wrong_password_is_exit_4() {
    let (world, origin) = (World::new(), Origin::start());
    let asks =
        status(401).header("WWW-Authenticate", "Digest realm=\"r\", qop=\"auth\", algorithm=SHA-256, nonce=\"n\"");
    let film = origin.script("/f", vec![asks.clone(), file(b"x")]);
    let locked = origin.serve("/locked", asks);

    world.get(&[film.url(), "--user", "me:pw", "--digest"]).exits(0);
    world.get(&[locked.url(), "--user", "me:pw", "--digest"]).exits(4);

    let given = sent(&film, "authorization");
    assert_eq!(given[0], None);
    assert!(given[1].as_ref().unwrap().starts_with("Digest username=\"me\""), "{given:?}");
    assert_eq!(locked.log().len(), 2, "asked, answered, refused");
}

#[test]
fn doctor_tells_what_is_wrong_with_a_profile() {
    let world = World::new();
    world.config("[profiles.good]\nbase-url = \"http://h/\"\n[profiles.bad]\ncacert = \"missing.pem\"\n");

    let outcome = world.haul(&["doctor"]).exits(1);

    let line = |name: &str| outcome.stdout.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    assert!(line("profile good").contains("http://h/"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("missing.pem"), "{}", outcome.stdout);
}

#[test]
fn doctor_finds_credentials_of_profiles_that_would_not_be_sent() {
    let world = World::new();
    world.config(
        "[credentials.corp]\norigins = [\"http://h\"]\nvalue = \"s\"\n\
         [profiles.fine]\nheaders = { X-Key = \"{credential:corp}\" }\n\
         [profiles.home]\nbase-url = \"http://h/api/\"\nquery = { k = \"{credential:corp}\" }\n\
         [profiles.unknown]\nheaders = { X-Key = \"Bearer {credential:nobody}\" }\n\
         [profiles.away]\nbase-url = \"http://other/\"\nquery = { k = \"{credential:corp}\" }\n",
    );

    let outcome = world.haul(&["doctor"]).exits(1);

    assert_eq!(outcome.stdout.matches("PROBLEM").count(), 2, "{}", outcome.stdout);
    for says in ["`[credentials.nobody]` would be it", "credential `corp` is not for http://other"] {
        assert!(outcome.stdout.contains(says), "{says}: {}", outcome.stdout);
    }
}

#[test]
fn flags_go_before_profiles_and_wrong_ones_are_refused_at_once() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    world.config("[profiles.default]\nproxy = \"http://127.0.0.1:9\"\n");
    world.write("me.p12", b"\x30\x82\x09\xd1");

    world.get(&[film.url(), "-o", "f", "--retries", "0"]).exits(5);
    world.get(&[film.url(), "-o", "f", "--proxy", "none"]).exits(0);
    world.get(&[film.url(), "-o", "f", "--no-proxy", "127.0.0.0/8"]).exits(0);
    for (words, says) in [
        (vec!["--proxy", "ftp://u:cAnArY@h"], "socks5h"),
        (vec!["--proxy", "h:1", "--no-proxy", "10.0.0.0/99"], "10.0.0.0/99"),
        (vec!["--cert", "missing.pem"], "missing.pem"),
        (vec!["--cert", "me.p12"], "openssl pkcs12"),
        (vec!["--cacert", "me.p12"], "openssl pkcs12"),
        (vec!["--netrc-file", "missing"], "netrc"),
    ] {
        let outcome = world.get(&[&[film.url()], words.as_slice()].concat()).exits(2).says(says);
        assert!(!outcome.stderr.contains("cAnArY"), "{}", outcome.stderr);
    }
}

#[test]
fn a_name_without_a_password_has_one_in_the_netrc_file_or_is_refused() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let netrc = world.write("netrc", "machine 127.0.0.1 login me password hidden\n");
    let with_netrc = ["--netrc-file", netrc.to_str().unwrap()];
    let get = |words: &[&str]| world.get(&[&[film.url(), "-o", "f", "--retries", "0"], words].concat());

    get(&["--user", "me"]).exits(2).says("--user has no password");
    get(&[&["--user", "you"], with_netrc.as_slice()].concat()).says("no password of `you` for 127.0.0.1");
    assert_eq!(film.log().len(), 0);
    get(&[&["--user", "me"], with_netrc.as_slice()].concat()).exits(0);
    get(&["--user", "me:"]).exits(0);
    get(&[&["--user", "you:"], with_netrc.as_slice()].concat()).exits(0);

    let basic = |text: &str| Some(format!("Basic {}", base64::Engine::encode(&base64::prelude::BASE64_STANDARD, text)));
    assert_eq!(sent(&film, "authorization"), [basic("me:hidden"), basic("me:"), basic("you:")]);
}

#[test]
fn what_no_request_can_have_is_refused_by_one_sentence() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/r", status(200));
    world.write("f", b"x");
    for (words, says) in [
        (["put", "f", "--mime-type", "x"], "TYPE/SUBTYPE"),
        (["request", "--retries=0", "-X", ""], "--method"),
        (["request", "--retries=0", "--timeout-connect", "99999999999d"], "at most `36500d`"),
        (["request", "--retries=0", "--user", ""], "--user"),
        (["request", "--retries=0", "--profile", ""], "--profile"),
        (["request", "--retries=0", "--cert", "/nope"], "cannot use the certificates in /nope"),
    ] {
        world.haul(&[words.as_slice(), &[sink.url()]].concat()).exits(2).says(says);
    }
    world.haul(&["put", "f", sink.url(), "--resumable", "ietf", "--field", "a=b"]).exits(2).says("--resumable ietf");
    assert_eq!(sink.log().len(), 0);
}

#[test]
fn a_profiles_no_proxy_stays_beside_another_proxy() {
    let (mut world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let dead = ["--proxy", "http://127.0.0.1:9", "--retries", "0", "-o", "f"];
    for proxy in ["proxy = \"http://127.0.0.1:1\"\n", "proxy = \"none\"\n", ""] {
        world.config(&format!("[profiles.p]\n{proxy}no-proxy = [\"127.0.0.1\"]\n"));
        let by_profile = [&[film.url(), "--profile", "p"], dead.as_slice()].concat();
        world.get(&by_profile).exits(0);
        world.get(&[by_profile.as_slice(), &["--no-proxy", "other"]].concat()).exits(5);
    }
    world.get(&[&[film.url()], dead.as_slice()].concat()).exits(5).says("the proxy cannot be reached");
    world.set("no_proxy", "127.0.0.1");
    world.get(&[&[film.url()], dead.as_slice()].concat()).exits(0);
}

#[test]
fn a_profile_has_several_headers_of_a_name() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    world.config("[profiles.p]\nheaders = { X-Team = [\"a\", \"b\"], X-One = \"c\" }\n");

    world.get(&[film.url(), "--profile", "p", "-o", "f"]).exits(0);
    world.get(&[film.url(), "--profile", "p", "-o", "f", "-H", "x-team: own"]).exits(0);

    let teams: Vec<Vec<String>> = film
        .requests()
        .iter()
        .map(|seen| seen.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-team")))
        .map(|found| found.map(|(_, value)| value.clone()).collect())
        .collect();
    assert_eq!(teams, [vec!["a", "b"], vec!["own"]]);
}

#[test]
fn doctor_finds_what_get_would_refuse() {
    let world = World::new();
    for (key, says) in [
        ("user-agent = \"a\\nb\"", "`user-agent`"),
        ("insecure-hosts = [\"http://a\"]", "`http://a`"),
        ("no-proxy = [\"1.2.3.4/99\"]", "`1.2.3.4/99`"),
        ("proxy = \"ftp://h\"", "socks5h"),
        ("callbacks = [\"nope\"]", "`nope`"),
        ("group = \"\"", "`group`"),
        ("cookies = \"nowhere/jar\"", "nowhere"),
        ("base-url = \"http://h/\"\nauth = { bearer-env = \"NOT_SET\" }", "`NOT_SET`"),
        ("base-url = \"http://h/\"\nauth = { user = \"u\", password-file = \"nope\" }", "nope"),
    ] {
        world.config(&format!("[profiles.p]\n{key}\n"));
        let outcome = world.haul(&["doctor"]).exits(1);
        let problems: Vec<&str> = outcome.stdout.split("PROBLEM").skip(1).collect();
        assert!(problems.len() == 1 && problems[0].contains("profile p"), "{key}: {}", outcome.stdout);
        assert!(problems[0].contains(says), "{key}: {}", outcome.stdout);
    }
    world.config("[profiles.p]\nuser-agent = \"a\\nb\"\n");
    world.get(&["http://127.0.0.1:9/f", "--profile", "p"]).exits(2).says("config.toml: [profiles.p]: `user-agent`");
    world.config("[profiles.p]\nmin-tls = 1.2\n");
    world.haul(&["ls"]).exits(2).says("expected a string");
}

#[test]
fn doctor_tries_the_headers_of_profiles_that_nobody_uses() {
    let world = World::new();
    world.config("[profiles.fine]\nheaders = { X-A = \"b\" }\n[profiles.odd]\nheaders = { \"X A\" = \"b\" }\n");

    let outcome = world.haul(&["doctor"]).exits(1);

    assert_eq!(outcome.stdout.matches("PROBLEM").count(), 1, "{}", outcome.stdout);
    assert!(outcome.stdout.contains("profile odd") && outcome.stdout.contains("`X A`"), "{}", outcome.stdout);
}

/// What a server answers who refuses a nonce count that it has seen (RFC 7616 section 3.4). `uses`: requests that a nonce is
/// good for, after which it is stale.
fn strict(answer: Answer, uses: usize) -> (Answer, Arc<Mutex<Strict>>) {
    let strict = Arc::new(Mutex::new(Strict::default()));
    let state = Arc::clone(&strict);
    let judged = answer.unless(move |request| state.lock().unwrap().judge(request.header("authorization"), uses));
    (judged, strict)
}

#[derive(Default)]
struct Strict {
    /// Counts that were seen of each nonce.
    seen: HashMap<String, Vec<String>>,
    latest: usize,
    repeated: usize,
}

impl Strict {
    fn judge(&mut self, given: Option<&str>, uses: usize) -> Option<Answer> {
        let field = |name: &str| -> Option<String> {
            let (_, rest) = given?.split_once(name)?;
            Some(rest.trim_start_matches('"').split(['"', ',']).next()?.to_owned())
        };
        let (Some(nonce), Some(count)) = (field(" nonce="), field(" nc=")) else {
            return Some(self.challenge(uses, false));
        };
        let seen = self.seen.entry(nonce).or_default();
        if seen.len() >= uses {
            return Some(self.challenge(uses, true));
        }
        if seen.contains(&count) {
            self.repeated += 1;
            return Some(self.challenge(uses, false));
        }
        seen.push(count);
        None
    }

    /// The same nonce for all where it lasts, else another one each time.
    fn challenge(&mut self, uses: usize, stale: bool) -> Answer {
        self.latest += usize::from(uses == 1);
        let challenge = format!("Digest realm=\"r\", qop=\"auth\", nonce=\"n{}\", stale={stale}", self.latest);
        status(401).header("WWW-Authenticate", &challenge)
    }
}

#[test]
fn no_nonce_count_is_used_twice_by_requests_at_the_same_time() {
    let (world, origin) = (World::new(), Origin::start());
    let (answer, strict) = strict(file(b"x"), usize::MAX);
    let urls: Vec<Resource> = (0..30).map(|n| origin.serve(&format!("/{n}"), answer.clone())).collect();
    let mut line: Vec<&str> = urls.iter().map(Resource::url).collect();
    line.extend(["--user", "u:p", "--digest", "-j", "6"]);

    world.get(&line).exits(0);

    assert_eq!(strict.lock().unwrap().repeated, 0);
}

#[test]
fn parts_get_through_where_each_nonce_is_good_for_one_request() {
    for uses in [1, usize::MAX] {
        let (world, origin) = (World::new(), Origin::start());
        let content = bytes(1, 12 << 20);
        let (answer, strict) = strict(file(&content).etag("\"v1\"").cut(400_000), uses);
        let film = origin.serve("/f", answer);

        world.get(&[film.url(), "--parts", "6", "--user", "u:p", "--digest", "--retries", "0"]).exits(0);

        assert_same_bytes(&world.read("f"), &content);
        assert_eq!(strict.lock().unwrap().repeated, 0, "{uses}");
    }
}
