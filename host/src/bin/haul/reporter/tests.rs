//! Labels of progress bars.

use super::*;

#[test]
fn a_bar_is_called_by_the_last_part_of_the_url() {
    assert_eq!(name_in("http://h/a/film.mkv?token=***#x"), "film.mkv");
    assert_eq!(name_in("http://h/a/"), "a");
    let long = bar_label("a-very-long-file-name-indeed-it-is.tar.gz");
    assert_eq!(long.chars().count(), LABEL_WIDTH);
}

#[test]
fn a_wait_of_nothing_is_none() {
    assert_eq!([None, Some(0), Some(1)].map(retrying), ["retrying later", "retrying at once", "retrying in 1 s"]);
}

#[test]
fn a_bar_stays_in_one_line_of_the_terminal() {
    assert_eq!(bar_template(Some(1), 120), "{prefix:28!} [{bar:24}] {wide_msg}");
    assert_eq!(bar_template(Some(1), 80), "{prefix:20!} [{bar:12}] {wide_msg}");
    assert_eq!(bar_template(Some(1), 20), "{prefix:5!} {wide_msg}");
    assert_eq!(bar_template(None, 20), "{prefix:5!} {spinner} {wide_msg}");
}
