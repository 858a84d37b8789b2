//! `ura adapter try`: one method of an adapter file against the real register, without the bus.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use futures_util::StreamExt as _;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tokio::time::Instant;
use ura_adapters::{
    declared::Declared,
    register::{CallContext, ConnectError, Failure, Register, Reply},
};
use ura_proto::SystemId;
use ura_runtime::{config::ConfigErrors, trace::TraceContext};
use uuid::Uuid;

use crate::call::{
    arguments::{self, Source},
    input::{Form, InputError, Messages},
    metadata,
    output::{Document, Output, OutputError},
    writes,
};

/// Longest JSON text of a request, in bytes.
const REQUEST_BYTES_MAX: u64 = 16 << 20;

/// Call one method of an adapter file at the real register, without the bus
///
/// A method that writes does write. What the register itself said is shown too, which callers on the bus never see.
/// The exit code is 0 when the register answered, 1 when the call failed, 2 when it could not be made.
#[derive(Debug, clap::Args)]
pub(crate) struct TryCommand {
    /// Adapter file
    file: PathBuf,
    /// Method of its contract, by its short name
    method: String,
    /// Request as JSON; @FILE reads a file, - standard input
    #[arg(short, long, value_name = "JSON")]
    data: Option<Source>,
    /// System that asks
    #[arg(long, value_name = "MEMBER/SYSTEM", default_value = "example/consumer")]
    consumer: SystemId,
    /// Purpose that the grant would allow
    #[arg(long, value_name = "CODE")]
    purpose: Option<String>,
    /// Case or file number
    #[arg(long, value_name = "NUMBER")]
    case: Option<String>,
    /// User on whose behalf is asked
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Key of a write, the same one when it is repeated; one is made where none is given
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Time that the caller waits, 500ms, 5s, 2m; the file's own limit where it is not given
    #[arg(long, value_name = "TIME", value_parser = arguments::timeout)]
    timeout: Option<Duration>,
    /// Write a bytes field of the replies into this new file, one after another
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The field that --output takes; the only bytes field where it is not given
    #[arg(long, value_name = "FIELD", requires = "output")]
    field: Option<String>,
}

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
enum TryError {
    #[error("the runtime cannot start: {0}")]
    Runtime(#[source] io::Error),
    #[error("{0}")]
    File(#[from] ConfigErrors),
    #[error("{contract} has no method `{method}`; there is: {known}")]
    Method { contract: String, method: String, known: String },
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error("{}", failure(.0))]
    Failed(Failure),
}

impl TryCommand {
    /// Runs it: 0 the register answered, 1 the call failed, 2 it could not be made.
    pub(crate) fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let ended =
            runtime.map_err(TryError::Runtime).and_then(|runtime| runtime.block_on(Box::pin(self.call())));
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(TryError::Output(gone)) if gone.is_nobody_reading() => ExitCode::SUCCESS,
            Err(error) => {
                tell(&error.to_string());
                if matches!(error, TryError::Failed(_)) { ExitCode::FAILURE } else { ExitCode::from(2) }
            }
        }
    }

    async fn call(self) -> Result<(), TryError> {
        let declared = Declared::load(&self.file)?;
        let contract = declared.contract();
        let Some(method) = contract.methods().find(|method| method.name() == self.method) else {
            let known: Vec<_> = contract.methods().map(|method| method.name().to_owned()).collect();
            let (contract, known) = (contract.full_name().to_owned(), known.join(", "));
            return Err(TryError::Method { contract, method: self.method, known });
        };
        let document =
            self.output.clone().map(|path| Document::new(path, &method.output(), self.field.as_deref()));
        let mut output = Output::new(io::stdout(), document.transpose()?);
        let form = Form { message: method.input(), value_bytes_max: REQUEST_BYTES_MAX };
        let request = match form.one(self.data.clone())? {
            Messages::Ready(mut messages) => messages.pop(),
            Messages::Reading(mut messages, _) => messages.recv().await,
        };
        let request = request.unwrap_or_else(|| DynamicMessage::new(method.input()));
        let context = self.context(&method);
        let register = declared.connect().await?;
        let replied = answer(&register, context, &method, request, &mut output).await;
        if let Some((path, bytes)) = output.written() {
            tell(&format!("{bytes} bytes written to {}", path.display()));
        }
        replied
    }

    /// What the bus would say of the call.
    fn context(&self, method: &MethodDescriptor) -> CallContext {
        let mut idempotency_key = self.idempotency_key.clone();
        if idempotency_key.is_none() && writes(method) {
            let key = Uuid::now_v7().to_string();
            tell(&format!("a key was made for this write; to repeat it, add --idempotency-key {key}"));
            idempotency_key = Some(key);
        }
        CallContext {
            consumer: self.consumer.to_string(),
            purpose: self.purpose.clone(),
            case_number: self.case.clone(),
            user: self.user.clone(),
            exchange_id: Uuid::now_v7().to_string(),
            idempotency_key,
            trace: TraceContext::root(false),
            deadline: self.timeout.map(|timeout| Instant::now() + timeout),
        }
    }
}

/// Asks the register, and prints what it answers.
async fn answer(
    register: &Register,
    context: CallContext,
    method: &MethodDescriptor,
    request: DynamicMessage,
    output: &mut Output<impl Write>,
) -> Result<(), TryError> {
    if !*register.health().borrow() {
        // The call would only say that it is known to be so; this says why.
        register.probe().await.map_err(TryError::Failed)?;
    }
    match register.call(context, method, request).await.map_err(TryError::Failed)? {
        Reply::One(message) => output.take(message)?,
        Reply::Stream(mut messages) => {
            while let Some(message) = messages.next().await {
                output.take(message.map_err(TryError::Failed)?)?;
            }
        }
    }
    Ok(())
}

/// A failure, for the one who keeps the register.
fn failure(failure: &Failure) -> String {
    let code = metadata::name(failure.code);
    let mut told = format!("{code}: {}\n  reason    {}", failure.message, failure.reason);
    if failure.detail != failure.message {
        told.push_str(&format!("\n  register  {}", failure.detail.replace('\n', "\n            ")));
    }
    told
}

/// Lines on standard error.
fn tell(text: &str) {
    // A closed stderr leaves nobody to tell.
    drop(writeln!(io::stderr(), "{text}"));
}
