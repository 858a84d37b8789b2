//! Access tokens by client credentials (RFC 6749 section 4.4): asked for once, kept until a little before their end, and
//! asked for again where the register refuses one. One call asks; the others wait for it, or use the one that still holds.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use futures_util::StreamExt as _;
use reqwest::{
    Client, Method, Request, Response, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use tokio::time::Instant;
use tonic::Code;

use super::auth::{basic, bearer};
use crate::{register::Failure, secrets::SecretFile};

/// Largest answer of the token endpoint, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Life of a token that comes without one (section 5.1 only recommends it), and the longest that is believed.
const LIFE_DEFAULT: Duration = Duration::from_secs(300);
const LIFE_MAX: Duration = Duration::from_secs(24 * 3600);
/// A token is renewed so long before its end, or after four fifths of its life where that is later.
const MARGIN: Duration = Duration::from_secs(30);
/// A register that refuses every token does not make us ask more often than this; so long a failed renewal is not repeated
/// either while the old token holds.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(super) struct Tokens {
    url: Url,
    client_id: String,
    secret: SecretFile,
    /// Space between them; empty for none.
    scopes: String,
    held: Mutex<Option<Token>>,
    /// Held by the call that asks.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Token {
    value: HeaderValue,
    got: Instant,
    renew: Instant,
    end: Instant,
}

impl Tokens {
    pub(super) fn new(url: Url, client_id: String, secret: SecretFile, scopes: String) -> Self {
        Self { url, client_id, secret, scopes, held: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// A token that holds.
    pub(super) async fn value(&self, client: &Client) -> Result<HeaderValue, Failure> {
        let held = self.held();
        if let Some(token) = held.as_ref().filter(|token| Instant::now() < token.renew) {
            return Ok(token.value.clone());
        }
        let _turn = match (self.turn.try_lock(), held) {
            (Ok(turn), _) => turn,
            (Err(_), Some(token)) if Instant::now() < token.end => return Ok(token.value),
            (Err(_), _) => self.turn.lock().await,
        };
        let held = self.held();
        if let Some(token) = held.as_ref().filter(|token| Instant::now() < token.renew) {
            return Ok(token.value.clone());
        }
        match (self.ask(client).await, held) {
            (Ok(token), _) => Ok(self.keep(token)),
            (Err(failure), Some(mut token)) if Instant::now() < token.end => {
                tracing::warn!(detail = %failure.detail, "the register's access token could not be renewed yet");
                token.renew = Instant::now() + AGAIN_AFTER;
                Ok(self.keep(token))
            }
            (Err(failure), _) => Err(failure),
        }
    }

    /// A token other than the refused one, unless that one is quite new.
    pub(super) async fn renewed(
        &self,
        client: &Client,
        refused: &HeaderValue,
    ) -> Result<HeaderValue, Failure> {
        let _turn = self.turn.lock().await;
        if let Some(token) =
            self.held().filter(|token| token.value != *refused || token.got.elapsed() < AGAIN_AFTER)
        {
            return Ok(token.value);
        }
        let token = self.ask(client).await?;
        Ok(self.keep(token))
    }

    fn held(&self) -> Option<Token> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, token: Token) -> HeaderValue {
        let value = token.value.clone();
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
        value
    }

    async fn ask(&self, client: &Client) -> Result<Token, Failure> {
        let mut request = Request::new(Method::POST, self.url.clone());
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        // Section 2.3.1: both are form-encoded first.
        let encoded = |text: &str| form(&[("", text)]).trim_start_matches('=').to_owned();
        let secret = self.secret.text().await;
        headers.insert(AUTHORIZATION, basic(&encoded(&self.client_id), &encoded(&secret))?);
        let mut body = vec![("grant_type", "client_credentials")];
        body.extend((!self.scopes.is_empty()).then_some(("scope", self.scopes.as_str())));
        *request.body_mut() = Some(form(&body).into());
        let asked = Instant::now();
        // Whatever happens here, the register itself was not asked.
        let unreachable = |error: reqwest::Error| {
            Failure::unreachable(format!("token endpoint: {}", super::failure(&error).detail))
        };
        let response = client.execute(request).await.map_err(unreachable)?;
        let status = response.status();
        let body = body_of(response).await?;
        if status.is_server_error() {
            return Err(Failure::unreachable(format!("token endpoint: HTTP status {status}")));
        }
        if !status.is_success() {
            return Err(refused(format!("HTTP status {}, {}", status.as_u16(), error_of(&body))));
        }
        token_of(&body, asked).map_err(|problem| refused(problem.to_owned()))
    }
}

fn refused(detail: String) -> Failure {
    let message = "The register's authorization server gave the adapter no token.";
    Failure::refused(Code::Internal, message, format!("token endpoint: {detail}"))
}

async fn body_of(response: Response) -> Result<BytesMut, Failure> {
    let mut stream = response.bytes_stream();
    let mut body = BytesMut::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| {
            Failure::unreachable(format!("token endpoint: {}", super::failure(&error).detail))
        })?;
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(refused("the answer is too large".to_owned()));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// `application/x-www-form-urlencoded`, made by the library that makes queries.
fn form(pairs: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://form").expect("an address without anything special");
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

/// The error's code, where it is one of section 5.2: other texts may hold anything.
fn error_of(body: &[u8]) -> &'static str {
    const CODES: [&str; 6] = [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    ];
    let document: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let code = document.as_ref().and_then(|document| document["error"].as_str());
    CODES.into_iter().find(|known| code == Some(known)).unwrap_or("without an error code of RFC 6749")
}

/// Reads the answer of section 5.1. Life counts from the question.
fn token_of(body: &[u8], asked: Instant) -> Result<Token, &'static str> {
    let document: serde_json::Value = serde_json::from_slice(body).map_err(|_| "the answer is not JSON")?;
    if document["token_type"].as_str().is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err("the token is none to be borne (token_type is not Bearer)");
    }
    let token = document["access_token"].as_str().filter(|token| !token.is_empty());
    let value = bearer(token.ok_or("the answer has no access_token")?)
        .map_err(|_| "the token holds characters that a header cannot have")?;
    // Some servers write the number as text.
    let life = &document["expires_in"];
    let life = life.as_u64().or_else(|| life.as_str().and_then(|text| text.parse().ok()));
    let life = life.map_or(LIFE_DEFAULT, Duration::from_secs).min(LIFE_MAX);
    let renew = asked + (life * 4 / 5).max(life.saturating_sub(MARGIN));
    Ok(Token { value, got: asked, renew, end: asked + life })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let asked = Instant::now();
        let seconds = |end: Instant| (end - asked).as_secs();
        for (body, life, renew) in [
            (r#"{"access_token":"a","token_type":"Bearer","expires_in":3600}"#, 3600, 3570),
            (r#"{"access_token":"a","token_type":"bearer","expires_in":"100"}"#, 100, 80),
            (r#"{"access_token":"a","expires_in":0}"#, 0, 0),
            (r#"{"access_token":"a"}"#, 300, 270),
            (r#"{"access_token":"a","expires_in":18446744073709551615}"#, 86_400, 86_370),
        ] {
            let token = token_of(body.as_bytes(), asked).expect(body);
            assert_eq!(
                (token.value.as_bytes(), seconds(token.end), seconds(token.renew)),
                (&b"Bearer a"[..], life, renew)
            );
        }
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"access_token":""}"#,
            r#"{"access_token":"a\nb"}"#,
            r#"{"access_token":"a","token_type":"mac"}"#,
        ] {
            assert!(token_of(bad.as_bytes(), asked).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_known_errors_are_told() {
        assert_eq!(error_of(br#"{"error":"invalid_client","error_description":"sekret"}"#), "invalid_client");
        assert_eq!(error_of(br#"{"error":"sekret"}"#), error_of(b"sekret"));
    }

    #[test]
    fn credentials_are_form_encoded() {
        assert_eq!(form(&[("", "a b:\u{eb}&")]), "=a+b%3A%C3%AB%26");
        assert_eq!(form(&[("scope", "a b"), ("x", "=")]), "scope=a+b&x=%3D");
    }
}
