//! Notifications on the desktop: messages to `org.freedesktop.Notifications` on the session's bus, by the Desktop Notifications
//! Specification (1.2). No buttons, sounds or pictures.
//!
//! The bus is looked for when there is something to show. Where there is none, nobody on it that shows notifications, or no
//! answer in time, nothing is shown and it is not tried again.

use std::collections::HashMap;
use std::time::Duration;

use haul::notify::{Notification, State};
use zbus::Connection;
use zbus::zvariant::Value;

const SERVER: &str = "org.freedesktop.Notifications";
const PATH: &str = "/org/freedesktop/Notifications";
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The desktop, as far as it is known.
#[derive(Default)]
pub(super) enum Desktop {
    #[default]
    Unknown,
    There(Server),
    Absent,
}

impl Desktop {
    /// Shows a notification in the place of the one that has its id; returns within 2 seconds.
    pub(super) async fn show(&mut self, notification: &Notification) {
        let error = match tokio::time::timeout(ANSWER_WITHIN, self.try_to_show(notification)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) if is_of_one(&error) => {
                return tracing::info!("the desktop refuses a notification: {error}");
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", ANSWER_WITHIN.as_secs()),
        };
        tracing::info!("notifications are not shown on the desktop: {error}");
        *self = Self::Absent;
    }

    async fn try_to_show(&mut self, notification: &Notification) -> zbus::Result<()> {
        if matches!(self, Self::Unknown) {
            *self = Self::There(Server::find().await?);
        }
        match self {
            Self::There(server) => server.show(notification).await,
            _ => Ok(()),
        }
    }
}

/// Whether somebody is there who only does not want this one.
fn is_of_one(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::MethodError(name, ..) if !name.starts_with("org.freedesktop.DBus.Error."))
}

/// Who shows notifications.
pub(super) struct Server {
    bus: Connection,
    /// It reads bodies as markup.
    reads_markup: bool,
    /// Its ids of what may change yet, by ours.
    shown: HashMap<String, u32>,
}

impl Server {
    async fn find() -> zbus::Result<Self> {
        let bus = Connection::session().await?;
        let reply = bus.call_method(Some(SERVER), PATH, Some(SERVER), "GetCapabilities", &()).await?;
        let capabilities: Vec<String> = reply.body().deserialize()?;
        let reads_markup = capabilities.iter().any(|capability| capability == "body-markup");
        Ok(Self { bus, reads_markup, shown: HashMap::new() })
    }

    async fn show(&mut self, notification: &Notification) -> zbus::Result<()> {
        let replaces = self.shown.get(&notification.id).copied().unwrap_or_default();
        let (title, body) = (text(&notification.title), text(&notification.body));
        let body = if self.reads_markup { escaped(&body) } else { body };
        let urgency: u8 = if notification.state == State::Error { 2 } else { 1 };
        let actions: &[&str] = &[];
        let hints = HashMap::from([("urgency", Value::from(urgency))]);
        let expires: i32 = -1; // when it sees fit
        let message = ("haul", replaces, "", title, body, actions, hints, expires);
        let reply = self.bus.call_method(Some(SERVER), PATH, Some(SERVER), "Notify", &message).await?;
        match notification.state {
            State::Running | State::Paused => self.shown.insert(notification.id.clone(), reply.body().deserialize()?),
            State::Complete | State::Error | State::Canceled => self.shown.remove(&notification.id),
        };
        Ok(())
    }
}

/// No text of a message has a NUL in it.
fn text(text: &str) -> String {
    text.replace('\0', "")
}

fn escaped(body: &str) -> String {
    body.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
