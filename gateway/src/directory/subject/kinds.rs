//! Which kinds of subject a plan names, and in which forms.

use std::sync::Arc;

use super::plan::{Action, Form, Node, Plan};

impl Plan {
    /// The kinds of subject that a message may name, each with its form; some may stand several times.
    pub(crate) fn kinds(&self) -> Vec<(Arc<str>, Form)> {
        let (mut found, mut seen, mut next) = (Vec::new(), Vec::new(), vec![self.root()]);
        while let Some(node) = next.pop() {
            if seen.iter().any(|other: &&Node| std::ptr::eq(*other, node)) {
                continue;
            }
            seen.push(node);
            for field in &node.fields {
                match &field.action {
                    Action::Subject { kind, form, .. } => found.push((Arc::clone(kind), *form)),
                    Action::Nested { node, .. } => next.push(self.node(*node)),
                    Action::Ignore { .. } => {}
                }
            }
        }
        found
    }
}
