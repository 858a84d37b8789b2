//! The request's messages, from the command line, a file or standard input. Knows no gRPC.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::PathBuf,
    thread,
};

use prost_reflect::{DynamicMessage, MessageDescriptor};
use tokio::sync::{mpsc, oneshot};

use super::{
    arguments::Source,
    json::{self, JsonError, Values},
};

/// Messages that are read ahead of what has been sent.
const AHEAD_MAX: usize = 4;

/// What goes wrong with `-d`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    /// The file cannot be opened.
    #[error("{} cannot be opened: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A value is not the request. Values are counted from 1.
    #[error("value {number} of -d: {source}")]
    Value {
        /// Which.
        number: u64,
        /// Why.
        source: JsonError,
    },
    /// Nothing where one value must be.
    #[error("-d holds no JSON value, but the method takes exactly one message")]
    Nothing,
    /// More than the method takes.
    #[error("-d holds several JSON values, but the method takes exactly one message")]
    Several,
    /// There is no thread to read in.
    #[error("-d cannot be read: {0}")]
    Thread(io::Error),
}

/// How JSON becomes messages.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    /// Type of the request.
    pub(crate) message: MessageDescriptor,
    /// Longest JSON text of one message, in bytes.
    pub(crate) value_bytes_max: u64,
}

/// The messages of a call.
pub(crate) enum Messages {
    /// All are there.
    Ready(Vec<DynamicMessage>),
    /// They are sent as they are read.
    Reading(mpsc::Receiver<DynamicMessage>, oneshot::Receiver<Broken>),
}

/// Reading ended before the input did. As long as this lives, what was read does not look complete.
#[derive(Debug)]
pub(crate) struct Broken {
    /// Why.
    pub(crate) error: InputError,
    /// Keeps the request open.
    pub(crate) open: mpsc::Sender<DynamicMessage>,
}

impl Form {
    /// The one message of a method that takes one; an empty one where `source` is not given.
    pub(crate) fn one(&self, source: Option<Source>) -> Result<Messages, InputError> {
        let Some(source) = source else {
            return Ok(Messages::Ready(vec![DynamicMessage::new(self.message.clone())]));
        };
        let mut messages = self.messages(open(source)?);
        let one = messages.next().ok_or(InputError::Nothing)??;
        match messages.next() {
            None => Ok(Messages::Ready(vec![one])),
            Some(Ok(_)) => Err(InputError::Several),
            Some(Err(error)) => Err(error),
        }
    }

    /// The messages of a method that takes a stream; none where `source` is not given. Those of the
    /// command line are checked before anything is sent.
    pub(super) fn stream(self, source: Option<Source>) -> Result<Messages, InputError> {
        match source {
            None => Ok(Messages::Ready(Vec::new())),
            Some(text @ Source::Text(_)) => {
                self.messages(open(text)?).collect::<Result<_, _>>().map(Messages::Ready)
            }
            Some(source) => self.read_aside(open(source)?),
        }
    }

    /// Reads in a thread of its own: standard input may block for as long as somebody types.
    fn read_aside(self, reader: Box<dyn Read + Send>) -> Result<Messages, InputError> {
        let (sender, messages) = mpsc::channel(AHEAD_MAX);
        let (broken, breaks) = oneshot::channel();
        let read = move || {
            for message in self.messages(reader) {
                match message {
                    Ok(message) => {
                        if sender.blocking_send(message).is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        // Nobody listens once the call has ended.
                        drop(broken.send(Broken { error, open: sender }));
                        return;
                    }
                }
            }
        };
        thread::Builder::new().name("input".to_owned()).spawn(read).map_err(InputError::Thread)?;
        Ok(Messages::Reading(messages, breaks))
    }

    fn messages(
        &self,
        reader: Box<dyn Read + Send>,
    ) -> impl Iterator<Item = Result<DynamicMessage, InputError>> {
        let of = self.message.clone();
        Values::new(reader, self.value_bytes_max).zip(1..).map(move |(value, number)| {
            value
                .and_then(|value| json::message(&of, &value))
                .map_err(|source| InputError::Value { number, source })
        })
    }
}

fn open(source: Source) -> Result<Box<dyn Read + Send>, InputError> {
    Ok(match source {
        Source::Text(text) => Box::new(io::Cursor::new(text.into_bytes())),
        Source::Stdin => Box::new(BufReader::new(io::stdin())),
        Source::File(path) => match File::open(&path) {
            Ok(file) => Box::new(BufReader::new(file)),
            Err(source) => return Err(InputError::Open { path, source }),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use prost_reflect::DescriptorPool;

    use super::*;

    fn form() -> Form {
        let pool = DescriptorPool::decode(ura_proto::CONTRACTS).expect("own contracts");
        let message = pool.get_message_by_name("google.type.Date").expect("built in");
        Form { message, value_bytes_max: 64 }
    }

    fn text(text: &str) -> Option<Source> {
        Some(Source::Text(text.to_owned()))
    }

    #[test]
    fn a_method_that_takes_one_message_takes_exactly_one() {
        for (source, error) in [
            (None, None),
            (text("{\"year\": 1} "), None),
            (text(" "), Some("no JSON value")),
            (text("{}{}"), Some("several")),
            (text("{} x"), Some("value 2 of -d: not JSON")),
            (text("{\"x\": 1}"), Some("value 1 of -d: google.type.Date has no field `x`")),
            (Some(Source::File(PathBuf::from("/nowhere/x.json"))), Some("/nowhere/x.json cannot be opened")),
        ] {
            let found = form().one(source.clone()).err().map(|error| error.to_string());
            assert_eq!(found.is_some(), error.is_some(), "{source:?}: {found:?}");
            assert!(found.unwrap_or_default().contains(error.unwrap_or_default()), "{source:?}");
        }
    }

    #[test]
    fn a_stream_on_the_command_line_is_checked_before_it_is_sent() {
        for (source, count) in
            [(None, Some(0)), (text("{}{}{}"), Some(3)), (text(""), Some(0)), (text("{}{"), None)]
        {
            let found = form().stream(source.clone()).ok().map(|messages| match messages {
                Messages::Ready(all) => all.len(),
                Messages::Reading(..) => usize::MAX,
            });
            assert_eq!(found, count, "{source:?}");
        }
    }

    #[tokio::test]
    async fn a_file_that_breaks_off_never_looks_complete() {
        let mut file = tempfile::NamedTempFile::new().expect("temporary file");
        file.write_all(b"{\"year\": 1}\n{\"year\": 2}\n{\"yeer\": 3}\n").expect("temporary file");
        let source = Some(Source::File(file.path().to_owned()));
        let Ok(Messages::Reading(mut messages, breaks)) = form().stream(source) else {
            unreachable!("a file is read aside");
        };
        assert!(messages.recv().await.is_some());
        assert!(messages.recv().await.is_some());
        let broken = breaks.await.expect("the third value is wrong");
        assert!(broken.error.to_string().contains("value 3"), "{}", broken.error);
        let error = messages.try_recv().expect_err("no third message");
        assert_eq!(error, mpsc::error::TryRecvError::Empty, "not ended");
    }
}
