//! Changes of a contract's file, each at a place taken at random. Some break, some do not, and some do so only
//! together; whether they do is not known here.

mod enums;
mod fields;
mod methods;

use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto};

use super::random::Random;
pub(crate) use fields::SCALARS;

/// A kind of change; false where the file has nothing to change so.
pub(crate) type Change = fn(&mut Random, &mut FileDescriptorProto) -> bool;

/// Every kind of change, by its name.
pub(crate) const CHANGES: &[(&str, Change)] = &[
    ("another type", fields::retype),
    ("another message or enum as type", fields::renamed_type),
    ("another cardinality", fields::relabel),
    ("a field deleted", fields::delete),
    ("a field added", fields::add),
    ("a field renamed", fields::rename),
    ("another JSON name", fields::json_name),
    ("another default", fields::default),
    ("a oneof left, entered or changed", fields::oneof),
    ("a oneof renamed", fields::rename_oneof),
    ("a map made a list", fields::map_to_list),
    ("a group made a message", fields::group_to_message),
    ("a reserved number of a message changed", fields::reserved_number),
    ("a reserved name of a message changed", fields::reserved_name),
    ("an extension deleted", fields::delete_extension),
    ("a message deleted", fields::delete_message),
    ("an enum value deleted", enums::delete),
    ("an enum value added", enums::add),
    ("an enum value renamed", enums::rename),
    ("an enum value renumbered", enums::renumber),
    ("enum values in another order", enums::reorder),
    ("a reserved number of an enum changed", enums::reserved_number),
    ("a reserved name of an enum changed", enums::reserved_name),
    ("a stream made one message, or the other way round", methods::streaming),
    ("other effects", methods::idempotency),
    ("another request or reply", methods::types),
    ("a method deleted", methods::delete),
    ("a method added", methods::add),
    ("another package", methods::package),
    ("options that mean nothing on the wire", methods::options),
];

/// Where each message of a file stands: the way to it through those around it.
fn messages(file: &FileDescriptorProto) -> Vec<Vec<usize>> {
    fn below(message: &DescriptorProto, at: &[usize], found: &mut Vec<Vec<usize>>) {
        found.push(at.to_vec());
        for (index, inner) in message.nested_type.iter().enumerate() {
            // Entries of maps are made, not written.
            if inner.options.as_ref().is_none_or(|options| !options.map_entry()) {
                below(inner, &[at, &[index]].concat(), found);
            }
        }
    }
    let mut found = Vec::new();
    for (index, message) in file.message_type.iter().enumerate() {
        below(message, &[index], &mut found);
    }
    found
}

/// A message by its place.
fn at<'f>(file: &'f mut FileDescriptorProto, place: &[usize]) -> &'f mut DescriptorProto {
    let (first, rest) = place.split_first().expect("a place has a message");
    rest.iter().fold(&mut file.message_type[*first], |message, index| &mut message.nested_type[*index])
}

/// Any message.
fn message<'f>(random: &mut Random, file: &'f mut FileDescriptorProto) -> &'f mut DescriptorProto {
    let places = messages(file);
    let place = random.of(&places).clone();
    at(file, &place)
}

/// Any field, or extension, that fits.
fn field<'f>(
    random: &mut Random,
    file: &'f mut FileDescriptorProto,
    fits: impl Fn(&FieldDescriptorProto) -> bool,
) -> Option<&'f mut FieldDescriptorProto> {
    let mut fields: Vec<&mut FieldDescriptorProto> = file.extension.iter_mut().collect();
    let mut open: Vec<&mut DescriptorProto> = file.message_type.iter_mut().collect();
    while let Some(message) = open.pop() {
        if message.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry) {
            continue;
        }
        fields.extend(message.field.iter_mut());
        open.extend(message.nested_type.iter_mut());
    }
    fields.retain(|field| fits(field));
    if fields.is_empty() { None } else { Some(fields.swap_remove(random.below(fields.len()))) }
}

/// Any enum.
fn enumeration<'f>(random: &mut Random, file: &'f mut FileDescriptorProto) -> &'f mut EnumDescriptorProto {
    let mut enums: Vec<&mut EnumDescriptorProto> = file.enum_type.iter_mut().collect();
    let mut open: Vec<&mut DescriptorProto> = file.message_type.iter_mut().collect();
    while let Some(message) = open.pop() {
        enums.extend(message.enum_type.iter_mut());
        open.extend(message.nested_type.iter_mut());
    }
    let chosen = random.below(enums.len());
    enums.swap_remove(chosen)
}

/// Whether a file is of the older syntax.
fn is_proto2(file: &FileDescriptorProto) -> bool {
    file.syntax() != "proto3"
}

/// Spans of numbers, half open, changed at random: one gone, shorter, cut in two, or one more.
fn respan(random: &mut Random, spans: &mut Vec<(i32, i32)>) -> bool {
    if spans.is_empty() {
        return false;
    }
    let chosen = random.below(spans.len());
    let (start, end) = spans[chosen];
    match random.below(5) {
        0 => drop(spans.remove(chosen)),
        1 if end - start > 1 => spans[chosen].1 = end - 1,
        2 if end - start > 2 => {
            // All but one of the middle, or all of it in two parts.
            let middle = start + 1;
            let gap = i32::from(random.coin());
            spans[chosen].1 = middle;
            spans.push((middle + gap, end));
        }
        3 if end - start > 1 => spans[chosen].0 = start + 1,
        // Unless a change before this one did.
        _ if spans.iter().all(|(start, _)| !(70..75).contains(start)) => spans.push((70, 75)),
        _ => return false,
    }
    true
}
