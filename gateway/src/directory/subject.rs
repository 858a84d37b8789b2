//! Whom a message is about: the annotated fields of a message type compiled into a plan, and the
//! scan of a message by it. Reads the wire format (protobuf.dev, "Encoding") and decodes nothing else.
//!
//! A protobuf parser merges a message field that stands several times and keeps the last value of a
//! scalar one; of a oneof the last member set counts. The scan follows the same rules, so that it
//! names the subject that the register will see. Repeated fields are all taken.

mod kinds;
mod plan;
pub(super) mod wire;

use std::{collections::HashSet, sync::Arc};

use plan::{Action, Node, Scalar};
pub(crate) use plan::{Form, Plan, PlanError};
use wire::{Reader, Value, WireError};

/// Subjects that one message may name.
const SUBJECTS_MAX: usize = 1000;

/// Values of annotated fields that one message may have, each looked at once.
const VALUES_MAX: usize = 100_000;

/// Messages may nest this deep, as in the common protobuf parsers.
const DEPTH_MAX: usize = 100;

/// One subject, in its canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Found {
    /// Kind from the annotation.
    pub(crate) kind: Arc<str>,
    /// Canonical form of the value.
    pub(crate) value: Vec<u8>,
}

/// Why a message cannot be scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScanError {
    /// The bytes are not protobuf.
    #[error("not a protobuf message: {0}")]
    Wire(#[from] WireError),
    /// Nested too deep.
    #[error("messages nested deeper than 100")]
    Depth,
    /// Too many.
    #[error("more than 1000 subjects in one message, or more than 100000 values that name them")]
    TooMany,
}

/// The subjects that `message` names, each once, in the order of the plan's fields.
pub(crate) fn scan(plan: &Plan, message: &[u8]) -> Result<Vec<Found>, ScanError> {
    let mut found = Collected::default();
    scan_node(plan, plan.root(), &[message], 0, &mut found)?;
    Ok(found.subjects)
}

/// The subjects so far.
#[derive(Default)]
struct Collected {
    subjects: Vec<Found>,
    known: HashSet<Found>,
    values: usize,
}

/// What a field of one message holds after all of its occurrences.
enum Held<'m> {
    Nothing,
    Scalar(Value<'m>),
    Parts(Vec<&'m [u8]>),
}

/// Scans one message that may stand in several parts: merging is concatenation.
fn scan_node<'m>(
    plan: &Plan,
    node: &Node,
    parts: &[&'m [u8]],
    depth: usize,
    found: &mut Collected,
) -> Result<(), ScanError> {
    if depth > DEPTH_MAX {
        return Err(ScanError::Depth);
    }
    let mut held: Vec<Held<'m>> = node.fields.iter().map(|_| Held::Nothing).collect();
    for part in parts {
        let mut reader = Reader::new(part);
        while let Some((number, value)) = reader.next()? {
            let Ok(at) = node.fields.binary_search_by_key(&number, |field| field.number) else { continue };
            let field = &node.fields[at];
            if !field.accepts(&value) {
                continue;
            }
            if let Some(oneof) = field.oneof {
                for (other, slot) in node.fields.iter().zip(&mut held) {
                    if other.oneof == Some(oneof) && other.number != number {
                        *slot = Held::Nothing;
                    }
                }
            }
            match (&field.action, value) {
                (Action::Ignore { .. }, _) => {}
                (Action::Subject { repeated: true, scalar, .. }, value) => {
                    scalar.each(value, |value| take(field, scalar, value, found))?;
                }
                (Action::Subject { repeated: false, .. }, value) => held[at] = Held::Scalar(value),
                (Action::Nested { node, repeated: true }, Value::Bytes(bytes)) => {
                    scan_node(plan, plan.node(*node), &[bytes], depth + 1, found)?;
                }
                (Action::Nested { repeated: false, .. }, Value::Bytes(bytes)) => match &mut held[at] {
                    Held::Parts(parts) => parts.push(bytes),
                    slot => *slot = Held::Parts(vec![bytes]),
                },
                (Action::Nested { .. }, _) => {}
            }
        }
    }
    for (field, held) in node.fields.iter().zip(held) {
        match (held, &field.action) {
            (Held::Scalar(value), Action::Subject { scalar, .. }) => take(field, scalar, value, found)?,
            (Held::Parts(parts), Action::Nested { node, .. }) => {
                scan_node(plan, plan.node(*node), &parts, depth + 1, found)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Adds one value, in canonical form, unless it is empty or known.
fn take(
    field: &plan::Field,
    scalar: &Scalar,
    value: Value<'_>,
    found: &mut Collected,
) -> Result<(), ScanError> {
    let Action::Subject { kind, form, .. } = &field.action else { return Ok(()) };
    found.values += 1;
    if found.values > VALUES_MAX {
        return Err(ScanError::TooMany);
    }
    let value = form.apply(&scalar.text(value));
    if value.is_empty() {
        return Ok(());
    }
    let subject = Found { kind: kind.clone(), value };
    if !found.known.contains(&subject) {
        if found.subjects.len() == SUBJECTS_MAX {
            return Err(ScanError::TooMany);
        }
        found.known.insert(subject.clone());
        found.subjects.push(subject);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
