//! Messages about the command line.

use super::*;

#[test]
fn a_usage_error_is_one_sentence() {
    let rendered = "error: the following required arguments were not provided:\n  <URL>...\n\nUsage: haul get <URL>...\n\nFor more";
    assert_eq!(sentence(rendered), "the following required arguments were not provided: <URL>...");
}

#[test]
fn a_number_below_0_is_no_flag_to_be_quoted() {
    let rendered = "error: unexpected argument '-1' found\n\n  tip: to pass '-1' as a value, use '-- -1'\n\nUsage";
    assert_eq!(sentence(rendered), "unexpected argument '-1' found (no value here is below 0)");
}

#[test]
fn a_tip_stays() {
    let rendered = "error: unrecognized subcommand 'gett'\n\n  tip: a similar subcommand exists: 'get'\n\nUsage";
    assert_eq!(sentence(rendered), "unrecognized subcommand 'gett' (a similar subcommand exists: 'get')");
}
