//! What a server offers: its contracts, by its own reflection or by a file beside the bridge.

use std::{collections::BTreeSet, time::Duration};

use prost_reflect::DescriptorPool;
use tonic::Code;
use ura_proto::{
    contract::{Contract, ContractError},
    reflection::{Reflection, ReflectionError},
};

use super::{Bridge, Source, calls::Calls, questions::Questions};

/// Time for all questions of one reading, and between two readings.
const READING_TIMEOUT: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(500);

/// Services that are no contracts: gRPC's own.
const OWN: &str = "grpc.";

/// Why a server's contracts are not known.
#[derive(Debug, thiserror::Error)]
pub enum ContractsError {
    /// The server has no reflection.
    #[error(
        "the server has no reflection (grpc.reflection.v1 or v1alpha): switch it on, or describe its contracts in a file: \
         --descriptor-set or --proto, descriptor_set or proto in [bridge]"
    )]
    NoReflection,
    /// The server has no service of its own.
    #[error("the server lists no service but gRPC's own: there is nothing to plug in")]
    NoContract,
    /// It lists others than those named.
    #[error("the server does not have {wanted}; it lists: {found}")]
    Missing {
        /// The contracts that were to be there.
        wanted: String,
        /// Those that are.
        found: String,
    },
    /// A file does not describe the contracts.
    #[error(transparent)]
    File(#[from] ContractError),
    /// Files that were given do not go together.
    #[error("the descriptors of the contracts do not go together: {0}")]
    Unfit(String),
    /// Nothing, or nothing readable, for now.
    #[error("the server's contracts cannot be read: {0}")]
    Unread(String),
}

/// Contracts and what describes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    /// Full names, sorted.
    pub(super) contracts: BTreeSet<String>,
    /// All of them, as a serialised `google.protobuf.FileDescriptorSet`.
    pub(super) descriptor_set: Vec<u8>,
}

/// The contracts of a bridge; where the server is asked, waits until it answers.
pub(super) async fn learn(bridge: &Bridge, calls: &Calls) -> Result<Described, ContractsError> {
    if bridge.source != Source::Reflection {
        return of_files(bridge);
    }
    let mut told = String::new();
    loop {
        match reflected(bridge, calls).await {
            Err(ContractsError::Unread(reason)) => {
                if reason != told {
                    tracing::warn!(server = %bridge.to, reason, "the server's contracts cannot be read, trying on");
                    told = reason;
                }
                tokio::time::sleep(RETRY).await;
            }
            known => return known,
        }
    }
}

/// The contracts that the server reflects now.
pub(super) async fn reflected(bridge: &Bridge, calls: &Calls) -> Result<Described, ContractsError> {
    let questions = Questions::new(calls.clone());
    let asked = async {
        match read(bridge, questions.clone()).await {
            // The elder name, before it is said that there is none.
            Err(ContractsError::NoReflection) => read(bridge, questions.elder()).await,
            known => known,
        }
    };
    let late = || ContractsError::Unread(format!("no whole answer within {READING_TIMEOUT:?}"));
    tokio::time::timeout(READING_TIMEOUT, asked).await.unwrap_or_else(|_| Err(late()))
}

async fn read(bridge: &Bridge, questions: Questions) -> Result<Described, ContractsError> {
    let origin = questions.origin();
    let reflection = Reflection::new(questions, origin);
    let mut listed = reflection.services().await.map_err(unread)?;
    listed.retain(|name| !name.starts_with(OWN));
    let contracts = choose(listed, &bridge.contracts)?;
    let names: Vec<_> = contracts.iter().cloned().collect();
    let pool = reflection.describe(&names).await.map_err(unread)?;
    Ok(Described { contracts, descriptor_set: pool.encode_to_vec() })
}

/// Those that are wanted of those that are there; all, where none is named.
fn choose(listed: Vec<String>, wanted: &[String]) -> Result<BTreeSet<String>, ContractsError> {
    let listed = BTreeSet::from_iter(listed);
    if listed.is_empty() {
        return Err(ContractsError::NoContract);
    }
    let missing: Vec<_> = wanted.iter().filter(|name| !listed.contains(*name)).cloned().collect();
    if !missing.is_empty() {
        let found = listed.into_iter().collect::<Vec<_>>().join(", ");
        return Err(ContractsError::Missing { wanted: missing.join(", "), found });
    }
    Ok(if wanted.is_empty() { listed } else { wanted.iter().cloned().collect() })
}

fn unread(error: ReflectionError) -> ContractsError {
    match error {
        ReflectionError::Failed(status) if status.code() == Code::Unimplemented => {
            ContractsError::NoReflection
        }
        error => ContractsError::Unread(error.to_string()),
    }
}

/// The contracts as files describe them.
fn of_files(bridge: &Bridge) -> Result<Described, ContractsError> {
    let mut pool = DescriptorPool::new();
    for name in &bridge.contracts {
        let contract = match &bridge.source {
            Source::DescriptorSet(path) => Contract::from_descriptor_set(name, path)?,
            Source::Proto(path, roots) => Contract::from_proto(name, path, roots)?,
            Source::Reflection => continue,
        };
        pool.decode_file_descriptor_set(contract.descriptor_set.as_slice())
            .map_err(|error| ContractsError::Unfit(error.to_string()))?;
    }
    let contracts = bridge.contracts.iter().cloned().collect();
    Ok(Described { contracts, descriptor_set: pool.encode_to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn contracts_are_chosen_of_those_that_are_there() {
        let listed = || names(&["b.B", "a.A"]);
        let all: Vec<_> = choose(listed(), &[]).expect("two").into_iter().collect();
        assert_eq!(all, ["a.A", "b.B"]);
        let one: Vec<_> = choose(listed(), &names(&["b.B"])).expect("one").into_iter().collect();
        assert_eq!(one, ["b.B"]);
        let error = choose(listed(), &names(&["a.A", "c.C"])).expect_err("missing").to_string();
        assert_eq!(error, "the server does not have c.C; it lists: a.A, b.B");
        assert!(matches!(choose(Vec::new(), &[]), Err(ContractsError::NoContract)));
    }
}
