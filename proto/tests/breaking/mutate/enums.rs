//! Changes of enums.

use prost_types::{
    EnumDescriptorProto, EnumValueDescriptorProto, FileDescriptorProto,
    enum_descriptor_proto::EnumReservedRange,
};

use super::{super::random::Random, enumeration, is_proto2, respan};

/// Values that may go: in proto3 the first is zero and stays.
fn free(file_is_proto2: bool, enumeration: &EnumDescriptorProto) -> Vec<usize> {
    let first = usize::from(!file_is_proto2);
    if enumeration.value.len() < 2 { Vec::new() } else { (first..enumeration.value.len()).collect() }
}

/// An alias needs two names of one number.
fn settle(enumeration: &mut EnumDescriptorProto) {
    let mut numbers: Vec<i32> = enumeration.value.iter().map(EnumValueDescriptorProto::number).collect();
    numbers.sort_unstable();
    let aliased = numbers.windows(2).any(|pair| pair[0] == pair[1]);
    enumeration.options.get_or_insert_default().allow_alias = aliased.then_some(true);
}

/// A value gone; its number and name reserved, or one of them, or none.
pub(super) fn delete(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let (proto2, number, name) = (is_proto2(file), random.coin(), random.coin());
    let enumeration = enumeration(random, file);
    let free = free(proto2, enumeration);
    if free.is_empty() {
        return false;
    }
    let gone = enumeration.value.remove(*random.of(&free));
    let aliased = enumeration.value.iter().any(|value| value.number() == gone.number());
    if number && !aliased {
        enumeration.reserved_range.push(EnumReservedRange { start: gone.number, end: gone.number });
    }
    if name {
        enumeration.reserved_name.push(gone.name().to_owned());
    }
    settle(enumeration);
    true
}

/// A value that nobody had, or another name for one that all had.
pub(super) fn add(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let alias = random.coin();
    let enumeration = enumeration(random, file);
    let name = format!("{}_ADDED", enumeration.name().to_uppercase());
    if enumeration.value.iter().any(|value| value.name() == name) {
        return false;
    }
    let number = if alias { enumeration.value[0].number() } else { 900 };
    enumeration.value.push(EnumValueDescriptorProto {
        name: Some(name),
        number: Some(number),
        ..Default::default()
    });
    settle(enumeration);
    true
}

/// Another name for a value.
pub(super) fn rename(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let enumeration = enumeration(random, file);
    let chosen = random.below(enumeration.value.len());
    let value = &mut enumeration.value[chosen];
    value.name = Some(format!("{}_RENAMED", value.name()));
    true
}

/// Another number for a value.
pub(super) fn renumber(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let proto2 = is_proto2(file);
    let enumeration = enumeration(random, file);
    let free = free(proto2, enumeration);
    if free.is_empty() {
        return false;
    }
    enumeration.value[*random.of(&free)].number = Some(*random.of(&[300, 301, -20]));
    settle(enumeration);
    true
}

/// The first last: in the older syntax it was the default.
pub(super) fn reorder(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let proto2 = is_proto2(file);
    let enumeration = enumeration(random, file);
    let from = usize::from(!proto2);
    if enumeration.value.len() > from {
        enumeration.value[from..].rotate_left(1);
    }
    true
}

/// A reserved span gone, shorter, cut, or one more.
pub(super) fn reserved_number(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let enumeration = enumeration(random, file);
    // Ranges of enums include their ends.
    let mut spans: Vec<(i32, i32)> =
        enumeration.reserved_range.iter().map(|range| (range.start(), range.end() + 1)).collect();
    let changed = respan(random, &mut spans);
    enumeration.reserved_range = spans
        .into_iter()
        .map(|(start, end)| EnumReservedRange { start: Some(start), end: Some(end - 1) })
        .collect();
    changed
}

/// A reserved name gone, or one more.
pub(super) fn reserved_name(random: &mut Random, file: &mut FileDescriptorProto) -> bool {
    let enumeration = enumeration(random, file);
    if random.coin() && !enumeration.reserved_name.is_empty() {
        enumeration.reserved_name.pop();
    } else if enumeration.reserved_name.iter().all(|name| name != "KEPT") {
        enumeration.reserved_name.push("KEPT".to_owned());
    }
    true
}
