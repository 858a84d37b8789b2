//! What travels in a call, kept in a folder as it travels: the bytes to which evidence commits. Knows HTTP
//! and files, nothing of messages.
//!
//! | file | what it is |
//! |---|---|
//! | `request`, `reply` | gRPC messages with their five-byte prefixes, compressed where they travelled so |
//! | `metadata` | headers and trailers, sent (`>`) and received (`<`) |
//! | `exchange` | the exchange id |
//! | `receipt` | the `ura-receipt` trailer |

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use ura_proto::metadata::{EXCHANGE_ID, RECEIPT};

const REQUEST: &str = "request";
const REPLY: &str = "reply";
const METADATA: &str = "metadata";
const EXCHANGE: &str = "exchange";
const TRAILER: &str = "receipt";

/// All files of a call.
const FILES: [&str; 5] = [REQUEST, REPLY, METADATA, EXCHANGE, TRAILER];

/// Why a call cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    /// Another call's files.
    #[error(
        "{} holds another call already (its file `{file}`) and is not overwritten: name another folder for --keep",
        dir.display()
    )]
    Taken {
        /// The folder.
        dir: PathBuf,
        /// What was found.
        file: &'static str,
    },
    /// A file or folder.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The folder of one call. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Keeping(Arc<Kept>);

struct Kept {
    dir: PathBuf,
    files: Mutex<Files>,
}

/// The files that are open, and the first that could not be written.
#[derive(Default)]
struct Files {
    open: Vec<(&'static str, File)>,
    failed: Option<KeepError>,
}

impl Keeping {
    /// A folder for a call; made, for its owner only, where there is none.
    pub(super) fn open(dir: &Path) -> Result<Self, KeepError> {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(dir)(error)),
            _ => {}
        }
        for file in FILES {
            if fs::symlink_metadata(dir.join(file)).is_ok() {
                return Err(KeepError::Taken { dir: dir.to_owned(), file });
            }
        }
        let files = Mutex::new(Files::default());
        let keeping = Self(Arc::new(Kept { dir: dir.to_owned(), files }));
        // Made now, so that a call whose bytes cannot be kept is not made.
        keeping.write(METADATA, b"");
        let failed = keeping.files().failed.take();
        failed.map_or(Ok(keeping), Err)
    }

    /// The folder.
    pub(super) fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// The head of the request, which is about to be sent.
    pub(super) fn request<B>(&self, request: &http::Request<B>) {
        self.write(REQUEST, b"");
        self.write(METADATA, format!("> {} {}\n", request.method(), request.uri().path()).as_bytes());
        self.headers(b"> ", request.headers());
    }

    /// The head of the reply.
    pub(super) fn reply<B>(&self, response: &http::Response<B>) {
        self.write(REPLY, b"");
        self.received(response.headers());
    }

    /// Ends the keeping; on return everything is on disk.
    ///
    /// # Errors
    /// The first file that could not be written whole.
    pub(super) fn finish(&self) -> Result<(), KeepError> {
        let mut files = self.files();
        let files = &mut *files;
        if let Some(error) = files.failed.take() {
            return Err(error);
        }
        files
            .open
            .iter()
            .try_for_each(|(name, file)| file.sync_all().map_err(failed(&self.0.dir.join(name))))?;
        File::open(&self.0.dir).and_then(|dir| dir.sync_all()).map_err(failed(&self.0.dir))
    }

    fn received(&self, headers: &HeaderMap) {
        self.headers(b"< ", headers);
        for (key, name) in [(EXCHANGE_ID, EXCHANGE), (RECEIPT, TRAILER)] {
            // Of the gateway's own values each stands once; the head goes before the trailers.
            if let Some(value) = headers.get(key).filter(|_| !self.files().is_open(name)) {
                self.write(name, &[value.as_bytes(), b"\n"].concat());
            }
        }
    }

    fn headers(&self, mark: &[u8], headers: &HeaderMap) {
        let mut lines = Vec::new();
        for (key, value) in headers {
            for part in [mark, key.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"] {
                lines.extend_from_slice(part);
            }
        }
        self.write(METADATA, &lines);
    }

    /// Appends to a file. After the first failure nothing more is written: the call itself goes on.
    fn write(&self, name: &'static str, bytes: &[u8]) {
        let mut files = self.files();
        if files.failed.is_none()
            && let Err(source) = files.append(&self.0.dir, name, bytes)
        {
            files.failed = Some(KeepError::Io { path: self.0.dir.join(name), source });
        }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        // It guards no value that a panic could have left half changed.
        self.0.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn is_open(&self, name: &str) -> bool {
        self.open.iter().any(|(open, _)| *open == name)
    }

    fn append(&mut self, dir: &Path, name: &'static str, bytes: &[u8]) -> io::Result<()> {
        if !self.is_open(name) {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.join(name))?;
            self.open.push((name, file));
        }
        match self.open.iter_mut().find(|(open, _)| *open == name) {
            Some((_, file)) => file.write_all(bytes),
            None => Ok(()),
        }
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> KeepError + use<> {
    let path = path.to_owned();
    move |source| KeepError::Io { path, source }
}

/// A body whose frames are kept as they pass.
pub(crate) struct Passing<B> {
    body: B,
    keeping: Option<Keeping>,
    name: &'static str,
}

impl<B> Passing<B> {
    /// The body of a request.
    pub(super) const fn request(body: B, keeping: Option<Keeping>) -> Self {
        Self { body, keeping, name: REQUEST }
    }

    /// The body of a reply.
    pub(super) const fn reply(body: B, keeping: Option<Keeping>) -> Self {
        Self { body, keeping, name: REPLY }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Passing<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let (Some(Ok(frame)), Some(keeping)) = (&frame, &self.keeping) {
            if let Some(data) = frame.data_ref() {
                keeping.write(self.name, data);
            }
            if let Some(trailers) = frame.trailers_ref() {
                keeping.received(trailers);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn read(dir: &Path, name: &str) -> String {
        fs::read_to_string(dir.join(name)).expect(name)
    }

    #[test]
    fn nothing_of_another_call_is_overwritten() {
        let dir = tempfile::tempdir().expect("temporary folder");
        for file in FILES {
            let taken = dir.path().join(file).join("kept");
            fs::create_dir_all(&taken).expect("temporary folder");
            fs::write(taken.join(file), "before").expect("temporary folder");
            let error = Keeping::open(&taken).err().expect("another call's").to_string();
            assert!(error.contains(&format!("`{file}`")) && error.contains("another folder"), "{error}");
            assert_eq!(read(&taken, file), "before");
        }
        let missing = dir.path().join("no/such/folder");
        assert!(matches!(Keeping::open(&missing), Err(KeepError::Io { .. })));
    }

    #[test]
    fn what_was_received_is_kept_once_and_for_its_owner_only() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let kept = dir.path().join("kept");
        let keeping = Keeping::open(&kept).expect("a new folder");
        keeping.request(
            &http::Request::post("https://h/a.B/C").header("ura-case", "7").body(()).expect("a head"),
        );
        keeping.reply(&http::Response::builder().header("ura-exchange-id", "0190").body(()).expect("a head"));
        let trailers = [("ura-exchange-id", "0190"), ("ura-receipt", "log=l"), ("grpc-status", "0")];
        let header = |(key, value): (&'static str, &'static str)| {
            (http::HeaderName::from_static(key), http::HeaderValue::from_static(value))
        };
        keeping.received(&trailers.into_iter().map(header).collect());
        keeping.finish().expect("written");
        assert_eq!(read(&kept, "exchange"), "0190\n");
        assert_eq!(read(&kept, "receipt"), "log=l\n");
        assert_eq!((read(&kept, "request"), read(&kept, "reply")), (String::new(), String::new()));
        let metadata = read(&kept, "metadata");
        let lines: Vec<&str> = metadata.lines().collect();
        assert_eq!(lines[..3], ["> POST /a.B/C", "> ura-case: 7", "< ura-exchange-id: 0190"]);
        assert_eq!(lines.len(), 6, "{metadata}");
        for (path, mode) in [(kept.clone(), 0o700), (kept.join("reply"), 0o600)] {
            let found = fs::metadata(&path).expect("there").permissions().mode() & 0o777;
            assert_eq!(found, mode, "{}", path.display());
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told_at_the_end() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let keeping = Keeping::open(dir.path()).expect("an empty folder");
        fs::create_dir(dir.path().join("request")).expect("temporary folder");
        keeping.write(REQUEST, b"lost");
        keeping.write(REPLY, b"later");
        let error = keeping.finish().expect_err("a folder is no file").to_string();
        assert!(error.contains("request"), "{error}");
    }
}
