//! Redirects are followed by rules: what was meant for one origin never reaches another.

use serde_json::json;

use crate::support::*;

#[test]
fn every_kind_of_redirect_is_followed() {
    for code in [301, 302, 303, 307, 308] {
        let (world, origin) = (World::new(), Origin::start());
        origin.serve("/there", file(b"x"));
        let film = origin.serve("/f", redirect(code, "there?q=1#part"));

        let last = world.get(&[film.url()]).exits(0).only_final();

        assert_eq!(world.read("f"), b"x", "the body of the redirect is not kept");
        assert_eq!(last["responseStatusCode"], 200);
        assert_eq!(origin.log(), ["GET /f", "GET /there?q=1"], "{code}");
    }
}

#[test]
fn each_exchange_is_told_with_its_status_protocol_and_address() {
    let (world, origin) = (World::new(), Origin::start());
    let there = origin.serve("/there", file(b"x"));
    let film = origin.serve("/f", redirect(302, "there?key=canary"));

    let last = world.get(&[film.url()]).exits(0).only_final();

    let hops = last["hops"].as_array().unwrap();
    let told: Vec<_> = hops.iter().map(|hop| (hop["url"].as_str().unwrap(), hop["status"].as_u64().unwrap())).collect();
    assert_eq!(told, [(film.url(), 302), (there.url(), 200)]);
    assert_eq!((&hops[0]["reused"], &hops[1]["reused"]), (&json!(false), &json!(true)));
    for hop in hops {
        assert_eq!(hop["protocol"], "HTTP/1.1");
        assert!(film.url().contains(hop["remoteAddress"].as_str().unwrap()), "{hop}");
    }
    assert!(hops[0]["connectUs"].as_u64().unwrap() > 0 && hops[1]["connectUs"] == 0, "{hops:?}");

    // Of a failed attempt, the record tells it too: here an exchange that nobody answered.
    let gate = Gate::new();
    let gone = origin.serve("/gone", file(b"x").head_gate(&gate));
    let last = world.get(&[gone.url(), "--retries", "0", "--timeout-head", "200ms"]).exits(5).only_final();
    let shown = world.haul(&["show", last["taskId"].as_str().unwrap(), "--json"]).exits(0);
    let hops = &serde_json::from_str::<serde_json::Value>(&shown.stdout).unwrap()["hops"];
    assert_eq!((hops[0]["url"].as_str(), &hops[0]["status"]), (Some(gone.url()), &json!(null)), "{hops}");
    assert!(hops[0]["answerUs"].as_u64().unwrap() >= 200_000, "{hops}");
    gate.open();
}

#[test]
fn headers_stay_within_their_origin() {
    let (world, origin) = (World::new(), Origin::start());
    let there = origin.serve("/there", file(b"x"));
    let film = origin.serve("/f", redirect(302, "/there"));

    world.haul(&with_secrets(&["get", film.url()])).exits(0);

    let request = &there.requests()[0];
    assert_eq!(request.header("authorization"), Some("Bearer 1"));
    assert_eq!(request.header("x-custom"), Some("2"));
}

#[test]
fn another_origin_gets_no_credentials_and_no_custom_headers() {
    let (world, origin, other) = (World::new(), Origin::start(), Origin::start());
    let back = origin.serve("/back", file(b"x"));
    let away = other.serve("/away", redirect(302, back.url()));
    let film = origin.serve("/f", redirect(307, away.url()));

    world.haul(&with_secrets(&["get", film.url()])).exits(0);

    assert_eq!(film.requests()[0].header("cookie"), Some("a=b"));
    for request in [&away.requests()[0], &back.requests()[0]] {
        for name in ["authorization", "proxy-authorization", "cookie", "x-api-key", "x-custom", "referer"] {
            assert_eq!(request.header(name), None, "{name} reached {}", request.target);
        }
        assert_eq!(request.header("user-agent"), Some("me/2"));
        assert_eq!(request.header("accept-language"), Some("de"));
    }
}

#[test]
fn user_and_password_of_a_url_are_sent_to_its_origin_alone() {
    let (world, origin, other) = (World::new(), Origin::start(), Origin::start());
    let away = other.serve("/away", file(b"x"));
    let film = origin.serve("/f", redirect(302, away.url()));

    let url = film.url().replace("http://", "http://me:secret@");
    world.haul(&["get", &url]).exits(0);

    assert_eq!(film.requests()[0].header("authorization"), Some("Basic bWU6c2VjcmV0"));
    assert_eq!(away.requests()[0].header("authorization"), None);
}

#[test]
fn user_and_password_in_a_location_are_dropped() {
    let (world, origin, other) = (World::new(), Origin::start(), Origin::start());
    let away = other.serve("/away", file(b"x"));
    let film = origin.serve("/f", redirect(302, &away.url().replace("http://", "http://me:secret@")));

    world.haul(&["get", film.url()]).exits(0);

    assert_eq!(away.requests()[0].header("authorization"), None);
}

#[test]
fn a_loop_ends_soon_and_exits_1() {
    let (world, origin) = (World::new(), Origin::start());
    let one = origin.serve("/one", redirect(302, "/two"));
    origin.serve("/two", redirect(302, "/one"));

    world.get(&[one.url(), "--retries", "3"]).exits(1);

    assert!(origin.requests().len() <= 11, "a loop is not worth a retry: {:?}", origin.log());
}

#[test]
fn a_redirect_that_is_not_followed_is_told_with_its_code_headers_and_body() {
    let (world, origin) = (World::new(), Origin::start());
    world.write("f", b"content");
    let moved = |code: u16| origin.serve(&format!("/{code}"), redirect(code, "/end").header("X-Why", "maintenance"));
    let (moved, found) = (moved(301), moved(302));
    let circle = origin.serve("/loop", redirect(302, "/loop").header("X-Why", "maintenance"));
    let refused =
        |words: &[&str]| world.haul(&[&["--json"], words, &["--retries", "3"]].concat()).exits(1).only_final();
    let told = [
        (
            refused(&["put", "f", moved.url()]),
            301,
            "redirects (301) which would make a GET of the POST and lose the body",
        ),
        (
            refused(&["put", "--binary", "f", found.url()]),
            302,
            "redirects (302) a PUT with a body, which haul sends elsewhere for 307 and 308 only",
        ),
        (refused(&["request", circle.url()]), 302, "(a loop)"),
        (refused(&["get", circle.url()]), 302, "(a loop)"),
    ];

    for (update, code, why) in told {
        assert_eq!(update["responseStatusCode"], code, "{update}");
        assert_eq!(update["responseHeaders"]["x-why"], "maintenance", "{update}");
        assert_eq!(update["responseBody"], format!("this is a {code}"), "{update}");
        let description = update["exception"]["description"].as_str().unwrap();
        assert!(description.ends_with(why), "{description}");
    }
    assert_eq!((moved.log().len(), circle.log().len()), (1, 2), "and is not worth a retry");
}

#[test]
fn too_many_redirects_exit_1() {
    let (world, origin) = (World::new(), Origin::start());
    for hop in 0..20 {
        origin.serve(&format!("/{hop}"), redirect(302, &format!("/{}", hop + 1)));
    }
    origin.serve("/3x", file(b"x"));
    origin.serve("/2x", redirect(302, "/3x"));
    origin.serve("/1x", redirect(302, "/2x"));

    world.get(&[&origin.url("/0"), "--retries", "3"]).exits(1);
    assert_eq!(origin.requests().len(), 11, "10 redirects are followed");

    world.get(&[&origin.url("/1x"), "--max-redirects", "1"]).exits(1);
    world.get(&[&origin.url("/1x"), "--max-redirects", "2"]).exits(0);
    world.get(&[&origin.url("/1x"), "--max-redirects", "0"]).exits(1);
}

#[test]
fn a_location_that_leads_nowhere_exits_1() {
    let world = World::new();
    let origin = Origin::start();
    std::fs::write(world.path("local"), "secret").unwrap();
    let local = format!("file://{}", world.path("local").display());
    for location in ["ftp://127.0.0.1/f", "", "javascript:alert(1)", "http://", &local] {
        let film = origin.serve("/f", redirect(302, location));
        world.get(&[film.url(), "--retries", "0"]).exits(1);
    }
    let film = origin.serve("/f", status(302));
    world.get(&[film.url(), "--retries", "0"]).exits(1);
    let two = redirect(302, "/a").header("Location", "/b");
    let film = origin.serve("/f", two);
    world.get(&[film.url(), "--retries", "0"]).exits(1);
    assert!(world.names().iter().all(|name| name.ends_with(".part")), "{:?}", world.names());
}

#[test]
fn https_is_not_left_for_http() {
    let (world, identity) = (World::new(), Identity::new());
    let (secure, plain) = (Origin::start_tls(&identity), Origin::start());
    let away = plain.serve("/away", file(b"x"));
    let film = secure.serve("/f", redirect(302, away.url()));
    let authority = world.write("ca.pem", &identity.certificate);

    world.get(&[film.url(), "--cacert", authority.to_str().unwrap(), "--retries", "0"]).exits(1);

    assert_eq!(plain.requests().len(), 0);
    assert_eq!(film.log().len(), 1);
}

#[test]
fn a_307_keeps_the_method_and_the_body() {
    let (world, origin) = (World::new(), Origin::start());
    let there = origin.serve("/there", file(b"x"));
    let film = origin.serve("/f", redirect(307, "/there"));

    world.add(&[json!({"url": film.url(), "post": "the body"})]);
    world.run().exits(0);

    assert_eq!(there.log(), ["POST /there"]);
    assert_eq!(there.requests()[0].body, b"the body");
}

#[test]
fn a_303_asks_for_the_result_without_the_body() {
    let (world, origin) = (World::new(), Origin::start());
    let there = origin.serve("/there", file(b"x"));
    let film = origin.serve("/f", redirect(303, "/there"));

    world.add(&[json!({"url": film.url(), "post": "the body"})]);
    world.run().exits(0);

    assert_eq!(there.log(), ["GET /there"]);
    assert_eq!(there.requests()[0].body, b"");
    assert_eq!(there.requests()[0].header("content-type"), None);
}

/// Headers that may not travel, and two that may.
fn with_secrets<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let headers = [
        "Authorization: Bearer 1",
        "Proxy-Authorization: Basic 2",
        "Cookie: a=b",
        "X-Api-Key: 3",
        "X-Custom: 2",
        "User-Agent: me/2",
        "Accept-Language: de",
    ];
    let mut words = arguments.to_vec();
    for header in headers {
        words.extend(["-H", header]);
    }
    words
}
