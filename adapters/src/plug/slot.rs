//! One slot: a connection to one gateway, and another one whenever that has ended, is about to, or is in
//! doubt. The connection before goes on answering until the one after it was accepted.

use std::sync::Arc;

use tokio::time::{Instant, sleep};

use super::{Link, Plug, Target, backoff::Backoff};
use crate::serve::{Connection, Service, Stage, reached};

pub(super) struct Slot {
    plug: Arc<Plug>,
    target: Arc<Target>,
    backoff: Backoff,
    /// Connections that go when another one was accepted in their place.
    before: Vec<Arc<Connection>>,
}

/// Why a slot turns away from its connection.
enum Turn {
    /// It has ended; the gateway took nothing from it, or it did.
    Ended { refused: bool },
    /// It will end soon, and answers until then.
    Replaced,
    /// It may last, but another one is better, for this reason.
    Outdated(&'static str),
    /// The bus tells of the gateway no more.
    GivenUp,
}

impl Slot {
    pub(super) fn new(plug: Arc<Plug>, target: Arc<Target>) -> Self {
        Self { plug, target, backoff: Backoff::default(), before: Vec::new() }
    }

    /// Until the adapter leaves, or the bus tells of the gateway no more.
    pub(super) async fn run(mut self) {
        while let Some(link) = self.link().await {
            let born = Instant::now();
            let service = Service::new(Arc::clone(&self.plug.parts));
            let connection = Arc::clone(service.connection());
            match self.keep(link, service, &connection).await {
                Turn::Ended { refused: true } => self.backoff.refused(),
                Turn::Ended { refused: false } => self.backoff.lost(born.elapsed()),
                Turn::Replaced => self.backoff.replaced(born.elapsed()),
                Turn::Outdated(reason) => {
                    self.target.journal.renewing(reason);
                    self.before.push(connection);
                    self.backoff.replaced(born.elapsed());
                }
                Turn::GivenUp => {
                    connection.retire();
                    break;
                }
            }
        }
        self.retire();
    }

    /// The next connection, after a wait where the ones before failed; `None` where none is wanted any more.
    async fn link(&mut self) -> Option<Link> {
        let mut stage = self.plug.stage.clone();
        loop {
            let delay = self.backoff.delay(rand::random());
            let link = async {
                sleep(delay).await;
                self.plug.connect(&self.target.address).await
            };
            let link = tokio::select! {
                () = reached(&mut stage, Stage::Leaving) => return None,
                () = self.target.given_up.cancelled() => return None,
                link = link => link,
            };
            match link {
                Ok(link) => return Some(link),
                Err(reason) => {
                    let replacing = self.is_replacing();
                    self.target.journal.failed(&reason, replacing);
                    self.backoff.failed();
                }
            }
        }
    }

    /// Serves a connection as long as there is no reason for another one.
    async fn keep(&mut self, link: Link, service: Service, connection: &Arc<Connection>) -> Turn {
        let plug = Arc::clone(&self.plug);
        let certificate = link.certificate;
        let held = Arc::clone(&plug).hold(link, service, Arc::clone(&self.target), self.is_replacing());
        let mut held = plug.tasks.spawn(held);
        loop {
            tokio::select! {
                ended = &mut held => return Turn::Ended { refused: matches!(ended, Ok(true)) },
                () = connection.accepted(), if !self.before.is_empty() => self.retire(),
                () = connection.replacement_wanted() => return Turn::Replaced,
                () = connection.silent() => return Turn::Outdated("the gateway is silent"),
                () = plug.identities.other_than(certificate) => {
                    return Turn::Outdated("there is another certificate");
                }
                () = self.target.given_up.cancelled() => return Turn::GivenUp,
            }
        }
    }

    /// Whether connections before wait for another one.
    fn is_replacing(&mut self) -> bool {
        self.before.retain(|connection| !connection.is_over());
        !self.before.is_empty()
    }

    /// Lets the connections before go.
    fn retire(&mut self) {
        self.before.drain(..).for_each(|connection| connection.retire());
    }
}
