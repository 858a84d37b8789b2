//! A register behind a contract: its bulkhead, its health and its calls.
//!
//! Knows how a call is bounded and what its outcome says about the register's health; the backends
//! know how registers are asked.

mod bulkhead;
pub(crate) mod context;
pub(crate) mod failure;
pub(crate) mod job;
pub(crate) mod pump;
mod span;

use std::sync::Arc;

use futures_util::stream::BoxStream;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tokio::sync::watch;
use tonic::Code;

pub use context::CallContext;
pub use failure::Failure;

use self::{
    bulkhead::Bulkhead,
    job::{Budget, Job},
    span::ClientSpan,
};
use crate::{
    http::HttpRegister,
    mapper::request,
    paging::PageState,
    plan::{Answer, Method, Operation, Plan, RegisterKind},
    sql::SqlRegister,
};

/// What a method answers.
pub enum Reply {
    /// Of a unary method.
    One(DynamicMessage),
    /// Of a server stream. Dropping it ends the register's work.
    Stream(BoxStream<'static, Result<DynamicMessage, Failure>>),
}

/// A register cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A file with a certificate, a key or a secret cannot be used.
    #[error("the file {} cannot be used: {reason}", path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        reason: String,
    },
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made")]
    Http(#[source] reqwest::Error),
    /// The address of the register cannot be used.
    #[error("the register's url cannot be used: {0}")]
    Url(String),
}

pub(crate) enum Backend {
    Sql(SqlRegister),
    Http(Box<HttpRegister>),
}

impl Backend {
    /// Whether the register can be reached now.
    pub(crate) async fn probe(&self) -> Result<(), Failure> {
        match self {
            Self::Sql(sql) => sql.probe().await,
            Self::Http(http) => http.probe().await,
        }
    }
}

/// A register that is connected and answers the methods of its adapter file.
pub struct Register {
    plan: Arc<Plan>,
    backend: Arc<Backend>,
    bulkhead: Bulkhead,
    /// What spans say, without user and password.
    address: String,
}

impl std::fmt::Debug for Register {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Register").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Register {
    pub(crate) async fn connect(plan: Arc<Plan>) -> Result<Arc<Self>, ConnectError> {
        let register = &plan.register;
        let writes = plan.methods.values().any(|m| !m.read_only);
        let (backend, address) = match register.kind {
            RegisterKind::Postgres | RegisterKind::Sqlite => {
                let sql = SqlRegister::connect(register, writes).await?;
                let address = sql.address();
                (Backend::Sql(sql), address)
            }
            RegisterKind::Rest | RegisterKind::Soap => {
                let http = HttpRegister::connect(register)?;
                let address = http.address();
                (Backend::Http(Box::new(http)), address)
            }
        };
        let backend = Arc::new(backend);
        let bulkhead = Bulkhead::start(register, Arc::clone(&backend), &address).await;
        Ok(Arc::new(Self { plan, backend, bulkhead, address }))
    }

    /// Whether the register can be reached: false as soon as a call finds that it cannot, true when
    /// a probe reaches it again.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<bool> {
        self.bulkhead.health()
    }

    /// Tries to reach the register now.
    ///
    /// # Errors
    /// Why it cannot be reached.
    pub async fn probe(&self) -> Result<(), Failure> {
        self.backend.probe().await
    }

    /// Asks the register.
    ///
    /// # Errors
    /// A [`Failure`] of the reasons listed in `docs/adapter-files.md`, "Errors".
    pub async fn call(
        &self,
        context: CallContext,
        method: &MethodDescriptor,
        request: DynamicMessage,
    ) -> Result<Reply, Failure> {
        let Some(method) = self.plan.methods.get(method.name()) else {
            return Err(Failure::refused(
                Code::Unimplemented,
                "The contract has no such method.",
                method.name(),
            ));
        };
        let outcome = self.run(context, Arc::clone(method), &request).await;
        if let Err(failure) = &outcome {
            self.bulkhead.note(failure);
        }
        outcome
    }

    async fn run(
        &self,
        context: CallContext,
        method: Arc<Method>,
        request: &DynamicMessage,
    ) -> Result<Reply, Failure> {
        let budget = Budget::new(method.timeout, context.deadline);
        let mut page = PageState::first(&method, request);
        let bad = |bad: request::BadParameter| {
            Failure::invalid(format!("The request field behind `{}` {}.", bad.name, bad.problem))
        };
        let plain = request::resolve(&method.parameters, request, &context, |_| crate::tree::Tree::Null)
            .map_err(bad)?;
        let values = match &mut page {
            None => plain,
            Some(page) => {
                page.resume(&method, request, &plain)?;
                request::resolve(&method.parameters, request, &context, |v| page.value(v)).map_err(bad)?
            }
        };
        let slot = self.bulkhead.enter(context.deadline).await?;
        let span = ClientSpan::start(self.plan.register.kind, &self.address, method.name(), &context);
        let trace = span.as_ref().map_or_else(|| context.trace.child(), ClientSpan::trace);
        let job = Arc::new(Job {
            method,
            context,
            values,
            page,
            limits: self.plan.register.limits,
            budget,
            trace,
            health: self.bulkhead.handle(),
            span,
            _slot: slot,
        });
        let outcome = self.ask(Arc::clone(&job)).await;
        if let (Err(failure), Some(span)) = (&outcome, &job.span) {
            span.failed(failure);
        }
        outcome
    }

    async fn ask(&self, job: Arc<Job>) -> Result<Reply, Failure> {
        let streams = matches!(job.method.answer, Answer::Stream { .. } | Answer::Chunks { .. });
        let method = Arc::clone(&job.method);
        match (&*self.backend, &method.operation) {
            (Backend::Sql(sql), Operation::Sql(_)) if streams => Ok(sql.stream(job)),
            (Backend::Sql(sql), Operation::Sql(plan)) => sql.unary(&job, plan).await.map(Reply::One),
            (Backend::Http(http), Operation::Rest(plan)) => crate::rest::call(http, job, plan).await,
            (Backend::Http(http), Operation::Soap(plan)) => crate::soap::call(http, job, plan).await,
            _ => Err(Failure::refused(
                Code::Internal,
                "The adapter file does not fit its register.",
                "kind of operation",
            )),
        }
    }
}
