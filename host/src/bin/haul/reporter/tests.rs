//! Labels of progress bars.

use super::*;

#[test]
fn a_bar_is_called_by_the_last_part_of_the_url() {
    assert_eq!(bar_label("http://h/a/film.mkv?token=***#x"), "film.mkv");
    assert_eq!(bar_label("http://h/a/"), "a");
    let long = bar_label("http://h/a-very-long-file-name-indeed-it-is.tar.gz");
    assert_eq!(long.chars().count(), LABEL_WIDTH);
}
