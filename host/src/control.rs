//! The control socket: requests and updates between processes of one home, one JSON object a line.
//!
//! The socket is `haul.sock` in the home, mode 0600, and peers of other users are refused. It decides nothing: it carries
//! [`crate::api`].

/// A connection to another process's engine.
#[derive(Debug)]
pub struct Client {}
