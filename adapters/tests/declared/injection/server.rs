//! A register that speaks HTTP and is a program of its own: its parsers are Python's, its log is its own.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Asked, Entry, Log};

pub(super) struct Server {
    process: Child,
    lines: Receiver<String>,
    pub(super) port: u16,
    marked: usize,
}

impl Server {
    pub(super) fn start() -> Self {
        let python = std::env::var("URA_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/declared/injection/register.py");
        let mut command = Command::new(python);
        command.args(["-I", "-B", program]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        // Read at once, so that the register never waits for its log.
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut server = Self { process, lines, port: 0, marked: 0 };
        let port = server.line()["port"].as_u64().expect("a port");
        server.port = u16::try_from(port).expect("a port");
        server
    }

    fn line(&self) -> serde_json::Value {
        let line = self.lines.recv().expect("the register runs");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("the register said {line:?}: {error}"))
    }

    /// Sends bytes as they are, and waits for the end of the answer. That may be none.
    pub(super) async fn send(port: u16, bytes: &[u8]) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
        stream.write_all(bytes).await.expect("sent");
        stream.shutdown().await.expect("ended");
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

impl Log for Server {
    async fn mark(&mut self, call: usize) {
        self.marked = call;
        Self::send(self.port, format!("GET /mark/{call} HTTP/1.1\r\n\r\n").as_bytes()).await;
    }

    async fn read(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        loop {
            let line = self.line();
            if let Some(mark) = line["mark"].as_u64() {
                let mark = usize::try_from(mark).expect("a mark");
                entries.push(Entry::Mark(mark));
                if mark == self.marked {
                    return entries;
                }
                continue;
            }
            let values = line["values"].as_array().expect("values").iter();
            let values = values.map(|value| from_hex(value.as_str().expect("hex"))).collect();
            let shape = line["shape"].as_str().expect("a shape").to_owned();
            entries.push(Entry::Asked(Asked { shape, values }));
        }
    }
}

pub(super) fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect()
}
