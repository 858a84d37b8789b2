//! The table of refusal reasons on the portal developers' page is the one of the code.

use tonic::Code;
use ura_proto::refusal::{Language, Reason};

use crate::page::read;

const PAGE: &str = "docs/portal-developers.md";
const BEGIN: &str =
    "<!-- refusals: made from proto/src/refusal.rs; `cargo test --test docs` prints the right table -->\n";
const END: &str = "<!-- /refusals -->";

/// A status code as gRPC's own documents write it: INVALID_ARGUMENT.
fn name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// Whether the same call may end otherwise when it is made again.
fn again(reason: Reason) -> &'static str {
    match reason.status() {
        Code::Unavailable => "yes, after the pause in `RetryInfo`",
        Code::DeadlineExceeded => "yes, with more time",
        _ => "no, only once it is mended",
    }
}

/// The table as the code has it.
fn table() -> String {
    let mut table =
        "\n| reason | gRPC status | what it says | who can mend it | repeat? |\n|---|---|---|---|---|\n"
            .to_owned();
    for reason in Reason::ALL {
        let says = reason.template(Language::English).replace(['{', '}'], "*").replace('|', "\\|");
        let (status, mender) = (name(reason.status()), reason.mender().as_str());
        table += &format!("| `{reason}` | {status} | {says} | {mender} | {} |\n", again(*reason));
    }
    table + "\n"
}

#[test]
fn every_reason_stands_in_the_table() {
    let page = read(PAGE);
    let (_, rest) = page.split_once(BEGIN).unwrap_or_else(|| panic!("{PAGE} lacks the line {BEGIN}"));
    let (found, _) = rest.split_once(END).unwrap_or_else(|| panic!("{PAGE} lacks {END}"));
    let right = table();
    assert!(
        found == right,
        "the table in {PAGE} is not that of the code; put this between its comments:\n{right}"
    );
}
