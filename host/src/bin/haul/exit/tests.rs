//! Exit codes by the interface's table.

use super::*;

fn failed(kind: FailureKind, http_status: Option<u16>) -> Outcome {
    let mut outcome = Outcome::new(Status::Failed);
    outcome.kind = Some(kind);
    outcome.http_status = http_status;
    outcome
}

#[test]
fn each_kind_of_failure_has_its_code() {
    let code = |kind, status| of_outcome(&failed(kind, status));
    assert_eq!(code(FailureKind::FileSystem, None), 6);
    assert_eq!(code(FailureKind::Connection, None), 5);
    assert_eq!(code(FailureKind::Connection, Some(407)), 4);
    assert_eq!(code(FailureKind::Checksum, Some(200)), 7);
    assert_eq!(code(FailureKind::Callback, None), 10);
    assert_eq!(code(FailureKind::Policy, None), 1);
    assert_eq!(code(FailureKind::Url, None), 2);
    for (status, expected) in [(401, 4), (403, 4), (407, 4), (404, 3), (410, 1), (503, 1)] {
        assert_eq!(code(FailureKind::HttpResponse, Some(status)), expected);
    }
}

#[test]
fn a_refused_redirect_is_no_network_failure() {
    let mut outcome = failed(FailureKind::Connection, Some(302));
    outcome.detail = FailureDetail::Redirect;
    assert_eq!(of_outcome(&outcome), 1);
}

#[test]
fn a_refused_refresh_is_an_authentication_failure_whatever_the_token_server_answered() {
    let mut outcome = failed(FailureKind::General, None);
    outcome.detail = FailureDetail::Credentials;
    assert_eq!(of_outcome(&outcome), 4);
}

#[test]
fn refused_tls_is_a_network_failure() {
    let mut outcome = failed(FailureKind::Connection, None);
    outcome.detail = FailureDetail::Tls;
    assert_eq!(of_outcome(&outcome), 5);
}

#[test]
fn ends_without_failure_have_their_codes() {
    assert_eq!(of_outcome(&Outcome::new(Status::Complete)), 0);
    assert_eq!(of_outcome(&Outcome::new(Status::NotFound)), 3);
    assert_eq!(of_outcome(&Outcome::new(Status::Canceled)), 1);
    assert_eq!(of_outcome(&Outcome::new(Status::Paused)), 1);
}

#[test]
fn several_tasks_of_which_one_failed_are_8() {
    let tally = |asked, codes: &[u8]| {
        let mut tally = Tally { asked, ..Tally::default() };
        codes.iter().for_each(|code| tally.fail(*code));
        tally.code()
    };
    assert_eq!(tally(3, &[]), 0);
    assert_eq!(tally(3, &[3]), 8);
    assert_eq!(tally(2, &[3, 3]), 8);
    assert_eq!(tally(1, &[3]), 3);
}

#[test]
fn errors_of_the_library_have_their_codes() {
    let text = || String::from("why");
    assert_eq!(of_error(&Error::Usage(text())), 2);
    assert_eq!(of_error(&Error::Invalid(Vec::new())), 2);
    assert_eq!(of_error(&Error::UnknownTask(text())), 2);
    assert_eq!(of_error(&Error::Refused(text())), 2);
    assert_eq!(of_error(&Error::FileSystem(text())), 6);
    assert_eq!(of_error(&Error::HomeLocked(text())), 9);
    assert_eq!(of_error(&Error::DatabaseLocked(text())), 9);
    assert_eq!(of_error(&Error::Component(text())), 10);
    assert_eq!(of_error(&Error::Damaged(text())), 11);
    assert_eq!(of_error(&Error::Other(text())), 1);
}
