//! Plugs: the connections on which adapters answer. An adapter that connected out offers one, and
//! so does an adapter that the gateway dialled; from there on both are alike. Knows no calls and no
//! evidence, only who can answer which service now.

mod admit;
mod budget;
mod bulkhead;
mod choice;
mod connection;
mod dial;
mod health;
mod local;
mod offer;
mod seat;
mod standing;
mod table;

pub(crate) use bulkhead::{Crowded, Inside, Room};
pub(crate) use connection::{Conversation, serve};
pub(crate) use dial::follow as dial;
pub(crate) use health::{Health, ServiceHealth};
pub(crate) use local::{Local, follow as answer_locally};
pub(crate) use offer::Missing;
pub(crate) use seat::{InFlight, Plug};
pub(crate) use table::Plugs;
