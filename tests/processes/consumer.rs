//! A consumer that follows a gateway's GOAWAY to the process that takes over. A call is sent again
//! only where HTTP/2 says that it was never processed; whatever else goes wrong is a failed call.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ura_runtime::tls::{self, Identity, Verify};

use crate::world::client::{Ended, collect};

/// Attempts for one call; each but the last was provably never processed.
const ATTEMPTS_MAX: usize = 50;

pub struct Consumer {
    identity: PathBuf,
    address: String,
    sender: Option<http2::SendRequest<Full<Bytes>>>,
    /// Connections made so far.
    pub connections: usize,
    /// Calls sent again, each with the reason.
    pub again: Vec<String>,
}

impl Consumer {
    pub fn new(identity: PathBuf, address: &str) -> Self {
        Self { identity, address: address.to_owned(), sender: None, connections: 0, again: Vec::new() }
    }

    /// One call to its end.
    ///
    /// # Errors
    /// What broke after the call was sent, or kept it from being sent.
    pub async fn call(
        &mut self,
        path: &str,
        metadata: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Ended, String> {
        for _ in 0..ATTEMPTS_MAX {
            match self.attempt(path, metadata, body.clone()).await {
                Ok(answer) => {
                    let ended = collect(answer).await;
                    return match &ended.reset {
                        Some(reset) => Err(format!("cut during the answer: {reset}")),
                        None => Ok(ended),
                    };
                }
                Err(Broken::NeverSent(why)) => {
                    self.sender = None;
                    self.again.push(why);
                }
                Err(Broken::Sent(why)) => return Err(why),
            }
        }
        Err(format!("never sent in {ATTEMPTS_MAX} attempts: {:?}", self.again.last()))
    }

    async fn attempt(
        &mut self,
        path: &str,
        metadata: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response<Incoming>, Broken> {
        let sender = self.connected().await.map_err(Broken::NeverSent)?;
        let mut request = Request::post(format!("https://gateway{path}"))
            .header("te", "trailers")
            .header("content-type", "application/grpc");
        for (key, value) in metadata {
            request = request.header(*key, *value);
        }
        let request = request.body(Full::new(body)).expect("a request");
        sender.ready().await.map_err(|error| Broken::NeverSent(error.to_string()))?;
        let sent = sender.try_send_request(request).await;
        sent.map_err(|mut error| {
            let untouched = error.take_message().is_some();
            let why = format!("{:?}", error.error());
            if untouched || was_not_processed(error.error()) {
                Broken::NeverSent(why)
            } else {
                Broken::Sent(why)
            }
        })
    }

    async fn connected(&mut self) -> Result<&mut http2::SendRequest<Full<Bytes>>, String> {
        if self.sender.as_ref().is_none_or(http2::SendRequest::is_closed) {
            let identity = Identity::load(&self.identity).map_err(|error| error.to_string())?;
            let config = identity.client_config(&[b"h2"], Verify::Name).map_err(|error| error.to_string())?;
            let connected = tls::connect(&self.address, config, Duration::from_secs(10)).await;
            let (stream, _) = connected.map_err(|error| error.to_string())?;
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .handshake(TokioIo::new(stream))
                .await
                .map_err(|error| error.to_string())?;
            tokio::spawn(connection);
            self.sender = Some(sender);
            self.connections += 1;
        }
        Ok(self.sender.as_mut().expect("connected above"))
    }
}

enum Broken {
    NeverSent(String),
    Sent(String),
}

/// REFUSED_STREAM, and streams above the last one that a GOAWAY names (RFC 9113 sections 8.7 and 6.8).
fn was_not_processed(error: &hyper::Error) -> bool {
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
            let left_out =
                error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR);
            return refused || left_out;
        }
        next = error.source();
    }
    false
}
