//! Uploads that go on: tus and Resumable Uploads for HTTP against a strict server that cuts, forgets and lies; pauses, kills,
//! and files that change meanwhile.

use serde_json::{Value, json};

use crate::support::*;

const LENGTH: usize = 300_000;
const CUT: usize = 100_000;

struct Scene {
    world: World,
    server: UploadServer,
    content: Vec<u8>,
}

impl Scene {
    fn new(speech: Speech) -> Self {
        let (world, server, content) = (World::new(), UploadServer::start(speech), bytes(5, LENGTH));
        std::fs::create_dir_all(world.path("in")).unwrap();
        std::fs::write(world.path("in/f.bin"), &content).unwrap();
        Self { world, server, content }
    }

    fn task(&self) -> Value {
        let resumable = self.server.speaks().name();
        json!({"taskType": "UploadTask", "url": self.server.url(), "filename": "f.bin", "resumable": resumable})
    }

    /// Adds the task and works it; answers its id.
    fn work(&self) -> String {
        let id = self.world.add(&[self.task()]).remove(0);
        self.world.run();
        id
    }

    /// Adds the task and works it with a server that takes so much and closes.
    fn cut_off(&self) -> String {
        self.server.faults(&[Fault::Cut(CUT)]);
        let id = self.work();
        assert_eq!(self.world.show(&id)["status"], "failed");
        assert_eq!(self.server.log(), ["POST", "PATCH 1 @0 +300000"]);
        id
    }

    /// Tries it again; answers the record.
    fn again(&self, id: &str) -> Value {
        self.world.haul(&["retry", id]).exits(0);
        self.world.run();
        self.world.show(id)
    }

    #[track_caller]
    fn has_all(&self, number: u32) {
        assert_same_bytes(&self.server.upload(number).bytes, &self.content);
    }
}

fn notes(record: &Value) -> Vec<&str> {
    record["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap()).collect()
}

#[test]
fn tus_begins_an_upload_with_its_metadata_and_sends_the_file() {
    let (world, server) = (World::new(), UploadServer::start(Speech::Tus));
    let content = bytes(1, LENGTH);
    world.write("deep/übung.txt", &content);

    let line = ["--json", "put", "deep/übung.txt", &server.url(), "--resumable", "tus", "--field", "album=été"];
    let update = world.haul(&[&line[..], &["-H", "Authorization: Bearer t"]].concat()).exits(0).only_final();

    assert_eq!(server.log(), ["POST", "PATCH 1 @0 +300000"]);
    let upload = server.upload(1);
    assert_same_bytes(&upload.bytes, &content);
    let metadata: Vec<_> = upload.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(metadata, [("album", "été"), ("filename", "übung.txt"), ("filetype", "text/plain")]);
    assert_eq!((&update["responseStatusCode"], &update["fileSize"]), (&json!(204), &json!(LENGTH)));
    assert!(server.requests().iter().all(|seen| seen.header("authorization") == Some("Bearer t")));
}

#[test]
fn what_was_cut_off_goes_on_where_the_server_says() {
    for speech in [Speech::Tus, Speech::Ietf, Speech::Ietf3] {
        let scene = Scene::new(speech);
        let id = scene.cut_off();
        let record = scene.world.show(&id);
        assert_eq!((&record["canResume"], &record["expectedFileSize"]), (&json!(true), &json!(LENGTH)));
        assert_eq!(record["resume"]["conditions"]["source-unchanged"], true);

        let record = scene.again(&id);

        assert_eq!(scene.server.log(), ["HEAD 1", "PATCH 1 @100000 +200000"]);
        scene.has_all(1);
        assert_eq!((&record["status"], notes(&record)), (&json!("complete"), vec!["resumed"]));
        let last = scene.world.events().pop().unwrap();
        assert_eq!((&last["resumedFrom"], &last["fileSize"]), (&json!(CUT), &json!(LENGTH)));
        assert_eq!(scene.world.show(&id)["canResume"], false);
    }
}

#[test]
fn a_redirect_of_an_upload_that_is_not_followed_is_told_with_its_code_and_headers() {
    let scene = Scene::new(Speech::Tus);
    scene.server.faults(&[Fault::Status("PATCH", 302, "Location: /end")]);

    let id = scene.work();

    let record = scene.world.show(&id);
    let last = scene.world.events().pop().unwrap();
    assert_eq!((&record["status"], &last["responseStatusCode"]), (&json!("failed"), &json!(302)), "{last}");
    assert_eq!(last["responseHeaders"]["location"], "/end", "{last}");
    assert!(!last.to_string().contains("files/1"), "the way to the upload is a secret: {last}");
}

#[test]
fn an_upload_whose_answer_was_lost_is_not_sent_again() {
    for speech in [Speech::Tus, Speech::Ietf] {
        let scene = Scene::new(speech);
        scene.server.faults(&[Fault::Cut(LENGTH)]);
        let id = scene.work();
        assert_eq!(scene.world.show(&id)["status"], "failed");
        scene.server.log();

        let record = scene.again(&id);

        let expected: &[&str] = match speech {
            Speech::Tus => &["HEAD 1"],
            _ => &["HEAD 1", "PATCH 1 @300000 +0"], // it has all and was not told that this was all
        };
        assert_eq!(
            (scene.server.log(), &record["status"]),
            (expected.iter().map(|l| (*l).into()).collect(), &json!("complete"))
        );
        let last = scene.world.events().pop().unwrap();
        assert_eq!((&last["resumedFrom"], notes(&record)), (&json!(LENGTH), vec!["resumed"]));
        scene.has_all(1);
    }
}

#[test]
fn offsets_that_do_not_fit_are_asked_for_and_partial_answers_gone_on_from() {
    let scene = Scene::new(Speech::Tus);
    scene.server.faults(&[Fault::Partly(1000), Fault::Status("PATCH", 409, "")]);

    let id = scene.work();

    let log = ["POST", "PATCH 1 @0 +300000", "PATCH 409", "HEAD 1", "PATCH 1 @1000 +299000"];
    assert_eq!(
        (scene.server.log(), &scene.world.show(&id)["status"]),
        (log.map(String::from).to_vec(), &json!("complete"))
    );
    scene.has_all(1);
}

#[test]
fn a_server_that_never_takes_anything_is_not_asked_for_ever() {
    let scene = Scene::new(Speech::Tus);
    let stuck = vec![Fault::Status("PATCH", 409, ""); 50];
    scene.server.faults(&[vec![Fault::Partly(CUT)], stuck].concat());

    let id = scene.work();

    assert!(scene.server.log().len() < 15);
    let record = scene.world.show(&id);
    assert!(record["exception"]["description"].as_str().unwrap().contains("took nothing"), "{record}");
}

#[test]
fn an_upload_that_is_gone_or_lied_about_begins_again_in_the_same_attempt() {
    let backwards = Fault::Claim(5);
    let beyond = Fault::Claim(LENGTH as u64 + 1);
    for fault in [Fault::Forget(404), Fault::Forget(410), beyond, backwards] {
        let scene = Scene::new(Speech::Tus);
        // Known to have some: acknowledged before it is cut off.
        scene.server.faults(&[Fault::Partly(CUT), Fault::Cut(10)]);
        let id = scene.work();
        assert_eq!(scene.world.show(&id)["bytesDone"], CUT);
        scene.server.log();
        scene.server.faults(&[fault]);

        let record = scene.again(&id);

        assert_eq!(scene.server.log()[1..], ["POST", "PATCH 2 @0 +300000"]);
        scene.has_all(2);
        assert_eq!((&record["status"], notes(&record)), (&json!("complete"), vec!["restarted-upload-lost"]));
    }
}

#[test]
fn a_changed_file_begins_another_upload() {
    let scene = Scene::new(Speech::Tus);
    let id = scene.cut_off();
    let other = bytes(6, LENGTH);
    std::fs::write(scene.world.path("in/f.bin"), &other).unwrap();
    assert_eq!(scene.world.show(&id)["resume"]["conditions"]["source-unchanged"], false);

    let record = scene.again(&id);

    assert_eq!(scene.server.log(), ["POST", "PATCH 2 @0 +300000"]);
    assert_same_bytes(&scene.server.upload(2).bytes, &other);
    assert!(notes(&record).contains(&"restarted-changed") && notes(&record).contains(&"source-changed"), "{record}");
}

#[test]
fn a_killed_engine_goes_on_with_the_same_upload() {
    let scene = Scene::new(Speech::Tus);
    let (world, gate, url) = (&scene.world, Gate::new(), scene.server.url());
    world.write("f.bin", &scene.content);
    scene.server.faults(&[Fault::Wait(CUT, gate.clone())]);
    let line = ["put", "f.bin", &url, "--resumable", "tus"];

    let running = world.spawn(&line);
    gate.wait_for(1);
    running.kill();
    gate.open();
    world.haul(&line).exits(0);

    assert_eq!(scene.server.log(), ["POST", "PATCH 1 @0 +300000", "HEAD 1", "PATCH 1 @100000 +200000"]);
    scene.has_all(1);
    assert_eq!(world.final_events().len(), 1, "one task");
}

#[test]
fn a_paused_upload_goes_on_when_it_is_resumed() {
    let scene = Scene::new(Speech::Ietf);
    let (world, gate) = (&scene.world, Gate::new());
    scene.server.faults(&[Fault::Wait(CUT, gate.clone())]);
    let id = world.add(&[scene.task()]).remove(0);

    let running = world.spawn(&["--json", "run"]);
    gate.wait_for(1);
    world.haul(&["pause", &id]).exits(0);
    gate.open();
    assert_eq!(world.show(&id)["status"], "paused");
    world.haul(&["resume", &id]).exits(0);
    running.wait_for_status("complete");

    assert_eq!(scene.server.log(), ["POST", "PATCH 1 @0 +300000", "HEAD 1", "PATCH 1 @100000 +200000"]);
    scene.has_all(1);
    let refused = world.haul(&["export-resume", &id]).exits(2);
    assert!(refused.stderr.contains("complete"), "{}", refused.stderr);
}

#[test]
fn resume_data_of_an_upload_is_not_given_out() {
    let scene = Scene::new(Speech::Tus);
    let id = scene.cut_off();
    scene.world.haul(&["export-resume", &id]).exits(2).says("is an upload: its server keeps the bytes");
}

#[test]
fn a_locked_upload_and_a_failing_server_are_tried_again() {
    let scene = Scene::new(Speech::Tus);
    let retry = "Retry-After: 0";
    scene.server.faults(&[Fault::Status("PATCH", 423, retry), Fault::Status("HEAD", 500, retry)]);
    let mut task = scene.task();
    task["retries"] = 2.into();

    let id = scene.world.add(&[task]).remove(0);
    scene.world.run().exits(0);

    assert_eq!(scene.server.log(), ["POST", "PATCH 423", "HEAD 500", "HEAD 1", "PATCH 1 @0 +300000"]);
    assert_eq!(scene.world.show(&id)["status"], "complete");
    scene.has_all(1);
}

#[test]
fn who_speaks_no_tus_is_told_apart_from_who_refuses() {
    let (world, origin) = (World::new(), Origin::start());
    world.write("f.bin", "content");
    let put = |path: &str| world.haul(&["put", "f.bin", &origin.url(path), "--resumable", "tus"]);
    origin.serve("/plain", status(200));
    origin.serve("/other", status(412).header("Tus-Version", "2.0.0"));
    origin.serve("/closed", status(403));
    origin.serve("/small", status(201).header("Location", "/x").header("Tus-Max-Size", "3"));

    put("/plain").exits(1).says("does not take uploads by tus: it answered 200 without a Location");
    put("/other").exits(1).says("speaks tus 2.0.0");
    put("/closed").exits(4);
    put("/small").exits(1).says("takes at most 3");
    put("/missing").exits(3);
    origin.serve("/elsewhere", status(201).header("Location", "ftp://h/u"));
    put("/elsewhere").exits(1).says("the server put the upload at a `ftp` URL");

    assert!(origin.requests().iter().all(|seen| seen.method == "POST" && seen.body.is_empty()));
}

#[test]
fn what_a_resumable_upload_refuses_by_itself_keeps_its_answer() {
    let (world, origin) = (World::new(), Origin::start());
    world.write("f.bin", "content");
    for (number, (code, header, kind)) in [
        (200, ("X-Odd", "1"), "httpResponse"),
        (201, ("Location", "ftp://h/u"), "httpResponse"),
        (201, ("Tus-Max-Size", "3"), "policy"),
        (413, ("Tus-Max-Size", "3"), "httpResponse"),
        (303, ("X-Odd", "1"), "httpResponse"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{number}");
        origin.serve(&path, status(code).header(header.0, header.1).header("X-Why", "because").body(b"sorry"));
        let line = ["--json", "put", "f.bin", &origin.url(&path), "--resumable", "tus", "--retries", "0"];
        let update = world.haul(&line).exits(1).only_final();
        assert_eq!(
            (&update["responseStatusCode"], &update["responseBody"]),
            (&json!(code), &json!("sorry")),
            "{update}"
        );
        assert_eq!(update["responseHeaders"]["x-why"], "because", "{update}");
        assert_eq!(update["exception"]["type"], kind, "{update}");
    }
}

#[test]
fn an_empty_file_is_an_upload_too() {
    for speech in [Speech::Tus, Speech::Ietf, Speech::Ietf3] {
        let scene = Scene::new(speech);
        std::fs::write(scene.world.path("in/f.bin"), "").unwrap();

        let id = scene.work();

        let expected: &[&str] = match speech {
            Speech::Tus => &["POST", "HEAD 1"],
            _ => &["POST", "PATCH 1 @0 +0"],
        };
        assert_eq!(scene.server.log(), expected);
        assert_eq!(scene.world.show(&id)["status"], "complete");
    }
}

#[test]
fn an_upload_that_is_still_locked_when_it_begins_is_asked_about_and_goes_on() {
    for speech in [Speech::Tus, Speech::Ietf] {
        let scene = Scene::new(speech);
        scene.server.faults(&[Fault::Status("PATCH", 409, "X: y"), Fault::Status("PATCH", 409, "X: y")]);

        let id = scene.work();

        let log = ["POST", "PATCH 409", "HEAD 1", "PATCH 409", "HEAD 1", "PATCH 1 @0 +300000"];
        assert_eq!(scene.server.log(), log);
        let record = scene.world.show(&id);
        assert_eq!((&record["status"], notes(&record).len()), (&json!("complete"), 0), "{record}");
        scene.has_all(1);
    }
}

#[test]
fn credentials_stay_with_the_origin_that_the_task_names() {
    let (world, origin, server) = (World::new(), Origin::start(), UploadServer::start(Speech::Tus));
    world.write("f.bin", "content");
    let location = server.prepare(7);
    let start = origin.serve("/files", status(201).header("Location", &location));
    let url = start.url().replace("http://", "http://me:secret@");

    let line = ["put", "f.bin", &url, "--resumable", "tus", "-H", "X-Own: x", "-H", "Idempotency-Key: k"];
    world.haul(&line).exits(0);

    let first = &start.requests()[0];
    assert!(first.header("authorization").is_some() && first.header("x-own").is_some());
    let seen = &server.requests()[0];
    assert_eq!(seen.method, "PATCH");
    for name in ["authorization", "x-own", "idempotency-key"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(server.upload(1).bytes, b"content");
}

#[test]
fn requests_are_as_long_as_the_server_wants_them() {
    let scene = Scene::new(Speech::Ietf);
    scene.server.append_at_most(120_000);

    let id = scene.work();

    let log = ["POST", "PATCH 1 @0 +120000", "PATCH 1 @120000 +120000", "PATCH 1 @240000 +60000"];
    assert_eq!(
        (scene.server.log(), &scene.world.show(&id)["status"]),
        (log.map(String::from).to_vec(), &json!("complete"))
    );
    scene.has_all(1);
}

#[test]
fn how_long_requests_may_be_is_remembered_when_it_is_told_only_once() {
    let scene = Scene::new(Speech::Ietf);
    scene.server.append_at_most(120_000);
    scene.server.faults(&[Fault::Cut(CUT)]);
    let id = scene.work();
    assert_eq!(scene.server.log(), ["POST", "PATCH 1 @0 +120000"]);

    scene.again(&id);

    assert_eq!(scene.server.log(), ["HEAD 1", "PATCH 1 @100000 +120000", "PATCH 1 @220000 +80000"]);
    scene.has_all(1);
}

#[test]
fn the_place_of_an_upload_is_kept_encrypted() {
    let (world, origin) = (World::new(), Origin::start());
    world.write("f.bin", "content");
    origin.serve("/files", status(201).header("Location", "/u-canary-4711/1?key=canary-4712"));
    origin.serve("/u-canary-4711/1", status(503));

    let line = ["--json", "-vv", "put", "f.bin", &origin.url("/files"), "--resumable", "tus", "--retries", "0"];
    let outcome = world.haul(&line).exits(1);

    world.assert_home_without("canary-47");
    assert!(!outcome.stdout.contains("canary"), "{}", outcome.stdout);
    assert!(!outcome.stderr.contains("canary"), "{}", outcome.stderr);
    let hops = outcome.only_final()["hops"].clone();
    assert_eq!(hops[1]["url"], format!("http://{}/***", origin.authority()), "{hops}");
    assert!(origin.log().iter().any(|line| line.contains("canary-4711/1?key=canary-4712")), "it was used");
}

#[test]
fn the_upload_of_a_cancelled_task_is_deleted_at_its_server() {
    for speech in [Speech::Tus, Speech::Ietf] {
        let scene = Scene::new(speech);
        let (world, gate) = (&scene.world, Gate::new());
        scene.server.terminates();
        scene.server.faults(&[Fault::Wait(CUT, gate.clone())]);
        let id = world.add(&[scene.task()]).remove(0);
        let running = world.spawn(&["--json", "run"]);
        gate.wait_for(1);

        world.haul(&["cancel", &id]).exits(0);

        wait::wait_until(|| !scene.server.has(1), || "the server keeps it".into());
        let is_noted = || notes(&world.show(&id)).contains(&"upload-deleted");
        wait::wait_until(is_noted, || world.show(&id).to_string());
        let asked: &[&str] = if speech == Speech::Tus { &["OPTIONS", "DELETE 1"] } else { &["DELETE 1"] };
        assert_eq!(scene.server.log()[2..], *asked);
        assert_eq!(world.final_events().len(), 1);
        gate.open();
        running.kill();
    }
}

#[test]
fn an_upload_that_is_cancelled_while_nothing_works_is_deleted_by_the_next_engine() {
    for terminates in [true, false] {
        let scene = Scene::new(Speech::Tus);
        let (world, gate) = (&scene.world, Gate::new());
        scene.server.faults(&[Fault::Wait(CUT, gate.clone())]);
        let id = world.add(&[scene.task()]).remove(0);
        let running = world.spawn(&["--json", "run", "--until-idle"]);
        gate.wait_for(1);
        world.haul(&["pause", &id]).exits(0);
        gate.open();
        running.finish();
        scene.server.log();
        if terminates {
            scene.server.terminates();
        }

        world.haul(&["cancel", &id]).exits(0);
        assert_eq!(scene.server.log(), Vec::<String>::new(), "who only cancels waits for no server");
        world.run();

        let asked: &[&str] = if terminates { &["OPTIONS", "DELETE 1"] } else { &["OPTIONS"] };
        assert_eq!(scene.server.log(), asked);
        assert_eq!(scene.server.has(1), !terminates);
        world.run();
        assert_eq!(scene.server.log(), Vec::<String>::new(), "it is asked once");
    }
}

#[test]
fn what_cannot_be_resumable_is_refused_by_name() {
    let world = World::new();
    world.write("f", "x");
    let add = |task: Value| world.haul_reading(&["add", "-"], &task.to_string()).exits(2);
    let url = "http://127.0.0.1:9/";

    add(json!({"url": url, "resumable": "tus"})).says("`resumable`");
    add(json!({"taskType": "UploadTask", "url": url, "filename": "f", "resumable": "carrier-pigeon"}))
        .says("`tus`, `ietf`");
    let put =
        json!({"taskType": "UploadTask", "url": url, "filename": "f", "resumable": "tus", "httpRequestMethod": "PUT"});
    add(put).says("must be POST");
    world.haul(&["put", "f", "f", url, "--resumable", "tus"]).exits(2).says("--resumable sends one file");
    world.haul(&["put", "f", url, "--resumable", "tus", "--field", "a b=c"]).exits(2).says("`fields`");
    world.haul(&["put", "f", url, "--resumable", "ietf", "--field", "a=c"]).exits(2).says("no --field");
}

#[test]
fn an_upload_that_has_bytes_when_it_begins_is_somebody_elses() {
    for speech in [Speech::Tus, Speech::Ietf] {
        let scene = Scene::new(speech);
        let id = scene.cut_off();
        let before = scene.server.upload(1).bytes;
        std::fs::write(scene.world.path("in/f.bin"), bytes(6, LENGTH)).unwrap();
        scene.server.faults(&[Fault::Again(1), Fault::Again(1), Fault::Again(1)]);

        let record = scene.again(&id);

        assert_eq!(record["status"], "failed", "{record}");
        assert!(record["exception"]["description"].as_str().unwrap().contains("and was sent 0"), "{record}");
        assert_same_bytes(&scene.server.upload(1).bytes, &before);
    }
}

#[test]
fn a_server_does_not_have_more_than_it_was_sent() {
    let (world, server) = (World::new(), UploadServer::start(Speech::Tus));
    let content = bytes(7, 2_000_000); // so long that it asks first
    std::fs::create_dir_all(world.path("in")).unwrap();
    std::fs::write(world.path("in/f.bin"), &content).unwrap();
    server.faults(&[Fault::Status("PATCH", 503, "X: y"), Fault::Claim(1_900_000)]);
    let task = json!({"taskType": "UploadTask", "url": server.url(), "filename": "f.bin", "resumable": "tus"});
    let id = world.add(&[task]).remove(0);
    world.run();

    world.haul(&["retry", &id]).exits(0);
    world.run();

    let record = world.show(&id);
    assert_eq!(record["status"], "complete", "{record}");
    assert!(notes(&record).contains(&"restarted-upload-lost"), "{record}");
    assert_same_bytes(&server.upload(2).bytes, &content);
}

#[test]
fn a_redirect_to_another_origin_leaves_the_protocol_whole() {
    for speech in [Speech::Tus, Speech::Ietf] {
        let scene = Scene::new(speech);
        let origin = Origin::start();
        origin.serve("/start", redirect(307, &scene.server.url()));
        let mut task = scene.task();
        task["url"] = json!(origin.url("/start"));
        task["headers"] = json!({"X-Own": "1"});

        let id = scene.world.add(&[task]).remove(0);
        scene.world.run();

        assert_eq!(scene.world.show(&id)["status"], "complete");
        scene.has_all(1);
        assert!(scene.server.requests().iter().all(|request| request.header("x-own").is_none()));
    }
}

#[test]
fn headers_of_the_protocol_are_said_once() {
    let scene = Scene::new(Speech::Tus);
    let mut task = scene.task();
    task["headers"] = json!({"Upload-Length": "7", "Tus-Resumable": "9", "Upload-Offset": "5", "X-Own": "1"});

    scene.world.add(&[task]);
    scene.world.run();

    scene.has_all(1);
    for request in scene.server.requests() {
        let said = |name: &str| request.headers.iter().filter(|(known, _)| known == name).count();
        assert_eq!((said("tus-resumable"), said("x-own")), (1, 1), "{:?}", request.headers);
        assert!(said("upload-length") + said("upload-offset") <= 1, "{:?}", request.headers);
    }
}
