//! The members and systems of a directory file.

use std::collections::HashMap;

use ura_log::note::{Key, Kind};
use ura_proto::SystemId;
use ura_runtime::config::Spanned;

use super::{
    Checker,
    raw::{RawMember, RawSystem, Role},
};
use crate::directory::{
    snapshot::{System, is_address},
    titles::Titles,
};

/// Gateways that adapters are told of: each adapter makes some connections to every one.
const GATEWAYS_MAX: usize = 16;

impl Checker<'_> {
    pub(super) fn members(&mut self, raw: &[RawMember]) -> HashMap<Box<str>, Titles> {
        let mut members = HashMap::new();
        for member in raw {
            let id = member.id.get_ref();
            let name = self.titles(&member.id, &member.name);
            if format!("{id}/x").parse::<SystemId>().is_err() {
                self.at(&member.id, "a member id is 1 to 63 of a-z, 0-9 and -, beginning with a letter");
            } else if members.contains_key(id.as_str()) {
                self.at(&member.id, format!("member {id} stands twice"));
            } else if let Some(name) = name {
                members.insert(id.as_str().into(), name);
            }
        }
        members
    }

    /// Where adapters are to plug in.
    pub(super) fn gateways(&mut self, raw: &[Spanned<String>]) -> Vec<String> {
        for (number, address) in raw.iter().enumerate() {
            let text = address.get_ref();
            if !is_address(text) {
                self.at(address, format!("`{text}` is not host:port, as adapters reach the gateway"));
            }
            if raw.iter().take(number).any(|before| before.get_ref() == text) {
                self.at(address, format!("{text} stands twice"));
            }
            if number == GATEWAYS_MAX {
                self.at(address, format!("there are more than {GATEWAYS_MAX} gateways"));
            }
        }
        raw.iter().map(|address| address.get_ref().clone()).collect()
    }

    /// `known`: every member that has an entry, also one with errors.
    pub(super) fn systems(&mut self, raw: &[RawSystem], known: &[RawMember]) -> HashMap<SystemId, System> {
        let mut systems = HashMap::new();
        let mut cosigners = HashMap::new();
        for entry in raw {
            let Some(id) = self.system_id(&entry.id) else { continue };
            if known.iter().all(|member| member.id.get_ref() != id.member()) {
                self.at(&entry.id, format!("member {} is not in [[members]]", id.member()));
            }
            let has = |role| entry.roles.iter().any(|r| *r.get_ref() == role);
            let system = System {
                consumer: has(Role::Consumer),
                provider: has(Role::Provider),
                gateway: has(Role::Gateway),
                auditor: has(Role::Auditor),
                cosigner: entry.cosigner.as_ref().and_then(|key| self.cosigner(key, &id, &mut cosigners)),
                dial: entry.dial.as_ref().map(|d| d.get_ref().as_str().into()),
                grants: HashMap::new(),
            };
            self.roles(entry, &system);
            if let Some(dial) = &entry.dial {
                if !is_address(dial.get_ref()) {
                    self.at(dial, "dial must be host:port");
                }
                if !system.provider {
                    self.at(dial, "only a system with the role provider can be dialled");
                }
            }
            if systems.insert(id, system).is_some() {
                self.at(&entry.id, format!("system {} stands twice", entry.id.get_ref()));
            }
        }
        systems
    }

    /// Which roles go together.
    fn roles(&mut self, entry: &RawSystem, system: &System) {
        let mut at = |role: Role, message: &str| {
            let place = entry.roles.iter().find(|r| *r.get_ref() == role);
            place.into_iter().for_each(|place| self.problems.at(place.span(), message));
        };
        if system.gateway && system.provider {
            let message = "a gateway answers contracts of the package ura.v1 and nothing else: \
                give the adapter a system of its own";
            at(Role::Provider, message);
        }
        if system.auditor && (system.consumer || system.provider || system.gateway) {
            at(Role::Auditor, "an auditor neither asks nor answers: the role stands alone");
        }
        if entry.roles.is_empty() {
            let message =
                "roles must name at least one of \"consumer\", \"provider\", \"gateway\", \"auditor\"";
            self.at(&entry.id, message);
        }
    }

    /// A key for cosignatures; `known`: the public keys so far, and whose they are.
    fn cosigner(
        &mut self,
        text: &Spanned<String>,
        id: &SystemId,
        known: &mut HashMap<[u8; 32], SystemId>,
    ) -> Option<Key> {
        let key = match Key::parse(text.get_ref()) {
            Ok(key) => key,
            Err(error) => {
                self.at(text, format!("cosigner: {error}"));
                return None;
            }
        };
        if key.kind() != Kind::CosignatureV1 {
            self.at(
                text,
                format!("cosigner: a key for {} is wanted, not for {}", Kind::CosignatureV1, key.kind()),
            );
            return None;
        }
        // Under another name it is the same hand that signs.
        if let Some(other) = known.insert(*key.public(), id.clone()) {
            self.at(text, format!("cosigner: {other} has this key; each cosigner needs a key of its own"));
            return None;
        }
        Some(key)
    }
}
