//! The table of refusal reasons on the portal developers' page is the one of the code. With `URA_WRITE_DOCS=1` the
//! test writes it there instead.

use tonic::Code;
use ura_proto::refusal::{Language, Reason};

use crate::page::{read, root};

const PAGE: &str = "docs/portal-developers.md";
const BEGIN: &str = "<!-- refusals: made from proto/src/refusal; `URA_WRITE_DOCS=1 cargo test --test docs reason` writes it anew -->\n";
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

/// The table as the code has it.
fn table() -> String {
    let mut table =
        "\n| reason | gRPC status | what it says | what it means | who can mend it | repeat? |\n|---|---|---|---|---|---|\n"
            .to_owned();
    for reason in Reason::ALL {
        let says = reason.template(Language::English).replace(['{', '}'], "*").replace('|', "\\|");
        let (status, mender) = (name(reason.status()), reason.mender().as_str());
        let (means, repeat) = (reason.meaning(), reason.repeat().as_str());
        table += &format!("| `{reason}` | {status} | {says} | {means} | {mender} | {repeat} |\n");
    }
    table + "\n"
}

#[test]
fn every_reason_stands_in_the_table() {
    let page = read(PAGE);
    let (before, rest) = page.split_once(BEGIN).unwrap_or_else(|| panic!("{PAGE} lacks the line {BEGIN}"));
    let (found, after) = rest.split_once(END).unwrap_or_else(|| panic!("{PAGE} lacks {END}"));
    let right = table();
    if std::env::var_os("URA_WRITE_DOCS").is_some_and(|value| value == "1") {
        std::fs::write(root().join(PAGE), [before, BEGIN, &right, END, after].concat())
            .expect("the page is written");
        return;
    }
    assert!(
        found == right,
        "the table in {PAGE} is not that of the code; URA_WRITE_DOCS=1 writes this one:\n{right}"
    );
}
