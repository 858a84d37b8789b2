//! Changes of messages and their fields.

use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, OneofDescriptorProto,
    descriptor_proto::ReservedRange,
    field_descriptor_proto::{Label, Type},
};

use super::{super::random::Random, at, field, is_proto2, message, messages, respan};

/// All types but enums, messages and groups.
pub(crate) const SCALARS: [Type; 15] = [
    Type::Double,
    Type::Float,
    Type::Int64,
    Type::Uint64,
    Type::Int32,
    Type::Fixed64,
    Type::Fixed32,
    Type::Bool,
    Type::String,
    Type::Bytes,
    Type::Uint32,
    Type::Sfixed32,
    Type::Sfixed64,
    Type::Sint32,
    Type::Sint64,
];

/// A default that fits a type of the older syntax, sometimes its zero.
fn default_of(random: &mut Random, kind: Type) -> Option<String> {
    let text = match kind {
        Type::Bool => *random.of(&["true", "false"]),
        Type::String => *random.of(&["", "x", "1"]),
        Type::Bytes => *random.of(&["", "x", "a\\000b", "1"]),
        Type::Double | Type::Float => *random.of(&["0", "0.1", "0.2", "inf", "nan", "3", "-7"]),
        Type::Uint32 | Type::Uint64 | Type::Fixed32 | Type::Fixed64 => *random.of(&["0", "1", "3", "7"]),
        Type::Int32 | Type::Int64 | Type::Sint32 | Type::Sint64 | Type::Sfixed32 | Type::Sfixed64 => {
            *random.of(&["0", "1", "3", "-7"])
        }
        Type::Enum | Type::Message | Type::Group => return None,
    };
    Some(text.to_owned())
}

fn is_map(field: &FieldDescriptorProto) -> bool {
    field.type_name().ends_with("Entry")
}

fn is_group(field: &FieldDescriptorProto) -> bool {
    field.r#type() == Type::Group
}

/// Another scalar type.
pub(super) fn retype(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let (old_syntax, kind) = (is_proto2(file), *random.of(&SCALARS));
    let Some(field) = field(random, file, |field| !is_map(field) && !is_group(field)) else { return false };
    field.set_type(kind);
    field.type_name = None;
    let optional = old_syntax && field.label() == Label::Optional;
    if field.default_value.is_some() || (optional && random.below(4) == 0) {
        field.default_value = default_of(random, kind);
    }
    unpack(field);
    true
}

/// Only numbers can be packed.
fn unpack(field: &mut FieldDescriptorProto) {
    if let Some(options) = &mut field.options {
        options.packed = None;
    }
}

/// Another message or enum for a field that has one.
pub(super) fn renamed_type(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let package = file.package().to_owned();
    let name = |rest: &str| Some(format!(".{package}.{rest}"));
    let enums = ["Color", "Narrow.Kind", "Wide.Kind", "Odd.Kind"];
    let known = if is_proto2(file) { &enums[..3] } else { &enums[..] };
    let chosen = *random.of(known);
    let message = *random.of(&["Query", "Record", "Narrow", "Wide"]);
    let to_message = random.below(3) == 0;
    let Some(field) =
        field(random, file, |field| matches!(field.r#type(), Type::Enum | Type::Message) && !is_map(field))
    else {
        return false;
    };
    field.default_value = None;
    if to_message {
        field.set_type(Type::Message);
        field.type_name = name(message);
        unpack(field);
    } else {
        field.set_type(Type::Enum);
        field.type_name = name(chosen);
    }
    true
}

/// Single, repeated or, in the older syntax, required.
pub(super) fn relabel(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let labels = [Label::Optional, Label::Repeated, Label::Required];
    let known = if is_proto2(file) { &labels[..] } else { &labels[..2] };
    let label = *random.of(known);
    let fits = |field: &FieldDescriptorProto| {
        field.oneof_index.is_none()
            && !is_map(field)
            && (field.extendee.is_none() || label != Label::Required)
    };
    let Some(field) = field(random, file, fits) else { return false };
    field.set_label(label);
    unpack(field);
    if label == Label::Repeated {
        field.default_value = None;
    }
    true
}

/// A field gone; its number and name reserved, or one of them, or none.
pub(super) fn delete(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let (number, name) = (random.coin(), random.coin());
    let message = message(random, file);
    let fits: Vec<usize> =
        (0..message.field.len()).filter(|index| !empties_a_oneof(message, *index)).collect();
    if fits.is_empty() {
        return false;
    }
    let gone = message.field.remove(*random.of(&fits));
    if number {
        let range = ReservedRange { start: gone.number, end: Some(gone.number() + 1) };
        message.reserved_range.push(range);
    }
    if name {
        message.reserved_name.push(gone.name().to_owned());
    }
    true
}

/// Whether no field would be left in its oneof: that is no contract.
fn empties_a_oneof(message: &DescriptorProto, index: usize) -> bool {
    let oneof = message.field[index].oneof_index;
    oneof.is_some() && message.field.iter().filter(|field| field.oneof_index == oneof).count() == 1
}

/// A field that nobody had.
pub(super) fn add(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let required = is_proto2(file) && random.below(3) == 0;
    let kind = *random.of(&SCALARS);
    let message = message(random, file);
    if message.field.iter().any(|field| field.number() == 900) {
        return false;
    }
    // What lies in a reserved range is none of its numbers.
    message.reserved_range.retain(|range| !(range.start()..range.end()).contains(&900));
    message.field.push(FieldDescriptorProto {
        name: Some("added".to_owned()),
        json_name: Some("added".to_owned()),
        number: Some(900),
        label: Some(if required { Label::Required } else { Label::Optional }.into()),
        r#type: Some(kind.into()),
        ..Default::default()
    });
    true
}

/// Another name; the JSON name with it, or not.
pub(super) fn rename(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let with_json = random.coin();
    let Some(field) = field(random, file, |field| {
        !field.name().starts_with("renamed") && !is_group(field) && !is_map(field)
    }) else {
        return false;
    };
    let name = format!("renamed{}", field.number());
    if with_json || field.extendee.is_some() {
        field.json_name = Some(name.clone());
    }
    field.name = Some(name);
    true
}

/// Another name in JSON.
pub(super) fn json_name(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let Some(field) = field(random, file, |field| field.extendee.is_none()) else { return false };
    field.json_name = Some(format!("json{}", field.number()));
    true
}

/// Another default, one more, or none.
pub(super) fn default(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let fits = |field: &FieldDescriptorProto| field.label() != Label::Repeated;
    let Some(field) = is_proto2(file).then(|| field(random, file, fits)).flatten() else { return false };
    field.default_value = match field.r#type() {
        Type::Enum if field.type_name().ends_with("Color") => {
            Some((*random.of(&["RED", "GREEN", "BLUE"])).to_owned())
        }
        kind => default_of(random, kind),
    };
    if random.below(4) == 0 {
        field.default_value = None;
    }
    true
}

/// Into a oneof, out of one, or into another.
pub(super) fn oneof(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let message = &mut file.message_type[0];
    // Those of proto3's `optional` are none.
    let real: Vec<i32> = (0..2)
        .filter(|oneof| {
            let mut fields = message.field.iter().filter(|field| field.oneof_index == Some(*oneof));
            fields.next().is_some_and(|field| !field.proto3_optional())
        })
        .collect();
    let fits: Vec<usize> = (0..message.field.len())
        .filter(|index| {
            let field = &message.field[*index];
            field.label() == Label::Optional
                && !field.proto3_optional()
                && !is_group(field)
                && !empties_a_oneof(message, *index)
        })
        .collect();
    if real.is_empty() || fits.is_empty() {
        return false;
    }
    let index = *random.of(&fits);
    let mut moved = message.field.remove(index);
    moved.oneof_index = if random.below(3) == 0 { None } else { Some(*random.of(&real)) };
    // Fields of a oneof stand together.
    let beside = message.field.iter().position(|field| field.oneof_index == moved.oneof_index);
    message.field.insert(beside.unwrap_or(index), moved);
    true
}

/// Another name for a oneof.
pub(super) fn rename_oneof(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let message = &mut file.message_type[0];
    let real: Vec<usize> = (0..message.oneof_decl.len())
        .filter(|index| !message.oneof_decl[*index].name().starts_with('_'))
        .collect();
    if real.is_empty() {
        return false;
    }
    let oneof: &mut OneofDescriptorProto = &mut message.oneof_decl[*random.of(&real)];
    oneof.name = Some(format!("{}_renamed", oneof.name()));
    true
}

/// The entries of a map, as messages of their own.
pub(super) fn map_to_list(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let places = messages(file);
    let place = random.of(&places).clone();
    let message = at(file, &place);
    let entry =
        message.nested_type.iter_mut().find(|nested| nested.options.as_ref().is_some_and(|o| o.map_entry()));
    let Some(entry) = entry else { return false };
    entry.options = None;
    true
}

/// A group, written as other messages are.
pub(super) fn group_to_message(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let Some(field) = field(random, file, is_group) else { return false };
    field.set_type(Type::Message);
    true
}

/// A reserved span gone, shorter, cut, or one more.
pub(super) fn reserved_number(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let message = message(random, file);
    let mut spans: Vec<(i32, i32)> =
        message.reserved_range.iter().map(|range| (range.start(), range.end())).collect();
    let changed = respan(random, &mut spans);
    message.reserved_range =
        spans.into_iter().map(|(start, end)| ReservedRange { start: Some(start), end: Some(end) }).collect();
    changed
}

/// A reserved name gone, or one more.
pub(super) fn reserved_name(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let message = message(random, file);
    if random.coin() && !message.reserved_name.is_empty() {
        message.reserved_name.pop();
    } else if message.reserved_name.iter().all(|name| name != "kept") {
        message.reserved_name.push("kept".to_owned());
    }
    true
}

/// An extension gone.
pub(super) fn delete_extension(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let count = file.extension.len();
    count > 0 && !file.extension.remove(random.below(count)).name().is_empty()
}

/// A message gone that nothing needs.
pub(super) fn delete_message(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let fits: Vec<usize> =
        (0..file.message_type.len()).filter(|index| file.message_type[*index].name() == "Wide").collect();
    if fits.is_empty() {
        return false;
    }
    file.message_type.remove(*random.of(&fits));
    true
}
