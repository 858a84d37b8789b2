//! A PostgreSQL server of its own, from the binaries of the system, in a temporary folder. Needs nothing but the
//! standard library, so that the tests of any crate can take it in. Ends, with its folder, when it is dropped or
//! when the process of the test ends, however it ends.

#![allow(dead_code, unreachable_pub, missing_docs, clippy::panic)] // Each test target uses its part of it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    time::Duration,
};

use tempfile::TempDir;

/// Ports that are tried: another process may take one between the look and the start.
const PORTS_TRIED_MAX: usize = 10;
/// Long enough for anything; a start that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const READY: &str = "database system is ready to accept connections";
/// The last line here of a server with a log of its own; that it is ready then stands in its lock file.
const ELSEWHERE: &str = "redirecting log output to logging collector process";
const USER: &str = "ura";
const PASSWORD: &str = "vetem-per-prove";

/// Stands over the server: ends it as a crash would when told to, or when its input ends, which it does with the
/// process of the test; then the folder, its first argument, goes too. Does not hold the output of the server, so that
/// its end is seen. Signals of a terminal are for the test.
const KEEPER: &str = r#"
"$@" &
trap '' HUP INT TERM
exec 2>/dev/null
read -r told
kill -QUIT "$!"
wait
[ "$told" = stop ] || rm -rf -- "$0"
"#;

/// The server that the tests of this process share.
static SHARED: LazyLock<Postgres> = LazyLock::new(|| Postgres::start(&[]));

pub struct Postgres {
    bin: PathBuf,
    settings: Vec<String>,
    port: u16,
    /// The keeper of the server.
    server: Option<Child>,
    /// Last, so that the server has ended when its folder goes.
    dir: TempDir,
}

impl Postgres {
    /// A server with an empty database `postgres`; settings as `name=value`.
    pub fn start(settings: &[&str]) -> Self {
        let bin = binaries();
        let dir = tempfile::tempdir().expect("temporary folder");
        let password = dir.path().join("password");
        std::fs::write(&password, PASSWORD).expect("a password");
        if is_root() {
            // PostgreSQL does not run as root.
            run(Command::new("chown").args(["-R", "nobody:nogroup"]).arg(dir.path()));
        }
        run(as_nobody(&bin.join("initdb"), dir.path())
            .arg("-D")
            .arg(dir.path().join("data"))
            .args(["-U", USER, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .arg("--pwfile")
            .arg(&password));
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        let mut postgres = Self { bin, settings, port: 0, server: None, dir };
        let mut said = String::new();
        for _ in 0..PORTS_TRIED_MAX {
            postgres.port = free_port();
            match postgres.launch() {
                Ok(server) => {
                    postgres.server = Some(server);
                    return postgres;
                }
                Err(lines) => said = lines,
            }
        }
        panic!("PostgreSQL did not start in {PORTS_TRIED_MAX} attempts:\n{said}");
    }

    /// The server that the tests of this process share, each with databases of its own. Begins when it is first asked
    /// for.
    pub fn shared() -> &'static Self {
        &SHARED
    }

    /// Its folder; the server's own data are in `data`.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// The address of the database `postgres`.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The address of a database, which somebody makes.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// Its superuser's password, which must appear nowhere.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// Ends the server as a crash would: without a checkpoint, and all connections break. When this returns, it is
    /// gone.
    pub fn stop_immediately(&mut self) {
        if let Some(server) = self.server.take() {
            stop(server);
        }
    }

    /// Starts it again on the same data and port.
    pub fn start_again(&mut self) {
        assert!(self.server.is_none(), "it was stopped");
        self.server =
            Some(self.launch().unwrap_or_else(|lines| panic!("PostgreSQL does not start:\n{lines}")));
    }

    /// Starts it with other settings from now on.
    pub fn start_again_with(&mut self, settings: &[&str]) {
        self.settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        self.start_again();
    }

    /// Starts the server and waits until it is ready; what it said, where it ended instead.
    fn launch(&self) -> Result<Child, String> {
        let plain = as_nobody(&self.bin.join("postgres"), self.dir.path());
        let mut command = Command::new("sh");
        command.arg("-c").arg(KEEPER).arg(self.dir.path());
        command.arg(plain.get_program()).args(plain.get_args());
        command.current_dir(self.dir.path()).env("LC_ALL", "C");
        command.arg("-D").arg(self.dir.path().join("data"));
        let own = [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            format!("unix_socket_directories={}", self.dir.path().display()),
        ];
        for setting in own.iter().chain(&self.settings) {
            command.arg("-c").arg(setting);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut server = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let lines = follow(&mut server);
        let mut said = String::new();
        loop {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(READY) => return Ok(server),
                Ok(line) if line.contains(ELSEWHERE) && self.is_ready(&lines) => return Ok(server),
                Ok(line) => said = format!("{said}{line}\n"),
                Err(_) => {
                    // Ended, or so slow that it counts as such.
                    stop(server);
                    return Err(said);
                }
            }
        }
    }
}

impl Postgres {
    /// Waits for the server's word in its lock file (PostgreSQL's `miscadmin.h`: the status is its eighth line).
    fn is_ready(&self, lines: &Receiver<String>) -> bool {
        let file = self.dir.path().join("data").join("postmaster.pid");
        let begun = std::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if text.lines().nth(7).is_some_and(|status| status.starts_with("ready")) {
                return true;
            }
            // Looks again soon, or at once where the server says more or ends.
            if let Err(RecvTimeoutError::Disconnected) = lines.recv_timeout(Duration::from_millis(10)) {
                return false;
            }
        }
        false
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop_immediately();
    }
}

/// Has the server ended by its keeper; when this returns, it is gone.
fn stop(mut server: Child) {
    let mut input = server.stdin.take().expect("piped");
    input.write_all(b"stop\n").expect("its keeper listens");
    drop(input);
    server.wait().expect("it ends");
}

/// The lines that a server writes. They are read to their end even if nobody listens, so that it never blocks.
fn follow(server: &mut Child) -> Receiver<String> {
    let (sender, lines) = channel();
    let mut reader = BufReader::new(server.stderr.take().expect("piped"));
    std::thread::spawn(move || {
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
            let _ = sender.send(String::from_utf8_lossy(&line).trim_end().to_owned());
            line.clear();
        }
    });
    lines
}

/// The folder with `initdb` and `postgres`: of the newest version that is installed.
fn binaries() -> PathBuf {
    if let Some(bin) = std::env::var_os("URA_TEST_POSTGRES_BIN") {
        return bin.into();
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let found = versions
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
        .max_by_key(|bin| {
            bin.parent().and_then(|v| v.file_name()?.to_str()?.parse::<u32>().ok()).unwrap_or(0)
        });
    found.unwrap_or_else(|| {
        panic!(
            "PostgreSQL is not installed: `./test` installs it (Debian: apt-get install postgresql), \
             or name the folder of initdb and postgres in URA_TEST_POSTGRES_BIN"
        )
    })
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// The command, as somebody who is not root.
fn as_nobody(program: &Path, folder: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    // The present folder may be closed to nobody.
    command.current_dir(folder).env("LC_ALL", "C");
    command
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A port that nobody uses at the moment.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}
