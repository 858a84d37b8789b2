//! Changes of services and of the whole file.

use prost_types::{
    DescriptorProto, FileDescriptorProto, MethodDescriptorProto, method_options::IdempotencyLevel,
};

use super::super::random::Random;

/// Any method.
fn method<'f>(
    random: &mut Random,
    file: &'f mut FileDescriptorProto,
) -> Option<&'f mut MethodDescriptorProto> {
    let methods = &mut file.service[0].method;
    let chosen = (!methods.is_empty()).then(|| random.below(methods.len()))?;
    methods.get_mut(chosen)
}

/// A stream made one message, or the other way round.
pub(super) fn streaming(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let request = random.coin();
    let Some(method) = method(random, file) else { return false };
    let stream = if request { &mut method.client_streaming } else { &mut method.server_streaming };
    *stream = Some(!stream.unwrap_or_default());
    true
}

/// Other effects.
pub(super) fn idempotency(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let levels =
        [IdempotencyLevel::IdempotencyUnknown, IdempotencyLevel::NoSideEffects, IdempotencyLevel::Idempotent];
    let level = *random.of(&levels);
    let Some(method) = method(random, file) else { return false };
    method.options.get_or_insert_default().set_idempotency_level(level);
    true
}

/// Another request or reply.
pub(super) fn types(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let name = format!(".{}.{}", file.package(), random.of(&["Query", "Record", "Narrow"]));
    let request = random.coin();
    let Some(method) = method(random, file) else { return false };
    let slot = if request { &mut method.input_type } else { &mut method.output_type };
    *slot = Some(name);
    true
}

/// A method gone.
pub(super) fn delete(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let count = file.service[0].method.len();
    if count < 2 {
        return false;
    }
    file.service[0].method.remove(random.below(count));
    true
}

/// A method that nobody had.
pub(super) fn add(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let Some(copied) = method(random, file).map(|method| method.clone()) else { return false };
    let name = format!("{}More", copied.name());
    if file.service[0].method.iter().any(|method| method.name() == name) {
        return false;
    }
    file.service[0].method.push(MethodDescriptorProto { name: Some(name), ..copied });
    true
}

/// Another package, with every name in it.
pub(super) fn package(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    // Seldom: little is left to compare then.
    if random.below(3) != 0 {
        return false;
    }
    let (was, is) = (format!(".{}.", file.package()), format!(".{}x.", file.package()));
    let rename = |name: &mut Option<String>| {
        if let Some(name) = name {
            *name = name.replace(&was, &is);
        }
    };
    let mut open: Vec<&mut DescriptorProto> = file.message_type.iter_mut().collect();
    while let Some(message) = open.pop() {
        message.field.iter_mut().for_each(|field| rename(&mut field.type_name));
        open.extend(message.nested_type.iter_mut());
    }
    for extension in &mut file.extension {
        rename(&mut extension.type_name);
        rename(&mut extension.extendee);
    }
    for method in file.service.iter_mut().flat_map(|service| &mut service.method) {
        rename(&mut method.input_type);
        rename(&mut method.output_type);
    }
    file.package = Some(format!("{}x", file.package()));
    true
}

/// Options that mean nothing on the wire.
pub(super) fn options(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    file.options.get_or_insert_default().java_package = Some("org.example".to_owned());
    file.service[0].options.get_or_insert_default().deprecated = Some(true);
    let Some(method) = method(random, file) else { return false };
    method.options.get_or_insert_default().deprecated = Some(true);
    true
}
