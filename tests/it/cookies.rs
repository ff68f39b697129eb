//! Cookies: kept between commands, in a file of Netscape's form or in the home, one jar for each profile.

use crate::support::*;

const JAR: &str = "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tgiven\tg\nother.example\tFALSE\t/\tFALSE\t0\ttheirs\tt\n";

/// Blocks until the running engine has put a profile's jar into the database.
fn wait_for_kept_jar(world: &World, profile: &str) {
    let database = rusqlite::Connection::open(world.home().join("haul.db")).unwrap();
    let find = "SELECT count(*) FROM secret WHERE name = 'cookies:' || ?1";
    let is_there = || database.query_row(find, [profile], |row| row.get::<_, u32>(0)).unwrap() > 0;
    wait::wait_until(is_there, || format!("no jar of {profile}"));
}

fn cookies(resource: &Resource) -> Vec<Option<String>> {
    resource.requests().iter().map(|request| request.header("cookie").map(str::to_owned)).collect()
}

#[test]
fn a_cookie_file_is_read_and_written() {
    let (world, origin) = (World::new(), Origin::start());
    let jar = world.write("jar.txt", JAR);
    let film = origin.serve("/a/f", file(b"x").header("Set-Cookie", "id=1; Path=/a; HttpOnly; Max-Age=3600"));
    let name = jar.to_str().unwrap();

    world.get(&[film.url(), "-o", "f", "--cookie-jar", name]).exits(0);
    world.get(&[film.url(), "-o", "f", "--cookie-jar", name]).exits(0);
    world.get(&[film.url(), "-o", "f"]).exits(0);
    world.get(&[film.url(), "-o", "f", "--cookie-jar", name, "-H", "Cookie:"]).exits(0);

    assert_eq!(cookies(&film), [Some("given=g".into()), Some("id=1; given=g".into()), None, None]);
    let text = String::from_utf8(world.read("jar.txt")).unwrap();
    assert!(text.contains("#HttpOnly_127.0.0.1\tFALSE\t/a\tFALSE\t"), "{text}");
    assert!(text.contains("other.example\tFALSE\t/\tFALSE\t0\ttheirs\tt\n"), "{text}");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&jar).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_line_that_cannot_be_sent_is_told_of_and_stays_in_the_file() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/a/f", file(b"x").header("Set-Cookie", "id=1; Path=/a"));
    let mut jar = JAR.as_bytes().to_vec();
    jar.extend_from_slice(
        b"127.0.0.1\tFALSE\t/\tFALSE\t0\tcut\tsecret\0x\n127.0.0.1\tFALSE\t/\tFALSE\t0\tlatin\t\xe9\n",
    );
    let name = world.write("jar.txt", &jar).to_str().unwrap().to_owned();

    let told = world.get(&[film.url(), "-o", "f", "--cookie-jar", &name]).exits(0);

    assert!(told.stderr.contains("line 4") && told.stderr.contains(&name), "{}", told.stderr);
    assert!(!told.stderr.contains("secret"), "{}", told.stderr);
    let kept = world.read("jar.txt");
    for line in jar.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        assert!(kept.split(|byte| *byte == b'\n').any(|kept| kept == line), "{}", kept.escape_ascii());
    }
    let other = world.write("other", "SQLite format 3\0");
    world.get(&[film.url(), "-o", "f", "--cookie-jar", other.to_str().unwrap()]).exits(2).says("line 1");
    assert_eq!(world.read("other"), b"SQLite format 3\0");
}

#[test]
fn a_link_to_a_cookie_file_stays_a_link() {
    let (world, origin) = (World::new(), Origin::start());
    let (jar, link) = (world.write("jar.txt", JAR), world.path("link"));
    std::os::unix::fs::symlink(&jar, &link).unwrap();
    let film = origin.serve("/f", file(b"x").header("Set-Cookie", "id=1; Max-Age=3600"));

    world.get(&[film.url(), "--cookie-jar", link.to_str().unwrap()]).exits(0);

    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    let text = String::from_utf8(world.read("jar.txt")).unwrap();
    assert!(text.contains("id\t1\n"), "{text}");
}

#[test]
fn what_is_no_file_is_no_cookie_file_and_the_null_device_stays_one() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x").header("Set-Cookie", "id=1"));
    let get = |jar: &std::path::Path| world.get(&[film.url(), "-o", "f", "--cookie-jar", jar.to_str().unwrap()]);
    let (pipe, nowhere, long) = (world.path("pipe"), world.path("nowhere"), world.write("long", ""));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    std::os::unix::fs::symlink(world.path("missing"), &nowhere).unwrap();
    std::fs::File::options().write(true).open(&long).unwrap().set_len(17 << 20).unwrap();

    get(&pipe).exits(6).says("it is not a regular file");
    get(&nowhere).exits(6).says("No such file");
    get(&world.path("missing/jar")).exits(6).says("No such file");
    get(&long).exits(6).says("longer than 16 MiB");
    assert_eq!(film.requests().len(), 0);
    get(std::path::Path::new("/dev/null")).exits(0);

    use std::os::unix::fs::FileTypeExt;
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    assert!(std::fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
    assert!(std::fs::symlink_metadata(&nowhere).unwrap().is_symlink());
}

#[test]
fn a_login_page_that_redirects_gets_its_cookie_back() {
    let (world, origin) = (World::new(), Origin::start());
    let door = origin.serve("/door", redirect(302, "/hall").header("Set-Cookie", "seen=door; Path=/"));
    let hall = origin.serve("/hall", redirect(302, "/film").header("Set-Cookie", "pass=1; Path=/film"));
    let film = origin.serve("/film", file(b"x"));
    let jar = world.path("jar.txt");

    world.get(&[door.url(), "--cookie-jar", jar.to_str().unwrap()]).exits(0);

    assert_eq!(cookies(&hall), [Some("seen=door".into())]);
    assert_eq!(cookies(&film), [Some("pass=1; seen=door".into())]);
}

#[test]
fn a_cookie_that_opens_the_place_it_came_from_is_no_loop() {
    let (world, origin) = (World::new(), Origin::start());
    let jar = world.path("jar.txt");
    let get = |url: &str, words: &[&str]| world.get(&[&[url, "--retries", "0"], words].concat());
    let with_jar = ["--cookie-jar", jar.to_str().unwrap()];
    // At once, and by another page.
    let film = origin.script("/film", vec![redirect(302, "/film").header("Set-Cookie", "seen=1"), file(b"x")]);
    let other = origin.script("/other", vec![redirect(302, "/wall"), file(b"x")]);
    origin.serve("/wall", redirect(302, "/other").header("Set-Cookie", "passed=1"));
    // A cookie that changes nothing, and one that changes for ever.
    let same = origin.serve("/same", redirect(302, "/same").header("Set-Cookie", "a=1; Path=/same"));
    let next = |number| redirect(302, "/ever").header("Set-Cookie", &format!("n={number}; Path=/ever"));
    let ever = origin.script("/ever", (1..9).map(next).collect());

    get(film.url(), &with_jar).exits(0);
    get(other.url(), &with_jar).exits(0);
    get(same.url(), &with_jar).exits(1).says("a loop");
    get(ever.url(), &[&with_jar[..], &["--max-redirects", "5"]].concat()).exits(1).says("5 redirects");

    assert_eq!(cookies(&film), [None, Some("seen=1".into())]);
    assert_eq!((same.requests().len(), ever.requests().len()), (2, 6));
    let own = origin.serve("/own", redirect(302, "/own").header("Set-Cookie", "seen=1"));
    get(own.url(), &[]).exits(1).says("a loop");
    assert_eq!(own.requests().len(), 1, "nothing changes without a jar");
}

#[test]
fn a_profile_keeps_its_cookies_in_the_home_and_to_itself() {
    let (world, origin) = (World::new(), Origin::start());
    world.config("[profiles.one]\ncookies = true\n[profiles.two]\ncookies = true\n");
    let film = origin.serve("/f", file(b"x").header("Set-Cookie", "id=cAnArY"));

    for profile in ["one", "one", "two"] {
        world.get(&[film.url(), "-o", "f", "--profile", profile]).exits(0);
    }
    world.get(&[film.url(), "-o", "f"]).exits(0);

    let sent = Some("id=cAnArY".to_owned());
    assert_eq!(cookies(&film), [None, sent, None, None]);
}

#[test]
fn a_cookie_survives_a_kill() {
    let (world, origin) = (World::new(), Origin::start());
    world.config("[profiles.one]\ncookies = true\n");
    let gate = Gate::new();
    let door = origin.serve("/door", redirect(302, "/film").header("Set-Cookie", "id=1; Path=/"));
    let content = bytes(1, 400_000);
    let film =
        origin.script("/film", vec![file(&content).etag("\"v\"").gate(300_000, &gate), file(&content).etag("\"v\"")]);
    let other = origin.serve("/other", file(b"x"));
    let running = world.spawn_get(&[door.url(), "-o", "f", "--profile", "one"]);
    gate.wait_for(1);
    world.wait_for_part(300_000);
    wait_for_kept_jar(&world, "one");
    running.kill();
    gate.open();

    world.get(&[other.url(), "-o", "o", "--profile", "one"]).exits(0);

    assert_eq!(cookies(&other).last().unwrap().as_deref(), Some("id=1"), "{:?}", film.log());
}

#[test]
fn a_file_that_is_no_jar_is_refused_without_its_content() {
    let world = World::new();
    let jar = world.write("jar.txt", "{\"secret\": \"cAnArY\"}");

    let outcome = world.get(&["http://127.0.0.1:9/f", "--cookie-jar", jar.to_str().unwrap()]).exits(2);

    assert!(outcome.stderr.contains("line 1") && !outcome.stderr.contains("cAnArY"), "{}", outcome.stderr);
}
