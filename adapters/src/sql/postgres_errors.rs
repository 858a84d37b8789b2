//! What PostgreSQL's errors mean to a caller (manual, appendix A "PostgreSQL Error Codes").

use tokio_postgres::Error;
use tonic::Code;

use crate::register::{Failure, job::Job};

/// The error with its causes, without values: a database error's DETAIL may hold some and is left out,
/// and so is the message of data exceptions (class 22) and of PL/pgSQL's own (P0), which quote them.
pub(super) fn text(error: &Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(db), _) if matches!(db.code().code().get(..2), Some("22" | "P0")) => {
            db.code().code().to_owned()
        }
        (Some(db), _) => format!("{} {}", db.code().code(), db.message()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

/// The failure that an error makes.
pub(super) fn failure(job: &Job, error: &Error) -> Failure {
    let detail = text(error);
    let Some(state) = error.code().map(|code| code.code().to_owned()) else {
        return if error.is_closed() || is_io(error) {
            Failure::broken(detail)
        } else {
            Failure::refused(Code::Internal, "The register did not carry out the call.", detail)
        };
    };
    if let Some(refusal) = job.method.errors.get(&state) {
        let message = refusal.message.as_deref().unwrap_or("The register refused the call.");
        return Failure::refused(refusal.code, message, detail);
    }
    match (state.as_str(), state.get(..2).unwrap_or_default()) {
        // A text that is no number, date, … of the type that the server infers.
        ("22P02" | "22007" | "22008" | "22003" | "22021" | "22P05", _) => Failure {
            detail,
            ..Failure::invalid("A value of the request is not one that the register can read.")
        },
        ("57014", _) => Failure::timeout(detail),
        ("57P01" | "57P02" | "57P03" | "57P05", _) | (_, "08") => Failure::broken(detail),
        (_, "53") => Failure::overloaded(detail),
        (_, "40") => Failure::refused(
            Code::Aborted,
            "The register gave up the call because of another one; try again.",
            detail,
        ),
        (_, "23") => {
            Failure::refused(Code::FailedPrecondition, "The register's rules do not allow this.", detail)
        }
        _ => Failure::refused(Code::Internal, "The register did not carry out the call.", detail),
    }
}

fn is_io(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}
