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
