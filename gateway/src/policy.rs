//! The decision: a pure function over a directory snapshot. Absence denies. Knows no network, no
//! evidence and no plugs.

use std::sync::Arc;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use ura_proto::{
    SystemId,
    refusal::{Reason, Term},
};

use crate::{
    call::Call,
    directory::{Grant, Service, Snapshot, System, contract::Method},
    error::Refusal,
};

/// Leave to forward one call. Only [`decide`] makes one; forwarding takes one.
#[derive(Debug)]
pub(crate) struct Permit {
    method: Arc<Method>,
    grant: Arc<Grant>,
    purpose: Option<Arc<str>>,
}

impl Permit {
    /// The method that may be called.
    pub(crate) fn method(&self) -> &Arc<Method> {
        &self.method
    }

    /// The service that is to answer.
    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.grant.service
    }

    /// Who is to answer.
    pub(crate) fn provider(&self) -> &SystemId {
        &self.grant.service.key.provider
    }

    /// The grant that permits it.
    pub(crate) fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The purpose, as the grant names it or, where it names none, as the caller does.
    pub(crate) fn purpose(&self) -> Option<&str> {
        self.purpose.as_deref()
    }
}

/// What was found before the decision, for the record of a refused call.
#[derive(Debug, Default)]
pub(crate) struct Located {
    /// The provider, as far as it was settled.
    pub(crate) provider: Option<SystemId>,
}

/// Decides on a call at a time in microseconds since 1970-01-01 UTC.
pub(crate) fn decide(
    directory: &Snapshot,
    call: &Call,
    now_unix_us: i64,
    located: &mut Located,
) -> Result<Permit, Refusal> {
    let system = caller(directory, call)?;
    let method = method(directory, &call.path)?;
    let offers = directory.services.get(&method.contract).map_or(&[][..], Vec::as_slice);
    let grants = system.grants.get(&method.contract).map_or(&[][..], Vec::as_slice);
    let provider = locate(call, method, offers, grants, now_unix_us)?;
    located.provider = Some(provider.clone());
    let grants = grants.iter().filter(|grant| grant.service.key.provider == *provider);
    let (grant, purpose) = choose(call, method, provider, grants, now_unix_us)?;
    if method.writes() && call.idempotency_key.is_none() {
        return Err(Refusal::new(Reason::IdempotencyKeyMissing).with("method", &method.name));
    }
    Ok(Permit { method: method.clone(), grant: grant.clone(), purpose })
}

/// The caller's system, where it may ask.
fn caller<'d>(directory: &'d Snapshot, call: &Call) -> Result<&'d System, Refusal> {
    let known = directory.systems.get(&call.consumer);
    let system =
        known.ok_or_else(|| Refusal::new(Reason::CallerUnknown).with("consumer", call.consumer.as_str()))?;
    if system.consumer {
        Ok(system)
    } else {
        Err(Refusal::new(Reason::CallerNotConsumer).with("consumer", call.consumer.as_str()))
    }
}

/// The method that a path names.
fn method<'d>(directory: &'d Snapshot, path: &str) -> Result<&'d Arc<Method>, Refusal> {
    directory.methods.get(path).ok_or_else(|| {
        let (contract, method) = path.trim_start_matches('/').rsplit_once('/').unwrap_or((path, ""));
        if directory.contracts.contains_key(contract) {
            Refusal::new(Reason::MethodUnknown).with("contract", contract).with("method", method)
        } else {
            Refusal::new(Reason::ServiceUnknown).with("contract", contract)
        }
    })
}

/// The provider: the one that the call names, or the only one that granted the caller anything.
fn locate<'d>(
    call: &'d Call,
    method: &Method,
    offers: &'d [Arc<Service>],
    grants: &'d [Arc<Grant>],
    now_unix_us: i64,
) -> Result<&'d SystemId, Refusal> {
    if let Some(named) = &call.provider {
        if offers.iter().any(|service| service.key.provider == *named) {
            return Ok(named);
        }
        let refusal = Refusal::new(Reason::ProviderUnknown)
            .with("provider", named.as_str())
            .with("contract", &method.contract);
        return Err(if offers.is_empty() {
            refusal.term("providers", Term::NoProvider)
        } else {
            refusal.with("providers", list(offers.iter().map(|service| service.key.provider.as_str())))
        });
    }
    let holding = distinct(grants.iter().filter(|grant| holds(grant, now_unix_us)));
    let candidates = if holding.is_empty() { distinct(grants.iter()) } else { holding };
    match candidates.as_slice() {
        [] if offers.is_empty() => Err(missing(call, method).term("provider", Term::Nobody)),
        [] => {
            let providers = list(offers.iter().map(|service| service.key.provider.as_str()));
            Err(missing(call, method).with("provider", providers))
        }
        [one] => Ok(one),
        several => Err(Refusal::new(Reason::ProviderAmbiguous)
            .with("contract", &method.contract)
            .with("consumer", call.consumer.as_str())
            .with("providers", list(several.iter().map(|id| id.as_str())))),
    }
}

/// The grant that permits the call, and its purpose; or the first condition that no grant meets.
fn choose<'d>(
    call: &Call,
    method: &Method,
    provider: &SystemId,
    grants: impl Iterator<Item = &'d Arc<Grant>>,
    now_unix_us: i64,
) -> Result<(&'d Arc<Grant>, Option<Arc<str>>), Refusal> {
    let grants: Vec<_> = grants.collect();
    if grants.is_empty() {
        return Err(missing(call, method).with("provider", provider.as_str()));
    }
    let naming: Vec<_> = grants
        .into_iter()
        .filter(|grant| grant.methods.as_ref().is_none_or(|names| names.contains(&method.name)))
        .collect();
    let Some(latest) = naming.iter().max_by_key(|grant| grant.until_unix_us) else {
        return Err(Refusal::new(Reason::MethodNotGranted)
            .with("consumer", call.consumer.as_str())
            .with("contract", &method.contract)
            .with("method", &method.name)
            .with("provider", provider.as_str()));
    };
    let holding: Vec<_> = naming.iter().filter(|grant| holds(grant, now_unix_us)).collect();
    if holding.is_empty() {
        return Err(not_now(latest, provider, now_unix_us));
    }
    for grant in &holding {
        let named = grant.purposes.iter().find(|p| Some(&*p.code) == call.purpose.as_deref());
        if let Some(purpose) = named {
            return Ok((grant, Some(purpose.code.clone())));
        }
        if grant.purposes.is_empty() {
            return Ok((grant, call.purpose.as_deref().map(Arc::from)));
        }
    }
    let purposes = list(holding.iter().flat_map(|grant| &grant.purposes).map(|p| &*p.code));
    Err(match &call.purpose {
        None => Refusal::new(Reason::PurposeMissing).with("purposes", purposes),
        Some(purpose) => Refusal::new(Reason::PurposeNotGranted)
            .with("provider", provider.as_str())
            .with("method", &method.name)
            .with("purpose", purpose)
            .with("purposes", purposes),
    })
}

/// Whether a grant holds at a time.
fn holds(grant: &Grant, now_unix_us: i64) -> bool {
    (grant.from_unix_us..grant.until_unix_us).contains(&now_unix_us)
}

/// The providers of some grants, each once.
fn distinct<'d>(grants: impl Iterator<Item = &'d Arc<Grant>>) -> Vec<&'d SystemId> {
    let mut found: Vec<&SystemId> = Vec::new();
    for grant in grants {
        if !found.contains(&&grant.service.key.provider) {
            found.push(&grant.service.key.provider);
        }
    }
    found
}

/// A refusal for want of any grant.
fn missing(call: &Call, method: &Method) -> Refusal {
    Refusal::new(Reason::GrantMissing)
        .with("consumer", call.consumer.as_str())
        .with("contract", &method.contract)
}

/// A refusal because no grant holds now.
fn not_now(grant: &Grant, provider: &SystemId, now_unix_us: i64) -> Refusal {
    if grant.until_unix_us <= now_unix_us {
        Refusal::new(Reason::GrantExpired)
            .with("grant", &grant.id)
            .with("until", date(grant.until_unix_us))
            .with("provider", provider.as_str())
    } else {
        Refusal::new(Reason::GrantNotYetValid)
            .with("grant", &grant.id)
            .with("from", date(grant.from_unix_us))
            .with("provider", provider.as_str())
    }
}

/// A time as text, RFC 3339.
fn date(unix_us: i64) -> String {
    OffsetDateTime::from_unix_timestamp(unix_us / 1_000_000)
        .ok()
        .and_then(|t| t.format(&Rfc3339).ok())
        .unwrap_or_else(|| "an unknown time".to_owned())
}

/// Names, each once, in order.
fn list<'t>(names: impl Iterator<Item = &'t str>) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen.join(", ")
}

#[cfg(test)]
mod tests;
