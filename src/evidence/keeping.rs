//! A file of entries that grows from run to run, and beside it where the next run goes on. What was half written
//! when a run was cut off is taken away by the next one. Knows nothing of entries.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::failure::Failure;

/// Where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    /// Name of the log.
    pub(super) log: String,
    /// Everything below this index was told.
    pub(super) next_index: u64,
    /// The newest checkpoint that was verified, a signed note.
    pub(super) checkpoint: String,
}

/// What stands in `FILE.next`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Next {
    #[serde(flatten)]
    state: State,
    /// Length of the file when this was written.
    bytes: u64,
}

/// The file and its state.
pub(super) struct Keeping {
    path: PathBuf,
    file: File,
    bytes: u64,
    state: State,
}

impl Keeping {
    /// Opens a file to go on with, or makes a new one.
    ///
    /// # Errors
    /// A file without its state, or shorter than that says: it is somebody else's.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let next_path = next_to(path);
        let next = match fs::read_to_string(&next_path) {
            Ok(text) => serde_json::from_str::<Next>(&text).map_err(|error| {
                Failure::content(next_path.display(), format!("where to go on cannot be read: {error}"))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Next { state: State::default(), bytes: 0 }
            }
            Err(error) => return Err(Failure::file(&next_path)(error)),
        };
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let mut file = opened.map_err(Failure::file(path))?;
        let length = file.metadata().map_err(Failure::file(path))?.len();
        if length < next.bytes || (next.bytes == 0 && length > 0) {
            return Err(Failure::usage(format!(
                "{} is not the file that {} goes on from: name another file",
                path.display(),
                next_path.display()
            )));
        }
        let at_end = file.set_len(next.bytes).and_then(|()| file.seek(SeekFrom::End(0)));
        at_end.map_err(Failure::file(path))?;
        Ok(Self { path: path.to_owned(), file, bytes: next.bytes, state: next.state })
    }

    /// Where the last run ended.
    pub(super) const fn state(&self) -> &State {
        &self.state
    }

    /// Adds lines, then notes where to go on; on return both are on disk.
    pub(super) fn add(&mut self, lines: &str, state: &State) -> Result<(), Failure> {
        let added = self.file.write_all(lines.as_bytes()).and_then(|()| self.file.sync_data());
        added.map_err(Failure::file(&self.path))?;
        self.bytes += u64::try_from(lines.len()).unwrap_or(u64::MAX);
        let next = Next { state: state.clone(), bytes: self.bytes };
        let text =
            serde_json::to_string(&next).map_err(|error| Failure::content(self.path.display(), error))?;
        let path = next_to(&self.path);
        let temporary = path.with_extension("next.new");
        let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary);
        let written = written.and_then(|mut file| {
            writeln!(file, "{text}")?;
            file.sync_all()
        });
        written.and_then(|()| fs::rename(&temporary, &path)).map_err(Failure::file(&path))
    }
}

/// Path of the state of a file.
fn next_to(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".next");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_on_where_the_last_one_ended() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("own.jsonl");
        let state = |next_index| State { log: "l".into(), next_index, checkpoint: "note".into() };
        let mut keeping = Keeping::open(&path).expect("a new file");
        assert_eq!(keeping.state(), &State::default());
        keeping.add("one\n", &state(3)).expect("written");
        keeping.add("two\n", &state(5)).expect("written");
        drop(keeping);
        // A run that was cut off between the two files.
        OpenOptions::new().append(true).open(&path).expect("there").write_all(b"thr").expect("written");
        let mut keeping = Keeping::open(&path).expect("its own file");
        assert_eq!(keeping.state(), &state(5));
        keeping.add("three\n", &state(6)).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("there"), "one\ntwo\nthree\n");
        assert_eq!(Keeping::open(&path).expect("its own file").state(), &state(6));
    }

    #[test]
    fn no_other_file_is_written_to() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("letters");
        fs::write(&path, "dear").expect("temporary folder");
        let error = Keeping::open(&path).err().expect("somebody else's").to_string();
        assert!(error.contains("another file"), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("there"), "dear");
        fs::write(next_to(&path), r#"{"log":"l","next_index":1,"checkpoint":"","bytes":9}"#)
            .expect("temporary folder");
        assert!(Keeping::open(&path).is_err(), "shorter than it was");
        fs::write(next_to(&path), "x").expect("temporary folder");
        assert!(Keeping::open(&path).is_err(), "no state");
    }
}
