//! What is told of tasks, and to whom: `updates`, notifications, what is retained; and what is done with finished files.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use haul::{Addition, Session, Settings, Task, Told, Work};
use serde_json::json;

use crate::support::*;

/// Puts a program into the world's PATH that writes its arguments, one a line, to a file in the working directory.
fn program(world: &mut World, name: &str) -> std::path::PathBuf {
    let (bin, out) = (world.path("bin"), world.work().join(format!("{name}.said")));
    std::fs::create_dir_all(&bin).unwrap();
    // In one piece: several may run at once.
    let script =
        format!("#!/bin/sh\nsaid=$(printf '%s\\n' \"$@\"; echo .)\nprintf %s \"${{said%.}}\" >> '{}'\n", out.display());
    std::fs::write(bin.join(name), script).unwrap();
    std::fs::set_permissions(bin.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    world.set("PATH", &format!("{}:/usr/bin:/bin", bin.display()));
    out
}

/// Blocks until a program that nobody waits for has written this.
fn wait_for(path: &std::path::Path, text: &str) -> String {
    let said = || std::fs::read_to_string(path).unwrap_or_default();
    wait::wait_for(|| Some(said()).filter(|said| said.contains(text)), || format!("never `{text}`: {}", said()))
}

#[test]
fn a_task_sends_only_the_updates_it_asked_for_and_its_record_and_the_log_stay_true() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"film"));
    for (updates, statuses, progresses) in [
        ("none", "", 0),
        ("status", "running > complete", 0),
        ("progress", "", 2),
        ("statusAndProgress", "running > complete", 2),
    ] {
        world.add(&[json!({"url": film.url(), "taskId": updates, "updates": updates})]);
        let outcome = world.run().exits(0);

        assert_eq!(outcome.statuses(), statuses, "{updates}");
        let told = outcome.json();
        let progress: Vec<_> = told.iter().filter(|update| update["type"] == "progress").collect();
        assert_eq!(progress.len(), progresses, "{updates}: 0.0 and 1.0");
        assert_eq!(world.show(updates)["status"], "complete");
        assert_eq!(world.final_events()[updates], ["complete"]);
    }
}

#[test]
fn a_canceled_task_that_sends_nothing_stays_silent() {
    let (world, origin) = (World::new(), Origin::start());
    let held = origin.serve("/held", file(b"x").head_gate(&Gate::new()));
    world.add(&[
        json!({"url": "http://127.0.0.1:9/f", "taskId": "quiet", "updates": 0, "notBefore": "+1h"}),
        json!({"url": "http://127.0.0.1:9/f", "taskId": "loud", "notBefore": "+1h"}),
        json!({"url": held.url(), "taskId": "held"}),
    ]);
    let running = world.spawn(&["--json", "run"]);
    running.wait_for_status("running");

    world.haul(&["cancel", "quiet"]).exits(0);
    world.haul(&["cancel", "loud"]).exits(0);

    running.wait_for_status("canceled");
    assert!(!running.kill().stdout.contains("quiet"));
}

#[test]
fn notifications_are_handed_to_a_command_as_arguments() {
    let (mut world, origin) = (World::new(), Origin::start());
    let said = program(&mut world, "teller");
    let film = origin.serve("/f", file(b"film"));
    world.config(
        "[notifications]\nto = [\"command\", \"title\"]\n\
         command = [\"teller\", \"{state}\", \"{title}\", \"{body}\", \"{filePath}\"]\n\
         complete = { title = \"{displayName} is there\", body = \"$(id) {filename} {metaData}\" }\n\
         [notifications.groups.films]\nerror = { title = \"no film\" }\n",
    );
    world.add(&[
        json!({"url": film.url(), "displayName": "My film", "metaData": "m"}),
        json!({"url": origin.serve("/gone", status(404)).url(), "group": "films"}),
        json!({"url": film.url(), "notification": "films"}),
    ]);

    let outcome = world.haul(&["run", "--until-idle", "-j", "1"]).exits(8);

    wait_for(&said, "no film");
    let said = wait_for(&said, "complete");
    let path = world.path("in/f");
    assert!(said.contains(&format!("complete\nMy film is there\n$(id) f m\n{}\n", path.display())), "{said}");
    assert!(said.contains("error\nno film\n\n\n"), "{said}");
    assert_eq!(
        said.matches("complete").count(),
        1,
        "those of the group have texts of their own, and none for `complete`: {said}"
    );
    assert!(!outcome.stderr.contains('\u{1b}'), "no title where there is no terminal");
}

#[test]
fn a_group_shown_as_one_counts_all_that_waits_from_the_first() {
    let (mut world, origin) = (World::new(), Origin::start());
    let said = program(&mut world, "teller");
    let film = origin.serve("/f", file(b"film"));
    world.config(
        "[notifications]\nto = [\"command\"]\ncommand = [\"teller\", \"{state}\", \"{title}\", \"{body}\"]\n\
         [notifications.groups.films]\nas-one = true\n\
         running = { title = \"{numFinished}/{numTotal}\", body = \"{filename}\" }\n\
         error = { title = \"{numFailed}/{numTotal} failed\", body = \"{numFinished} {progress}\" }\n",
    );
    world.add(&[
        json!({"url": film.url(), "group": "films"}),
        json!({"url": origin.serve("/gone", status(404)).url(), "notification": "films"}),
        json!({"url": film.url(), "group": "films"}),
        json!({"url": film.url(), "group": "films", "updates": "none"}),
        json!({"url": film.url()}),
    ]);

    world.haul(&["run", "--until-idle", "-j", "1"]).exits(8);

    wait_for(&said, "0/3");
    let said = wait_for(&said, "error");
    assert!(said.contains("running\n0/3\nf\n") && said.contains("error\n1/3 failed\n3 100%\n"), "{said}");
    assert!(!said.contains("complete") && !said.contains("/1") && !said.contains("/2"), "{said}");
}

#[test]
fn a_group_of_one_command_line_is_counted_whole_from_the_first() {
    let (mut world, origin) = (World::new(), Origin::start());
    let said = program(&mut world, "teller");
    let urls = ["/a", "/b", "/c"].map(|path| origin.serve(path, file(b"film")).url().to_owned());
    world.config(
        "[notifications]\nto = [\"command\"]\ncommand = [\"teller\", \"{state}\", \"{title}\"]\n\
         [notifications.groups.films]\nas-one = true\n\
         running = { title = \"{numFinished} of {numTotal}\" }\ncomplete = { title = \"all {numTotal}\" }\n",
    );

    world.get(&[&urls[0], &urls[1], &urls[2], "--group", "films", "-j", "1"]).exits(0);

    let said = wait_for(&said, "all 3");
    assert!(said.starts_with("running\n0 of 3\n"), "{said}");
    assert!(!said.contains("of 1") && !said.contains("of 2"), "{said}");
}

/// A command that says its first argument; `waits` is said only when somebody has written into the pipe, which is answered too.
fn program_that_waits(world: &mut World, waits: &str) -> (std::path::PathBuf, std::path::PathBuf) {
    let said = program(world, "teller");
    let pipe = world.path("bin/pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = '{waits}' ]; then read _ < '{}'; fi\nprintf '%s\\n' \"$1\" >> '{}'\n",
        pipe.display(),
        said.display()
    );
    std::fs::write(world.path("bin/teller"), script).unwrap();
    (said, pipe)
}

#[test]
fn commands_of_one_notification_run_one_after_another_the_newest_last_and_others_meanwhile() {
    let (mut world, origin) = (World::new(), Origin::start());
    let (said, pipe) = program_that_waits(&mut world, "0/3");
    let film = origin.serve("/f", file(b"film"));
    world.config(
        "[notifications]\nto = [\"command\"]\ncommand = [\"teller\", \"{title}\"]\n\
         complete = { title = \"{displayName} is there\" }\n[notifications.groups.films]\nas-one = true\n\
         running = { title = \"{numFinished}/{numTotal}\" }\ncomplete = { title = \"all {numTotal}\" }\n",
    );
    let task = json!({"url": film.url(), "group": "films"});
    world.add(&[task.clone(), task.clone(), task]);
    let running = world.spawn(&["--json", "run", "-j", "1"]);
    running.wait_for_statuses("complete", 3);
    world.add(&[json!({"url": film.url(), "displayName": "another"})]);

    assert_eq!(wait_for(&said, "another"), "another is there\n");
    std::fs::write(pipe, "\n").unwrap();

    assert_eq!(wait_for(&said, "all"), "another is there\n0/3\nall 3\n");
    running.kill();
}

#[test]
fn a_command_that_hangs_holds_up_neither_the_end_nor_what_there_is_to_say_then() {
    let (mut world, origin) = (World::new(), Origin::start());
    let (said, pipe) = program_that_waits(&mut world, "running");
    let film = origin.serve("/f", file(b"film"));
    world.config(
        "[notifications]\nto = [\"command\"]\ncommand = [\"teller\", \"{state}\"]\n\
         running = { title = \"r\" }\ncomplete = { title = \"c\" }\n",
    );

    world.get(&[film.url()]).exits(0);

    assert_eq!(wait_for(&said, "complete"), "complete\n");
    std::fs::write(pipe, "\n").unwrap();
    wait_for(&said, "running");
}

#[test]
fn no_more_are_kept_than_are_to_be_when_the_queue_was_worked() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"film"));
    world.config("[retain]\nrecords = 2\nage = \"10d\"\n");
    for round in 0..2 {
        let task = |number| json!({"url": film.url(), "taskId": format!("{round}-{number}")});
        world.add(&(0..20).map(task).collect::<Vec<_>>());
        world.haul(&["run", "--until-idle"]).exits(0);

        let ids: Vec<_> = world.list().iter().map(|record| record["taskId"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), 2, "also of many that have ended in the same millisecond: {ids:?}");
        assert!(ids.iter().all(|id| id.starts_with(&format!("{round}-"))), "{ids:?}");
    }
    world.get(&[film.url()]).exits(0);
    assert_eq!(world.list().len(), 2);
}

#[test]
fn a_long_run_forgets_what_is_too_much_soon_after_the_end_of_another() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"film"));
    world.config("[retain]\nrecords = 1\n");
    let running = world.spawn(&["--json", "run"]);
    for number in 0..3 {
        let id = world.add(&[json!({"url": film.url()})]).remove(0);
        running.wait_for_update(|update| update["taskId"] == *id && update["status"] == "complete");
        wait::wait_until(|| world.list().len() == 1, || format!("after {number}: {:?}", world.list()));
    }
}

#[test]
fn a_long_run_forgets_what_has_become_old() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"film"));
    world.config("[retain]\nage = \"2s\"\n");
    world.add(&[json!({"url": film.url()})]);
    let running = world.spawn(&["--json", "run"]);
    running.wait_for_status("complete");

    wait::wait_until(|| world.list().is_empty(), || format!("{:?}", world.list()));
}

#[test]
fn a_finished_file_is_opened_and_moved_without_overwriting() {
    let (mut world, origin) = (World::new(), Origin::start());
    let opened = program(&mut world, "xdg-open");
    let film = origin.serve("/f.png", file(b"film"));
    world.set("XDG_PICTURES_DIR", world.path("user/Shots").to_str().unwrap());
    let shots = world.path("user/Shots/trip");
    std::fs::create_dir_all(&shots).unwrap();
    std::fs::write(shots.join("f.png"), b"older").unwrap();
    world.get(&["--id", "one", film.url()]).exits(0);

    world.haul(&["open", "one"]).exits(0);
    assert!(wait_for(&opened, "f.png").ends_with("work/f.png\n"));
    let moved = world.haul(&["move", "one", "--to", "images", "--directory", "trip"]).exits(0);

    assert_eq!(moved.stdout, format!("{}\n", shots.join("f (1).png").display()));
    assert_eq!(std::fs::read(shots.join("f (1).png")).unwrap(), b"film");
    assert_eq!(std::fs::read(shots.join("f.png")).unwrap(), b"older");
    assert!(!world.names().contains(&"f.png".to_owned()));
    world.haul(&["move", "one", "--to", "pictures"]).exits(6).says("is not there any more");
    world.haul(&["move", "one", "--to", "nowhere"]).exits(6);
    world.haul(&["open", "missing"]).exits(2);
}

#[test]
fn a_program_waits_for_tasks_and_hears_how_long_it_has_waited() {
    let origin = Origin::start();
    let (home, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let gate = Gate::new();
    let film = origin.serve("/f", file(b"film").head_gate(&gate));
    let gone = origin.serve("/gone", status(404));
    let silent = Task { updates: haul::task::Updates::None, ..Task::download(gone.url()) };
    let tasks = [Task::download(film.url()), silent].map(|task| Addition::new(task, place.path())).to_vec();

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut batches, mut elapsed, mut statuses) = (Vec::new(), 0, 0);
    let records = runtime.block_on(async {
        let session = Session::open(Settings::new(home.path()), Work::Asked).await.unwrap();
        let told = session.transmit(tasks, Duration::from_millis(10), |told| match told {
            Told::Batch(batch) => batches.push((batch.succeeded, batch.failed)),
            Told::Elapsed(time) => {
                elapsed += usize::from(!time.is_zero());
                gate.open();
            }
            Told::Update(_) => statuses += 1,
            _ => {}
        });
        let records = told.await.unwrap();
        session.close().await;
        records
    });

    assert_eq!((records[0].status, records[1].status), (haul::Status::Complete, haul::Status::NotFound));
    assert_eq!((batches[0], *batches.last().unwrap()), ((0, 0), (1, 1)));
    assert!(elapsed > 0, "it waited for that");
    assert_eq!(statuses, 3, "of the first only: enqueued, running, complete");
}

#[test]
fn what_is_canceled_while_it_waits_or_is_paused_tells_so_as_progress_where_it_sends_some() {
    let (world, origin) = (World::new(), Origin::start());
    let busy = origin.serve("/busy", status(503));
    let waits = |id: &str, updates: &str| json!({"url": busy.url(), "taskId": id, "updates": updates, "retries": 9});
    world.add(&[waits("waiting", "statusAndProgress"), waits("quiet", "status")]);
    let paused = waits("paused", "statusAndProgress").to_string();
    world.haul_reading(&["add", "--paused", "-"], &paused).exits(0);
    let running = world.spawn(&["--json", "run"]);
    running.wait_for_statuses("waitingToRetry", 2);

    world.haul(&["cancel", "waiting", "quiet", "paused"]).exits(0);

    running.wait_for_statuses("canceled", 3);
    let told = running.kill().json();
    let progress = |id: &str| {
        let of_task = told.iter().filter(|update| update["taskId"] == id && update["type"] == "progress");
        of_task.map(|update| update["progress"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(progress("waiting"), [0.0, -4.0, -2.0]);
    assert_eq!(progress("paused"), [-2.0]);
    assert!(progress("quiet").is_empty());
    let last = told.iter().rev().find(|update| update["taskId"] == "paused").unwrap();
    assert_eq!(last["status"], "canceled", "the value comes before the status");
}
