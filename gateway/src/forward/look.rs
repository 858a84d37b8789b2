//! Looking into whole messages on their way: whom they name, and, where the service wants it, whether they are
//! what their contract says. Where neither is wanted, nothing is collected.

use std::sync::Arc;

use ura_proto::ExchangeId;

use super::request::malformed;
use crate::{
    call::{Encoding, frame::Message, gzip},
    config::Limits,
    directory::{
        contract::{Fault, Method, Validate, check},
        subject::{Found, Plan, scan},
    },
    error::Refusal,
};

/// What is wanted of the messages of one direction.
pub(super) struct Look {
    method: Arc<Method>,
    direction: Direction,
    validate: Validate,
    encoding: Encoding,
    inflated_bytes_max: usize,
    exchange: ExchangeId,
    /// Something was logged; more would say little.
    logged: bool,
}

/// Which way messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// To the adapter.
    Request,
    /// From it.
    Reply,
}

impl Look {
    /// Of this direction of a call.
    pub(super) fn new(
        method: &Arc<Method>,
        direction: Direction,
        validate: Validate,
        encoding: Encoding,
        limits: &Limits,
        exchange: ExchangeId,
    ) -> Self {
        let inflated_bytes_max = limits.inflated_bytes_max;
        Self {
            method: method.clone(),
            direction,
            validate,
            encoding,
            inflated_bytes_max,
            exchange,
            logged: false,
        }
    }

    /// Whether messages must be whole before they may go on.
    pub(super) fn is_wanted(&self) -> bool {
        self.validate != Validate::Off || self.plan().is_some()
    }

    fn plan(&self) -> Option<&Plan> {
        match self.direction {
            Direction::Request => self.method.request_subjects.as_ref(),
            Direction::Reply => self.method.reply_subjects.as_ref(),
        }
    }

    /// Whom messages name, each once.
    ///
    /// # Errors
    /// A message that cannot be read, or, where that is enforced, one that is not what the contract says.
    pub(super) fn at(&mut self, messages: &[Message]) -> Result<Vec<Found>, Refusal> {
        let mut found: Vec<Found> = Vec::new();
        if !self.is_wanted() {
            return Ok(found);
        }
        for message in messages {
            let plain = gzip::plain(message, self.encoding, self.inflated_bytes_max).map_err(malformed)?;
            if self.validate != Validate::Off {
                self.validated(&plain).map_err(malformed)?;
            }
            let Some(plan) = self.plan() else { continue };
            for subject in scan(plan, &plain).map_err(malformed)? {
                if !found.contains(&subject) {
                    found.push(subject);
                }
            }
        }
        Ok(found)
    }

    /// Holds one message against the contract.
    fn validated(&mut self, plain: &[u8]) -> Result<(), Fault> {
        let of = match self.direction {
            Direction::Request => &self.method.request,
            Direction::Reply => &self.method.reply,
        };
        let fault = match check(of, plain) {
            Ok(None) => return Ok(()),
            Ok(Some(other)) => other,
            Err(fault) if self.validate == Validate::Enforce => return Err(fault),
            Err(fault) => fault,
        };
        if !std::mem::replace(&mut self.logged, true) {
            tracing::warn!(
                exchange = %self.exchange,
                path = &*self.method.path,
                direction = ?self.direction,
                problem = %fault,
                "a message is not what its contract says"
            );
        }
        Ok(())
    }
}
