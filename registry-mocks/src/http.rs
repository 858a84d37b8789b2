//! An HTTP register's listener: it can go away with all its connections and come back on its port.
//! Knows nothing of what is answered.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::Response,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{mpsc, oneshot},
    task::{JoinHandle, JoinSet},
};

use crate::{
    error::MocksError,
    fault::{Fault, Faults, Verdict},
    request_log::RequestLog,
};

/// Connections at once; one more is closed.
const CONNECTIONS_MAX: usize = 1024;
/// Largest request body.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest wait for a request's head.
const HEAD_TIMEOUT_MS: u64 = 30_000;
/// Connections that the kernel holds.
const BACKLOG: u32 = 1024;

/// What a register answers when it is ordered to fail or to talk nonsense.
pub(crate) struct Broken {
    pub(crate) failure: fn() -> Response,
    pub(crate) nonsense: fn() -> Response,
}

/// A register behind HTTP, with its faults and its log.
pub(crate) struct HttpRegister {
    pub(crate) address: SocketAddr,
    faults: Arc<Faults>,
    pub(crate) log: Arc<RequestLog>,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

/// An order to the listener: reachable or not; answered when done.
struct Order {
    outage: bool,
    done: oneshot::Sender<Result<(), MocksError>>,
}

struct Observed {
    faults: Arc<Faults>,
    log: Arc<RequestLog>,
    broken: Broken,
}

impl HttpRegister {
    /// Listens and answers by these routes.
    pub(crate) fn start(
        address: SocketAddr,
        seed: u64,
        log: Arc<RequestLog>,
        broken: Broken,
        routes: Router,
    ) -> Result<Self, MocksError> {
        let faults = Arc::new(Faults::new(seed));
        let observed = Arc::new(Observed { faults: faults.clone(), log: log.clone(), broken });
        let routes = routes.layer(middleware::from_fn_with_state(observed, observe));
        let (address, orders, task) = listen(address, routes)?;
        Ok(Self { address, faults, log, orders, task })
    }

    pub(crate) fn fault(&self) -> Fault {
        self.faults.get()
    }

    /// Puts a fault in force; an outage is there when this returns.
    pub(crate) async fn set_fault(&self, fault: Fault) -> Result<(), MocksError> {
        let (done, answer) = oneshot::channel();
        let order = Order { outage: fault.outage, done };
        self.orders.send(order).await.map_err(|_| MocksError::Closing)?;
        answer.await.map_err(|_| MocksError::Closing)??;
        self.faults.set(fault);
        Ok(())
    }

    /// Stops listening and closes every connection.
    pub(crate) async fn stop(self) {
        let Self { orders, task, .. } = self;
        drop(orders);
        let _ended = task.await;
    }
}

/// A listener that nobody gives orders to.
pub(crate) struct PlainListener {
    pub(crate) address: SocketAddr,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

impl PlainListener {
    pub(crate) fn start(address: SocketAddr, routes: Router) -> Result<Self, MocksError> {
        let (address, orders, task) = listen(address, routes)?;
        Ok(Self { address, orders, task })
    }

    pub(crate) async fn stop(self) {
        drop(self.orders);
        let _ended = self.task.await;
    }
}

fn listen(
    address: SocketAddr,
    routes: Router,
) -> Result<(SocketAddr, mpsc::Sender<Order>, JoinHandle<()>), MocksError> {
    let failed = |source| MocksError::Listen { address, source };
    let listener = bind(address).and_then(|socket| socket.listen(BACKLOG)).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let (orders, received) = mpsc::channel(8);
    let routes = routes.layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    let task = tokio::spawn(run(address, Some(listener), routes, received));
    Ok((address, orders, task))
}

fn bind(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Serves until nobody can give orders any more.
async fn run(
    address: SocketAddr,
    mut open: Option<TcpListener>,
    routes: Router,
    mut orders: mpsc::Receiver<Order>,
) {
    let mut connections = JoinSet::new();
    let mut reserved = None;
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some(order) = order else { break };
                let result = if order.outage {
                    go_dark(address, &mut open, &mut reserved, &mut connections).await
                } else {
                    come_back(address, &mut open, &mut reserved)
                };
                let _nobody_waits = order.done.send(result.map_err(|source| MocksError::Listen { address, source }));
            }
            stream = accept(open.as_ref()) => {
                if connections.len() < CONNECTIONS_MAX {
                    connections.spawn(serve(stream, routes.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
    connections.shutdown().await;
}

/// Closes the listener and every connection. A bound socket that does not listen keeps the port, so
/// that connections are refused and nobody else takes it.
async fn go_dark(
    address: SocketAddr,
    open: &mut Option<TcpListener>,
    reserved: &mut Option<TcpSocket>,
    connections: &mut JoinSet<()>,
) -> std::io::Result<()> {
    if open.take().is_some() {
        connections.shutdown().await;
        *reserved = Some(bind(address)?);
    }
    Ok(())
}

fn come_back(
    address: SocketAddr,
    open: &mut Option<TcpListener>,
    reserved: &mut Option<TcpSocket>,
) -> std::io::Result<()> {
    if open.is_none() {
        let socket = match reserved.take() {
            Some(socket) => socket,
            None => bind(address)?,
        };
        *open = Some(socket.listen(BACKLOG)?);
    }
    Ok(())
}

/// The next connection; waits for ever while there is no listener.
async fn accept(open: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = open else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                // Out of descriptors, or the peer was quicker: neither ends the register.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, routes: Router) {
    let _best_effort = stream.set_nodelay(true);
    let ended = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HEAD_TIMEOUT_MS))
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes))
        .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to a mock register ended");
    }
}

/// Logs every request and lets the ordered faults happen to it.
async fn observe(
    State(observed): State<Arc<Observed>>,
    request: Request,
    next: Next,
) -> Result<Response, Infallible> {
    let entry = observed.log.open(request.method(), request.uri(), request.headers());
    let (delay, verdict) = observed.faults.next();
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let response = match verdict {
        Verdict::Answer => next.run(request).await,
        Verdict::Fail => (observed.broken.failure)(),
        Verdict::Nonsense => (observed.broken.nonsense)(),
    };
    entry.answered(response.status().as_u16());
    Ok(response)
}
