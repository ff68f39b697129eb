//! Places, directories, components.

use super::*;

#[test]
fn the_same_directory_given_in_two_ways_is_the_same_place() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    std::fs::create_dir(root.join("real")).unwrap();
    std::os::unix::fs::symlink("real", root.join("link")).unwrap();
    let expected = root.join("real/new/sub");
    for way in ["real/new/sub", "link/new/sub/", "./link/new/./other/../sub"] {
        assert_eq!(place(&root.join(way)).unwrap(), expected, "{way}");
    }
}

#[test]
fn the_download_directory_comes_from_user_dirs() {
    let home = Path::new("/u");
    let entry = |text: &str| user_entry(text, "XDG_DOWNLOAD_DIR", home);
    assert_eq!(entry("# c\nXDG_DOWNLOAD_DIR=\"$HOME/Empf\"\n"), Some("/u/Empf".into()));
    assert_eq!(entry("XDG_DOWNLOAD_DIR=\"/srv/in\""), Some("/srv/in".into()));
    assert_eq!(entry("XDG_DOWNLOAD_DIR=\"relative\""), None);
    assert_eq!(entry(r#"XDG_DOWNLOAD_DIR="$HOME/do\"c\$\\""#), Some(r#"/u/do"c$\"#.into()));
    assert_eq!(entry("XDG_MUSIC_DIR=\"$HOME/Music\""), None);
}

#[test]
fn components_of_the_same_file_name_get_names_of_their_own() {
    let flags = ComponentFlags {
        callbacks: vec!["/a/hook.wasm".into(), "/b/hook.wasm".into()],
        allow_hosts: vec!["h".into()],
        config: vec![("k".into(), "v".into())],
        ..ComponentFlags::default()
    };
    let sources = components(&flags, &[]).unwrap();
    let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["hook", "hook-2"]);
    assert_eq!(sources[1].grants.allow_hosts, ["h"]);
}

#[test]
fn grants_without_a_component_are_refused() {
    let flags = ComponentFlags { allow_hosts: vec!["h".into()], ..ComponentFlags::default() };
    assert!(matches!(components(&flags, &[]), Err(Error::Usage(_))));
}

#[test]
fn a_configured_component_is_called_by_its_name() {
    let configured =
        [ComponentSource { name: "stamp".into(), path: "/c/stamp.wasm".into(), ..ComponentSource::default() }];
    let flags = ComponentFlags { callbacks: vec!["stamp".into(), "/a/stamp.wasm".into()], ..ComponentFlags::default() };
    assert_eq!(named(&flags, &configured), ["stamp"]);
    let files = components(&flags, &configured).unwrap();
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].name, "stamp-2");
}
