//! What settings say without an engine.

use std::path::{Path, PathBuf};

use super::Settings;

#[test]
fn a_path_is_split_at_the_innermost_base_directory() {
    let mut settings = Settings::new("/h");
    for (name, path) in [("downloads", "/u/in"), ("films", "/u/in/films"), ("applicationFilms", "/u/in/films")] {
        settings.directories.insert(name.into(), PathBuf::from(path));
    }
    let split = |path: &str| settings.split(Path::new(path));
    let is = |base: &str, below: &str, name: &str| Some((base.to_owned(), below.to_owned(), name.to_owned()));

    assert_eq!(split("/u/in/a.txt"), is("downloads", "", "a.txt"));
    assert_eq!(split("/u/in/x/./y/a.txt"), is("downloads", "x/y", "a.txt"));
    assert_eq!(split("/u/in/films/a.mkv"), is("films", "", "a.mkv"));
    for nowhere in ["/u/inner/a", "/u/in", "/u/in/films/../../b", "u/in/a", "/", ""] {
        assert_eq!(split(nowhere), None, "{nowhere}");
    }
    settings.directories.insert("root".into(), PathBuf::from("/"));
    assert_eq!(settings.split(Path::new("/etc/x/y")), is("root", "etc/x", "y"));
    settings.directories.insert("root".into(), PathBuf::from("/etc"));
    assert_eq!(settings.split(Path::new("/etc/x/y")), is("root", "etc/x", "y"));
}
