//! Tests of the folders of keys, through the module's public face.

mod epochs;
mod held;
mod log_keys;
mod secrecy;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use ura_proto::ExchangeId;

/// A temporary folder and a path in it where nothing is yet.
fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join("state/keys");
    (dir, path)
}

fn exchange() -> ExchangeId {
    ExchangeId::at(1_790_000_000_000_000)
}

/// What a checkpoint of a log begins with.
fn checkpoint(origin: &str, size: u64) -> String {
    format!("{origin}\n{size}\nroot\n")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("own file");
}

/// Names in a folder, hidden ones too, sorted.
fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).expect("folder");
    let mut names: Vec<String> =
        entries.map(|e| e.expect("entry").file_name().into_string().expect("own name")).collect();
    names.sort();
    names
}

/// Runs `act` in several threads that begin together.
fn together<T: Send>(threads: usize, act: impl Fn() -> T + Sync) -> Vec<T> {
    let barrier = std::sync::Barrier::new(threads);
    std::thread::scope(|scope| {
        let run = || {
            barrier.wait();
            act()
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}
