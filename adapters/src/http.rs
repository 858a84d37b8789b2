//! Registers that speak HTTP: what REST and SOAP have in common. Bounded bodies, no redirects, no
//! proxies, trace and exchange id on every request, who the adapter is where the register asks for it.

mod auth;
mod client;
mod token;

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use reqwest::{
    Request, Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderName, HeaderValue},
};
use tonic::Code;
use ura_proto::metadata::{EXCHANGE_ID, TRACEPARENT};

use self::{auth::Auth, client::Clients};
use crate::{
    plan::{Answer, RegisterPlan},
    register::{ConnectError, Failure, Reply, job::Job},
    tree::Tree,
};

/// Connections that wait longer than this for their next use are closed.
const IDLE: Duration = Duration::from_secs(60);

/// A pool of connections to an HTTP server.
pub(crate) struct HttpRegister {
    clients: Clients,
    auth: Option<Auth>,
    base: String,
    host: String,
    port: u16,
}

impl HttpRegister {
    pub(crate) fn connect(plan: &RegisterPlan) -> Result<Self, ConnectError> {
        let url = Url::parse(&plan.url).map_err(|error| ConnectError::Url(error.to_string()))?;
        Ok(Self {
            clients: Clients::new(plan)?,
            auth: plan.auth.as_ref().map(Auth::open).transpose()?,
            base: plan.url.clone(),
            host: url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned(),
            port: url.port_or_known_default().unwrap_or(80),
        })
    }

    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether the server accepts connections, and whether there is a token for it where it wants one.
    pub(crate) async fn probe(&self) -> Result<(), Failure> {
        let connected = tokio::net::TcpStream::connect((self.host.as_str(), self.port)).await;
        connected.map(drop).map_err(|error| Failure::unreachable(error.to_string()))?;
        match &self.auth {
            Some(auth) => auth.value(&self.clients.current().await).await.map(drop),
            None => Ok(()),
        }
    }

    /// The register's url with a path behind it.
    pub(crate) fn url(&self, path: &str) -> Result<Url, Failure> {
        Url::parse(&format!("{}{path}", self.base))
            .map_err(|_| Failure::invalid("The request makes no address that the register can have."))
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(&self, job: &Job, mut request: Request) -> Result<Response, Failure> {
        let headers = request.headers_mut();
        if let Ok(value) = HeaderValue::from_bytes(&job.trace.header()) {
            headers.insert(TRACEPARENT, value);
        }
        if let Ok(value) = HeaderValue::from_str(&job.context.exchange_id) {
            headers.insert(EXCHANGE_ID, value);
        }
        let client = self.clients.current().await;
        let execute = async |request| client.execute(request).await.map_err(|error| failure(&error));
        let Some(auth) = &self.auth else {
            return execute(request).await;
        };
        let again = request.try_clone();
        let value = auth.value(&client).await?;
        request.headers_mut().insert(AUTHORIZATION, value.clone());
        let response = execute(request).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        // Such a request was not carried out (RFC 9110 section 15.5.2): it may be repeated, a write too.
        match (again, auth.renewed(&client, &value).await?) {
            (Some(mut again), Some(value)) => {
                again.headers_mut().insert(AUTHORIZATION, value);
                execute(again).await
            }
            _ => Ok(response),
        }
    }
}

/// The value of a header that holds a value of the request. Only what every receiver reads alike: visible ASCII and
/// blanks inside (RFC 9110 section 5.5). Bytes beyond are read as ISO 8859-1 by some, which makes line ends of letters.
pub(crate) fn header(name: &HeaderName, text: &str) -> Result<HeaderValue, Failure> {
    let plain = text.bytes().all(|b| matches!(b, b' '..=b'~')) && text.trim_matches(' ') == text;
    HeaderValue::from_str(text).ok().filter(|_| plain).ok_or_else(|| {
        Failure::invalid(format!(
            "The value for the header {name} cannot stand in a header: only visible ASCII characters can, and blanks between."
        ))
    })
}

/// The whole body, bounded.
pub(crate) async fn body(job: &Job, response: Response) -> Result<Bytes, Failure> {
    let max = job.limits.answer_bytes_max;
    let mut stream = response.bytes_stream();
    let mut body = BytesMut::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| failure(&error))?;
        if body.len() + piece.len() > max {
            return Err(job.mismatch("the answer", "it is larger than answer_bytes_max"));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

pub(crate) fn failure(error: &reqwest::Error) -> Failure {
    let mut detail = String::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = cause {
        detail = format!("{detail}: {error}");
        cause = error.source();
    }
    // The error's own text names the url, which may hold values.
    let detail = if detail.is_empty() { "the request failed".to_owned() } else { detail };
    if error.is_connect() {
        Failure::unreachable(detail)
    } else if error.is_timeout() {
        Failure::timeout(detail)
    } else if error.is_builder() {
        Failure::invalid("The request makes none that the register can get.")
    } else {
        Failure::broken(detail)
    }
}

/// What a status means that the adapter file does not map.
pub(crate) fn by_status(job: &Job, status: u16) -> Failure {
    let detail = format!("HTTP status {status}");
    match status {
        404 => job.not_found(),
        400 | 422 => {
            Failure::refused(Code::InvalidArgument, "The register refused the request's values.", detail)
        }
        409 => Failure::refused(Code::Aborted, "The call conflicts with the state of the register.", detail),
        408 | 504 => Failure::timeout(detail),
        429 => Failure::overloaded(detail),
        502 | 503 => Failure::unavailable(detail),
        _ => Failure::refused(Code::Internal, "The register did not carry out the call.", detail),
    }
}

/// A refusal that the adapter file maps.
pub(crate) fn mapped(job: &Job, key: &str, detail: &str) -> Option<Failure> {
    let refusal = job.method.errors.get(key)?;
    let fallback = match refusal.code {
        Code::NotFound => job.method.not_found.as_str(),
        _ => "The register refused the call.",
    };
    let message = refusal.message.as_deref().unwrap_or(fallback);
    Some(Failure::refused(refusal.code, message, detail))
}

/// The rows at the method's place in an answer.
pub(crate) fn rows(job: &Job, whole: &Tree) -> Vec<Tree> {
    match whole.at(&job.method.at) {
        Some(Tree::List(items)) => items.clone(),
        None | Some(Tree::Null) => Vec::new(),
        // An element that could hold rows and holds nothing at all.
        Some(Tree::Text(text)) if text.trim().is_empty() => Vec::new(),
        Some(tree) => vec![tree.clone()],
    }
}

/// The reply that an answer makes, once it is all there.
pub(crate) fn reply(job: &Arc<Job>, whole: &Tree) -> Result<Reply, Failure> {
    let rows = rows(job, whole);
    match job.method.answer {
        Answer::One { .. } | Answer::Many { .. } => job.unary(rows, Some(whole)).map(Reply::One),
        Answer::Chunks { .. } if rows.is_empty() => Err(job.not_found()),
        Answer::Stream { .. } | Answer::Chunks { .. } => {
            let job = Arc::clone(job);
            let messages = stream::iter(rows.into_iter().enumerate()).flat_map(move |(at, row)| {
                stream::iter(match job.messages(&row, at == 0) {
                    Ok(messages) => messages.into_iter().map(Ok).collect(),
                    Err(failure) => vec![Err(failure)],
                })
            });
            Ok(Reply::Stream(ended_by_failure(messages).boxed()))
        }
    }
}

/// Nothing follows a failure.
fn ended_by_failure<T: Send>(
    messages: impl futures_util::Stream<Item = Result<T, Failure>> + Send,
) -> impl futures_util::Stream<Item = Result<T, Failure>> + Send {
    messages.scan(false, |failed, item| {
        let end = *failed;
        *failed = item.is_err();
        std::future::ready((!end).then_some(item))
    })
}
