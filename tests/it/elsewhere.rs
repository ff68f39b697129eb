//! The same URL that leads to another place than before: an equal validator proves nothing there.

use crate::download::notes;
use crate::support::*;

const MIB: usize = 1 << 20;
const SIZE: usize = 6 * MIB;

fn version(seed: u64, length: usize) -> Answer {
    file(&bytes(seed, length)).etag("\"v1\"")
}

#[test]
fn a_redirect_to_another_file_of_the_same_length_and_validator_begins_afresh() {
    for code in [302, 307] {
        let (world, origin) = (World::new(), Origin::start());
        origin.serve("/v1", version(1, MIB).cut(400_000));
        let two = origin.serve("/v2", version(2, MIB));
        let film = origin.serve("/f", redirect(code, "/v1"));
        world.get(&[film.url(), "--retries", "0"]).exits(5);
        film.now(vec![redirect(code, "/v2")]);

        let last = world.get(&[film.url()]).exits(0).only_final();

        assert_same_bytes(&world.read("f"), &bytes(2, MIB));
        assert!(notes(&last).contains(&"restarted-changed"), "{last}");
        let compared = 400_000 - (64 << 10);
        assert_eq!(two.requests()[1].range_start(), Some(compared), "{:?}", two.log());
    }
}

#[test]
fn a_redirect_to_another_place_of_the_same_file_goes_on() {
    let (world, origin, other) = (World::new(), Origin::start(), Origin::start());
    origin.serve("/one", version(1, MIB).cut(400_000));
    let two = other.serve("/two", version(1, MIB).cut(500_000));
    let film = origin.serve("/f", redirect(302, "/one"));
    world.get(&[film.url(), "--retries", "0"]).exits(5);
    film.now(vec![redirect(302, two.url())]);

    world.get(&[film.url(), "--retries", "0"]).exits(5);
    let asked = two.log().len();
    two.now(vec![version(1, MIB)]);
    let last = world.get(&[film.url()]).exits(0).only_final();

    assert_same_bytes(&world.read("f"), &bytes(1, MIB));
    assert!(!notes(&last).iter().any(|note| note.starts_with("restarted")), "{last}");
    assert_eq!(two.log().len() - asked, 1, "what was compared once is known: {:?}", two.log());
}

#[test]
fn parts_that_are_redirected_to_other_places_of_the_same_file_are_compared_and_joined() {
    let (world, origin) = (World::new(), Origin::start());
    for place in ["/1", "/2", "/3"] {
        origin.serve(place, version(1, SIZE).pace(20 * MIB));
    }
    let ways = ["/1", "/2", "/3"].into_iter().cycle().take(60).map(|place| redirect(302, place));
    let film = origin.script("/f", ways.collect());

    let last = world.get(&[film.url(), "--parts", "4"]).exits(0).only_final();

    assert_same_bytes(&world.read("f"), &bytes(1, SIZE));
    assert!(!notes(&last).iter().any(|note| note.starts_with("restarted") || *note == "single-stream"), "{last}");
}

#[test]
fn parts_that_are_redirected_to_another_file_are_not_joined() {
    let (world, origin) = (World::new(), Origin::start());
    origin.serve("/1", version(1, SIZE).gate(MIB, &Gate::new())); // never opened: it would bring the whole
    origin.serve("/2", version(2, SIZE));
    let film = origin.script("/f", [vec![redirect(302, "/1")], vec![redirect(302, "/2"); 20]].concat());

    let last = world.get(&[film.url(), "--parts", "4"]).exits(0).only_final();

    assert_same_bytes(&world.read("f"), &bytes(2, SIZE));
    assert!(notes(&last).contains(&"restarted-changed"), "{last}");
}

#[test]
fn parts_of_which_each_is_redirected_to_a_place_of_its_own_are_read_in_one_stream() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    origin.serve("/0", version(1, SIZE).gate(MIB, &gate));
    let elsewhere = version(1, SIZE);
    let places = (0..60).map(|place| {
        if place > 0 {
            origin.serve(&format!("/{place}"), elsewhere.clone());
        }
        redirect(302, &format!("/{place}"))
    });
    let film = origin.script("/f", places.collect());

    let running = world.spawn_get(&["-v", film.url(), "--parts", "2"]);
    running.wait_for_word("goes on in one stream");
    gate.open();
    let last = running.finish().exits(0).only_final();

    assert_same_bytes(&world.read("f"), &bytes(1, SIZE));
    assert!(notes(&last).contains(&"single-stream: the server redirects each part elsewhere"), "{last}");
}
