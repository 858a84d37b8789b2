//! Changes of the directory as entries of the log. Pure.

use ura_evidence::entry::Row;
use ura_proto::v1::{DirectoryChange, entry::Kind};

use crate::directory::Change;

/// The entry of a change that was published or refused at `recorded_unix_us`.
pub(crate) fn directory_change(change: Change, recorded_unix_us: i64) -> Row {
    let entry = DirectoryChange {
        version: change.version.as_ref().to_owned(),
        digest: change.digest.map(Vec::from).unwrap_or_default(),
        version_before: change.version_before.as_ref().to_owned(),
        digest_before: change.digest_before.to_vec(),
        refused: change.refused.unwrap_or_default(),
    };
    Row::new(None, recorded_unix_us, Kind::DirectoryChange(entry))
}
