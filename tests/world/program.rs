//! The bus's own program, run to its end beside the world that it is asked about.

use std::{ffi::OsStr, process::Stdio};

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs `ura` with these arguments.
pub async fn ura<A: AsRef<OsStr>>(arguments: &[A]) -> Ran {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_ura"));
    // Given up, it ends too.
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = super::patient(command.output()).await.expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

impl Ran {
    /// What it printed, where it did what it was told.
    pub fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }
}
