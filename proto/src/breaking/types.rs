//! Messages and enums, old against new: what is gone, what is reserved, what is required. Fields that both
//! have are compared elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{Cardinality, DescriptorPool, EnumDescriptor, MessageDescriptor, Syntax};

use super::{
    Breaks, Place, Rule, compared,
    fields::{self, Field},
};

/// Numbers from the first to the last, both inclusive.
type Span = (i64, i64);

/// Compares the messages of both versions, those inside others too.
pub(super) fn messages(old: &DescriptorPool, new: &DescriptorPool, breaks: &mut Breaks) {
    for before in old.all_messages().filter(|message| compared(&message.parent_file())) {
        let Some(after) = new.get_message_by_name(before.full_name()) else { continue };
        let place = Place::new(&after.parent_file(), after.path(), after.full_name());
        for field in before.fields() {
            match after.get_field(field.number()) {
                Some(now) => fields::compare(&Field::of(&field), &Field::of(&now), breaks),
                None => deleted_field((field.number(), field.name()), &after, &place, breaks),
            }
        }
        required(&before, &after, breaks);
        reserved(Rule::MessageReserved, &place, &Reserved::of(&before), &Reserved::of(&after), breaks);
        if loses_json(before.parent_file().syntax(), after.parent_file().syntax()) {
            breaks.add(Rule::MessageJsonFormat, &place, LOST_JSON, KEEP_SYNTAX);
        }
    }
}

/// Compares the enums of both versions, those inside messages too.
pub(super) fn enums(old: &DescriptorPool, new: &DescriptorPool, breaks: &mut Breaks) {
    for before in old.all_enums().filter(|enumeration| compared(&enumeration.parent_file())) {
        let Some(after) = new.get_enum_by_name(before.full_name()) else { continue };
        let place = Place::new(&after.parent_file(), after.path(), after.full_name());
        let (was, is, kept) = (names(&before), names(&after), Reserved::of_enum(&after));
        for (number, names) in &was {
            match is.get(number) {
                Some(now) => renamed_value(*number, names, now, &place, breaks),
                None => deleted_value(*number, names, &kept, &place, breaks),
            }
        }
        reserved(Rule::EnumReserved, &place, &Reserved::of_enum(&before), &kept, breaks);
        if loses_json(before.parent_file().syntax(), after.parent_file().syntax()) {
            breaks.add(Rule::EnumJsonFormat, &place, LOST_JSON, KEEP_SYNTAX);
        }
    }
}

const LOST_JSON: &str = "its file was proto3 and is proto2, in which JSON forms are best effort only";
const KEEP_SYNTAX: &str = "keep syntax = \"proto3\"";

/// Whether the JSON form was promised and is not any more.
fn loses_json(was: Syntax, is: Syntax) -> bool {
    was == Syntax::Proto3 && is == Syntax::Proto2
}

/// The names of each number.
fn names(enumeration: &EnumDescriptor) -> BTreeMap<i32, BTreeSet<String>> {
    let mut names: BTreeMap<i32, BTreeSet<String>> = BTreeMap::new();
    for value in &enumeration.enum_descriptor_proto().value {
        names.entry(value.number()).or_default().insert(value.name().to_owned());
    }
    names
}

/// Every old name must still stand for the number, beside new ones.
fn renamed_value(
    number: i32,
    was: &BTreeSet<String>,
    is: &BTreeSet<String>,
    place: &Place,
    breaks: &mut Breaks,
) {
    if was.is_subset(is) {
        return;
    }
    let problem = format!("value {number} was named {} and is named {}", list(was), list(is));
    let mend = format!("keep the name {}", list(was));
    // One for each name of the number, as buf counts them.
    for _ in is {
        breaks.add(Rule::EnumValueSameName, place, problem.clone(), mend.clone());
    }
}

/// A value that is gone must leave number and names reserved.
fn deleted_value(number: i32, names: &BTreeSet<String>, kept: &Reserved, place: &Place, breaks: &mut Breaks) {
    let problem = format!("value {number} ({}) is gone", list(names));
    if !kept.has_number(i64::from(number)) {
        let mend = format!("keep it, or write `reserved {number};`");
        breaks.add(Rule::EnumValueNumber, place, problem.clone(), mend);
    }
    if !names.iter().all(|name| kept.names.contains(name)) {
        let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        let mend = format!("keep it, or write `reserved {};`", quoted.join(", "));
        breaks.add(Rule::EnumValueName, place, problem, mend);
    }
}

/// A field that is gone must leave number and name reserved.
fn deleted_field((number, name): (u32, &str), after: &MessageDescriptor, place: &Place, breaks: &mut Breaks) {
    let kept = Reserved::of(after);
    let problem = format!("field {name} = {number} is gone");
    if !kept.has_number(i64::from(number)) {
        let mend = format!("keep it, or write `reserved {number};`");
        breaks.add(Rule::FieldNumber, place, problem.clone(), mend);
    }
    if !kept.names.contains(name) {
        breaks.add(Rule::FieldName, place, problem, format!("keep it, or write `reserved {name:?};`"));
    }
}

/// Required fields must be the same: whoever does not know one refuses the message, or is refused.
fn required(before: &MessageDescriptor, after: &MessageDescriptor, breaks: &mut Breaks) {
    let of = |message: &MessageDescriptor| -> BTreeSet<u32> {
        let fields = message.fields().filter(|field| field.cardinality() == Cardinality::Required);
        fields.map(|field| field.number()).collect()
    };
    let (was, is) = (of(before), of(after));
    let place = Place::new(&after.parent_file(), after.path(), after.full_name());
    for number in was.difference(&is) {
        let problem = format!("field {number} was required and is not");
        breaks.add(Rule::RequiredFields, &place, problem, "keep it as it was");
    }
    for number in is.difference(&was) {
        let problem = format!("field {number} is required and was not");
        breaks.add(Rule::RequiredFields, &place, problem, "make it optional");
    }
}

/// What was reserved stays reserved.
fn reserved(rule: Rule, place: &Place, was: &Reserved, is: &Reserved, breaks: &mut Breaks) {
    for span in &was.numbers {
        let missing = missing(*span, &is.numbers);
        if !missing.is_empty() {
            let free = missing.into_iter().map(numbers).collect::<Vec<_>>().join(", ");
            let problem = format!("{} was reserved, and of it {free} is free again", numbers(*span));
            breaks.add(rule, place, problem, format!("write `reserved {free};` again"));
        }
    }
    for name in was.names.difference(&is.names) {
        let problem = format!("the name {name} was reserved and is free again");
        breaks.add(rule, place, problem, format!("write `reserved {name:?};` again"));
    }
}

/// What a message or enum reserves.
struct Reserved {
    numbers: Vec<Span>,
    names: BTreeSet<String>,
}

impl Reserved {
    fn of(message: &MessageDescriptor) -> Self {
        let numbers = message.reserved_ranges();
        Self {
            numbers: numbers.map(|range| (i64::from(range.start), i64::from(range.end) - 1)).collect(),
            names: message.reserved_names().map(str::to_owned).collect(),
        }
    }

    fn of_enum(enumeration: &EnumDescriptor) -> Self {
        let numbers = enumeration.reserved_ranges();
        Self {
            numbers: numbers.map(|range| (i64::from(*range.start()), i64::from(*range.end()))).collect(),
            names: enumeration.reserved_names().map(str::to_owned).collect(),
        }
    }

    fn has_number(&self, number: i64) -> bool {
        self.numbers.iter().any(|(first, last)| (*first..=*last).contains(&number))
    }
}

/// What of a span no other covers.
fn missing((first, last): Span, others: &[Span]) -> Vec<Span> {
    let mut sorted = others.to_vec();
    sorted.sort_unstable();
    let (mut missing, mut next) = (Vec::new(), first);
    for (start, end) in sorted {
        if next > last {
            break;
        }
        if start > next {
            missing.push((next, last.min(start - 1)));
        }
        next = next.max(end + 1);
    }
    if next <= last {
        missing.push((next, last));
    }
    missing.retain(|(start, end)| start <= end);
    missing
}

/// A span as a contract writes it.
fn numbers((first, last): Span) -> String {
    if first == last { first.to_string() } else { format!("{first} to {last}") }
}

/// Names as a sentence has them.
fn list(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_of_a_span_is_told_exactly() {
        for (span, others, expected) in [
            ((5, 5), &[][..], &[(5, 5)][..]),
            ((5, 5), &[(5, 5)], &[]),
            ((1, 9), &[(3, 4), (7, 7)], &[(1, 2), (5, 6), (8, 9)]),
            ((1, 9), &[(5, 9), (1, 3)], &[(4, 4)]),
            ((1, 9), &[(-4, 20)], &[]),
            ((1, 9), &[(1, 5), (3, 4), (6, 9)], &[]),
            ((1, 9), &[(20, 30)], &[(1, 9)]),
            ((-3, 3), &[(-3, -1), (1, 3)], &[(0, 0)]),
        ] {
            assert_eq!(missing(span, others), expected, "{span:?} of {others:?}");
        }
    }
}
