//! What was received stays, and bytes of two versions are never joined.

use crate::download::notes;
use crate::support::*;
use serde_json::Value;

const SIZE: usize = 1_000_000;
const CUT: usize = 400_000;
/// Bytes that are asked for again where those that are stored may be another program's.
const OVERLAP: u64 = 64 << 10;
/// A day before [`LATER`]: a strong validator. The same second: a weak one.
const EARLIER: &str = "Sat, 05 Nov 1994 08:49:37 GMT";
const LATER: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// What became of a file whose first download was cut after [`CUT`] bytes.
struct Second {
    world: World,
    code: i32,
    last: Value,
    log: Vec<String>,
}

/// Gets `first` cut off, then the same command against `then`.
#[track_caller]
fn cut_and_again(first: Answer, then: Vec<Answer>) -> Second {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", first.cut(CUT));
    world.get(&[film.url(), "--retries", "0"]).exits(5);
    film.now(then);
    let outcome = world.get(&[film.url(), "--retries", "2"]);
    Second { code: outcome.code, last: outcome.only_final(), log: film.log()[1..].to_vec(), world }
}

impl Second {
    #[track_caller]
    fn is(self, expected: &[u8]) -> Self {
        assert_eq!(self.code, 0, "{}", self.last);
        assert_same_bytes(&self.world.read("f"), expected);
        assert_eq!(self.world.names(), ["f"], "no part is left");
        self
    }

    /// The requests of the second command.
    #[track_caller]
    fn asked(self, log: &[&str]) -> Self {
        assert_eq!(self.log, log);
        self
    }

    #[track_caller]
    fn notes(self, note: &str) -> Self {
        assert!(notes(&self.last).contains(&note), "no note `{note}` in {}", self.last);
        self
    }
}

#[test]
fn a_dropped_connection_resumes_at_the_last_byte_by_itself() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(1, SIZE);
    let whole = file(&content).etag("\"v1\"");
    let film = origin.script("/f", vec![whole.clone().cut(CUT), whole]);

    let outcome = world.get(&[film.url()]).exits(0);

    assert_same_bytes(&world.read("f"), &content);
    assert_eq!(film.log(), ["GET /f", "GET /f  range: bytes=400000-  if-range: \"v1\""]);
    assert_eq!(outcome.statuses(), "enqueued > running > waitingToRetry > enqueued > running > complete");
    let last = outcome.only_final();
    assert_eq!(last["resumedFrom"], 400_000);
    assert!(notes(&last).contains(&"resumed"), "{last}");
    let requests = film.requests();
    let waited = requests[1].at - requests[0].at;
    assert!((1.9..4.0).contains(&waited.as_secs_f64()), "the first retry comes after 2 s, not {waited:?}");
}

#[test]
fn the_same_command_goes_on_with_the_bytes_of_a_failed_one() {
    let content = bytes(1, SIZE);
    let whole = file(&content).etag("\"v1\"");

    let second = cut_and_again(whole.clone(), vec![whole]);

    let second = second.is(&content).asked(&["GET /f  range: bytes=400000-  if-range: \"v1\""]);
    assert_eq!(second.last["resumedFrom"], 400_000);
}

#[test]
fn a_file_can_be_cut_many_times() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(2, SIZE);
    let whole = file(&content).etag("\"v1\"");
    let film = origin.serve("/f", whole.clone().cut(150_000));

    for _ in 0..6 {
        world.get(&[film.url(), "--retries", "0"]).exits(5);
    }
    world.get(&[film.url(), "--retries", "0"]).exits(0);

    assert_same_bytes(&world.read("f"), &content);
    let starts: Vec<_> = film.requests().iter().filter_map(|seen| seen.range_start()).collect();
    assert_eq!(starts, [150_000, 300_000, 450_000, 600_000, 750_000, 900_000]);
}

#[test]
fn a_reset_connection_loses_nothing_that_was_received() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(3, SIZE);
    let whole = file(&content).etag("\"v1\"");
    let film = origin.serve("/f", whole.clone().reset(CUT));
    world.get(&[film.url(), "--retries", "0"]).exits(5);
    film.now(vec![whole]);

    world.get(&[film.url()]).exits(0);

    assert_same_bytes(&world.read("f"), &content);
    // What the kernel still held is lost with a reset; what the program had is not.
    assert!(film.requests()[1].range_start().unwrap_or(0) <= CUT as u64);
}

#[test]
fn a_changed_file_starts_again_and_says_so() {
    let (one, two) = (bytes(4, SIZE), bytes(5, SIZE));

    let second = cut_and_again(file(&one).etag("\"v1\""), vec![file(&two).etag("\"v2\"")]);

    second.is(&two).asked(&["GET /f  range: bytes=400000-  if-range: \"v1\""]).notes("restarted-changed");
}

#[test]
fn a_changed_file_is_noticed_even_where_the_server_ignores_if_range() {
    let (one, two) = (bytes(4, SIZE), bytes(5, SIZE));
    let changed = file(&two).etag("\"v2\"").ignoring_if_range();

    let second = cut_and_again(file(&one).etag("\"v1\""), vec![changed]);

    let second = second.is(&two).notes("restarted-changed");
    assert_eq!(second.log.last().unwrap(), "GET /f", "{:?}", second.log);
}

#[test]
fn a_part_without_any_etag_is_not_joined_to_bytes_that_had_one() {
    let (one, two) = (bytes(4, SIZE), bytes(5, SIZE - 1000));
    let changed = file(&two).ignoring_if_range();

    cut_and_again(file(&one).etag("\"v1\""), vec![changed]).is(&two);
}

#[test]
fn a_part_without_any_etag_is_joined_to_bytes_that_had_one_where_the_last_of_them_are_equal() {
    let (one, two) = (bytes(4, SIZE), bytes(5, SIZE));
    let tagged = file(&one).etag("\"v1\"");
    let unnamed = |content: &[u8]| file(content).ignoring_if_range();

    let second = cut_and_again(tagged.clone(), vec![unnamed(&one)]).is(&one).notes("same-by-overlap");
    assert_eq!(second.log.len(), 2, "{:?}", second.log);
    cut_and_again(tagged, vec![unnamed(&two)]).is(&two).notes("restarted-changed");
}

#[test]
fn without_a_validator_the_download_starts_afresh() {
    let (one, two) = (bytes(6, SIZE), bytes(7, SIZE));

    let second = cut_and_again(file(&one), vec![file(&two)]);

    second.is(&two).asked(&["GET /f"]).notes("restarted-no-validator");
}

#[test]
fn a_weak_etag_is_no_reason_to_join() {
    let (one, two) = (bytes(6, SIZE), bytes(7, SIZE));

    let second = cut_and_again(file(&one).etag("W/\"v1\""), vec![file(&two).etag("W/\"v1\"").ignoring_if_range()]);

    second.is(&two).asked(&["GET /f"]).notes("restarted-no-validator");
}

#[test]
fn a_weak_etag_is_not_helped_by_a_date() {
    let (one, two) = (bytes(6, SIZE), bytes(7, SIZE));
    let weak = |content| file(content).etag("W/\"v1\"").last_modified(EARLIER).header("Date", LATER);

    cut_and_again(weak(&one), vec![weak(&two).ignoring_if_range()]).is(&two).asked(&["GET /f"]);
}

#[test]
fn an_old_enough_date_is_a_validator() {
    let content = bytes(8, SIZE);
    let dated = file(&content).last_modified(EARLIER).header("Date", LATER);

    let second = cut_and_again(dated.clone(), vec![dated]);

    second.is(&content).asked(&[&format!("GET /f  range: bytes=400000-  if-range: {EARLIER}")]);
}

#[test]
fn an_empty_etag_is_no_validator() {
    let (one, two) = (bytes(6, SIZE), bytes(7, SIZE));
    let empty = |content| file(content).etag("\"\"").ignoring_if_range();

    cut_and_again(empty(&one), vec![empty(&two)]).is(&two).asked(&["GET /f"]).notes("restarted-no-validator");
}

/// A file under a date that is a validator.
fn dated(content: &[u8]) -> Answer {
    file(content).last_modified(EARLIER).header("Date", LATER)
}

/// The request for the rest of what came from [`dated`], from so many bytes on.
fn rest_from(first: usize) -> String {
    format!("GET /f  range: bytes={first}-  if-range: {EARLIER}")
}

/// How many bytes are compared.
const COMPARED: usize = 64 << 10;

#[test]
fn a_part_with_an_etag_is_not_joined_to_bytes_that_had_none() {
    let (one, two) = (bytes(8, SIZE), bytes(9, SIZE));
    for tag in ["\"zzz\"", "W/\"a\""] {
        let changed = file(&two).etag(tag).ignoring_if_range();

        let second = cut_and_again(dated(&one), vec![changed]).is(&two).notes("restarted-changed");

        second.asked(&[&rest_from(CUT), "GET /f"]);
    }
}

#[test]
fn a_part_that_names_no_version_is_compared_before_it_is_joined_to_dated_bytes() {
    let (one, two) = (bytes(8, SIZE), bytes(9, SIZE));
    let (asked, compared) = (rest_from(CUT), rest_from(CUT - COMPARED));
    let unnamed = |content: &[u8]| file(content).ignoring_if_range();

    cut_and_again(dated(&one), vec![unnamed(&one)]).is(&one).asked(&[&asked, &compared]).notes("same-by-overlap");
    let changed = cut_and_again(dated(&one), vec![unnamed(&two)]).is(&two).notes("restarted-changed");
    changed.asked(&[&asked, &compared, "GET /f"]);
    // Of an unknown length: nothing says that the rest is that of the same file.
    let longer = [one.as_slice(), b"more"].concat();
    cut_and_again(dated(&one).chunked(), vec![unnamed(&longer)]).is(&longer).notes("restarted-changed");
}

#[test]
fn a_part_that_names_no_version_takes_the_stored_date_away_from_nothing() {
    let one = bytes(8, SIZE);
    let unnamed = file(&one).ignoring_if_range();

    let second = cut_and_again(dated(&one), vec![unnamed.clone(), unnamed.clone().cut(265_536), unnamed]);

    let (first, then) = (CUT - COMPARED, 600_000);
    let asked = [rest_from(CUT), rest_from(first), rest_from(then), rest_from(then - COMPARED)];
    second.is(&one).asked(&asked.each_ref().map(String::as_str));
}

#[test]
fn a_date_of_the_same_second_is_no_validator() {
    let (one, two) = (bytes(6, SIZE), bytes(7, SIZE));
    let dated = |content| file(content).last_modified(LATER).header("Date", LATER);

    cut_and_again(dated(&one), vec![dated(&two).ignoring_if_range()]).is(&two).asked(&["GET /f"]);
}

#[test]
fn a_server_without_ranges_is_taken_at_its_200() {
    let content = bytes(9, SIZE);
    let whole = file(&content).etag("\"v1\"").without_ranges();

    let second = cut_and_again(whole.clone(), vec![whole]);

    let second = second.is(&content);
    assert_eq!(second.log.len(), 1, "the 200 is used, not asked for again: {:?}", second.log);
    assert_eq!(second.last["resumedFrom"], 0);
}

#[test]
fn a_part_from_another_offset_is_not_joined() {
    let content = bytes(10, SIZE);
    let whole = file(&content).etag("\"v1\"");

    let second = cut_and_again(whole.clone(), vec![whole.clone().shifted(1000), whole]);

    let second = second.is(&content);
    assert_eq!(second.log[1], "GET /f", "asked again without a range: {:?}", second.log);
}

#[test]
fn a_part_that_lies_about_itself_is_not_joined() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(11, SIZE);
    let whole = file(&content).etag("\"v1\"");
    let lies = [
        "",                             // none at all
        "bytes 400000-999999/2000000",  // another total
        "bytes 400000-999998/1000000",  // shorter than its Content-Length
        "bytes 400000-1000000/1000000", // beyond the end
        "bytes 999999-400000/1000000",  // backwards
        "bytes 0-599999/1000000",       // another offset, the right length
        "pages 400000-999999/1000000",  // another unit
        "bytes 400000-999999",          // no total
        "bytes 400000-999999/x",        // no number
        "bytes 400000-99999999999999999999999/1000000",
    ];
    let films: Vec<_> =
        (0..lies.len()).map(|number| origin.serve(&format!("/f{number}"), whole.clone().cut(CUT))).collect();
    let urls: Vec<_> = films.iter().map(|film| film.url()).collect();
    let list = urls.join("\n");
    world.haul_reading(&["get", "-", "--retries", "0"], &list).exits(8);
    for (film, lie) in films.iter().zip(lies) {
        film.now(vec![whole.clone().content_range(lie), whole.clone()]);
    }

    world.haul_reading(&["get", "-"], &list).exits(0);

    for (number, (film, lie)) in films.iter().zip(lies).enumerate() {
        let log = film.log();
        assert!(log[1].contains("range: bytes=400000-"), "`{lie}`: {log:?}");
        assert_eq!(log.last(), Some(&format!("GET /f{number}")), "`{lie}`: {log:?}");
        assert_same_bytes(&world.read(&format!("f{number}")), &content);
    }
}

#[test]
fn a_multipart_answer_to_one_range_is_not_joined() {
    let content = bytes(12, SIZE);
    let whole = file(&content).etag("\"v1\"");
    let multipart = whole.clone().content_range("").header("Content-Type", "multipart/byteranges; boundary=b");

    cut_and_again(whole.clone(), vec![multipart, whole]).is(&content);
}

#[test]
fn a_shorter_part_than_asked_for_is_legal_and_the_rest_is_asked_for() {
    let content = bytes(13, SIZE);
    let whole = file(&content).etag("\"v1\"");

    let second = cut_and_again(whole.clone(), vec![whole.short(250_000)]);

    second.is(&content).asked(&[
        "GET /f  range: bytes=400000-  if-range: \"v1\"",
        "GET /f  range: bytes=650000-  if-range: \"v1\"",
        "GET /f  range: bytes=900000-  if-range: \"v1\"",
    ]);
}

#[test]
fn a_416_at_the_exact_end_is_not_a_failure() {
    let content = bytes(14, SIZE);
    let whole = file(&content).etag("\"v1\"").chunked(); // all bytes came, the last chunk did not
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", whole.clone().cut(SIZE));
    world.get(&[film.url(), "--retries", "0"]).exits(5);
    film.now(vec![whole]);

    world.get(&[film.url()]).exits(0);

    assert_same_bytes(&world.read("f"), &content);
    assert_eq!(film.log()[1], "GET /f  range: bytes=1000000-  if-range: \"v1\"");
}

#[test]
fn a_416_of_a_shorter_file_starts_again() {
    let (one, two) = (bytes(15, SIZE), bytes(16, CUT - 100));
    let shorter = file(&two).etag("\"v2\"").ignoring_if_range();

    let second = cut_and_again(file(&one).etag("\"v1\""), vec![shorter]);

    let second = second.is(&two);
    assert_eq!(second.log, ["GET /f  range: bytes=400000-  if-range: \"v1\"", "GET /f"]);
}

#[test]
fn a_416_without_a_word_starts_again() {
    let content = bytes(17, SIZE);
    let whole = file(&content).etag("\"v1\"");

    let second = cut_and_again(whole.clone(), vec![status(416), whole]);

    let second = second.is(&content);
    assert_eq!(second.log[1], "GET /f", "{:?}", second.log);
}

#[test]
fn another_length_is_another_file() {
    let (one, two) = (bytes(18, SIZE), bytes(19, SIZE + 5000));
    let longer = file(&two).etag("\"v1\""); // the server forgot to change its ETag

    cut_and_again(file(&one).etag("\"v1\""), vec![longer]).is(&two);
}

#[test]
fn two_versions_are_never_joined_whatever_the_headers_say() {
    let (world, origin) = (World::new(), Origin::start());
    let (old, new) = (vec![b'A'; SIZE], vec![b'B'; SIZE]);
    let mut resources = Vec::new();
    for etag in [None, Some("\"v2\""), Some("W/\"v1\""), Some("W/\"v2\"")] {
        for date in [None, Some(LATER), Some(EARLIER)] {
            for blind in [false, true] {
                let path = format!("/m{}", resources.len());
                let was = file(&old).etag("\"v1\"").last_modified(EARLIER).header("Date", LATER);
                let film = origin.serve(&path, was.cut(CUT));
                resources.push((film, etag, date, blind));
            }
        }
    }
    let urls: Vec<_> = resources.iter().map(|(film, ..)| film.url().to_owned()).collect();
    let list = urls.join("\n");
    world.haul_reading(&["get", "-", "--retries", "0"], &list).exits(8);
    for (film, etag, date, blind) in &resources {
        let mut now = file(&new).header("Date", LATER);
        now = etag.map_or(now.clone(), |etag| now.etag(etag));
        now = date.map_or(now.clone(), |date| now.last_modified(date));
        film.now(vec![if *blind { now.ignoring_if_range() } else { now }]);
    }

    world.haul_reading(&["get", "-", "--retries", "1"], &list).exits(0);

    for (number, (film, etag, date, blind)) in resources.iter().enumerate() {
        let got = world.read(&format!("m{number}"));
        let what = format!("etag {etag:?}, date {date:?}, blind {blind}: {:?}", film.log());
        assert_eq!(film.requests()[1].range_start(), Some(CUT as u64), "{what}");
        assert!(got == new, "joined or wrong with {what}");
    }
}

/// Gets a range of its own that `first` cuts off, then again from `then`; answers the second, and what is asked then.
#[track_caller]
fn range_and_again(range: &str, first: Answer, then: Answer) -> (Second, Vec<String>) {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", first.cut(CUT));
    let header = format!("Range: {range}");
    world.get(&[film.url(), "-H", &header, "--retries", "0"]).exits(5);
    film.now(vec![then]);
    let outcome = world.get(&[film.url(), "-H", &header]);
    let log = film.log()[1..].to_vec();
    (Second { code: outcome.code, last: outcome.only_final(), log: log.clone(), world }, log)
}

#[test]
fn a_whole_without_a_length_is_cut_where_it_ends_before_that_of_its_version() {
    let content = bytes(9, SIZE);
    let whole = file(&content).etag("\"a\"").without_ranges();
    let short = file(&content[..500_000]).etag("\"a\"").without_ranges().until_close();

    let second = cut_and_again(whole.clone(), vec![short, whole.clone().until_close()]);

    let asked = ["GET /f  range: bytes=400000-  if-range: \"a\"", "GET /f  range: bytes=500000-  if-range: \"a\""];
    let second = second.is(&content).asked(&asked);
    assert!(!notes(&second.last).contains(&"integrity-unverified"), "its length is known: {}", second.last);
}

#[test]
fn a_whole_of_another_length_than_its_version_has_is_asked_for_once_more() {
    let content = bytes(9, SIZE);
    let longer = [content.as_slice(), b"more"].concat();
    let whole = |content: &[u8]| file(content).etag("\"a\"").without_ranges();
    for (other, again) in [
        (&content[..500_000], &content[..500_000]),
        (&content[..500_000], &content[..]),
        (&longer[..], &longer[..]),
        (&longer[..], &content[..]),
    ] {
        let second = cut_and_again(whole(&content), vec![whole(other).chunked(), whole(again).chunked()]);

        let asked = ["GET /f  range: bytes=400000-  if-range: \"a\"", "GET /f"];
        second.is(again).asked(&asked).notes("restarted-changed");
    }
}

#[test]
fn a_digest_that_the_first_answer_states_is_checked_after_a_resumption() {
    let content = bytes(9, SIZE);
    let whole = file(&content).etag("\"v1\"");
    let stating = |digest: &str| whole.clone().header("Repr-Digest", digest);
    let rest = "GET /f  range: bytes=400000-  if-range: \"v1\"";

    let second = cut_and_again(stating(&repr_digest(b"other")), vec![whole.clone()]);
    second.is(&content).asked(&[rest, "GET /f"]).notes("restarted-checksum");
    let second = cut_and_again(stating(&repr_digest(&content)), vec![whole.clone()]);
    second.is(&content).asked(&[rest]).notes("resumed");
}

#[test]
fn a_range_that_a_task_wants_itself_goes_on_within_it() {
    let content = bytes(1, SIZE);
    // It is of the whole, in a 206 too: nothing that this range can be held to.
    let digest = format!("sha-256=:{}=:", "A".repeat(43));
    let whole = file(&content).etag("\"v1\"").header("Repr-Digest", &digest);
    for (range, wanted, rest) in [
        ("bytes=100000-899999", &content[100_000..900_000], "500000-899999"),
        ("bytes=100000-", &content[100_000..], "500000-999999"),
        ("bytes=-800000", &content[200_000..], "600000-999999"),
        ("bytes=0-2000000", &content[..], "400000-999999"),
    ] {
        let (second, log) = range_and_again(range, whole.clone(), whole.clone());

        assert_eq!(log, [format!("GET /f  range: bytes={rest}  if-range: \"v1\"")]);
        let second = second.is(wanted).notes("resumed");
        assert_eq!(second.last["resumedFrom"], CUT);
    }
}

#[test]
fn a_range_of_another_version_or_without_a_validator_begins_afresh() {
    let (one, two) = (bytes(1, SIZE), bytes(2, SIZE));
    let range = "bytes=100000-899999";
    let wanted = &two[100_000..900_000];

    let (changed, log) = range_and_again(range, file(&one).etag("\"v1\""), file(&two).etag("\"v2\""));
    changed.is(wanted).notes("restarted-changed");
    assert_eq!(log.last().unwrap(), "GET /f  range: bytes=100000-899999");

    let (unsure, log) = range_and_again(range, file(&one), file(&two));
    unsure.is(wanted).notes("restarted-no-validator");
    assert_eq!(log, ["GET /f  range: bytes=100000-899999"]);

    let (blind, _) = range_and_again(range, file(&one).etag("\"v1\""), file(&two).etag("\"v2\"").ignoring_if_range());
    blind.is(wanted).notes("restarted-changed");
}

#[test]
fn a_range_may_come_in_short_answers_once_its_end_is_known() {
    let content = bytes(1, SIZE);
    let whole = file(&content).etag("\"v1\"");

    let (second, log) = range_and_again("bytes=100000-899999", whole.clone(), whole.short(150_000));

    second.is(&content[100_000..900_000]);
    let starts: Vec<_> = log.iter().filter_map(|line| line.split("bytes=").nth(1)?.split(' ').next()).collect();
    assert_eq!(starts, ["500000-899999", "650000-899999", "800000-899999"]);
}

#[test]
fn a_server_that_takes_no_notice_of_a_range_is_not_gone_on_with() {
    let content = bytes(1, SIZE);
    let whole = file(&content).etag("\"v1\"");

    let (ignored, log) = range_and_again("bytes=100000-899999", whole.clone().without_ranges(), whole);

    ignored.is(&content[100_000..900_000]).notes("restarted-own-range");
    assert_eq!(log, ["GET /f  range: bytes=100000-899999"]);
}

#[test]
fn a_range_and_its_condition_follow_a_redirect() {
    let (world, origin, store) = (World::new(), Origin::start(), Origin::start());
    let content = bytes(20, SIZE);
    let whole = file(&content).etag("\"v1\"");
    let signed = store.script("/signed", vec![whole.clone().cut(CUT), whole]);
    let ways = ["key=1", "key=2"].map(|key| redirect(302, &format!("{}?{key}", signed.url())));
    let film = origin.script("/f", ways.to_vec());
    world.get(&[film.url(), "--retries", "0"]).exits(5);

    world.get(&[film.url()]).exits(0);

    assert_same_bytes(&world.read("f"), &content);
    assert_eq!(signed.log()[1], "GET /signed?key=2  range: bytes=400000-  if-range: \"v1\"");
}

#[test]
fn a_part_that_is_encoded_is_not_joined_to_bytes_that_are_not() {
    let content = bytes(13, SIZE);
    let whole = file(&content).etag("\"v1\"");

    let second = cut_and_again(whole.clone(), vec![whole.clone().header("content-encoding", "gzip"), whole]);

    second.is(&content).notes("restarted-changed").asked(&["GET /f  range: bytes=400000-  if-range: \"v1\"", "GET /f"]);
}

#[test]
fn a_200_that_says_that_it_is_a_part_is_not_taken_for_the_whole() {
    let content = bytes(14, SIZE);
    let whole = file(&content).etag("\"v1\"");
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Range: bytes {CUT}-{}/{SIZE}\r\nContent-Length: {}\r\n\r\n",
        SIZE - 1,
        SIZE - CUT
    );
    let tail = [head.as_bytes(), &content[CUT..]].concat();

    let second = cut_and_again(whole.clone(), vec![raw(tail), whole]);

    second.is(&content).notes("restarted-bad-range");
}

/// The answer to a download whose length nobody knew, cut, and what followed.
fn unknown_and_again(then: &str, body: &[u8]) -> Second {
    let whole = file(&bytes(15, SIZE)).etag("\"v1\"").chunked();
    let answer = [format!("HTTP/1.1 {then}\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat();
    cut_and_again(whole.clone(), vec![raw(answer), whole])
}

#[test]
fn without_a_known_length_a_part_that_does_not_tell_it_is_not_taken_for_the_end() {
    let content = bytes(15, SIZE);
    let part = format!("206 Partial Content\r\nETag: \"v1\"\r\nContent-Range: bytes {CUT}-{}/", CUT + 99_999);

    unknown_and_again(&format!("{part}*"), &content[CUT..CUT + 100_000]).is(&content).notes("restarted-bad-range");

    // One that tells it is, and the rest is asked for.
    let second = unknown_and_again(&format!("{part}{SIZE}"), &content[CUT..CUT + 100_000]);
    second
        .is(&content)
        .asked(&["GET /f  range: bytes=400000-  if-range: \"v1\"", "GET /f  range: bytes=500000-  if-range: \"v1\""]);
}

#[test]
fn without_a_known_length_a_416_completes_nothing_unless_it_names_the_version() {
    let content = bytes(15, SIZE);

    unknown_and_again(&format!("416 No\r\nContent-Range: bytes */{CUT}"), b"").is(&content).notes("restarted-changed");
}

#[test]
fn a_server_that_compresses_anyway_is_saved_as_it_is() {
    let content = bytes(21, SIZE);
    let packed = file(&content).etag("\"v1\"").header("Content-Encoding", "gzip");

    cut_and_again(packed.clone(), vec![packed]).is(&content);
}

#[test]
fn a_killed_download_goes_on_where_it_was() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(22, 24 << 20);
    let gate = Gate::new();
    let whole = file(&content).etag("\"v1\"");
    let film = origin.script("/f", vec![whole.clone().gate(20 << 20, &gate), whole]);
    let running = world.spawn_get(&[film.url()]);
    gate.wait_for(1);
    running.wait_for_update(|update| update["bytesDone"].as_u64().is_some_and(|bytes| bytes > 0));
    running.kill();

    let last = world.get(&[film.url()]).exits(0).only_final();

    assert_same_bytes(&world.read("f"), &content);
    assert_eq!(world.names(), ["f"]);
    assert_eq!(film.log().len(), 2);
    let start = film.requests()[1].range_start().unwrap_or(0);
    assert!(start >= 4 << 20, "at most 8 MiB (and what was in the sockets) may be lost, not {}", (20 << 20) - start);
    assert_eq!(last["resumedFrom"], start + OVERLAP, "the last bytes may be another program's: they are compared");
}

/// Appends bytes to a part file, as another program might.
fn grow(part: &std::path::Path, bytes: usize) {
    let mut file = std::fs::File::options().append(true).open(part).unwrap();
    std::io::Write::write_all(&mut file, &vec![b'Z'; bytes]).unwrap();
}

#[test]
fn what_another_program_has_appended_since_the_last_attempt_is_cut_off() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(28, SIZE);
    let whole = file(&content).etag("\"v1\"");
    let film = origin.script("/f", vec![whole.clone().cut(CUT), whole]);
    world.get(&[film.url(), "--retries", "0"]).exits(5);
    grow(&world.wait_for_part(1), 100_000);

    let last = world.get(&[film.url()]).exits(0).only_final();

    assert_same_bytes(&world.read("f"), &content);
    assert_eq!((&last["resumedFrom"], film.requests()[1].range_start()), (&CUT.into(), Some(CUT as u64)));
}

#[test]
fn what_another_program_has_appended_after_a_kill_is_found_by_comparison() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let content = bytes(29, 4 << 20);
    let whole = file(&content).etag("\"v1\"");
    let film = origin.script("/f", vec![whole.clone().gate(1 << 20, &gate), whole]);
    let running = world.spawn_get(&[film.url(), "--id", "film"]);
    gate.wait_for(1);
    let database = world.home().join("haul.db");
    let durable = || {
        let database = rusqlite::Connection::open(&database).ok()?;
        database.query_row("SELECT durable_bytes FROM resume", [], |row| row.get::<_, i64>(0)).ok()
    };
    wait::wait_until(|| durable() == Some(1 << 20), || format!("no checkpoint: {:?}", durable()));
    running.kill();
    grow(&world.wait_for_part(1), 300_000);
    world.haul(&["pause", "film"]).exits(0);
    assert_eq!(
        world.show("film")["resume"]["verdict"],
        "goes on at byte 1048576 if it is still \"v1\", or later where what is stored beyond it matches the server's"
    );

    let last = world.get(&[film.url(), "--id", "film"]).exits(0).only_final();

    assert_same_bytes(&world.read("f"), &content);
    let starts: Vec<_> = film.requests()[1..].iter().filter_map(|request| request.range_start()).collect();
    assert_eq!(starts, [(1 << 20) + 300_000 - OVERLAP, 1 << 20], "compared, cut off, and gone on with");
    assert_eq!((&last["resumedFrom"], &last["notes"]), (&(1 << 20).into(), &serde_json::json!(["resumed"])));
}

#[test]
fn a_part_file_that_the_user_removed_is_fetched_again() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(23, SIZE);
    let film = origin.serve("/f", file(&content).etag("\"v1\"").cut(CUT));
    world.get(&[film.url(), "--retries", "0"]).exits(5);
    std::fs::remove_file(world.wait_for_part(1)).unwrap();
    film.now(vec![file(&content).etag("\"v1\"")]);

    world.get(&[film.url()]).exits(0);

    assert_same_bytes(&world.read("f"), &content);
    assert_eq!(film.log()[1], "GET /f");
}

#[test]
fn a_part_file_that_somebody_replaced_is_not_trusted() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(24, SIZE);
    let film = origin.serve("/f", file(&content).etag("\"v1\"").cut(CUT));
    world.get(&[film.url(), "--retries", "0"]).exits(5);
    let part = world.wait_for_part(1);
    let other = world.write("other", vec![b'X'; CUT]);
    std::fs::rename(other, &part).unwrap();
    film.now(vec![file(&content).etag("\"v1\"")]);

    world.get(&[film.url()]).exits(0);

    assert_same_bytes(&world.read("f"), &content);
}

#[test]
fn a_part_file_that_was_made_anew_under_the_same_inode_number_is_not_trusted() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(10, SIZE);
    let whole = file(&content).etag("\"v1\"");
    let film = origin.script("/f", vec![whole.clone().cut(CUT), whole]);
    world.get(&[film.url(), "--retries", "0"]).exits(5);
    // Which number a new file gets is up to the file system: the record is changed instead.
    let database = rusqlite::Connection::open(world.home().join("haul.db")).unwrap();
    let changed = database.execute("UPDATE resume SET part_born = part_born - 1 WHERE part_born > 0", []).unwrap();
    assert_eq!(changed, 1);

    let last = world.get(&[film.url()]).exits(0).only_final();

    assert_same_bytes(&world.read("f"), &content);
    assert!(notes(&last).contains(&"restarted-part-lost"), "{last}");
}

#[test]
fn a_part_file_that_became_shorter_is_not_trusted_beyond_its_end() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(25, SIZE);
    let film = origin.serve("/f", file(&content).etag("\"v1\"").cut(CUT));
    world.get(&[film.url(), "--retries", "0"]).exits(5);
    let part = world.wait_for_part(1);
    std::fs::File::options().write(true).open(part).unwrap().set_len(1000).unwrap();
    film.now(vec![file(&content).etag("\"v1\"")]);

    world.get(&[film.url()]).exits(0);

    assert_same_bytes(&world.read("f"), &content);
    assert!(film.requests()[1].range_start().unwrap_or(0) <= 1000, "{:?}", film.log());
}

#[test]
fn retry_goes_on_with_the_bytes_of_a_failed_task() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(26, SIZE);
    let film = origin.serve("/f", file(&content).etag("\"v1\"").cut(CUT));
    let failed = world.get(&[film.url(), "--retries", "0"]).exits(5).only_final();
    film.now(vec![file(&content).etag("\"v1\"")]);

    world.haul(&["retry", failed["taskId"].as_str().unwrap()]).exits(0);
    world.run().exits(0);

    assert_same_bytes(&world.read("f"), &content);
    assert_eq!(film.log()[1], "GET /f  range: bytes=400000-  if-range: \"v1\"");
}

#[test]
fn after_a_complete_one_the_same_command_is_a_new_task() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x").etag("\"v1\""));

    let first = world.get(&[film.url()]).exits(0).only_final();
    let second = world.get(&[film.url()]).exits(0).only_final();

    assert_ne!(first["taskId"], second["taskId"]);
    assert_eq!(world.names(), ["f", "f (1)"]);
    assert_eq!(film.log(), ["GET /f", "GET /f"]);
}

#[test]
fn another_given_name_is_another_task() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(&bytes(27, SIZE)).etag("\"v1\"").cut(CUT));
    world.get(&[film.url(), "-o", "one", "--retries", "0"]).exits(5);

    world.get(&[film.url(), "-o", "two", "--retries", "0"]).exits(5);

    assert_eq!(film.log(), ["GET /f", "GET /f"], "the second is no continuation of the first");
    assert_eq!(world.list().len(), 2);
}

#[test]
fn a_partial_answer_that_is_longer_than_it_says_is_given_up_with_what_it_was_joined_to() {
    let whole = file(&bytes(1, SIZE)).etag("\"v1\"");
    let rest = "x".repeat(SIZE - CUT + 1);
    let long = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {CUT}-{}/{SIZE}\r\nETag: \"v1\"\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{rest}\r\n0\r\n\r\n",
        SIZE - 1,
        rest.len(),
    );
    cut_and_again(whole.clone(), vec![raw(long), whole]).is(&bytes(1, SIZE)).notes("restarted-changed");
}

#[test]
fn a_404_takes_no_bytes_away_and_the_same_command_goes_on_with_them() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(7, SIZE);
    let whole = file(&content).etag("\"v1\"");
    let film = origin.serve("/f", whole.clone().cut(CUT));
    world.get(&[film.url(), "--retries", "0"]).exits(5);
    film.now(vec![status(404), whole]);

    let last = world.get(&[film.url()]).exits(3).only_final();
    let record = world.show(last["taskId"].as_str().unwrap());
    assert_eq!((&record["status"], &record["bytesDone"]), (&"notFound".into(), &CUT.into()), "{record}");
    assert_eq!(record["canResume"], true, "{record}");
    world.get(&[film.url()]).exits(0);

    assert_same_bytes(&world.read("f"), &content);
    assert_eq!(film.log()[2], "GET /f  range: bytes=400000-  if-range: \"v1\"");
    assert_eq!((world.list().len(), world.names()), (1, vec!["f".to_owned()]));
}

#[test]
fn what_is_not_there_yet_is_one_task_however_often_it_is_asked_for() {
    let (world, origin) = (World::new(), Origin::start());
    let later = origin.serve("/later", status(404));
    for _ in 0..3 {
        world.get(&[later.url()]).exits(3);
    }
    let tasks = world.list();
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    later.now(vec![status(404), file(b"x")]);

    world.haul(&["retry", "--all"]).exits(0);
    world.run().exits(3);
    world.haul(&["resume", tasks[0]["taskId"].as_str().unwrap()]).exits(0);
    world.run().exits(0);

    assert_eq!(world.names(), ["later"]);
}
