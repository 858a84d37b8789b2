//! A TCP relay between two parties of a test: it can cut what passes through it, as a process that is killed
//! does, and lose or hold it without a word, as failing networks do.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// What the relay does with connections.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Counts the cuts; a connection ends with the next.
    cuts: usize,
    /// Counts the silences; what passes on a connection is lost from the next one on.
    silences: usize,
    /// On new connections everything is lost.
    deaf: bool,
    /// Nothing passes, and nothing is lost.
    held: bool,
    /// New connections are dropped.
    blocked: bool,
    ended: bool,
}

pub struct Relay {
    address: SocketAddr,
    state: watch::Sender<State>,
    opened: Arc<watch::Sender<usize>>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Relays to `target`, `host:port`.
    pub async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let state = watch::Sender::new(State::default());
        let opened = Arc::new(watch::Sender::new(0));
        let task = tokio::spawn(run(listener, target.to_owned(), state.subscribe(), opened.clone()));
        Self { address, state, opened, task }
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Cuts every connection; new ones pass.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Cuts every connection and takes no new ones until `open`.
    pub fn block(&self) {
        self.state.send_modify(|state| {
            state.cuts += 1;
            state.blocked = true;
        });
    }

    /// From now on everything is lost, on new connections, too, until `open`; nobody is told, and both ends
    /// are taken what they send.
    pub fn silence(&self) {
        self.state.send_modify(|state| {
            state.silences += 1;
            state.deaf = true;
        });
    }

    /// Holds what is sent until `open`.
    pub fn hold(&self) {
        self.state.send_modify(|state| state.held = true);
    }

    /// New connections pass again, and what was held.
    pub fn open(&self) {
        self.state.send_modify(|state| {
            (state.blocked, state.deaf, state.held) = (false, false, false);
        });
    }

    /// Connections so far, those dropped while blocked included.
    pub fn opened(&self) -> usize {
        *self.opened.borrow()
    }

    /// Waits until so many connections were made in all.
    pub async fn until_opened(&self, count: usize) {
        let mut opened = self.opened.subscribe();
        super::patient(opened.wait_for(|now| *now >= count)).await.expect("the relay lives");
    }

    pub async fn end(self) {
        self.state.send_modify(|state| state.ended = true);
        super::patient(self.task).await.expect("the relay ends well");
    }
}

async fn run(
    listener: TcpListener,
    target: String,
    state: watch::Receiver<State>,
    opened: Arc<watch::Sender<usize>>,
) {
    let mut connections = JoinSet::new();
    let mut end = state.clone();
    loop {
        tokio::select! {
            _ = end.wait_for(|state| state.ended) => break,
            accepted = listener.accept() => {
                let (near, _) = accepted.expect("a connection");
                let now = *state.borrow();
                if now.blocked {
                    drop(near);
                } else {
                    connections.spawn(relay(near, target.clone(), state.clone(), now));
                }
                opened.send_modify(|count| *count += 1);
            }
            Some(_) = connections.join_next() => {}
        }
    }
    connections.shutdown().await;
}

/// One connection until an end of it closes, or it is cut.
async fn relay(mut near: TcpStream, target: String, state: watch::Receiver<State>, born: State) {
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    near.set_nodelay(true).ok();
    far.set_nodelay(true).ok();
    let [mut cut, mut silence] = [state.clone(), state.clone()];
    let is_silent = |state: &State| born.deaf || state.silences != born.silences;
    let passing = async {
        tokio::select! {
            biased;
            _ = silence.wait_for(is_silent) => {}
            () = pass(&mut near, &mut far, state) => return,
        }
        // Neither end learns of the other's.
        tokio::join!(swallow(&mut near), swallow(&mut far));
    };
    tokio::select! {
        () = passing => {}
        _ = cut.wait_for(|state| state.cuts != born.cuts) => {}
    }
}

/// Passes bytes on, but for the times at which they are held.
async fn pass(near: &mut TcpStream, far: &mut TcpStream, mut state: watch::Receiver<State>) {
    let mut copy = std::pin::pin!(copy_bidirectional(near, far));
    loop {
        tokio::select! {
            biased;
            _ = state.wait_for(|state| state.held) => {}
            _ = copy.as_mut() => return,
        }
        if state.wait_for(|state| !state.held).await.is_err() {
            return;
        }
    }
}

/// Takes bytes that go nowhere.
async fn swallow(stream: &mut TcpStream) {
    let mut bytes = [0; 16 << 10];
    while matches!(stream.read(&mut bytes).await, Ok(1..)) {}
}
