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
