//! Tables for the units, and what the configuration takes and refuses.

use super::*;
use crate::hooks::{CallLimits, Grants};

#[test]
fn durations_are_read() {
    for (text, ms) in [
        ("0", 0),
        ("500ms", 500),
        ("30s", 30_000),
        ("1m30s", 90_000),
        ("2h", 7_200_000),
        ("10d", 864_000_000),
        ("1d2h3m4s5ms", 93_784_005),
    ] {
        assert_eq!(duration_ms(text).unwrap(), ms, "{text}");
    }
    for text in ["", "5", "s", "-1s", "1.5s", "1 s", "1w", "30s1m", "1s1s", "99999999999999999d", "١s"] {
        let message = duration_ms(text).unwrap_err().to_string();
        assert!(message.contains(&format!("not `{text}`")), "{message}");
    }
}

#[test]
fn sizes_are_read() {
    for (text, count) in [
        ("0", 0),
        ("1234", 1234),
        ("512K", 524_288),
        ("10M", 10_485_760),
        ("10m", 10_485_760),
        ("1G", 1_073_741_824),
        ("2T", 2_199_023_255_552),
        ("1P", 1 << 50),
        ("1.5M", 1_572_864),
        ("0.1K", 102),
        ("0.0001K", 1),
        ("512Ki", 524_288),
        ("1.25GiB", 1_342_177_280),
    ] {
        assert_eq!(bytes(text).unwrap(), count, "{text}");
    }
    for text in ["", "M", "1.5", "1.M", "1.5.5M", "1i", "-1", "1MB", "99999999999999999999", "99999999999T", "1 M"] {
        assert!(bytes(text).is_err(), "{text}");
    }
}

#[test]
fn times_are_read() {
    for (text, ms) in [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59Z", 0),
        ("2000-02-29T12:00:00Z", 951_825_600_000),
        ("2026-12-01T00:00:00.5Z", 1_796_083_200_500),
        ("2026-12-01T00:00:00.123987Z", 1_796_083_200_123),
        ("2026-12-01t02:30:00+02:30", 1_796_083_200_000),
        ("2026-11-30 19:00:00-05:00", 1_796_083_200_000),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("9999-12-31T23:59:59.999Z", LAST_TIME_MS),
        ("+1h30m", 5_401_000),
        ("+0", 1_000),
    ] {
        assert_eq!(time_ms(text, 1_000).unwrap(), ms, "{text}");
    }
    for text in [
        "",
        "+",
        "now",
        "2026-12-01",
        "2026-12-01T00:00:00",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-12-01T24:00:00Z",
        "2026-12-01T00:00:00.Z",
        "2026-12-01T00:00:00+2:00",
        "2026-12-01T00:00:00Zx",
        "2026-1é-01T00:00:00Z",
        "2026-12-01T00:00:+1Z",
        "+999999999999d",
    ] {
        assert!(time_ms(text, 1_000).is_err(), "{text}");
    }
}

#[test]
fn times_are_written_as_they_are_read() {
    let mut ms = 0;
    while ms <= LAST_TIME_MS {
        let text = write_time(ms);
        assert_eq!(time_ms(&text, 0).unwrap(), ms, "{text}");
        assert_eq!(text.len(), 24);
        ms += 86_400_000 * 13 + 12_345_678_901;
    }
    assert_eq!(write_time(1_796_083_200_500), "2026-12-01T00:00:00.500Z");
    assert_eq!(write_time(u64::MAX), "9999-12-31T23:59:59.999Z");
}

#[test]
fn durations_are_written_as_they_are_read() {
    for (ms, text) in
        [(0, "0s"), (1_500, "1500ms"), (90_000, "90s"), (1_200_000, "20m"), (3_600_000, "1h"), (864_000_000, "10d")]
    {
        assert_eq!(written_ms(ms), text);
        assert_eq!(duration_ms(text).unwrap(), ms);
    }
}

#[test]
fn status_lists_are_read() {
    assert_eq!(status_list("2xx,304, 400-403").unwrap(), [(200, 299), (304, 304), (400, 403)]);
    for text in ["", "2xx,", "20x", "99", "600", "403-400", "xx", "6xx", "2xx-3xx", "+200"] {
        assert!(status_list(text).is_err(), "{text}");
    }
}

fn parse(text: &str) -> Result<Config> {
    Config::parse(text, Path::new("/etc/haul/config.toml"), &|_| None)
}

#[test]
fn a_full_configuration_is_read() {
    let config = parse(
        r#"
        durability = "relaxed"
        retry-jitter = true
        [directories]
        downloads = "/srv/in"
        root = "/"
        [limits]
        per-host = 2
        [limits.groups]
        big = 1
        [[callbacks]]
        path = "parts/token.wasm"
        allow-hosts = ["auth.example.org", "http://localhost:8080"]
        config = { user = "me" }
        [callbacks.limits]
        memory = "64M"
        cpu = 100
        wall-http = "1m"
        http-requests = 2
        [[callbacks]]
        name = "second"
        path = "/opt/second.wasm"
        "#,
    )
    .unwrap();
    assert_eq!(config.durability, Durability::Relaxed);
    assert!(config.retry_jitter);
    assert_eq!(config.directories["downloads"], Path::new("/srv/in"));
    assert_eq!(config.directories["root"], Path::new("/"));
    assert_eq!((config.limits.queue.total, config.limits.queue.per_host, config.limits.queue.per_group), (10, 2, 0));
    assert_eq!(config.limits.queue.groups["big"], 1);
    let first = &config.callbacks[0];
    assert_eq!(first.name, "token");
    assert_eq!(first.path, Path::new("/etc/haul/parts/token.wasm"));
    assert_eq!(first.grants.allow_hosts.len(), 2);
    assert_eq!(first.grants.config, [("user".to_string(), "me".to_string())]);
    assert_eq!(
        first.grants.limits,
        CallLimits {
            memory_bytes: 64 << 20,
            cpu_ms: 100,
            wall_http_ms: 60_000,
            http_requests: 2,
            ..CallLimits::default()
        }
    );
    assert_eq!(config.callbacks[1].name, "second");
    assert_eq!(config.callbacks[1].grants, Grants::default());
}

#[test]
fn an_empty_configuration_has_the_defaults() {
    let config = parse("").unwrap();
    assert_eq!(config.limits, crate::limits::Limits::default());
    assert_eq!(config.durability, Durability::Full);
    assert!(config.directories.is_empty() && config.callbacks.is_empty() && !config.retry_jitter);
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_key() {
    for (text, line, words) in [
        ("\nretry-jiter = true\n", 2, "retry-jiter"),
        ("[limits]\ntotal = \"many\"\n", 2, "expected a whole number"),
        ("[limits]\ntotal = -1\n", 2, "-1"),
        ("durability = \"maybe\"", 1, "maybe"),
        ("[directories]\ndownloads = \"srv\"\n", 2, "absolute"),
        ("[[callbacks]]\nname = \"x\"\n", 1, "path"),
        ("[[callbacks]]\npath = \"~/x.wasm\"\n", 2, "relative to this file"),
        ("[[callbacks]]\npath = \"x.wasm\"\nname = \"\"\n", 3, "1 to 100 characters"),
        ("[[callbacks]]\npath = \"x.wasm\"\nname = \"a/b\"\n", 3, "no `/`"),
        ("[[callbacks]]\npath = \"x.wasm\"\nname = \"a\\u0007b\"\n", 3, "no control characters"),
        ("[[callbacks]]\npath = \"x.wasm\"\ngroup = \"\"\n", 3, "names a group"),
        ("[[grants]]\nname = \"a/b\"\n", 2, "no `/`"),
        ("[[callbacks]]\npath = \"x.wasm\"\n[callbacks.limits]\ncpu = \"3s\"\n", 4, "1ms to 2s"),
        ("[[callbacks]]\npath = \"x.wasm\"\nlimits = { wall = \"soon\" }\n", 3, "not `soon`"),
        ("limits = 1\n", 1, "expected a table;"),
        ("callbacks = [\"x\"]\n", 1, "expected a table;"),
        ("[callbacks]\npath = \"x\"\n", 1, "invalid type: a table, expected a list"),
        ("[limits]\ntotal = 99999999999999999999\n", 2, "`99999999999999999999`, expected a whole number"),
        ("skip-existing = -1\n", 1, "`skip-existing` must be a number, or a text with a unit, not `-1`"),
        ("[limits]\nrate = [\"1M\"]\n", 2, "a speed limit must be bytes per second"),
        ("[limits.groups]\n\"\" = 1\n", 1, "no task can be of the group ``"),
        ("[limits.group-rates]\nchunk = 1\n", 1, "`chunk` is reserved"),
        ("[retain]\nage = 10\n", 2, "`age` must be a text with a unit such as `30s` or `10d`, not `10`"),
        ("[retain]\nage = \"x\"\n", 2, "`age` must be a duration"),
        ("[[webhooks]]\nurl = \"http://h\"\nname = \"\"\n", 3, "`name` is empty"),
        ("[[webhooks]]\nurl = \"http://h\"\nstatuses = []\n", 3, "`statuses` lists at least one"),
        ("[[webhooks]]\nurl = \"http://h\"\ngroups = []\n", 3, "`groups` lists groups"),
        ("[[webhooks]]\nurl = \"http://h\"\ntimeout = \"0\"\n", 3, "at least `1ms`"),
        ("[[webhooks]]\nurl = \"http://h\"\ngive-up-after = \"x\"\n", 3, "`give-up-after` must be a duration"),
        ("x = [", 1, ""),
    ] {
        let message = parse(text).unwrap_err().to_string();
        assert!(message.starts_with("/etc/haul/config.toml, line "), "{message}");
        assert!(message.contains(&format!(", line {line}:")), "{text}\n{message}");
        assert!(message.contains(words), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn who_needs_an_unmetered_network_is_said_in_the_words_of_the_flag_too() {
    use crate::limits::RequireWifi::{AsSetByTask, ForAllTasks, ForNoTasks};
    for (names, meant) in [
        (["task", "asSetByTask"], AsSetByTask),
        (["all", "forAllTasks"], ForAllTasks),
        (["none", "forNoTasks"], ForNoTasks),
    ] {
        for name in names {
            let config = parse(&format!("[network]\nrequire-wifi = \"{name}\"\n")).unwrap();
            assert_eq!(config.limits.require_wifi, meant, "{name}");
        }
    }
}

#[test]
fn a_component_of_the_configuration_has_a_name_of_its_own() {
    let refused = |tables: &[&str]| {
        let text: String = tables.iter().map(|table| format!("[[callbacks]]\n{table}\n")).collect();
        parse(&text).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let (one, two) = ("path = \"one/callbacks.wasm\"", "path = \"two/callbacks.wasm\"");
    let by_file = refused(&[one, two]);
    assert!(by_file.contains("named `callbacks` (/etc/haul/one/callbacks.wasm and /etc/haul/two/"), "{by_file}");
    let given =
        refused(&[&format!("{one}\nname = \"n\"\ngroup = \"a\""), &format!("{two}\nname = \"n\"\ngroup = \"b\"")]);
    assert!(given.ends_with("give one of them another `name`"), "{given}");
    assert_ne!(refused(&[one, one]), "", "twice for the same tasks");
    assert_eq!(refused(&[one, &format!("{two}\nname = \"two\"")]), "");
    assert_eq!(refused(&[&format!("{one}\ngroup = \"a\""), &format!("{one}\ngroup = \"b\"")]), "", "one component");
    let unnamed = refused(&["path = \"a\\u0007b.wasm\""]);
    assert!(unnamed.contains("needs a `name`"), "{unnamed}");
}

#[test]
fn a_missing_file_is_empty_unless_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    assert!(Config::read(&path, false, &|_| None).is_ok());
    let message = Config::read(&path, true, &|_| None).unwrap_err().to_string();
    assert!(message.contains("config.toml"), "{message}");
    std::fs::write(&path, "retry-jitter = true").unwrap();
    assert!(Config::read(&path, true, &|_| None).unwrap().retry_jitter);
}

#[test]
fn a_granted_host_is_exact_or_refused_with_its_line() {
    let read = |host: &str| {
        let text = format!("[[callbacks]]\npath = \"c.wasm\"\nallow-hosts = [\"a.example\", {host:?}]\n");
        Config::parse(&text, Path::new("config.toml"), &|_| None)
    };
    for host in
        ["b.example", "b.example:8080", "https://b.example", "[::1]:80", "127.0.0.1", "private+wiki.example:8080"]
    {
        assert!(read(host).is_ok(), "{host}");
    }
    for host in
        ["127.1:80", "", "https://b.example/path", "*.example", "ftp://b", "b.example/", "user:pw@b", "a b", "private+"]
    {
        let message = read(host).unwrap_err().to_string();
        assert!(message.contains("line 3") && message.contains("`allow-hosts`"), "{message}");
        assert!(!message.contains("pw"), "{message}");
    }
}

fn profiles(text: &str) -> Result<BTreeMap<String, Profile>> {
    let variables = |name: &str| match name {
        "TOKEN" | "no_proxy" => Some("set".to_owned()),
        "all_proxy" => Some("socks5h://all:1".to_owned()),
        "HTTPS_PROXY" => Some("http://secure:2".to_owned()),
        "HOME" => Some("/h".to_owned()),
        _ => None,
    };
    Config::parse(text, Path::new("/etc/haul/config.toml"), &variables).map(|config| config.profiles)
}

#[test]
fn a_profile_has_what_it_says_and_what_it_inherits() {
    use crate::transport::{MinTls, Proof, Secret};
    let text = r#"
        [profiles.base]
        base-url = "https://h.example/api/"
        headers = { X-Team = "t", Accept = "a" }
        timeouts = { connect = "5s", idle = 10 }
        proxy = "env"
        client-cert = "both.pem"
        cookies = true
        [profiles.middle]
        inherits = "base"
        min-tls = "1.3"
        insecure-hosts = ["test.example"]
        auth = { bearer-env = "TOKEN" }
        [profiles.corp]
        inherits = "middle"
        headers = { accept = "b" }
        timeouts = { connect = "1s" }
        no-proxy = ["a", "b"]
        client-cert = "c.pem"
        client-key = "/k.pem"
        cookies = "jar.txt"
        accept-status = "2xx,304"
        http2 = false
        netrc = true
    "#;
    let profiles = profiles(text).unwrap();
    let corp = &profiles["corp"];
    assert_eq!(corp.base_url.as_deref(), Some("https://h.example/api/"));
    let headers: Vec<_> = corp.headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(headers, ["X-Team=t", "accept=b"]);
    assert_eq!((corp.timeouts.connect_ms, corp.timeouts.idle_ms), (Some(1_000), Some(10)));
    assert_eq!(corp.accept_status, [(200, 299), (304, 304)]);
    let travels = &corp.transport;
    assert_eq!(travels.proxy.http.as_deref(), Some("socks5h://all:1"));
    assert_eq!((travels.proxy.https.as_deref(), travels.proxy.bypass.as_str()), (Some("http://secure:2"), "a,b"));
    assert_eq!(travels.client_cert.as_deref(), Some(Path::new("/etc/haul/c.pem")));
    assert_eq!(travels.client_key.as_deref(), Some(Path::new("/k.pem")));
    assert_eq!((travels.min_tls, travels.http2, travels.insecure_hosts.len()), (MinTls::V13, false, 1));
    assert_eq!(travels.netrc.as_deref(), Some(Path::new("/h/.netrc")));
    assert_eq!(travels.credentials.as_ref().unwrap().proof, Proof::Bearer(Secret::Text("set".into())));
    assert_eq!(corp.cookies, crate::profile::KeepCookies::File("/etc/haul/jar.txt".into()));
    assert_eq!(profiles["base"].transport.proxy.bypass, "set");
    assert_eq!(profiles["base"].cookies, crate::profile::KeepCookies::Home);
}

#[test]
fn a_wrong_profile_is_refused_with_a_sentence_and_without_its_secrets() {
    for (text, words) in [
        ("[profiles.a]\ninherits = \"b\"\n[profiles.b]\ninherits = \"a\"", "a → b → a"),
        ("[profiles.a]\ninherits = \"a\"", "a → a"),
        ("[profiles.a]\ninherits = \"b\"", "there is no [profiles.b]"),
        ("[profiles.a]\nnonsense = 1", "line 2"),
        ("[profiles.a]\nbase-url = \"h.example\"", "`base-url`"),
        ("[profiles.a]\nbase-url = \"http://u:secret@h/\"", "without user"),
        ("[profiles.a]\nauth = { bearer-env = \"TOKEN\" }", "needs a `base-url`"),
        ("[profiles.a]\nbase-url = \"http://h/\"\nauth = { user = \"u\" }", "password-file"),
        (
            "[profiles.a]\nbase-url = \"http://h/\"\nauth = { user = \"u\", password = \"secret\", bearer-env = \"X\" }",
            "either",
        ),
        ("[profiles.a]\nmin-tls = \"1.1\"", "1.2"),
        ("[profiles.a]\ncookies = 3", "true, false or a file"),
    ] {
        let message = profiles(text).unwrap_err().to_string();
        assert!(message.contains(words) && !message.contains("secret"), "{text}: {message}");
    }
    let unset = profiles("[profiles.a]\nbase-url = \"http://h/\"\nauth = { bearer-env = \"UNSET\" }").unwrap();
    assert!(format!("{:?}", unset["a"].transport.credentials).contains("UNSET"), "told when it is needed");
}
