//! What may be typed.

use super::*;

fn parse(line: &str) -> Result<Args, clap::Error> {
    Args::try_parse_from(line.split(' '))
}

fn get(line: &str) -> Get {
    match parse(line).unwrap().command {
        Command::Get(get) => *get,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_description_of_the_command_line_is_sound() {
    use clap::CommandFactory;
    Args::command().debug_assert();
}

#[test]
fn global_flags_go_before_and_after_the_command() {
    for line in ["haul --json --home /h ls", "haul ls --json --home /h", "haul --json ls --home /h"] {
        let global = parse(line).unwrap().global;
        assert!(global.json);
        assert_eq!(global.home, Some(PathBuf::from("/h")));
    }
}

#[test]
fn quiet_and_verbose_exclude_each_other() {
    assert!(parse("haul -q -v ls").is_err());
    assert_eq!(parse("haul -vv ls").unwrap().global.verbose, 2);
}

#[test]
fn defaults_of_get_are_those_of_the_interface() {
    let get = get("haul get http://h/f");
    assert_eq!(get.task.asking.retries, 3);
    assert_eq!(get.task.priority, 5);
    assert_eq!(get.download.parts, 1);
    assert_eq!(get.task.asking.max_redirects, 10);
    assert!(get.download.dir.is_none() && get.download.output.is_none());
}

#[test]
fn flags_of_get_are_understood() {
    let get = get(
        "haul get -H A:1 -H b:c:d -H e: -H f; -o f -d /t --id i --group g --priority 0 --retries 10 --mirror http://m/f \
         --on-conflict skip --print path -j 2 --max-per-host 1 --callbacks a.wasm --allow-host h --callback-config k=v=w -",
    );
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(get.urls, ["-"]);
    let header = |name: &str, value: &str| Header::Given(name.into(), value.into());
    assert_eq!(
        get.task.asking.headers,
        [header("A", "1"), header("b", "c:d"), Header::LeftOut("e".into()), header("f", "")]
    );
    assert_eq!(get.download.on_conflict, Some(Conflict::Skip));
    assert_eq!(get.engine.limits.jobs, Some(2));
    assert_eq!(get.engine.components.config, [pair("k", "v=w")]);
    assert_eq!(get.print, Some(Print::Path));
}

#[test]
fn a_limit_that_is_no_number_is_told_in_words() {
    for line in ["haul get -j x u", "haul get -j -1 u", "haul run --max-per-host 1.5"] {
        assert!(parse(line).expect_err(line).to_string().contains("a whole number; 0 means no limit"), "{line}");
    }
}

#[test]
fn values_out_of_range_and_malformed_ones_are_refused() {
    for line in [
        "haul get",
        "haul get --priority 11 u",
        "haul get --retries 11 u",
        "haul get --max-redirects 51 u",
        "haul get -H nocolon u",
        "haul get --callback-config novalue u",
        "haul get --on-conflict maybe u",
        "haul ls --status nonsense",
        "haul pause",
        "haul pause a --all",
        "haul ack 5",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn flags_that_could_have_no_effect_are_not_offered() {
    let refused =
        ["-j 1", "--limit-rate 1K", "--network offline", "--skip-existing 1", "--durability relaxed", "--keep-free 1"];
    for flag in refused {
        for line in [format!("haul probe u {flag}"), format!("haul import-resume f {flag}")] {
            assert_eq!(parse(&line).expect_err(&line).kind(), ErrorKind::UnknownArgument, "{line}");
        }
    }
    let line = "haul import-resume f --proxy http://h";
    assert_eq!(parse(line).expect_err(line).kind(), ErrorKind::UnknownArgument);
    for line in
        ["haul probe u --proxy http://h --callbacks a.wasm --record r", "haul import-resume f --callbacks a --record r"]
    {
        parse(line).expect(line);
    }
}

#[test]
fn each_flag_stands_under_its_own_heading() {
    let command = Args::command();
    for name in ["get", "put", "request"] {
        let flags: Vec<_> = command.find_subcommand(name).unwrap().get_arguments().collect();
        let heading = |id: &str| flags.iter().find(|flag| flag.get_id() == id).and_then(|flag| flag.get_help_heading());
        for id in ["headers", "id", "scope", "requires_wifi", "priority", "not_before", "metadata", "notification"] {
            assert_eq!(heading(id), Some("Task options"), "{name} {id}");
        }
        let others = ["user", "durability", "jobs", "proxy", "record"].map(heading);
        let headings = ["Login options", "Engine options", "Limits", "Network options", "Component options"];
        assert_eq!(others, headings.map(Some), "{name}");
    }
}
