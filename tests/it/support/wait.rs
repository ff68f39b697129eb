//! The one place that waits by looking again: for what happens without telling anybody. What tells is waited for where it is
//! told ([`super::process`], [`super::answer::Gate`]).

use std::time::{Duration, Instant};

/// How long anything is waited for. A test that comes to it has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Looks until there is something. `complaint` says what there is instead, when patience ends.
#[track_caller]
pub fn wait_for<T>(mut look: impl FnMut() -> Option<T>, complaint: impl Fn() -> String) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{}", complaint());
        std::thread::sleep(PAUSE);
    }
}

/// Looks until it is so.
#[track_caller]
pub fn wait_until(mut is_so: impl FnMut() -> bool, complaint: impl Fn() -> String) {
    wait_for(|| is_so().then_some(()), complaint);
}
