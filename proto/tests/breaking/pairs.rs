//! Every type changed into every other, and every cardinality: no chance decides whether one is left out.

use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

use super::{Case, mutate::SCALARS};

/// All of them; groups are of the older syntax only.
fn types() -> impl Iterator<Item = Type> + Clone {
    SCALARS.into_iter().chain([Type::Enum, Type::Message, Type::Group])
}

const LABELS: [Label; 3] = [Label::Optional, Label::Repeated, Label::Required];

/// Each pair in each syntax that has both.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for syntax in ["proto2", "proto3"] {
        let proto3 = syntax == "proto3";
        for (was, is) in types().flat_map(|was| types().map(move |is| (was, is))) {
            if proto3 && [was, is].contains(&Type::Group) {
                continue;
            }
            let name = format!("{syntax}t{}t{}", i32::from(was), i32::from(is));
            let [old, new] = [was, is].map(|kind| file(&name, syntax, kind, Label::Optional));
            cases.push(Case { old, new, done: vec!["a type"] });
        }
        for (was, is) in LABELS.iter().flat_map(|was| LABELS.map(|is| (*was, is))) {
            if proto3 && [was, is].contains(&Label::Required) {
                continue;
            }
            let name = format!("{syntax}l{}l{}", i32::from(was), i32::from(is));
            let [old, new] = [was, is].map(|label| file(&name, syntax, Type::String, label));
            cases.push(Case { old, new, done: vec!["a cardinality"] });
        }
    }
    cases
}

/// A file with one field of this type.
fn file(name: &str, syntax: &str, kind: Type, label: Label) -> FileDescriptorProto {
    let type_name = match kind {
        Type::Enum => Some(format!(".{name}.E")),
        Type::Message | Type::Group => Some(format!(".{name}.M.G")),
        _ => None,
    };
    let field = FieldDescriptorProto {
        name: Some("g".to_owned()),
        json_name: Some("g".to_owned()),
        number: Some(1),
        label: Some(label.into()),
        r#type: Some(kind.into()),
        type_name,
        ..Default::default()
    };
    let message = DescriptorProto {
        name: Some("M".to_owned()),
        field: vec![field],
        nested_type: vec![DescriptorProto { name: Some("G".to_owned()), ..Default::default() }],
        ..Default::default()
    };
    let value =
        EnumValueDescriptorProto { name: Some("ZERO".to_owned()), number: Some(0), ..Default::default() };
    FileDescriptorProto {
        name: Some(format!("{name}.proto")),
        package: Some(name.to_owned()),
        syntax: Some(syntax.to_owned()),
        message_type: vec![message],
        enum_type: vec![EnumDescriptorProto {
            name: Some("E".to_owned()),
            value: vec![value],
            ..Default::default()
        }],
        ..Default::default()
    }
}
