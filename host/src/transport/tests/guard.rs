//! Tests of the address guard: the table of addresses, and that it is asked on each way to connect.

use std::net::IpAddr;

use super::super::guard::is_public;
use super::*;
use crate::error::FailureKind;

#[test]
fn addresses_that_are_set_aside_are_not_public() {
    for text in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.9",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:c0a8:101::1",
        "2001::1",
        "2001:db8::1",
        "3fff::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "100::1",
    ] {
        assert!(!is_public(text.parse::<IpAddr>().unwrap()), "{text}");
    }
}

#[test]
fn ordinary_addresses_are_public() {
    for text in [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.1",
        "172.15.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "198.17.0.1",
        "198.20.0.1",
        "223.255.255.255",
        "2606:4700::1111",
        "2a00:1450::1",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
        "2001:4860::8888",
    ] {
        assert!(is_public(text.parse::<IpAddr>().unwrap()), "{text}");
    }
}

fn guarded(url: String, private_hosts: &[&str]) -> Call {
    let private = |host: &&str| PrivateHost { host: (*host).to_owned(), ports: Ports::Any };
    let private_hosts = private_hosts.iter().map(private).collect();
    Call { guard: Guard::Public { private_hosts, led_by: None }, ..get(url) }
}

#[tokio::test]
async fn under_the_guard_no_private_address_is_connected_to() {
    let server = Server::one(vec![Request, ok("secret")]).await;
    for host in [
        "127.0.0.1",
        "localhost",
        "LOCALHOST.",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "2130706433",
        "0x7f.1",
        "127.1",
        "0.0.0.0",
    ] {
        let url = format!("http://{host}:{}/?q=1", server.port);
        let failure = transport().send(guarded(url, &[])).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Policy, "{host}: {failure}");
        assert!(!failure.description.contains("q=1"));
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_granted_host_is_reached_under_the_guard_and_only_by_that_name() {
    let server = Server::one(vec![Request, ok("yes")]).await;
    let call = guarded(server.url("/"), &["other", "127.0.0.1"]);
    assert_eq!(fetch(&transport(), call).await.unwrap().1, "yes");
    let call = guarded(server.url("/"), &["localhost"]);
    let failure = transport().send(call).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Policy);
}

#[test]
fn a_granted_port_grants_no_other() {
    let granted = |ports: Ports, url: &str| {
        let private_hosts = [PrivateHost { host: "[::1]".into(), ports }].into();
        Guard::Public { private_hosts, led_by: None }.grants(&Url::parse(url).unwrap())
    };
    assert!(granted(Ports::Any, "http://[::1]:6379/") && !granted(Ports::Any, "http://[::2]:6379/"));
    assert!(granted(Ports::Usual, "https://[::1]/") && !granted(Ports::Usual, "http://[::1]:6379/"));
    assert!(granted(Ports::One(80), "http://[::1]/") && !granted(Ports::One(80), "https://[::1]/"));
}

#[tokio::test]
async fn a_pooled_connection_made_without_a_guard_does_not_get_around_one() {
    let server = Server::one(vec![Request, ok("free"), Request, ok("got around")]).await;
    let transport = transport();
    fetch(&transport, get(server.url("/"))).await.unwrap();
    let failure = transport.send(guarded(server.url("/"), &[])).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Policy);
    assert_eq!(server.seen().len(), 1);
}

/// Leads the first request to another URL, and says where it may go from there.
struct Leads(String, Guard);

impl Steps for Leads {
    fn before_request(&self, step: Outbound) -> Asked<'_, Go> {
        let is_first = step.url.ends_with("/first");
        let led = || Outbound { url: self.0.clone(), guard: Some(self.1.clone()), ..step.clone() };
        let go = if is_first { led() } else { step };
        Box::pin(async move { Ok(Go::Send(go)) })
    }

    fn before_redirect(&self, _: Redirect) -> Asked<'_, Follow> {
        Box::pin(async { Ok(Follow::Yes) })
    }
}

#[tokio::test]
async fn a_guard_that_is_set_on_the_way_holds_for_the_rest_of_it_and_tells_who_led_there() {
    let inner = Server::one(vec![Request, ok("secret")]).await;
    let to = format!("http://localhost:{}/", inner.port);
    let outer =
        Server::one(vec![Request, say(format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"))])
            .await;
    let private_hosts = [PrivateHost { host: "127.0.0.1".into(), ports: Ports::Any }].into();
    let guard = Guard::Public { private_hosts, led_by: Some("a guide leads to".into()) };
    let steps: Arc<dyn Steps> = Arc::new(Leads(outer.url("/led"), guard));
    let call = Call { steps: Some(steps), ..get("http://192.0.2.1/first") };

    let failure = transport().send(call).await.unwrap_err();

    assert_eq!(failure.kind, FailureKind::Policy);
    let told =
        format!("a guide leads to localhost:{}, which is not on the public internet and not granted", inner.port);
    assert!(failure.description.starts_with(&told), "{failure}");
    assert_eq!((outer.seen().len(), inner.seen().len()), (1, 0));
}

#[tokio::test]
async fn a_redirect_from_a_granted_host_to_a_private_one_is_refused() {
    let inner = Server::one(vec![Request, ok("secret")]).await;
    let to = format!("http://localhost:{}/", inner.port);
    let outer =
        Server::one(vec![Request, say(format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"))])
            .await;
    let call = guarded(outer.url("/"), &["127.0.0.1"]);
    let failure = transport().send(call).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Policy);
    assert!(inner.seen().is_empty());
}
