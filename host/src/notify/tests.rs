//! Which notification follows from which update.

use super::*;
use crate::event::Details;

fn notifier(as_one: bool) -> Notifier {
    let text = |title: &str, body: &str| Some(Text { title: title.into(), body: body.into() });
    let texts = match as_one {
        false => Texts {
            running: text("{filename}", "{progress} {NetworkSpeed} {timeRemaining}"),
            complete: text("{displayName}", "{metadata} {metaData} {unknown} {"),
            error: text("no {filename}", ""),
            ..Texts::default()
        },
        true => Texts {
            running: text("{numFinished}/{numTotal}", "{progress}"),
            complete: text("all {numTotal}", "{NUMFINISHED} {numFailed} {progress} {filename} {networkSpeed}"),
            error: text("{numFailed} of {numTotal}", "{numFinished} {displayName} {metadata} {timeRemaining}"),
            as_one,
            ..Texts::default()
        },
    };
    Notifier::new(Notifications { texts, groups: BTreeMap::new(), sink: Sink(Arc::new(|_| {})) })
}

fn task() -> Task {
    let mut task = Task::download("http://h/dir/film.mkv?x=1");
    (task.display_name, task.meta_data) = ("A {filename}".into(), "meta".into());
    task
}

fn status(id: &str, status: Status) -> Update {
    let details = (status == Status::Complete)
        .then(|| Arc::new(Details { file_path: Some("/in/film (1).mkv".into()), ..Details::default() }));
    Update::Status(StatusUpdate { seq: 1, task_id: id.into(), group: "g".into(), status, at: 0, details })
}

fn progress(progress: f64, network_speed: Option<f64>, time_remaining: Option<f64>) -> Update {
    let (task_id, group) = ("a".into(), "g".into());
    Update::Progress(ProgressUpdate {
        task_id,
        group,
        progress,
        bytes_done: 0,
        expected_file_size: None,
        network_speed,
        time_remaining,
    })
}

fn shown(notifier: &mut Notifier, update: &Update) -> Option<(String, String, bool)> {
    let made = notifier.take(update, crate::clock::now(), |_| Some(Arc::new(task())))?;
    Some((made.title, made.body, made.is_news))
}

fn text(title: &str, body: &str, is_news: bool) -> Option<(String, String, bool)> {
    Some((title.into(), body.into(), is_news))
}

#[test]
fn how_far_a_transfer_is_is_due_every_two_seconds_while_that_is_other_words() {
    let mut notifier = notifier(false);
    let start = crate::clock::now();
    let mut is_due = |update: Update, ms: u64| {
        let now = start + std::time::Duration::from_millis(ms);
        notifier.take(&update, now, |_| Some(Arc::new(task()))).unwrap().is_due
    };
    assert!(!is_due(status("a", Status::Running), 0), "it is news");
    let at = |share: f64| progress(share, None, None);
    let told = [(0.1, 100), (0.2, 1_900), (0.3, 2_100), (0.4, 4_000), (0.5, 4_100), (0.5, 9_000), (0.6, 9_100)];
    let due = told.map(|(share, ms)| is_due(at(share), ms));
    assert_eq!(due, [false, false, true, false, true, false, true]);
}

#[test]
fn texts_follow_the_state_and_tokens_are_filled_once() {
    let mut notifier = notifier(false);
    let mut show = |update: Update| shown(&mut notifier, &update);
    assert_eq!(show(status("a", Status::Enqueued)), text("film.mkv", "--% -- MB/s --:--", true));
    assert_eq!(show(status("a", Status::Running)), text("film.mkv", "--% -- MB/s --:--", false));
    assert_eq!(show(progress(0.414, Some(0.25), Some(3725.0))), text("film.mkv", "41% 250 kB/s 1:02:05", false));
    assert_eq!(show(progress(0.5, Some(12.4), Some(65.0))), text("film.mkv", "50% 12 MB/s 01:05", false));
    assert_eq!(show(status("a", Status::WaitingToRetry)), None, "it will be tried again");
    assert_eq!(show(progress(-4.0, None, None)), None);
    assert_eq!(show(status("a", Status::Paused)), None, "there is no text for it");
    assert_eq!(show(status("a", Status::Complete)), text("A {filename}", "meta meta {unknown} {", true));
    assert_eq!(show(status("b", Status::NotFound)), text("no film.mkv", "", true));
}

#[test]
fn the_file_is_called_what_it_was_saved_as() {
    assert_eq!(last_segment("http://h/a%20b/my%20film%C3%A9.mkv/?x=1#y"), "my filmé.mkv", "before it has a name");
    let mut notifier = notifier(false);
    notifier.notifications.texts.complete = Some(Text { title: "{filename}".into(), body: String::new() });
    assert_eq!(shown(&mut notifier, &status("a", Status::Complete)), text("film (1).mkv", "", true));
}

#[test]
fn requests_are_never_shown() {
    let mut notifier = notifier(false);
    let data = |_: &str| Some(Arc::new(Task::data("http://h/")));
    assert_eq!(notifier.take(&status("a", Status::Running), crate::clock::now(), data), None);
}

#[test]
fn a_task_may_be_shown_with_another_group() {
    let mut notifier = notifier(true);
    let text = |title: &str| Some(Text { title: title.into(), body: String::new() });
    let own = Texts { running: text("{filename} runs"), ..Texts::default() };
    notifier.notifications.groups.insert("alone".into(), own);
    let mut task = task();
    task.set_notification("alone");

    let made = notifier.take(&status("a", Status::Running), crate::clock::now(), |_| Some(Arc::new(task))).unwrap();
    assert_eq!((made.id.as_str(), made.group.as_str(), made.title.as_str()), ("a", "g", "film.mkv runs"));
    assert_eq!(notifier.take(&progress(0.5, None, None), crate::clock::now(), |_| None).unwrap().group, "g");
    assert_eq!(
        notifier.take(&status("a", Status::Complete), crate::clock::now(), |_| None),
        None,
        "there is no text for it"
    );
}

#[test]
fn a_group_shown_as_one_counts_its_tasks() {
    let mut notifier = notifier(true);
    let mut show =
        |id: &str, reached: Status| shown(&mut notifier, &status(id, reached)).map(|(title, body, _)| (title, body));
    let line = |title: &str, body: &str| Some((title.to_owned(), body.to_owned()));
    assert_eq!(show("a", Status::Enqueued), line("0/1", "0%"));
    assert_eq!(show("b", Status::Enqueued), line("0/2", "0%"));
    assert_eq!(show("a", Status::Complete), line("1/2", "50%"));
    assert_eq!(show("b", Status::Failed), line("1 of 2", "2 A {filename} meta --:--"));
    assert_eq!(show("c", Status::Enqueued), line("0/1", "0%"), "a new round");
    assert_eq!(show("c", Status::Complete), line("all 1", "1 0 100% film (1).mkv -- MB/s"));
}

#[test]
fn a_group_counts_what_was_added_together_before_the_first_of_it_is_shown() {
    let mut notifier = notifier(true);
    let all = ["a", "b"].map(|id| status(id, Status::Enqueued));
    all.iter().for_each(|update| notifier.foresee(update, |_| Some(Arc::new(task()))));
    notifier.foresee(&status("c", Status::Enqueued), |_| Some(Arc::new(Task::data("http://h/"))));
    assert_eq!(shown(&mut notifier, &all[0]), text("0/2", "0%", true));
    assert_eq!(shown(&mut notifier, &all[1]), text("0/2", "0%", false));
}

#[test]
fn a_group_counts_those_that_are_expected_and_is_news_only_when_a_count_changes() {
    let mut notifier = notifier(true);
    assert!(notifier.counts_groups());
    for id in ["a", "b", "c"] {
        notifier.expect(id.into(), "default".into());
    }
    let mut show = |id: &str, reached: Status| shown(&mut notifier, &status(id, reached));
    assert_eq!(show("a", Status::Running), text("0/3", "0%", true));
    assert_eq!(show("b", Status::Running), text("0/3", "0%", false));
    assert_eq!(show("a", Status::Complete), text("1/3", "33%", true));
}
