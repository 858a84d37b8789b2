//! The receipt as a file: JSON of the format `ura-receipt/1`. Bytes are standard base64 with padding. What
//! is read here is well-formed; whether it is true is not asked.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use ura_log::{Hash, MAX_PROOF_HASHES, note::Key};

use super::{Piece, RECEIPT_BYTES_MAX, RECEIPT_ENTRIES_MAX, Receipt, ReceiptError, Salt};

/// Name and version of the format.
const FORMAT: &str = "ura-receipt/1";

/// Most keys that a receipt may hint at.
const KEYS_MAX: usize = 64;

/// The file's fields, in their order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    log: String,
    exchange: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
    entries: Vec<FileEntry>,
    checkpoint: String,
    keys: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    index: u64,
    body: String,
    leaf_hash: String,
    proof: Vec<String>,
}

impl Receipt {
    /// The receipt as JSON, ending in a newline.
    #[must_use]
    pub fn to_json(&self) -> String {
        let entry = |piece: &Piece| FileEntry {
            index: piece.index,
            body: STANDARD.encode(&piece.body),
            leaf_hash: STANDARD.encode(piece.leaf_hash),
            proof: piece.proof.iter().map(|hash| STANDARD.encode(hash)).collect(),
        };
        let file = File {
            format: FORMAT.to_owned(),
            log: self.log.clone(),
            exchange: self.exchange.to_string(),
            salt: self.salt.map(|salt| STANDARD.encode(salt.0)),
            entries: self.entries.iter().map(entry).collect(),
            checkpoint: self.checkpoint.clone(),
            keys: self.keys.iter().map(Key::to_string).collect(),
        };
        let mut text = serde_json::to_string_pretty(&file).expect("strings and numbers are always JSON");
        text.push('\n');
        text
    }

    /// Reads a receipt, without verifying anything.
    ///
    /// # Errors
    /// [`ReceiptError::TooLarge`] or [`ReceiptError::Malformed`], which says which field is wrong.
    pub fn from_json(text: &str) -> Result<Self, ReceiptError> {
        if text.len() > RECEIPT_BYTES_MAX {
            return Err(ReceiptError::TooLarge { bytes: text.len() });
        }
        let file: File =
            serde_json::from_str(text).map_err(|error| malformed("the file", &error.to_string()))?;
        if file.format != FORMAT {
            return Err(malformed("format", &format!("this program reads {FORMAT}")));
        }
        if file.entries.len() > RECEIPT_ENTRIES_MAX {
            return Err(malformed("entries", &format!("at most {RECEIPT_ENTRIES_MAX} are read")));
        }
        if file.keys.len() > KEYS_MAX {
            return Err(malformed("keys", &format!("at most {KEYS_MAX} are read")));
        }
        let key = |(n, text): (usize, &String)| {
            Key::parse(text).map_err(|error| malformed(&format!("keys[{n}]"), &error.to_string()))
        };
        Ok(Self {
            exchange: file.exchange.parse().map_err(|error| malformed("exchange", &format!("{error}")))?,
            salt: file.salt.as_deref().map(|salt| hash("salt", salt).map(Salt)).transpose()?,
            entries: file.entries.iter().enumerate().map(piece).collect::<Result<_, _>>()?,
            keys: file.keys.iter().enumerate().map(key).collect::<Result<_, _>>()?,
            log: file.log,
            checkpoint: file.checkpoint,
        })
    }
}

fn piece((n, entry): (usize, &FileEntry)) -> Result<Piece, ReceiptError> {
    let place = |field: &str| format!("entries[{n}].{field}");
    if entry.proof.len() > MAX_PROOF_HASHES {
        return Err(malformed(&place("proof"), &format!("at most {MAX_PROOF_HASHES} hashes")));
    }
    let proof = entry.proof.iter().enumerate();
    Ok(Piece {
        index: entry.index,
        body: STANDARD.decode(&entry.body).map_err(|_| malformed(&place("body"), "it is not base64"))?,
        leaf_hash: hash(&place("leaf_hash"), &entry.leaf_hash)?,
        proof: proof.map(|(h, text)| hash(&place(&format!("proof[{h}]")), text)).collect::<Result<_, _>>()?,
    })
}

fn hash(place: &str, text: &str) -> Result<Hash, ReceiptError> {
    let bytes = STANDARD.decode(text).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| malformed(place, "it is not 32 bytes in base64"))
}

fn malformed(place: &str, problem: &str) -> ReceiptError {
    ReceiptError::Malformed { place: place.to_owned(), problem: problem.to_owned() }
}
