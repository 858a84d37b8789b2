//! Adapter files: a register that answers a contract without a line of code.
//!
//! Reads a file, checks all of it against the contract and makes a plan that only holds valid
//! states. Asks no register. The format is described in `docs/adapter-files.md`.

mod columns;
mod contract;
pub(crate) mod environment;
mod mapping;
mod method;
mod names;
mod operation;
mod options;
mod raw;
mod register;
mod unfilled;

use std::{collections::HashMap, path::Path, sync::Arc};

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, ServiceDescriptor};
use ura_runtime::config::{self, ConfigErrors};

use crate::{
    plan::Plan,
    register::{ConnectError, Register},
};

/// A loaded, validated adapter file.
#[derive(Clone, Debug)]
pub struct Declared {
    contract: ServiceDescriptor,
    descriptor_set: Vec<u8>,
    plan: Arc<Plan>,
    warnings: Option<ConfigErrors>,
}

impl Declared {
    /// Reads and checks an adapter file, its contract included.
    ///
    /// # Errors
    /// Every mistake of the file at once, each with its place and what would be right.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Self::check(config::read(path)?)
    }

    /// Checks a text as if it had been read from `path`; paths in it are relative to its folder.
    ///
    /// # Errors
    /// As [`Declared::load`].
    pub fn parse(path: &Path, text: String) -> Result<Self, ConfigErrors> {
        Self::check(config::parse(path, text)?)
    }

    fn check(document: config::Document<raw::File>) -> Result<Self, ConfigErrors> {
        let (file, source) = (&document.value, &document.source);
        let mut problems = source.problems();
        let register = register::check(&file.register, source, &mut problems);
        let contract = contract::load(file, source, &mut problems);
        let mut methods = HashMap::new();
        if let Some(contract) = &contract {
            methods = self::methods(file, &contract.service, &register, &mut problems);
        }
        let plan = Plan { register, methods };
        let mut warnings = source.problems();
        unfilled::note(file, &plan, &mut warnings);
        let loaded = contract.map(|contract| Self {
            contract: contract.service,
            descriptor_set: contract.descriptor_set,
            plan: Arc::new(plan),
            warnings: warnings.into_result(()).err(),
        });
        problems
            .into_result(loaded)?
            .ok_or_else(|| ConfigErrors::new(source.path(), "the contract cannot be read"))
    }

    /// What the file leaves open without being wrong, each with its place: fields of the contract that nothing
    /// fills, columns that no field takes. Empty for rest and soap: no file says what they answer.
    pub fn warnings(&self) -> impl Iterator<Item = &config::ConfigError> {
        self.warnings.iter().flat_map(ConfigErrors::iter)
    }

    /// The contract that is answered.
    #[must_use]
    pub fn contract(&self) -> &ServiceDescriptor {
        &self.contract
    }

    /// Serialised `google.protobuf.FileDescriptorSet` of the contract, imports included.
    #[must_use]
    pub fn descriptor_set(&self) -> &[u8] {
        &self.descriptor_set
    }

    /// Makes the pools and tries the register once. A register that cannot be reached is no error:
    /// its health is false until a probe reaches it. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The register's address or a CA file cannot be used at all.
    pub async fn connect(&self) -> Result<Arc<Register>, ConnectError> {
        Register::connect(Arc::clone(&self.plan)).await
    }
}

fn methods(
    file: &raw::File,
    service: &ServiceDescriptor,
    register: &crate::plan::RegisterPlan,
    problems: &mut config::Problems,
) -> HashMap<String, Arc<crate::plan::Method>> {
    let mut methods = HashMap::new();
    for (name, raw) in &file.methods.0 {
        let Some(descriptor) = service.methods().find(|m| m.name() == name.as_ref()) else {
            let known: Vec<_> = service.methods().map(|m| m.name().to_owned()).collect();
            problems.at(
                name.span(),
                format!(
                    "{} has no method `{}`; {}",
                    service.full_name(),
                    name.as_ref(),
                    one_of(known.iter().map(String::as_str))
                ),
            );
            continue;
        };
        let method = method::check(&descriptor, raw, register, problems);
        if let Some(method) = method {
            methods.insert(descriptor.name().to_owned(), Arc::new(method));
        }
    }
    let is_there = |name: &str| file.methods.0.iter().any(|(key, _)| key.as_ref() == name);
    for missing in service.methods().filter(|m| !is_there(m.name())) {
        problems.at(
            file.contract.span(),
            format!("the method `{0}` of the contract is missing: add [methods.{0}]", missing.name()),
        );
    }
    methods
}

/// The field of that name.
fn field(message: &MessageDescriptor, name: &str) -> Result<FieldDescriptor, String> {
    message.get_field_by_name(name).ok_or_else(|| {
        let known: Vec<_> = message.fields().map(|f| f.name().to_owned()).collect();
        format!("{} has no field `{name}`; {}", message.full_name(), one_of(known.iter().map(String::as_str)))
    })
}

/// The fields of a dotted path from a message down; only the last may be repeated.
fn path(message: &MessageDescriptor, path: &str) -> Result<Vec<FieldDescriptor>, String> {
    let mut fields: Vec<FieldDescriptor> = Vec::new();
    let mut message = message.clone();
    let mut steps = path.split('.').peekable();
    while let Some(step) = steps.next() {
        let found = field(&message, step)?;
        if steps.peek().is_some() {
            match found.kind() {
                Kind::Message(inner) if !found.is_list() && !found.is_map() => message = inner,
                _ => return Err(format!("`{step}` in `{path}` is not one message: nothing lies inside it")),
            }
        }
        fields.push(found);
    }
    Ok(fields)
}

/// What there is to choose from, for messages.
fn one_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.collect();
    match names.as_slice() {
        [] => "there is none".to_owned(),
        names => format!("there is: {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests;
