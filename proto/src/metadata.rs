//! Metadata keys of the wire. Keys are lower case, as HTTP/2 demands (RFC 9113 section 8.2).

/// Prefix of every key of the bus. The gateway forwards none of them as it came.
pub const PREFIX: &str = "ura-";

/// Request: which provider is asked, `<member>/<system>`.
pub const PROVIDER: &str = "ura-provider";
/// Request: purpose code; to the adapter: the purpose that the grant allows.
pub const PURPOSE: &str = "ura-purpose";
/// Request: case or file number of the consumer, 1 to 128 visible ASCII characters.
pub const CASE: &str = "ura-case";
/// To the adapter: the system that asks, as its certificate names it.
pub const CONSUMER: &str = "ura-consumer";
/// To the adapter: the person on whose behalf the consumer asks, as the gateway has verified; never as a
/// consumer wrote it.
pub const USER: &str = "ura-user";
/// Both ways: the exchange id, made by the gateway.
pub const EXCHANGE_ID: &str = "ura-exchange-id";
/// To the adapter: salt of this exchange's digests, 32 bytes in base64url without padding.
pub const SALT: &str = "ura-salt";
/// Trailer to the caller: `log=<origin>;index=<n>;leaf=<base64url>;salt=<base64url>`.
pub const RECEIPT: &str = "ura-receipt";
/// Header to the caller: what it uses is on its way out, `of=<contract or method>;since=<date>;until=<date>;use=<contract>`,
/// the last three where they are known.
pub const DEPRECATED: &str = "ura-deprecated";
/// Request: key under which a write is executed at most once, 1 to 128 visible ASCII characters.
/// Travels to the register.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Request: languages of the caller, RFC 9110 section 12.5.4.
pub const ACCEPT_LANGUAGE: &str = "accept-language";
/// Request: W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// Request: W3C trace context, vendor part.
pub const TRACESTATE: &str = "tracestate";
/// Request: time left, `<at most 8 digits><unit>` (gRPC over HTTP/2, "Timeout").
pub const GRPC_TIMEOUT: &str = "grpc-timeout";
/// Both ways: compression of the messages.
pub const GRPC_ENCODING: &str = "grpc-encoding";
/// Both ways: compressions that the sender can read.
pub const GRPC_ACCEPT_ENCODING: &str = "grpc-accept-encoding";
/// Trailer: status code in decimal.
pub const GRPC_STATUS: &str = "grpc-status";
/// Trailer: status message, percent-encoded.
pub const GRPC_MESSAGE: &str = "grpc-message";
/// Trailer: serialised `google.rpc.Status`, base64.
pub const GRPC_STATUS_DETAILS: &str = "grpc-status-details-bin";
/// Milliseconds after which a call may be sent again; negative: not at all (gRFC A6).
pub const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";
/// How often a call was sent before (gRFC A6).
pub const PREVIOUS_ATTEMPTS: &str = "grpc-previous-rpc-attempts";
