//! Notifications on the desktop, over a real D-Bus.

use serde_json::json;

use crate::support::bus::{Bus, Desktop};
use crate::support::*;

#[test]
fn a_notification_takes_the_place_of_what_was_said_of_its_task_before() {
    let (mut world, origin, bus) = (World::new(), Origin::start(), Bus::start());
    bus.serve(&mut world);
    let desktop = Desktop::start(&bus, &["body", "body-markup"]);
    let film = origin.script("/f", vec![status(404), file(b"film")]);
    world.config(
        "[notifications]\nto = [\"desktop\"]\nrunning = { title = \"<{filename}>\", body = \"{metaData}\" }\n\
         complete = { title = \"there\" }\nerror = { title = \"failed\" }\n",
    );
    world.add(&[json!({"url": film.url(), "taskId": "one", "metaData": "a <b>&amp; \"c\"\u{0}"})]);
    let running = world.spawn(&["--json", "run"]);
    running.wait_for_status("notFound");
    desktop.wait_for(2);
    world.haul(&["retry", "one"]).exits(0);

    let shown = desktop.wait_for(4);

    let said: Vec<_> = shown.iter().map(|shown| (shown.title.as_str(), shown.replaces, shown.urgency)).collect();
    let rounds = [("<f>", 0, 1), ("failed", 1, 2), ("<f>", 0, 1), ("there", 2, 1)];
    assert_eq!(said, rounds, "what has ended stays, and the next round is a notification of its own");
    assert!(shown.iter().all(|shown| shown.app == "haul"), "{shown:#?}");
    assert_eq!(shown[0].body, "a &lt;b&gt;&amp;amp; \"c\"");
    running.kill();
}

#[test]
fn a_group_shown_as_one_has_one_notification_and_bodies_are_as_they_are_where_no_markup_is_read() {
    let (mut world, origin, bus) = (World::new(), Origin::start(), Bus::start());
    bus.serve(&mut world);
    let desktop = Desktop::start(&bus, &["body"]);
    let film = origin.serve("/f", file(b"film"));
    world.config(
        "[notifications]\nto = [\"desktop\"]\n[notifications.groups.films]\nas-one = true\n\
         running = { title = \"{numFinished}/{numTotal}\", body = \"<&>\" }\ncomplete = { title = \"all\" }\n",
    );
    world.add(&[json!({"url": film.url(), "group": "films"}), json!({"url": film.url(), "group": "films"})]);

    world.run().exits(0);

    let shown = desktop.wait_for(2);
    let last = shown.last().unwrap();
    assert_eq!((shown[0].title.as_str(), shown[0].replaces, shown[0].body.as_str()), ("0/2", 0, "<&>"));
    assert_eq!((last.title.as_str(), last.replaces), ("all", 1), "it is shown before haul ends: {shown:#?}");
    assert!(shown[1..].iter().all(|shown| shown.replaces == 1), "{shown:#?}");
}

/// Gets two files, quietly and with -v: nothing of the desktop is said, or one line.
#[track_caller]
fn is_silent(world: &World, what: &str) {
    let origin = Origin::start();
    let film = origin.serve("/f", file(b"film"));
    world.config("[notifications]\nto = [\"desktop\"]\nrunning = { title = \"slow\" }\ncomplete = { title = \"c\" }\n");
    let get = |flags: &[&str]| world.haul(&[flags, &["get", film.url(), film.url()]].concat()).exits(0).stderr;

    let (told, told_verbose) = (get(&[]), get(&["-v"]));

    assert!(!told.contains("desktop") && !told.contains("warning"), "{what}: {told}");
    assert_eq!(told_verbose.matches("notifications are not shown on the desktop").count(), 1, "{what}: {told_verbose}");
}

#[test]
fn where_no_desktop_answers_nothing_is_shown_and_only_verbose_says_so_once() {
    let mut world = World::new();
    is_silent(&world, "no bus");
    world.set("DBUS_SESSION_BUS_ADDRESS", "nonsense");
    is_silent(&world, "no address of a bus");
    let bus = Bus::start();
    bus.serve(&mut world);
    is_silent(&world, "nobody who shows notifications");
    let desktop = Desktop::start(&bus, &[]);
    is_silent(&world, "no answer");
    assert_eq!(desktop.wait_for(2).len(), 2, "each process has asked once");
}

#[test]
fn a_notification_that_the_desktop_refuses_does_not_end_the_others() {
    let (mut world, origin, bus) = (World::new(), Origin::start(), Bus::start());
    bus.serve(&mut world);
    let desktop = Desktop::start(&bus, &[]);
    let film = origin.serve("/f", file(b"film"));
    world.config(
        "[notifications]\nto = [\"desktop\"]\nrunning = { title = \"refused\" }\ncomplete = { title = \"shown\" }\n",
    );

    world.get(&[film.url()]).exits(0);

    let titles: Vec<_> = desktop.wait_for(2).into_iter().map(|shown| (shown.title, shown.replaces)).collect();
    assert_eq!(titles, [("refused".to_owned(), 0), ("shown".to_owned(), 0)]);
}
