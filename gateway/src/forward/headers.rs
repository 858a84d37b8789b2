//! Metadata on its way: what is dropped, what is written anew, what passes as it came.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version, header, uri::PathAndQuery};
use tokio::time::Instant;
use ura_proto::{metadata, timeout};

use crate::{
    call::{Call, body::Outbound},
    error::exchange_value,
    policy::Permit,
};

/// Headers that belong to one connection (RFC 9110 section 7.6.1, RFC 9113 section 8.2.2) or that
/// the gateway sets itself.
const OWN_HEADERS: [HeaderName; 10] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::HOST,
    header::CONTENT_LENGTH,
    HeaderName::from_static("keep-alive"),
];

/// What a request to an adapter is made of.
pub(crate) struct Sending<'c> {
    /// The call's head.
    pub(crate) call: &'c Call,
    /// Metadata as it came.
    pub(crate) headers: HeaderMap,
    /// Salt of the exchange's digests.
    pub(crate) salt: &'c [u8; 32],
    /// `traceparent` for the adapter.
    pub(crate) traceparent: [u8; 55],
}

impl Sending<'_> {
    /// The request as the adapter gets it.
    pub(crate) fn request(&self, permit: &Permit, body: Outbound, until: Instant) -> Request<Outbound> {
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 8);
        for (key, value) in &self.headers {
            if !key.as_str().starts_with(metadata::PREFIX) && !OWN_HEADERS.contains(key) {
                headers.append(key, value.clone());
            }
        }
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        // Only what the caller can read and the gateway can look into.
        let gzip = headers.get_all(metadata::GRPC_ACCEPT_ENCODING).iter().any(names_gzip);
        let readable = if gzip { "identity,gzip" } else { "identity" };
        headers.insert(metadata::GRPC_ACCEPT_ENCODING, HeaderValue::from_static(readable));
        headers
            .insert(metadata::GRPC_TIMEOUT, timeout::value(until.saturating_duration_since(Instant::now())));
        headers.insert(
            metadata::TRACEPARENT,
            HeaderValue::from_bytes(&self.traceparent).expect("a traceparent is visible ASCII"),
        );
        if !self.call.trace_continued {
            headers.remove(metadata::TRACESTATE);
        }
        let ascii = |text: &str| HeaderValue::from_str(text).expect("ids and codes are visible ASCII");
        headers.insert(metadata::CONSUMER, ascii(self.call.consumer.as_str()));
        headers.insert(metadata::PROVIDER, ascii(permit.provider().as_str()));
        headers.insert(metadata::EXCHANGE_ID, exchange_value(self.call.exchange));
        headers.insert(metadata::SALT, ascii(&URL_SAFE_NO_PAD.encode(self.salt)));
        if let Some(purpose) = permit.purpose() {
            headers.insert(metadata::PURPOSE, ascii(purpose));
        }
        if let Some(case_number) = &self.call.case_number {
            headers.insert(metadata::CASE, case_number.clone());
        }
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = uri(permit);
        *request.headers_mut() = headers;
        request
    }
}

/// Whether a list of compressions has gzip.
fn names_gzip(list: &HeaderValue) -> bool {
    list.as_bytes().split(|byte| *byte == b',').any(|name| name.trim_ascii() == b"gzip")
}

/// The adapter's URI: the connection decides who answers, the authority only says whom we mean.
fn uri(permit: &Permit) -> Uri {
    let provider = permit.provider();
    let mut authority = String::with_capacity(provider.as_str().len());
    // Member and system as labels of a host name.
    let (member, system) = provider.as_str().split_once('/').unwrap_or((provider.as_str(), ""));
    write!(authority, "{system}.{member}").expect("writing to a string");
    let path = PathAndQuery::try_from(permit.method().path.as_ref()).expect("a method's path is one");
    Uri::builder()
        .scheme("https")
        .authority(authority)
        .path_and_query(path)
        .build()
        .expect("names of systems are labels of a host name")
}

/// Takes out of an adapter's headers or trailers what only the bus may say or what belongs to one
/// connection.
pub(super) fn clean(headers: &mut HeaderMap) {
    let own: Vec<HeaderName> = headers
        .keys()
        .filter(|key| key.as_str().starts_with(metadata::PREFIX) || OWN_HEADERS.contains(key))
        .cloned()
        .collect();
    for key in own {
        headers.remove(key);
    }
}
