//! The evidence part of a gateway's configuration file. Knows names and limits, not what is done with them.

use std::{
    fmt,
    path::{Component, Path, PathBuf},
};

use serde::Deserialize;
use ura_log::note::MAX_KEY_NAME_BYTES;
use ura_runtime::config::Source;

/// Longest origin, in bytes: a later generation of the log adds a slash and a number.
const ORIGIN_BYTES_MAX: usize = MAX_KEY_NAME_BYTES - 11;
/// Longest time between two checkpoints, in milliseconds.
pub const CHECKPOINT_INTERVAL_MS_MAX: u64 = 60_000;
/// Shortest time after which a silent log is sealed, in milliseconds: a gateway that restarts needs it.
pub const SEAL_AFTER_MS_MIN: u64 = 5_000;

/// The evidence log of a gateway. `Debug` tells nothing of the store but its kind, since its address may hold
/// a password.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceConfig {
    /// `sqlite:PATH` or `postgres://USER@HOST/DATABASE`. The pragmas `synchronous` and `journal_mode` may be
    /// given to SQLite as query; a setting under which a commit does not sync is refused.
    pub store: String,
    /// Folder of the epoch keys, apart from the log; gateways that share a store share it. Made on the first
    /// start.
    pub keys: PathBuf,
    /// Folder of the keys that sign this gateway's log, this gateway's own. Made on the first start.
    pub log_keys: PathBuf,
    /// Name of the log and of its keys, as receipts and checkpoints carry it, for example
    /// `ura.rks-gov.net/gateway-1`. Never used for another log.
    pub origin: String,
    /// Records that may wait for the writer; calls beyond are refused.
    #[serde(default = "default_queue_entries_max")]
    pub queue_entries_max: usize,
    /// Records in one commit.
    #[serde(default = "default_batch_entries_max")]
    pub batch_entries_max: usize,
    /// Time between two checkpoints while records come, in milliseconds, at most
    /// [`CHECKPOINT_INTERVAL_MS_MAX`].
    #[serde(default = "default_checkpoint_interval_ms")]
    pub checkpoint_interval_ms: u64,
    /// After this time without a sign of life another gateway seals this one's log, and this one seals
    /// another's; in milliseconds, at least [`SEAL_AFTER_MS_MIN`].
    #[serde(default = "default_seal_after_ms")]
    pub seal_after_ms: u64,
}

const fn default_queue_entries_max() -> usize {
    16_384
}

const fn default_batch_entries_max() -> usize {
    2048
}

const fn default_checkpoint_interval_ms() -> u64 {
    1000
}

const fn default_seal_after_ms() -> u64 {
    60_000
}

impl EvidenceConfig {
    /// Makes paths relative to the folder of the configuration file. An empty path stays empty, for
    /// [`EvidenceConfig::check`] to find.
    pub fn resolve(&mut self, source: &Source) {
        for path in [&mut self.keys, &mut self.log_keys].into_iter().filter(|p| !p.as_os_str().is_empty()) {
            *path = source.resolve(&path.to_string_lossy());
        }
        // What is no file is told so where the store is opened.
        if let Some(file) = self.store.strip_prefix("sqlite:").filter(|file| !file.starts_with(':')) {
            self.store = format!("sqlite:{}", source.resolve(file).display());
        }
    }

    /// Tells every mistake, each with what would be right; field names begin with `evidence.`.
    pub fn check(&self, mut problem: impl FnMut(String)) {
        if !["sqlite:", "postgres:", "postgresql:"].iter().any(|kind| self.store.starts_with(kind)) {
            problem("evidence.store must be `sqlite:PATH` or `postgres://USER@HOST/DATABASE`".to_owned());
        }
        for (name, path) in [("keys", &self.keys), ("log_keys", &self.log_keys)] {
            if path.as_os_str().is_empty() {
                problem(format!("evidence.{name} must be the path of a folder"));
            }
        }
        if !self.keys.as_os_str().is_empty() && plain(&self.keys) == plain(&self.log_keys) {
            problem(
                "evidence.keys and evidence.log_keys must be different folders: gateways share the one and \
                 none shares the other"
                    .to_owned(),
            );
        }
        if !is_origin(&self.origin) {
            problem(format!(
                "evidence.origin must be 1 to {ORIGIN_BYTES_MAX} visible ASCII characters without space, \
                 `;`, `=` and `+`, and not end in a slash and a number"
            ));
        }
        let limits =
            [("queue_entries_max", self.queue_entries_max), ("batch_entries_max", self.batch_entries_max)];
        for (name, limit) in limits {
            if limit == 0 {
                problem(format!("evidence.{name} must be more than 0"));
            }
        }
        if !(1..=CHECKPOINT_INTERVAL_MS_MAX).contains(&self.checkpoint_interval_ms) {
            problem(format!("evidence.checkpoint_interval_ms must be 1 to {CHECKPOINT_INTERVAL_MS_MAX}"));
        }
        if self.seal_after_ms < SEAL_AFTER_MS_MIN {
            problem(format!("evidence.seal_after_ms must be at least {SEAL_AFTER_MS_MIN}"));
        }
    }
}

impl fmt::Debug for EvidenceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = ["sqlite:", "postgres:", "postgresql:"].into_iter().find(|k| self.store.starts_with(k));
        f.debug_struct("EvidenceConfig")
            .field("store", &kind.unwrap_or("unknown"))
            .field("keys", &self.keys)
            .field("log_keys", &self.log_keys)
            .field("origin", &self.origin)
            .field("queue_entries_max", &self.queue_entries_max)
            .field("batch_entries_max", &self.batch_entries_max)
            .field("checkpoint_interval_ms", &self.checkpoint_interval_ms)
            .field("seal_after_ms", &self.seal_after_ms)
            .finish()
    }
}

/// Whether a text can be a log's origin: it is the name of a key (<https://c2sp.org/signed-note>), the first
/// line of a checkpoint, and a value in the `ura-receipt` trailer, which has `;` and `=` of its own.
fn is_origin(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b';' | b'=' | b'+');
    (1..=ORIGIN_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain) && !is_generation(text)
}

/// Whether it is the name of a later generation of a log, `ORIGIN/2`: those the gateway gives itself.
fn is_generation(text: &str) -> bool {
    text.rsplit_once('/').is_some_and(|(_, last)| last.bytes().all(|b| b.is_ascii_digit()))
}

/// A path without `.`, so that two spellings of a folder are one. Links are found out when it is opened.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "store = 'sqlite:evidence.db?synchronous=EXTRA'\nkeys = 'keys'\nlog_keys = 'log-keys'\n\
                        origin = 'ura.test/gateway-1'\n";

    fn read(text: &str) -> Result<(EvidenceConfig, Source), ura_runtime::config::ConfigErrors> {
        let document = ura_runtime::config::parse(Path::new("/etc/ura/gateway.toml"), text.to_owned())?;
        Ok((document.value, document.source))
    }

    fn problems(config: &EvidenceConfig) -> Vec<String> {
        let mut found = Vec::new();
        config.check(|problem| found.push(problem));
        found
    }

    #[test]
    fn a_short_file_has_defaults_and_its_own_folder() {
        let (mut config, source) = read(GOOD).expect("right");
        config.resolve(&source);
        assert_eq!(problems(&config), Vec::<String>::new());
        assert_eq!(config.store, "sqlite:/etc/ura/evidence.db?synchronous=EXTRA");
        assert_eq!(config.keys, Path::new("/etc/ura/keys"));
        assert_eq!(config.log_keys, Path::new("/etc/ura/log-keys"));
        assert_eq!((config.queue_entries_max, config.batch_entries_max), (16_384, 2048));
        assert_eq!((config.checkpoint_interval_ms, config.seal_after_ms), (1000, 60_000));
    }

    #[test]
    fn what_is_no_relative_path_stays() {
        for store in ["sqlite::memory:", "sqlite:/var/lib/ura/evidence.db", "postgres://ura@db/ura"] {
            let (mut config, source) = read(GOOD).expect("right");
            store.clone_into(&mut config.store);
            config.keys = "/secret/keys".into();
            config.resolve(&source);
            assert_eq!((config.store.as_str(), config.keys.as_path()), (store, Path::new("/secret/keys")));
        }
    }

    #[test]
    fn unknown_and_missing_fields_are_refused() {
        assert!(read(&format!("{GOOD}seal_after_s = 60\n")).is_err());
        for line in GOOD.lines() {
            assert!(read(&GOOD.replace(line, "")).is_err(), "went without {line}");
        }
    }

    #[test]
    fn each_mistake_is_told_and_all_at_once() {
        type Change = fn(&mut EvidenceConfig);
        let mistakes: [(&str, Change); 14] = [
            ("evidence.store", |c| c.store = "mysql://x".to_owned()),
            ("evidence.keys must be", |c| c.keys = PathBuf::new()),
            ("different folders", |c| c.log_keys.clone_from(&c.keys)),
            ("different folders", |c| c.log_keys = "./keys/.".into()),
            ("evidence.origin", |c| c.origin = String::new()),
            ("evidence.origin", |c| c.origin = "a".repeat(ORIGIN_BYTES_MAX + 1)),
            ("evidence.origin", |c| c.origin = "ura.test/gateway/2".to_owned()),
            ("evidence.origin", |c| c.origin = "a b".to_owned()),
            ("evidence.queue_entries_max", |c| c.queue_entries_max = 0),
            ("evidence.batch_entries_max", |c| c.batch_entries_max = 0),
            ("evidence.checkpoint_interval_ms", |c| c.checkpoint_interval_ms = 0),
            ("evidence.checkpoint_interval_ms", |c| c.checkpoint_interval_ms = 60_001),
            ("evidence.seal_after_ms", |c| c.seal_after_ms = 4999),
            ("evidence.log_keys must be", |c| c.log_keys = PathBuf::new()),
        ];
        let (good, source) = read(GOOD).expect("right");
        for (expected, mistake) in mistakes {
            let mut config = good.clone();
            mistake(&mut config);
            config.resolve(&source);
            let found = problems(&config);
            assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
        }
        let mut config = good;
        mistakes.iter().for_each(|(_, mistake)| mistake(&mut config));
        assert_eq!(problems(&config).len(), 8, "{:?}", problems(&config));
    }

    #[test]
    fn bounds_are_allowed() {
        let (mut config, _) = read(GOOD).expect("right");
        for (interval, seal, length) in [(1, 5000, 1), (60_000, u64::MAX, ORIGIN_BYTES_MAX)] {
            (config.checkpoint_interval_ms, config.seal_after_ms) = (interval, seal);
            config.origin = "a".repeat(length);
            assert_eq!(problems(&config), Vec::<String>::new());
        }
    }

    #[test]
    fn an_origin_can_name_a_key_and_stand_in_a_receipt() {
        for byte in 0..=u8::MAX {
            let origin = format!("a{}b", char::from(byte));
            let expected = (b'!'..=b'~').contains(&byte) && !b";=+".contains(&byte);
            assert_eq!(is_origin(&origin), expected, "{byte}");
            let named = ura_log::note::Key::new(&origin, ura_log::note::Kind::Ed25519, [0; 32]);
            assert!(!is_origin(&origin) || named.is_ok(), "{byte} cannot be in the name of a key");
        }
    }

    #[test]
    fn no_password_is_shown() {
        let (mut config, _) = read(GOOD).expect("right");
        config.store = "postgres://ura:hunter2@db/ura".to_owned();
        assert!(!format!("{config:?}").contains("hunter2"));
        config.store = "hunter2".to_owned();
        assert!(!format!("{config:?} {:?}", problems(&config)).contains("hunter2"));
    }
}
