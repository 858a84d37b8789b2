//! No key is in what a program may print: everything that can be formatted is, and looked through.

use std::{fs, path::Path};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use ura_log::note::{Key, Kind, Signer};

use super::{exchange, names, place, set_mode};
use crate::keys::{EpochKeys, KeysError, LogKeys, log_keys_of_file};

/// Everything that was formatted, and every spelling of the secrets.
#[derive(Default)]
struct Watch {
    shown: Vec<String>,
    secrets: Vec<String>,
}

impl Watch {
    fn show(&mut self, value: &dyn std::fmt::Debug) {
        self.shown.extend([format!("{value:?}"), format!("{value:#?}")]);
    }

    fn error(&mut self, error: &KeysError) {
        self.show(error);
        let mut source: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = source {
            self.shown.push(error.to_string());
            source = error.source();
        }
    }

    fn result<T>(&mut self, result: Result<T, KeysError>) {
        self.error(&result.err().expect("an error was made"));
    }

    /// A key in hexadecimal digits, in base64 and as a list of numbers.
    fn keep(&mut self, key: &[u8]) {
        assert_eq!(key.len(), 32);
        // Any twelve bytes of it would be too much.
        for part in key.windows(12) {
            let hex: String = part.iter().map(|b| format!("{b:02x}")).collect();
            let numbers = format!("{part:?}");
            self.secrets.extend([hex.to_uppercase(), hex]);
            self.secrets.push(numbers.trim_matches(['[', ']']).to_owned());
            self.secrets.push(STANDARD_NO_PAD.encode(part));
        }
    }

    fn keep_text(&mut self, text: &str) {
        self.secrets.push(text.to_owned());
    }

    fn leaks(&self) -> Vec<&String> {
        // Pretty lists stand on many lines.
        let in_one_line = |text: &String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let leaks = |text: &&String| self.secrets.iter().any(|secret| in_one_line(text).contains(secret));
        self.shown.iter().filter(leaks).collect()
    }
}

/// The private key's 32 bytes, which end a PKCS#8 document of RFC 5208 (RFC 8410 section 7).
fn seed(path: &Path) -> (String, Vec<u8>) {
    let text = fs::read_to_string(path).expect("own file");
    let line = text.lines().nth(2).expect("base64").to_owned();
    let der = STANDARD.decode(&line).expect("base64");
    let seed = der.get(der.len() - 32..).expect("a seed").to_vec();
    (line, seed)
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len()).step_by(2).map(|at| digit(at).expect("digits")).collect()
}

#[test]
fn epoch_keys_are_not_shown() {
    let (_dir, path) = place();
    let mut watch = Watch::default();
    let keys = EpochKeys::open(&path).expect("made");
    let old = keys.newest();
    keys.rotate().expect("made");
    for name in names(&path) {
        let text = fs::read_to_string(path.join(name)).expect("own file");
        watch.keep_text(text.trim());
        watch.keep(&unhex(text.trim()));
    }
    watch.show(&keys);
    watch.show(&keys.all());
    watch.show(&keys.by_id(old.id()));
    watch.show(&old.subject("person", b"1234567890", exchange()));
    watch.result(keys.destroy(keys.newest().id()));
    watch.result(keys.destroy("x"));
    let file = path.join("000001.epoch");
    let key = fs::read_to_string(&file).expect("own file");
    // A key in the place of a log's key, of a verifier key, and as the origin of a log.
    watch.result(log_keys_of_file(&file));
    watch.result(LogKeys::open(&path, "origin"));
    for damaged in
        [key.trim().get(1..).expect("digits").to_owned(), format!("{key}{key}"), key.replace(['a', '1'], "?")]
    {
        fs::write(&file, damaged).expect("own file");
        watch.result(EpochKeys::open(&path));
        watch.result(keys.reload());
    }
    set_mode(&file, 0o644);
    watch.result(keys.reload());
    assert!(watch.shown.len() > 20 && watch.secrets.len() > 100);
    assert_eq!(watch.leaks(), Vec::<&String>::new());
}

#[test]
fn log_keys_are_not_shown() {
    let (_dir, path) = place();
    let mut watch = Watch::default();
    let keys = LogKeys::open(&path, "ura.test/gateway").expect("made");
    let (_, new) = keys.rotate().expect("made");
    for name in names(&path).iter().filter(|name| name.ends_with(".pem")) {
        let (line, seed) = seed(&path.join(name));
        watch.keep_text(&line);
        watch.keep(&seed);
    }
    watch.show(&keys);
    watch.show(&keys.newest());
    watch.show(&keys.keys());
    watch.show(&keys.pending());
    let file = path.join("000001.log.pem");
    let text = fs::read_to_string(&file).expect("own file");
    watch.result(log_keys_of_file(&file));
    let (line, secret) = text.split_once('\n').expect("lines");
    let bare: String = secret.lines().filter(|line| !line.starts_with('-')).collect();
    let other = Signer::generate("ura.test/gateway", Kind::Ed25519).expect("randomness").key().to_string();
    let damaged = [
        bare.clone(),
        secret.to_owned(),
        format!("{other}\n{secret}"),
        format!("{line}\n{bare}"),
        text.replace("END", "AND"),
        text.repeat(20),
        format!("ura.test/gateway+{bare}\n{secret}"),
    ];
    for damaged in damaged {
        fs::write(&file, &damaged).expect("own file");
        watch.result(LogKeys::open(&path, "ura.test/gateway"));
        watch.result(keys.reload());
        watch.result(keys.activate(&new));
    }
    fs::write(&file, &text).expect("own file");
    // The private key as public file, and as file of verifier keys.
    for wrong in [text.clone(), bare.clone(), format!("ura.test/gateway+00000000+{bare}")] {
        fs::write(path.join("000001.log.pub"), wrong).expect("own file");
        watch.result(LogKeys::open(&path, "ura.test/gateway"));
        watch.result(log_keys_of_file(&path));
    }
    assert!(watch.shown.len() > 40 && watch.secrets.len() > 100);
    assert_eq!(watch.leaks(), Vec::<&String>::new());
}

#[test]
fn a_leak_would_be_found() {
    let mut watch = Watch::default();
    let seed = [0x3d; 32];
    watch.keep(&seed);
    for leak in
        [format!("{seed:?}"), format!("{seed:#?}"), crate::keys::folder::hex(&seed), STANDARD.encode(seed)]
    {
        let mut watch = Watch { shown: vec![leak.clone()], secrets: watch.secrets.clone() };
        assert_eq!(watch.leaks().len(), 1, "{leak}");
        watch.shown = vec![Key::new("a", Kind::Ed25519, [0; 32]).expect("a key").to_string()];
        assert_eq!(watch.leaks().len(), 0);
    }
}
