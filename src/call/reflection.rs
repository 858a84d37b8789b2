//! Learning a contract from the gateway, by `grpc.reflection.v1`. Knows no request.

use std::time::Duration;

use http::Uri;
use prost_reflect::{MethodDescriptor, ServiceDescriptor};
use tonic::Status;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use ura_proto::reflection::{self, Reflection};

use super::{arguments::Target, connection::Calls};

/// Time for all questions.
const QUESTIONS_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a method is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReflectionError {
    /// A question failed.
    #[error("the gateway does not tell its contracts (grpc.reflection.v1): {}", .0.message())]
    Failed(Box<Status>),
    /// The questions took too long.
    #[error("the gateway did not tell its contracts within {} s", QUESTIONS_TIMEOUT.as_secs())]
    Late,
    /// The answer is not one.
    #[error("the gateway does not tell its contracts well: {0}")]
    Answer(String),
    /// The gateway knows no such contract.
    #[error("no contract {contract} is approved on this bus\n  try       one of these: {known}")]
    Unknown {
        /// The contract that was wanted.
        contract: String,
        /// Those that can be called.
        known: String,
    },
    /// Nobody answers the contract.
    #[error(
        "nobody answers {contract} now: it is approved on this bus, but no adapter of it is plugged in\n  \
         try       later, or ask the provider to start its adapter; these can be called now: {known}"
    )]
    Unplugged {
        /// The contract that was wanted.
        contract: String,
        /// Those that can be called.
        known: String,
    },
    /// The contract has no such method.
    #[error("{contract} has no method {method}\n  try       one of these: {known}")]
    NoMethod {
        /// The contract.
        contract: String,
        /// The method that was wanted.
        method: String,
        /// Those that there are.
        known: String,
    },
}

impl From<reflection::ReflectionError> for ReflectionError {
    fn from(error: reflection::ReflectionError) -> Self {
        match error {
            reflection::ReflectionError::Failed(status) => Self::Failed(status),
            other => Self::Answer(other.to_string()),
        }
    }
}

/// Asks the gateway for a method and everything that its messages need.
pub(super) async fn method(
    calls: &Calls,
    origin: &Uri,
    target: &Target,
) -> Result<MethodDescriptor, ReflectionError> {
    let asked = tokio::time::timeout(QUESTIONS_TIMEOUT, service(calls, origin, &target.contract));
    let service = asked.await.map_err(|_| ReflectionError::Late)??;
    find(&service, &target.method)
}

fn find(service: &ServiceDescriptor, method: &str) -> Result<MethodDescriptor, ReflectionError> {
    service.methods().find(|known| known.name() == method).ok_or_else(|| ReflectionError::NoMethod {
        contract: service.full_name().to_owned(),
        method: method.to_owned(),
        known: service.methods().map(|known| known.name().to_owned()).collect::<Vec<_>>().join(", "),
    })
}

async fn service(calls: &Calls, origin: &Uri, contract: &str) -> Result<ServiceDescriptor, ReflectionError> {
    let reflection = Reflection::new(calls.clone(), origin.clone());
    match reflection.describe(&[contract.to_owned()]).await {
        Ok(pool) => pool.get_service_by_name(contract).ok_or_else(|| {
            ReflectionError::Answer(format!("the files that it sent for {contract} do not define it"))
        }),
        Err(reflection::ReflectionError::Unknown(_)) => {
            Err(unknown(calls, origin, &reflection, contract).await)
        }
        Err(error) => Err(error.into()),
    }
}

/// Why a contract is not reflected: health knows approved contracts that nobody answers.
async fn unknown(
    calls: &Calls,
    origin: &Uri,
    reflection: &Reflection<Calls>,
    contract: &str,
) -> ReflectionError {
    let mut known = match reflection.services().await {
        Ok(names) => names,
        Err(error) => return error.into(),
    };
    known.retain(|name| !name.starts_with("grpc."));
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let mut health = HealthClient::with_origin(calls.clone(), origin.clone());
    let asked = health.check(HealthCheckRequest { service: contract.to_owned() }).await;
    let contract = contract.to_owned();
    match asked {
        Ok(_) => ReflectionError::Unplugged { contract, known },
        Err(_) => ReflectionError::Unknown { contract, known },
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;

    #[test]
    fn methods_are_found_by_name() {
        let pool = DescriptorPool::decode(ura_proto::CONTRACTS).expect("own contracts");
        let service = pool.get_service_by_name("ura.v1.PlugService").expect("own contract");
        assert_eq!(find(&service, "Drain").expect("there").name(), "Drain");
        let error = find(&service, "drain").expect_err("another").to_string();
        assert!(error.contains("one of these: Report, Drain"), "{error}");
    }
}
