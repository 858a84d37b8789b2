//! Verification of one receipt or one proof, offline. Knows no store.

use std::{io::Write as _, path::PathBuf};

use serde_json::{Value as Json, json};
use ura_evidence::{
    entry::Columns,
    receipt::{Kept, KeyFrom, Matched, Receipt, ReceiptError, Trailer, Trust, Verified, framed, verify},
};
use ura_log::{
    Hash,
    checkpoint::{Checkpoint, cosigned_at},
    note::{Key, Kind as KeyKind},
    proof_file::ProofFile,
};
use ura_proto::v1::entry::Kind as EntryKind;

use super::{
    failure::{Ended, Failure, Verdict, output, say},
    held::{Kind, kept},
    print::{Shown, json_line, plain},
    report::{AGREES, name, seconds},
    trust::tell_same_hand,
};

/// What belongs to one receipt or one proof.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Single {
    /// Request that was kept, as it travelled: gRPC messages with their five-byte prefixes (`ura call --keep`)
    #[arg(long, value_name = "FILE", conflicts_with = "request_message")]
    request: Option<PathBuf>,
    /// Reply that was kept, as it travelled
    #[arg(long, value_name = "FILE", conflicts_with = "reply_message")]
    reply: Option<PathBuf>,
    /// Request of one message, as an application has it: without its prefix, uncompressed
    #[arg(long, value_name = "FILE")]
    request_message: Option<PathBuf>,
    /// Reply of one message, as an application has it
    #[arg(long, value_name = "FILE")]
    reply_message: Option<PathBuf>,
    /// The ura-receipt trailer that was kept with the call, for a receipt without salt
    #[arg(long, value_name = "FILE")]
    trailer: Option<PathBuf>,
    /// Leaf hash of the entry that a tlog-proof is about, as `ura evidence find` shows it
    #[arg(long, value_name = "HEX", value_parser = hash)]
    leaf_hash: Option<Hash>,
}

impl Single {
    /// Whether anything was given that belongs to one receipt or one proof.
    pub(super) const fn is_named(&self) -> bool {
        self.request.is_some()
            || self.reply.is_some()
            || self.request_message.is_some()
            || self.reply_message.is_some()
            || self.trailer.is_some()
            || self.leaf_hash.is_some()
    }

    /// Verifies and prints.
    pub(super) fn run(&self, kind: Kind, keys: Vec<Key>, witnesses: Vec<Key>, as_json: bool) -> Ended {
        match kind {
            Kind::Receipt(_) if self.leaf_hash.is_some() => {
                Err(Failure::usage("--leaf-hash belongs to a tlog-proof: a receipt has its entries with it"))
            }
            Kind::Proof(_) if Self { leaf_hash: None, ..self.clone() }.is_named() => Err(Failure::usage(
                "kept bytes and trailers belong to a receipt: a tlog-proof does not hold the entry that has their digests",
            )),
            Kind::Receipt(receipt) => self.receipt(&receipt, keys, witnesses, as_json),
            Kind::Proof(proof) => self.proof(&proof, &keys, &witnesses, as_json),
            Kind::Checkpoint { .. } | Kind::Trailer(_) => Err(Failure::usage(
                "a checkpoint or a trailer proves nothing by itself: hold the log against it, `ura evidence verify --dir … \
                 --against FILE`",
            )),
        }
    }

    fn receipt(&self, receipt: &Receipt, keys: Vec<Key>, witnesses: Vec<Key>, as_json: bool) -> Ended {
        let keys_of_receipt = keys.is_empty();
        if keys_of_receipt {
            if receipt.keys.is_empty() {
                return Err(Failure::usage(
                    "the receipt names no key of its log: give the log's public key, --key",
                ));
            }
            tell_same_hand(&receipt.keys, "the receipt's own");
        }
        let request = bytes(self.request.as_ref(), self.request_message.as_ref())?;
        let reply = bytes(self.reply.as_ref(), self.reply_message.as_ref())?;
        let trailer = self.trailer()?;
        let kept = Kept { request: request.as_deref(), reply: reply.as_deref(), trailer: trailer.as_ref() };
        let demanded: Vec<String> = witnesses.iter().map(|key| key.name().to_owned()).collect();
        let trust = Trust { keys, witnesses, keys_of_receipt };
        match verify(receipt, &trust, &kept) {
            Ok(verified) => {
                let mut silent = demanded;
                silent.retain(|name| verified.cosigned.iter().all(|by| by.name != *name));
                print(&verified, &silent, as_json)?;
                Ok(if silent.is_empty() { Verdict::Holds } else { Verdict::DoesNot })
            }
            Err(ReceiptError::NoSalt) => Err(Failure::usage(
                "the receipt has no salt, so kept bytes cannot be compared: give the ura-receipt trailer, --trailer",
            )),
            Err(error @ ReceiptError::NoKey { .. }) => Err(Failure::Usage(error.to_string())),
            Err(error) => does_not(&error, as_json),
        }
    }

    fn trailer(&self) -> Result<Option<Trailer>, Failure> {
        let Some(path) = &self.trailer else { return Ok(None) };
        match Kind::read(path)? {
            Kind::Trailer(trailer) => Ok(Some(trailer)),
            _ => Err(Failure::content(path.display(), "it is no ura-receipt trailer")),
        }
    }

    fn proof(&self, proof: &ProofFile, keys: &[Key], witnesses: &[Key], as_json: bool) -> Ended {
        let leaf_hash = self.leaf_hash.ok_or_else(|| {
            Failure::usage("a tlog-proof does not hold the entry: give its leaf hash, --leaf-hash, or its receipt instead")
        })?;
        if keys.is_empty() {
            return Err(Failure::usage("a tlog-proof names no key: give the log's public key, --key"));
        }
        let claimed = Checkpoint::parse(&proof.checkpoint.text);
        let origin = claimed.map_err(|error| Failure::content("the proof's checkpoint", error))?.origin;
        let of_log: Vec<Key> = keys.iter().filter(|key| key.name() == origin).cloned().collect();
        if of_log.is_empty() {
            return does_not(&format!("it is of the log {origin}, of which no key was given"), as_json);
        }
        let (checkpoint, signed) = match proof.verify(&leaf_hash, &origin, &of_log, witnesses) {
            Ok(verified) => verified,
            Err(error) => return does_not(&error, as_json),
        };
        let silent: Vec<&str> = witnesses.iter().filter(|key| !signed.contains(key)).map(Key::name).collect();
        let verdict = if silent.is_empty() { Verdict::Holds } else { Verdict::DoesNot };
        let index = proof.index;
        if as_json {
            let signed: Vec<String> = signed.iter().map(Key::to_string).collect();
            let proved = json!({
                "holds": silent.is_empty(), "log": origin, "index": index, "size": checkpoint.size,
                "signed": signed, "not_cosigned": silent,
            });
            say(&json_line(&proved))?;
        } else {
            say(&format!("entry {index} stands in the log {origin} of {} entries", checkpoint.size))?;
            for key in signed {
                let at = match key.kind() {
                    KeyKind::CosignatureV1 => cosigned_at(&proof.checkpoint, &key).map(seconds).ok(),
                    KeyKind::Ed25519 => None,
                };
                let at = at.map_or_else(String::new, |at| format!(" at {at}"));
                say(&format!("checkpoint signed by {}{at}", name(&key)))?;
            }
            for name in silent {
                say(&format!("not cosigned by {name}, whose word you ask for"))?;
            }
        }
        Ok(verdict)
    }
}

/// What was kept, with the prefix of its one message where it was kept without.
fn bytes(whole: Option<&PathBuf>, message: Option<&PathBuf>) -> Result<Option<Vec<u8>>, Failure> {
    if let Some(path) = whole {
        return kept(path).map(Some);
    }
    let Some(path) = message else { return Ok(None) };
    let framed = framed(&kept(path)?);
    framed.map(Some).ok_or_else(|| Failure::content(path.display(), "no message is so long"))
}

fn does_not(error: &impl std::fmt::Display, as_json: bool) -> Ended {
    if as_json {
        say(&json_line(&json!({"holds": false, "problem": error.to_string()})))?;
    } else {
        say(&format!("does not hold: {error}"))?;
    }
    Ok(Verdict::DoesNot)
}

/// Prints what a receipt proves, and which witnesses did not cosign whose word is asked for.
fn print(verified: &Verified, silent: &[String], as_json: bool) -> Result<(), Failure> {
    let mut out = output();
    let mut entries = Vec::new();
    for proved in &verified.entries {
        let columns = Columns::of(&proved.entry);
        let shown = Shown {
            log: &verified.log,
            index: proved.index,
            leaf_hash: leaf_hash(&proved.entry),
            kind: columns.kind,
            recorded_us: columns.recorded_us,
            entry: Some(&proved.entry),
            subjects: &[],
            removed_by: None,
        };
        if as_json {
            entries.push(Json::Object(shown.json()));
        } else {
            shown.text(&mut out)?;
        }
    }
    if as_json {
        let bytes = |matched: Option<Matched>| {
            matched.map(
                |matched| json!({"index": matched.index, "bytes": matched.bytes, "whole": matched.whole}),
            )
        };
        let cosigned =
            verified.cosigned.iter().map(|by| json!({"name": by.name, "time": seconds(by.unix_s)}));
        let json = json!({
            "holds": silent.is_empty(), "log": verified.log, "exchange": verified.exchange.to_string(),
            "size": verified.checkpoint.size, "key": verified.key.to_string(),
            "key_given": verified.key_from != KeyFrom::Receipt,
            "by_other_gateway": verified.key_from == KeyFrom::OtherGateway,
            "cosigned": cosigned.collect::<Vec<_>>(), "not_cosigned": silent, "closing": closing(verified),
            "request": bytes(verified.request), "reply": bytes(verified.reply), "entries": entries,
        });
        writeln!(out, "{}", json_line(&json))?;
        return Ok(());
    }
    conclusion(verified, silent, &mut out)
}

/// Who signed what was shown, what of it fits the kept bytes, and what it all comes to.
fn conclusion(verified: &Verified, silent: &[String], out: &mut impl std::io::Write) -> Result<(), Failure> {
    let (size, log, key) = (verified.checkpoint.size, plain(&verified.log), plain(&name(&verified.key)));
    writeln!(out, "checkpoint of {size} entries of {log}: signed by {key}")?;
    if verified.key_from == KeyFrom::OtherGateway {
        writeln!(
            out,
            "that is the key of another gateway, which ended the log: this stands on its word alone"
        )?;
    }
    for by in &verified.cosigned {
        writeln!(out, "checkpoint cosigned by {} at {}", plain(&by.name), seconds(by.unix_s))?;
    }
    for name in silent {
        writeln!(out, "not cosigned by {}, whose word you ask for", plain(name))?;
    }
    for (what, matched) in [("request", verified.request), ("reply", verified.reply)] {
        if let Some(Matched { index, bytes, whole }) = matched {
            let extent = if whole {
                ""
            } else {
                "; of what may have followed the receipt shows nothing: it was made before, or without the entry that tells"
            };
            writeln!(out, "the kept {what} is the one in entry {index}: {bytes} bytes{extent}")?;
        }
    }
    if verified.closing().is_none() && verified.opening().is_some_and(|opening| opening.refusal.is_empty()) {
        writeln!(
            out,
            "the receipt shows no end of the exchange: it went on when it was made, or its closing was left out"
        )?;
    }
    let verdict = match (silent.is_empty(), verified.key_from) {
        (false, _) => "does not hold: a witness whose word you ask for did not cosign".to_owned(),
        (true, KeyFrom::Receipt) => format!("the receipt {AGREES}"),
        (true, _) => "the receipt holds".to_owned(),
    };
    Ok(writeln!(out, "{verdict}")?)
}

/// Index of the closing, if the receipt has one.
fn closing(verified: &Verified) -> Option<u64> {
    let is_closing = |kind: &Option<EntryKind>| matches!(kind, Some(EntryKind::Closing(_)));
    verified.entries.iter().find(|proved| is_closing(&proved.entry.kind)).map(|proved| proved.index)
}

/// An entry has one encoding, so its leaf follows from what it says.
fn leaf_hash(entry: &ura_proto::v1::Entry) -> Hash {
    use prost::Message as _;
    ura_log::tree::leaf_hash(&ura_evidence::entry::leaf(&entry.encode_to_vec()))
}

fn hash(text: &str) -> Result<Hash, String> {
    let wrong = || "write the 64 hexadecimal digits of the leaf hash".to_owned();
    let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digits = is_hex.then_some(text).ok_or_else(wrong)?;
    let bytes: Result<Vec<u8>, _> = digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or_default(), 16))
        .collect();
    bytes.ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::{super::facts::hex, *};

    #[test]
    fn leaf_hashes() {
        let text = "0a".repeat(32);
        assert_eq!(hash(&text), Ok([10; 32]));
        assert_eq!(hash(&text.to_uppercase()), Ok([10; 32]));
        assert_eq!(hex(&hash(&text).expect("a hash")), text);
        for bad in
            ["", "0a", &"0g".repeat(32), &"0a".repeat(33), &"ë".repeat(32), &format!("+a{}", "0a".repeat(31))]
        {
            assert!(hash(bad).is_err(), "{bad}");
        }
    }
}
