//! The way to an engine that survives the engine's end: when the process that was joined goes away, the next call opens
//! the home anew.

use haul::event::Update;
use haul::{Error, Reply, Request, Result, Session, Settings, Work};
use tokio::sync::mpsc::Receiver;

/// How often a home is opened anew before giving up: engines that end one after another are short commands.
const OPENINGS: u32 = 50;

/// A session, and what is needed to open it again.
pub(crate) struct Link {
    settings: Settings,
    work: Work,
    session: Option<Session>,
    generation: u32,
}

impl Link {
    /// No connection yet.
    pub(crate) fn new(settings: Settings, work: Work) -> Self {
        Self { settings, work, session: None, generation: 0 }
    }

    /// The session, opened if need be.
    pub(crate) async fn session(&mut self) -> Result<&Session> {
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                self.generation += 1;
                Session::open(self.settings.clone(), self.work.clone()).await?
            }
        };
        Ok(self.session.insert(session))
    }

    /// Whether another process is the engine.
    pub(crate) fn is_joined(&self) -> bool {
        matches!(self.session, Some(Session::Joined(_)))
    }

    /// Whether the engine works tasks, rather than having the home for one command that does not.
    pub(crate) fn works(&self) -> bool {
        match &self.session {
            Some(Session::Joined(client)) => client.works(),
            _ => true,
        }
    }

    /// Waits for the end of the engine that was joined, and leaves the session.
    pub(crate) async fn ended(&mut self) -> Result<()> {
        match self.session().await?.watch().await {
            Ok(mut updates) => while updates.recv().await.is_some() {},
            Err(Error::HomeLocked(_)) => {}
            Err(error) => return Err(error),
        }
        self.forget();
        Ok(())
    }

    /// Which session this is: rises with each opening.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// After the end of the updates: leaves a session whose engine has ended, so that the next call opens the home anew. An
    /// engine of this very process that goes on has only let go of a slow watcher; one that does not is an error.
    pub(crate) async fn updates_ended(&mut self) -> Result<()> {
        if self.is_joined() {
            self.forget();
            return Ok(());
        }
        self.call_once(Request::Counts).await.map(|_| ())
    }

    /// Leaves a session whose engine has ended, so that the next call opens the home anew.
    pub(crate) fn forget(&mut self) {
        self.session = None;
    }

    /// Asks; asks again in a new session when the engine that was joined ended meanwhile. Only for requests that may be
    /// made twice.
    pub(crate) async fn call(&mut self, request: Request) -> Result<Reply> {
        self.session().await?;
        for _ in 0..OPENINGS {
            if !self.is_joined() {
                return self.call_once(request).await;
            }
            let answer = self.call_once(request.clone()).await;
            match answer {
                Err(Error::HomeLocked(_)) if self.is_joined() => self.forget(),
                answer => return answer,
            }
        }
        Err(Error::HomeLocked("the engine of this home keeps ending; try again".into()))
    }

    /// Asks in the present session: [`Error::HomeLocked`] when its engine has ended.
    pub(crate) async fn call_once(&mut self, request: Request) -> Result<Reply> {
        self.session().await?.call(request).await
    }

    /// Updates from now on.
    pub(crate) async fn watch(&mut self) -> Result<Receiver<Update>> {
        for _ in 0..OPENINGS {
            let answer = self.session().await?.watch().await;
            match answer {
                Err(Error::HomeLocked(_)) if self.is_joined() => self.forget(),
                answer => return answer,
            }
        }
        Err(Error::HomeLocked("the engine of this home keeps ending; try again".into()))
    }

    /// Waits until components have heard of all ends.
    pub(crate) async fn all_told(&self) {
        if let Some(session) = &self.session {
            session.all_told().await;
        }
    }

    /// Ends the session in order.
    pub(crate) async fn close(mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }
}

/// Asks one thing of the home and leaves.
pub(crate) async fn ask(settings: Settings, request: Request) -> Result<Reply> {
    let mut link = Link::new(settings, Work::Nothing);
    let answer = link.call(request).await;
    link.close().await;
    answer
}
