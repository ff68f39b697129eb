//! The terminal as progress bars are drawn on it: what steers it goes the way of all lines, so that a terminal that stands still
//! (Ctrl-S) holds up nobody.

use std::fmt::Write as _;
use std::io;
use std::sync::{Mutex, PoisonError};

use indicatif::TermLike;
use rustix::termios::{Winsize, tcgetwinsize};

use super::outlet::{Outlet, To};

/// Stderr, a terminal. The codes are those of ECMA-48.
pub(super) struct Screen {
    outlet: Outlet,
    /// Drawn since the last flush.
    drawn: Mutex<String>,
}

impl Screen {
    pub(super) fn new(outlet: Outlet) -> Self {
        Self { outlet, drawn: Mutex::default() }
    }

    fn draw(&self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        drawn.write_fmt(text).map_err(io::Error::other)
    }

    fn steps(&self, count: usize, code: char) -> io::Result<()> {
        if count == 0 { Ok(()) } else { self.draw(format_args!("\x1b[{count}{code}")) }
    }
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Screen")
    }
}

/// How large the terminal is, where it says so.
fn size() -> Option<Winsize> {
    tcgetwinsize(io::stderr()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0)
}

/// How many characters a line of it holds.
pub(super) fn columns() -> u16 {
    size().map_or(79, |size| size.ws_col)
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        columns()
    }

    fn height(&self) -> u16 {
        size().map_or(24, |size| size.ws_row)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.steps(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.steps(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.steps(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.steps(n, 'D')
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.draw(format_args!("{s}\n"))
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        self.draw(format_args!("{s}"))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.draw(format_args!("\r\x1b[2K"))
    }

    fn flush(&self) -> io::Result<()> {
        let drawn = std::mem::take(&mut *self.drawn.lock().unwrap_or_else(PoisonError::into_inner));
        if !drawn.is_empty() {
            self.outlet.text(To::Err, &drawn, "");
        }
        Ok(())
    }
}
