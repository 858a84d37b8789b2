//! Services and their methods, old against new.

use prost_reflect::{DescriptorPool, MethodDescriptor};
use prost_types::method_options::IdempotencyLevel;

use super::{Breaks, Place, Rule, compared};

/// Compares the services of both versions.
pub(super) fn services(old: &DescriptorPool, new: &DescriptorPool, breaks: &mut Breaks) {
    for before in old.services().filter(|service| compared(&service.parent_file())) {
        let Some(after) = new.get_service_by_name(before.full_name()) else {
            let place = Place::new(&before.parent_file(), before.path(), before.full_name());
            let mend = "keep it; mark it deprecated until nobody calls it";
            breaks.add(Rule::ServiceDeleted, &place, "the service is gone", mend);
            continue;
        };
        for method in before.methods() {
            match after.methods().find(|candidate| candidate.name() == method.name()) {
                Some(now) => compare(&method, &now, breaks),
                None => {
                    let place = Place::new(&after.parent_file(), after.path(), method.full_name());
                    let mend = "keep it; mark it deprecated until nobody calls it";
                    breaks.add(Rule::MethodDeleted, &place, "the method is gone", mend);
                }
            }
        }
    }
}

/// Compares one method.
fn compare(before: &MethodDescriptor, after: &MethodDescriptor, breaks: &mut Breaks) {
    let place = Place::new(&after.parent_file(), after.path(), after.full_name());
    let mend = "keep the method as it is, and add one of another name";
    for (rule, what, was, is) in [
        (Rule::ClientStreaming, "its request", before.is_client_streaming(), after.is_client_streaming()),
        (Rule::ServerStreaming, "its reply", before.is_server_streaming(), after.is_server_streaming()),
    ] {
        if was != is {
            let kind = |stream: bool| if stream { "a stream" } else { "one message" };
            breaks.add(rule, &place, format!("{what} was {} and is {}", kind(was), kind(is)), mend);
        }
    }
    for (rule, what, was, is) in [
        (Rule::RequestType, "its request", before.input(), after.input()),
        (Rule::ResponseType, "its reply", before.output(), after.output()),
    ] {
        if was.full_name() != is.full_name() {
            let problem = format!("{what} was a {} and is a {}", was.full_name(), is.full_name());
            breaks.add(rule, &place, problem, mend);
        }
    }
    let (was, is) = (level(before), level(after));
    if was != is {
        let word = |level: IdempotencyLevel| match level {
            IdempotencyLevel::IdempotencyUnknown => "unspecified",
            other => other.as_str_name(),
        };
        let problem = format!("its idempotency_level was {} and is {}", word(was), word(is));
        breaks.add(Rule::IdempotencyLevel, &place, problem, mend);
    }
}

/// What a method says of its effects.
fn level(method: &MethodDescriptor) -> IdempotencyLevel {
    method
        .method_descriptor_proto()
        .options
        .as_ref()
        .map_or(IdempotencyLevel::IdempotencyUnknown, |options| options.idempotency_level())
}
