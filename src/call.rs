//! `ura call`: calls a method of any contract through a gateway and prints what comes back.
//!
//! The contract is learnt from the gateway by reflection; nothing about any contract is compiled in.

pub(crate) mod arguments;
pub(crate) mod client;
mod codec;
pub(crate) mod connection;
pub(crate) mod input;
mod invocation;
pub(crate) mod json;
mod keep;
pub(crate) mod metadata;
pub(crate) mod output;
mod reflection;
mod refusal;

use std::{
    error::Error as _,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use prost_reflect::MethodDescriptor;
use prost_types::method_options::IdempotencyLevel;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use ura_proto::{SystemId, metadata as keys};

use arguments::{Header, Source, Target};
use connection::{ConnectError, Connection};
use input::{Broken, Form, InputError};
use invocation::{Failed, Invocation};
use keep::{KeepError, Keeping};
use output::{Document, Output, OutputError};
use reflection::ReflectionError;
use refusal::Circumstances;

/// JSON takes more room than protobuf: base64, names of fields, escapes.
const JSON_PER_MESSAGE_BYTES: usize = 4;

/// Call a method of any contract through a gateway
///
/// The exit code is 0 when the call ended well, 1 when it ended with an error, 2 when it could not be made.
#[derive(Debug, clap::Args)]
pub(crate) struct CallCommand {
    /// What to call, such as ks.tax.v1.PropertyTaxService/ListInvoices
    #[arg(value_name = "CONTRACT/METHOD")]
    target: Target,
    /// Request as JSON; @FILE reads a file, - standard input. Streamed requests are several values, one after another
    #[arg(short, long, value_name = "JSON")]
    data: Option<Source>,
    /// Identity folder of the calling system: cert.pem, key.pem and ca.pem
    #[arg(long, value_name = "DIR")]
    identity: PathBuf,
    /// Address of the gateway
    #[arg(long, value_name = "HOST:PORT")]
    gateway: String,
    /// Which provider is asked, where a contract has several
    #[arg(long, value_name = "MEMBER/SYSTEM")]
    provider: Option<SystemId>,
    /// Why: a purpose code that the grant names
    #[arg(long, value_name = "CODE", value_parser = arguments::value)]
    purpose: Option<AsciiMetadataValue>,
    /// Case or file number, kept in evidence
    #[arg(long, value_name = "NUMBER", value_parser = arguments::value)]
    case: Option<AsciiMetadataValue>,
    /// Key of a write, the same one when it is repeated; one is made where none is given
    #[arg(long, value_name = "KEY", value_parser = arguments::value)]
    idempotency_key: Option<AsciiMetadataValue>,
    /// Time limit: 500ms, 5s, 2m
    #[arg(long, value_name = "TIME", value_parser = arguments::timeout)]
    timeout: Option<Duration>,
    /// Metadata, key:value; base64 for keys in -bin. May stand several times
    #[arg(short = 'H', long = "header", value_name = "KEY:VALUE")]
    headers: Vec<Header>,
    /// Language of refusals
    #[arg(long, value_parser = ["sq", "sr", "en"])]
    language: Option<String>,
    /// Trace that the call belongs to (W3C trace context)
    #[arg(long, value_name = "TRACEPARENT", value_parser = arguments::traceparent)]
    traceparent: Option<AsciiMetadataValue>,
    /// Show headers, trailers, the exchange id and times on standard error
    #[arg(short, long)]
    verbose: bool,
    /// Write a bytes field of the replies into this new file, one after another
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The field that --output takes; the only bytes field where it is not given
    #[arg(long, value_name = "FIELD", requires = "output")]
    field: Option<String>,
    /// Keep what travels in this folder: request and reply as on the wire, exchange id, ura-receipt trailer, metadata
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Largest message in either direction, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    message_bytes_max: usize,
}

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("the runtime cannot start: {0}")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Reflection(#[from] ReflectionError),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The connection went while the call was under way.
    #[error("{0}{1}")]
    Lost(ConnectError, String),
    #[error("{0}{1}")]
    Late(Failed, String),
    /// The call ended with a status; this is its description.
    #[error("{0}")]
    Status(String),
    #[error("a header cannot be sent: {0}")]
    Header(String),
    /// Before the call.
    #[error("nothing was called, because it cannot be kept: {0}")]
    Keep(#[from] KeepError),
    /// The call ended well.
    #[error("the call ended well, but what travelled was not kept whole: {0}")]
    NotKept(#[source] KeepError),
}

impl CallError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Output(error) if error.is_nobody_reading() => ExitCode::SUCCESS,
            Self::Status(_) | Self::Late(..) | Self::NotKept(_) => ExitCode::FAILURE,
            _ => ExitCode::from(2),
        }
    }
}

impl CallCommand {
    /// Runs it: 0 the call ended well, 1 it ended with an error, 2 it could not be made.
    pub(crate) fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let ended = runtime
            .map_err(CallError::Runtime)
            .and_then(|runtime| runtime.block_on(Box::pin(self.call(io::stdout()))));
        let Err(error) = ended else { return ExitCode::SUCCESS };
        match &error {
            CallError::Output(gone) if gone.is_nobody_reading() => {}
            CallError::Status(text) => tell(text),
            other => tell(&format!("error: {other}")),
        }
        error.exit_code()
    }

    /// Makes the call and prints replies to `out`.
    async fn call(self, out: impl Write) -> Result<(), CallError> {
        let connection = Connection::open(&self.gateway, &self.identity).await?;
        let method = match reflection::method(&connection.calls, &connection.origin, &self.target).await {
            Ok(method) => method,
            Err(ReflectionError::Failed(status)) if status.source().is_some() => {
                return Err(connection.lost(&status).await.into());
            }
            Err(error) => return Err(error.into()),
        };
        let document =
            self.output.clone().map(|path| Document::new(path, &method.output(), self.field.as_deref()));
        let (metadata, made) = self.metadata(&method)?;
        let known = Circumstances { exchange: None, key: key_of(&metadata) };
        let invocation = Invocation {
            method: method.clone(),
            metadata,
            timeout: self.timeout,
            message_bytes_max: self.message_bytes_max,
            verbose: self.verbose,
        };
        let mut output = Output::new(out, document.transpose()?);
        let keep = self.keep.clone();
        let messages = self.messages(&method)?;
        if let (true, Some(key)) = (made, &known.key) {
            tell(&format!("a key was made for this write; to repeat it, add --idempotency-key {key}"));
        }
        // Made last, so that a call that cannot be made leaves no folder behind.
        let keeping = keep.as_deref().map(Keeping::open).transpose()?;
        let calls = match &keeping {
            Some(keeping) => connection.calls.keeping(keeping.clone()),
            None => connection.calls.clone(),
        };
        let origin = connection.origin.clone();
        let ended = Box::pin(invocation.run(calls, origin, messages, &mut output)).await;
        if let Some((path, bytes)) = output.written() {
            let whole = if ended.is_ok() { "" } else { " before the call failed: it is not whole" };
            tell(&format!("{bytes} bytes written to {}{whole}", path.display()));
        }
        let kept = keeping.as_ref().map_or(Ok(()), Keeping::finish);
        match (ended, kept) {
            (Ok(()), kept) => kept.map_err(CallError::NotKept),
            (Err(failed), kept) => {
                if let (Err(error), Some(keeping)) = (kept, &keeping) {
                    tell(&format!("{} does not hold all that travelled: {error}", keeping.dir().display()));
                }
                Err(explain(failed, connection, known).await)
            }
        }
    }

    fn messages(self, method: &MethodDescriptor) -> Result<input::Messages, InputError> {
        let value_bytes_max = self.message_bytes_max.saturating_mul(JSON_PER_MESSAGE_BYTES);
        let form = Form {
            message: method.input(),
            value_bytes_max: u64::try_from(value_bytes_max).unwrap_or(u64::MAX),
        };
        if method.is_client_streaming() { form.stream(self.data) } else { form.one(self.data) }
    }

    /// The request's headers; a write is given a key where it has none, which the second part tells.
    fn metadata(&self, method: &MethodDescriptor) -> Result<(MetadataMap, bool), CallError> {
        let mut metadata = MetadataMap::new();
        for header in &self.headers {
            match header.clone() {
                Header::Ascii(key, value) => metadata.append(key, value),
                Header::Binary(key, value) => metadata.append_bin(key, value),
            };
        }
        let ascii =
            |text: &str| text.parse::<AsciiMetadataValue>().map_err(|_| CallError::Header(text.to_owned()));
        let provider = self.provider.as_ref().map(|provider| ascii(provider.as_str())).transpose()?;
        let language = self.language.as_deref().map(ascii).transpose()?;
        let own = [
            (keys::PROVIDER, provider),
            (keys::PURPOSE, self.purpose.clone()),
            (keys::CASE, self.case.clone()),
            (keys::IDEMPOTENCY_KEY, self.idempotency_key.clone()),
            (keys::ACCEPT_LANGUAGE, language),
            (keys::TRACEPARENT, self.traceparent.clone()),
        ];
        for (key, value) in own {
            if let Some(value) = value {
                metadata.insert(key, value);
            }
        }
        let made = writes(method) && !metadata.contains_key(keys::IDEMPOTENCY_KEY);
        if made {
            metadata.insert(keys::IDEMPOTENCY_KEY, ascii(&uuid::Uuid::now_v7().to_string())?);
        }
        Ok((metadata, made))
    }
}

/// Whether a method may change the register, which the bus wants a key for.
pub(crate) fn writes(method: &MethodDescriptor) -> bool {
    let level = method.method_descriptor_proto().options.as_ref().map(|options| options.idempotency_level());
    // gRPC's own services are no contracts: the gateway answers them itself and wants no key.
    level != Some(IdempotencyLevel::NoSideEffects) && !method.full_name().starts_with("grpc.")
}

/// The idempotency key that is sent.
fn key_of(metadata: &MetadataMap) -> Option<String> {
    metadata.get(keys::IDEMPOTENCY_KEY).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

async fn explain(failed: Failed, connection: Connection, mut known: Circumstances) -> CallError {
    let repeat = known.key.as_ref().map_or_else(String::new, |key| {
        format!("\n  outcome   maybe executed: repeat it with the same key, --idempotency-key {key}")
    });
    match failed {
        Failed::Status(status, exchange) => {
            known.exchange = exchange;
            // Only what this side noticed itself has a cause: nobody answered.
            if status.source().is_some() {
                return CallError::Lost(connection.lost(&status).await, repeat);
            }
            CallError::Status(refusal::describe(&status, &known))
        }
        Failed::Input(Broken { error, open }) => {
            connection.abandon().await;
            // Only now: nobody may take what was sent for the whole request.
            drop(open);
            CallError::Input(error)
        }
        Failed::Output(error) => {
            connection.abandon().await;
            CallError::Output(error)
        }
        late @ Failed::Late(_) => {
            connection.abandon().await;
            CallError::Late(late, repeat)
        }
    }
}

/// One line or more on standard error.
fn tell(text: &str) {
    // A closed stderr leaves nobody to tell.
    drop(writeln!(io::stderr(), "{text}"));
}

/// A call of another command that ended with an error, for people; without a line end after the last.
pub(crate) fn describe(status: &tonic::Status) -> String {
    refusal::describe(status, &Circumstances::default())
}

#[cfg(test)]
mod tests;
