//! What network there is where nobody says so: NetworkManager is asked over D-Bus whether bytes cost money.
//!
//! Asked only while there are tasks that need an unmetered network, and then every 10 seconds. Whether there is a network at all
//! is not asked: a NetworkManager that manages none of the interfaces says no, and means nothing by it.

use std::time::{Duration, Instant};

use zbus::Connection;
use zbus::zvariant::OwnedValue;

use crate::limits::Network;

/// How often it is asked.
pub(super) const AGAIN: Duration = Duration::from_secs(10);

/// What is known of the network.
#[derive(Debug)]
pub(super) struct Finder {
    given: Network,
    found: Option<(Network, Instant)>,
    /// An answer is on its way.
    pub(super) asking: bool,
    /// Tasks wait for another answer.
    pub(super) waited_for: bool,
}

impl Finder {
    /// `given`: what the owner says of it.
    pub(super) fn new(given: Network) -> Self {
        Self { given, found: None, asking: false, waited_for: false }
    }

    /// The owner says something else.
    pub(super) fn give(&mut self, given: Network) {
        self.given = given;
    }

    /// Takes an answer. `None`: it has not come in time, and what was said last stays.
    pub(super) fn find(&mut self, found: Option<Network>, now: Instant) {
        let before = self.found.map(|(network, _)| network);
        let network = found.or(before).unwrap_or(Network::Unmetered);
        if before != Some(network) {
            tracing::info!("the network is {}, by NetworkManager", network.name());
        }
        (self.asking, self.waited_for, self.found) = (false, false, Some((network, now)));
    }

    /// Whether it is NetworkManager that knows.
    pub(super) fn is_asked(&self) -> bool {
        self.given == Network::Auto
    }

    /// Whether an answer must be waited for.
    pub(super) fn is_unknown(&self, now: Instant) -> bool {
        self.is_asked() && self.found.is_none_or(|(_, at)| now.saturating_duration_since(at) > 2 * AGAIN)
    }

    /// What counts.
    pub(super) fn now(&self) -> Network {
        match self.given {
            Network::Auto => self.found.map_or(Network::Unmetered, |(found, _)| found),
            given => given,
        }
    }
}

/// Asks, for 2 seconds at most. Unmetered where there is no NetworkManager, or it does not know; `None` where nobody has said anything
/// by then: one answer that a busy machine has lost must not cost money.
pub(super) async fn ask() -> Option<Network> {
    let answer = tokio::time::timeout(Duration::from_secs(2), metered()).await;
    match answer {
        Ok(Ok(metered)) => Some(network_of(metered)),
        Ok(Err(error)) => {
            tracing::info!("NetworkManager does not say whether the network is metered: {error}");
            Some(Network::Unmetered)
        }
        Err(_) => {
            tracing::info!("NetworkManager does not answer");
            None
        }
    }
}

/// NetworkManager's property `Metered`.
async fn metered() -> zbus::Result<u32> {
    const MANAGER: &str = "org.freedesktop.NetworkManager";
    let bus = Connection::system().await?;
    let (path, properties) = ("/org/freedesktop/NetworkManager", "org.freedesktop.DBus.Properties");
    let reply = bus.call_method(Some(MANAGER), path, Some(properties), "Get", &(MANAGER, "Metered")).await?;
    let value: OwnedValue = reply.body().deserialize()?;
    Ok(u32::try_from(value)?)
}

/// Of an NMMetered, of which 1 is yes and 3 is probably.
fn network_of(metered: u32) -> Network {
    match metered {
        1 | 3 => Network::Metered,
        _ => Network::Unmetered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_counts_and_auto_is_what_was_found_for_a_while() {
        let now = crate::clock::now();
        let mut finder = Finder::new(Network::Auto);
        assert!(finder.is_unknown(now) && finder.now() == Network::Unmetered);
        finder.find(Some(Network::Metered), now);
        assert!(!finder.is_unknown(now) && finder.now() == Network::Metered);
        assert!(finder.is_unknown(now + 3 * AGAIN));
        finder.find(None, now + 3 * AGAIN);
        assert!(!finder.is_unknown(now + 3 * AGAIN) && finder.now() == Network::Metered, "no answer says nothing new");
        finder.give(Network::Offline);
        assert!(!finder.is_unknown(now + 3 * AGAIN) && finder.now() == Network::Offline);
    }

    #[test]
    fn network_managers_answers_are_understood() {
        for (answer, network) in [
            (0, Network::Unmetered),
            (1, Network::Metered),
            (2, Network::Unmetered),
            (3, Network::Metered),
            (4, Network::Unmetered),
            (5, Network::Unmetered),
        ] {
            assert_eq!(network_of(answer), network, "{answer}");
        }
    }
}
