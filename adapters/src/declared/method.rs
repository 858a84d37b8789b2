//! One `[methods.NAME]` section.

use std::collections::HashMap;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};
use tonic::Code;
use ura_runtime::config::{Problems, Spanned};

use super::{mapping, names::Names, operation, raw, register::millis};
use crate::{
    plan::{Answer, MessageMap, Method, More, Page, PageValue, Refusal, RegisterKind, RegisterPlan, Rule},
    tree::Path,
};

/// Largest piece of a chunked answer, in bytes; gRPC messages stay well under 4 MiB.
const CHUNK_BYTES_MAX: u32 = 1 << 20;
const CHUNK_BYTES_DEFAULT: u32 = 64 * 1024;
/// `idempotency_level` of the method's options: `NO_SIDE_EFFECTS`.
const NO_SIDE_EFFECTS: i32 = 1;

/// Checks a method; `None` where it has no usable operation or answer, with the problem noted.
pub(super) fn check(
    descriptor: &MethodDescriptor,
    spanned: &Spanned<raw::Method>,
    register: &RegisterPlan,
    problems: &mut Problems,
) -> Option<Method> {
    let raw = spanned.as_ref();
    if descriptor.is_client_streaming() {
        problems.at(
            spanned.span(),
            "a declared adapter answers unary methods and server streams; this one takes a stream from its caller",
        );
        return None;
    }
    let http = matches!(register.kind, RegisterKind::Rest | RegisterKind::Soap);
    let mut names = Names::new(&descriptor.input(), &raw.parameters, raw.page.is_some(), problems);
    let operation = operation::check(spanned, register, &mut names, problems);
    let answer = answer(descriptor, spanned, &names, http, problems);
    for (given, name) in [(&raw.at, "at"), (&raw.error_at, "error_at")] {
        if let Some(given) = given.as_ref().filter(|_| !http) {
            problems.at(given.span(), format!("`{name}` goes with rest and soap only"));
        }
    }
    let parameters = names.finish(problems);
    let errors = errors(raw, problems);
    let (answer, item) = answer?;
    let mut map = mapping::message(&item, &raw.fields, problems);
    if let Answer::Chunks { field, .. } = &answer {
        map.rules.retain(|(f, _)| f != field);
        map.rules.push((field.clone(), Rule::Skip));
    }
    Some(Method {
        descriptor: descriptor.clone(),
        read_only: is_read_only(descriptor),
        timeout: raw.timeout_ms.as_ref().map_or(register.timeout, |_| millis(&raw.timeout_ms, 1, problems)),
        parameters,
        operation: operation?,
        answer,
        strict: !http,
        map,
        not_found: raw.not_found.clone().unwrap_or_else(|| "The register has no such entry.".to_owned()),
        errors,
        error_at: raw.error_at.as_ref().map(|at| Path::parse(at.as_ref())),
        at: Path::parse(raw.at.as_ref().map_or("", |at| at.as_ref().as_str())),
    })
}

/// Whether the contract marks the method `NO_SIDE_EFFECTS`.
fn is_read_only(descriptor: &MethodDescriptor) -> bool {
    let options = descriptor.options();
    options.get_field_by_name("idempotency_level").and_then(|level| level.as_enum_number())
        == Some(NO_SIDE_EFFECTS)
}

fn answer(
    descriptor: &MethodDescriptor,
    spanned: &Spanned<raw::Method>,
    names: &Names,
    http: bool,
    problems: &mut Problems,
) -> Option<(Answer, MessageDescriptor)> {
    let raw = spanned.as_ref();
    let streams = descriptor.is_server_streaming();
    let kind = match &raw.answer {
        Some(answer) => {
            let kind = *answer.as_ref();
            let fits = streams == matches!(kind, raw::AnswerKind::Stream | raw::AnswerKind::Chunks);
            if !fits {
                let right = if streams {
                    "a server stream: write \"stream\" or \"chunks\""
                } else {
                    "unary: write \"one\" or \"many\""
                };
                problems.at(answer.span(), format!("the method is {right}"));
                return None;
            }
            kind
        }
        None if streams => raw::AnswerKind::Stream,
        None => raw::AnswerKind::One,
    };
    let only = |what: bool, at: Option<std::ops::Range<usize>>, text: &str, problems: &mut Problems| {
        if let Some(span) = at.filter(|_| !what) {
            problems.at(span, text);
        }
    };
    let many = kind == raw::AnswerKind::Many;
    let chunks = kind == raw::AnswerKind::Chunks;
    only(many, raw.page.as_ref().map(Spanned::span), "`page` goes with answer = \"many\"", problems);
    only(many, raw.reply.0.first().map(|(k, _)| k.span()), "`reply` goes with answer = \"many\"", problems);
    only(chunks, raw.chunk.as_ref().map(Spanned::span), "`chunk` goes with answer = \"chunks\"", problems);
    let output = descriptor.output();
    match kind {
        raw::AnswerKind::One | raw::AnswerKind::Stream => {
            let (into, item) = into_message(&output, raw, problems)?;
            let answer =
                if kind == raw::AnswerKind::One { Answer::One { into } } else { Answer::Stream { into } };
            Some((answer, item))
        }
        raw::AnswerKind::Many => many_answer(descriptor, spanned, names, http, problems),
        raw::AnswerKind::Chunks => {
            chunks_answer(&output, spanned, http, problems).map(|answer| (answer, output))
        }
    }
}

/// one, stream: the message that a row fills.
fn into_message(
    output: &MessageDescriptor,
    raw: &raw::Method,
    problems: &mut Problems,
) -> Option<(Vec<FieldDescriptor>, MessageDescriptor)> {
    let Some(into) = &raw.into else {
        return Some((Vec::new(), output.clone()));
    };
    let path = match super::path(output, into.as_ref()) {
        Ok(path) => path,
        Err(problem) => {
            problems.at(into.span(), problem);
            return None;
        }
    };
    match path.last().map(|f| (f.is_list() || f.is_map(), f.kind())) {
        Some((false, Kind::Message(item))) => Some((path, item)),
        _ => {
            problems.at(
                into.span(),
                "`into` names one message field here; for a repeated one write answer = \"many\"",
            );
            None
        }
    }
}

fn many_answer(
    descriptor: &MethodDescriptor,
    spanned: &Spanned<raw::Method>,
    names: &Names,
    http: bool,
    problems: &mut Problems,
) -> Option<(Answer, MessageDescriptor)> {
    let raw = spanned.as_ref();
    let output = descriptor.output();
    let is_list = |f: &FieldDescriptor| f.is_list() && !f.is_map() && matches!(f.kind(), Kind::Message(_));
    let lists: Vec<_> = output.fields().filter(is_list).collect();
    let into = match (&raw.into, lists.as_slice()) {
        (Some(into), _) => lists.iter().find(|f| f.name() == into.as_ref()).cloned(),
        (None, [only]) => Some(only.clone()),
        _ => None,
    };
    let Some(into) = into else {
        let span = raw.into.as_ref().map_or(spanned.span(), Spanned::span);
        let known = super::one_of(lists.iter().map(FieldDescriptor::name));
        problems.at(
            span,
            format!(
                "`into` names the repeated message field of {} that takes the rows; {known}",
                output.full_name()
            ),
        );
        return None;
    };
    let Kind::Message(item) = into.kind() else {
        return None;
    };
    let mut reply = mapping::message(&output, &raw.reply, problems);
    if reply.rule(&into).is_some() {
        let span = raw.reply.0.first().map(|(k, _)| k.span()).unwrap_or_default();
        problems.at(span, format!("`{}` takes the rows already", into.name()));
        reply = MessageMap::default();
    }
    let page = raw.page.as_ref().and_then(|p| page(descriptor, p, names, http, problems));
    Some((Answer::Many { into, page, reply }, item))
}

fn page(
    descriptor: &MethodDescriptor,
    spanned: &Spanned<raw::Page>,
    names: &Names,
    http: bool,
    problems: &mut Problems,
) -> Option<Page> {
    let raw = spanned.as_ref();
    let span = spanned.span();
    if raw.size_default == 0 || raw.size_default > raw.size_max || raw.size_max > 100_000 {
        problems.at(span.clone(), "sizes: 1 <= size_default <= size_max <= 100000");
    }
    let mut need = |message: &MessageDescriptor, name: &str, kind: &Kind| {
        let field = message.get_field_by_name(name).filter(|f| f.kind() == *kind && !f.is_list());
        if field.is_none() {
            let problem = format!("paging needs the field `{name}` in {}, {kind:?}", message.full_name());
            problems.at(span.clone(), problem);
        }
        field
    };
    let size_field = need(&descriptor.input(), "page_size", &Kind::Int32);
    let token_field = need(&descriptor.input(), "page_token", &Kind::String);
    let next_field = need(&descriptor.output(), "next_page_token", &Kind::String);
    let more = match &raw.next {
        Some(_) if !http => {
            problems.at(span, "`next` goes with rest and soap only");
            return None;
        }
        Some(next) if names.uses(PageValue::Cursor) => More::Cursor(Path::parse(next)),
        Some(_) => {
            problems.at(
                span,
                "with `next` the register's cursor is given back: use `page_cursor` in the request",
            );
            return None;
        }
        None if names.uses(PageValue::Limit) && names.uses(PageValue::Offset) => More::Limit,
        None if names.uses(PageValue::Number) && names.uses(PageValue::Size) => More::Full,
        None => {
            problems.at(span, "paging needs `page_limit` and `page_offset`, or `page_number` and `page_size`, in the request; or `next` and `page_cursor`");
            return None;
        }
    };
    Some(Page {
        size_default: raw.size_default,
        size_max: raw.size_max,
        more,
        size_field: size_field?,
        token_field: token_field?,
        next_field: next_field?,
    })
}

fn chunks_answer(
    output: &MessageDescriptor,
    spanned: &Spanned<raw::Method>,
    http: bool,
    problems: &mut Problems,
) -> Option<Answer> {
    let nothing = raw::Chunk::default();
    let chunk = spanned.as_ref().chunk.as_ref();
    let raw = chunk.map_or(&nothing, |c| c.as_ref());
    let bytes: Vec<_> = output.fields().filter(|f| f.kind() == Kind::Bytes && !f.is_list()).collect();
    let field = match (&raw.field, bytes.as_slice()) {
        (Some(name), _) => bytes.iter().find(|f| f.name() == name.as_ref()).cloned(),
        (None, [only]) => Some(only.clone()),
        _ => None,
    };
    let Some(field) = field else {
        let span = raw.field.as_ref().map_or(spanned.span(), Spanned::span);
        let known = super::one_of(bytes.iter().map(FieldDescriptor::name));
        problems.at(
            span,
            format!(
                "chunk.field names the bytes field of {} that takes the pieces; {known}",
                output.full_name()
            ),
        );
        return None;
    };
    let is_rest = spanned.as_ref().rest.is_some();
    let from = match raw.from.as_deref() {
        Some("$body") if is_rest => None,
        Some("$body") => {
            problems.at(chunk.map_or(spanned.span(), Spanned::span), "\"$body\" goes with rest only");
            None
        }
        Some(path) => Some(Path::parse(path)),
        None if http && is_rest => None,
        None => Some(Path::parse(field.name())),
    };
    let size = raw.bytes_max.as_ref().map_or(CHUNK_BYTES_DEFAULT, |b| *b.as_ref());
    if !(1..=CHUNK_BYTES_MAX).contains(&size) {
        let span = raw.bytes_max.as_ref().map_or(spanned.span(), Spanned::span);
        problems.at(span, format!("write a number from 1 to {CHUNK_BYTES_MAX}"));
    }
    let bytes_max = usize::try_from(size).unwrap_or(1).max(1);
    Some(Answer::Chunks { field, from, bytes_max })
}

fn errors(raw: &raw::Method, problems: &mut Problems) -> HashMap<String, Refusal> {
    let mut errors = HashMap::new();
    for (key, refusal) in &raw.errors.0 {
        match code(&refusal.as_ref().code) {
            Some(code) => {
                let message = refusal.as_ref().message.clone();
                errors.insert(key.as_ref().clone(), Refusal { code, message });
            }
            None => problems.at(
                refusal.span(),
                format!("`{}` is no gRPC code of a refusal, for example NOT_FOUND, ALREADY_EXISTS, INVALID_ARGUMENT, FAILED_PRECONDITION", refusal.as_ref().code),
            ),
        }
    }
    errors
}

pub(super) fn code(name: &str) -> Option<Code> {
    Some(match name {
        "CANCELLED" => Code::Cancelled,
        "UNKNOWN" => Code::Unknown,
        "INVALID_ARGUMENT" => Code::InvalidArgument,
        "DEADLINE_EXCEEDED" => Code::DeadlineExceeded,
        "NOT_FOUND" => Code::NotFound,
        "ALREADY_EXISTS" => Code::AlreadyExists,
        "PERMISSION_DENIED" => Code::PermissionDenied,
        "RESOURCE_EXHAUSTED" => Code::ResourceExhausted,
        "FAILED_PRECONDITION" => Code::FailedPrecondition,
        "ABORTED" => Code::Aborted,
        "OUT_OF_RANGE" => Code::OutOfRange,
        "UNIMPLEMENTED" => Code::Unimplemented,
        "INTERNAL" => Code::Internal,
        "UNAVAILABLE" => Code::Unavailable,
        "DATA_LOSS" => Code::DataLoss,
        "UNAUTHENTICATED" => Code::Unauthenticated,
        _ => return None,
    })
}
