//! The approved contracts of a directory file: their versions, and which are on their way out.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use time::{Date, Month};
use toml::value::Datetime;
use ura_runtime::config::Spanned;

use super::{
    Checker,
    raw::{RawContract, RawDeprecated, RawVersion},
};
use crate::directory::contract::{Contract, Deprecated, Files, Older, breaks, is_of_the_bus, lost_subjects};

/// Longest time for which entries can be kept, in days.
const RETENTION_DAYS_MAX: i64 = 36_500;

/// Versions of one contract besides the newest: each is compiled with every change of the directory.
const OLDER_MAX: usize = 16;

/// Where the files of one version are, paths resolved.
struct Located<'r> {
    path: PathBuf,
    roots: Vec<PathBuf>,
    /// What the file says, for errors.
    at: &'r Spanned<String>,
    is_proto: bool,
}

impl Located<'_> {
    fn files(&self) -> Files<'_> {
        if self.is_proto { Files::Proto(&self.path, &self.roots) } else { Files::DescriptorSet(&self.path) }
    }
}

impl Checker<'_> {
    pub(super) fn contracts(&mut self, raw: &[RawContract]) -> HashMap<Arc<str>, Contract> {
        let mut contracts: HashMap<Arc<str>, Contract> = HashMap::new();
        for entry in raw {
            let Some(contract) = self.contract(entry, &contracts) else { continue };
            if contracts.insert(contract.name.clone(), contract).is_some() {
                let message = format!(
                    "contract {} stands twice; versions before the newest go into `older` of one entry",
                    entry.name.get_ref()
                );
                self.at(&entry.name, message);
            }
        }
        for entry in raw {
            self.instead(entry, &contracts);
        }
        contracts
    }

    /// One contract with all of its versions; `known` are those before it in the file.
    fn contract(&mut self, entry: &RawContract, known: &HashMap<Arc<str>, Contract>) -> Option<Contract> {
        let name = entry.name.get_ref();
        let built_in = entry.proto.is_none() && entry.descriptor_set.is_none() && is_of_the_bus(name);
        let located = if built_in {
            None
        } else {
            Some(self.located(&entry.name, &entry.proto, &entry.proto_paths, &entry.descriptor_set)?)
        };
        let at = located.as_ref().map_or(&entry.name, |located| located.at);
        let files = located.as_ref().map_or(Files::BuiltIn, Located::files);
        let retention_days = self.retention(entry);
        let mut contract = match Contract::approve(name, &files, retention_days) {
            Ok(contract) => contract,
            Err(error) => {
                self.at(at, error.to_string());
                return None;
            }
        };
        let same = known.values().find_map(|other| contract.same_file(other));
        if let Some(file) = same.or(contract.own_file()) {
            let message = format!(
                "reflection has another file {file}: keep this one in a folder \
                that repeats its package, below a root in proto_paths"
            );
            self.at(at, message);
        }
        self.older(entry, at, &mut contract);
        if let Some(written) = &entry.deprecated {
            let notice = self.deprecated(written.get_ref());
            contract.deprecate(&notice);
        }
        Some(contract)
    }

    /// Where the files of a version are; either of the two keys must say so.
    fn located<'r>(
        &mut self,
        name: &Spanned<String>,
        proto: &'r Option<Spanned<String>>,
        proto_paths: &[String],
        descriptor_set: &'r Option<Spanned<String>>,
    ) -> Option<Located<'r>> {
        let (at, is_proto) = match (proto, descriptor_set) {
            (Some(proto), None) => (proto, true),
            (None, Some(set)) => (set, false),
            _ => {
                self.at(name, "give either proto or descriptor_set");
                return None;
            }
        };
        let roots = proto_paths.iter().map(|path| self.source.resolve(path)).collect();
        Some(Located { path: self.source.resolve(at.get_ref()), roots, at, is_proto })
    }

    /// Adds the versions before the newest, none of which a later one may break.
    fn older(&mut self, entry: &RawContract, newest_at: &Spanned<String>, contract: &mut Contract) {
        let name = &entry.name;
        if entry.older.len() > OLDER_MAX {
            let message = format!("older has {} versions, at most {OLDER_MAX}", entry.older.len());
            return self.at(name, message);
        }
        if is_of_the_bus(name.get_ref()) && !entry.older.is_empty() {
            return self.at(name, "a contract of the bus itself has no versions but the program's own");
        }
        let mut places = Vec::new();
        for RawVersion { proto, proto_paths, descriptor_set } in &entry.older {
            let Some(located) = self.located(name, proto, proto_paths, descriptor_set) else { continue };
            match Older::read(name.get_ref(), located.at.get_ref(), &located.files()) {
                Ok(older) => {
                    contract.older.push(older);
                    places.push(located.at);
                }
                Err(error) => self.at(located.at, error.to_string()),
            }
        }
        for older in &contract.older {
            for field in lost_subjects(&older.descriptor_set, &contract.descriptor_set) {
                let message = format!(
                    "{field} names a subject in the version of {}: keep it until no adapter has that version \
                    and it is taken out of `older`",
                    older.label()
                );
                self.at(newest_at, message);
            }
        }
        let later =
            contract.older.iter().map(|older| &older.descriptor_set).chain([&contract.descriptor_set]);
        for (at, (index, after)) in places.iter().copied().chain([newest_at]).zip(later.enumerate()) {
            // What breaks the nearest before it is not told again for those before that.
            let mut told: Vec<(String, &str)> = Vec::new();
            for before in contract.older.iter().take(index).rev() {
                for found in breaks(&before.descriptor_set, after) {
                    let key = (found.place.clone(), found.rule.id());
                    if !told.contains(&key) {
                        told.push(key);
                        self.at(at, format!("it breaks the version of {}: {found}", before.label()));
                    }
                }
            }
        }
    }

    /// What is to be told of a contract on its way out.
    fn deprecated(&mut self, written: &RawDeprecated) -> Deprecated {
        let since = written.since.as_ref().and_then(|date| self.date(date));
        let until = written.until.as_ref().and_then(|date| self.date(date));
        if let (Some(since), Some(until), Some(at)) = (since, until, &written.until)
            && until < since
        {
            self.at(at, "until must not be before since");
        }
        let instead =
            written.instead.as_ref().filter(|name| name.get_ref().bytes().all(|b| b.is_ascii_graphic()));
        Deprecated { since, until, instead: instead.map(|name| name.get_ref().as_str().into()) }
    }

    /// What is to be used instead must be on the bus.
    fn instead(&mut self, entry: &RawContract, contracts: &HashMap<Arc<str>, Contract>) {
        let written = entry.deprecated.as_ref().and_then(|written| written.get_ref().instead.as_ref());
        let Some(instead) = written else { return };
        if instead.get_ref() == entry.name.get_ref() {
            self.at(instead, "use must name another contract than the one that is deprecated");
        } else {
            self.known_contract(instead, contracts);
        }
    }

    /// A day.
    fn date(&mut self, written: &Spanned<Datetime>) -> Option<Date> {
        let date = match written.get_ref() {
            Datetime { date: Some(date), time: None, offset: None } => {
                let month = Month::try_from(date.month).ok();
                month.and_then(|month| Date::from_calendar_date(i32::from(date.year), month, date.day).ok())
            }
            _ => None,
        };
        if date.is_none() {
            self.at(written, "write a date without a time, such as 2027-04-30");
        }
        date
    }

    /// Days for which entries are kept; `None` for good.
    fn retention(&mut self, entry: &RawContract) -> Option<u32> {
        let written = entry.retention_days.as_ref()?;
        let days = *written.get_ref();
        if !(1..=RETENTION_DAYS_MAX).contains(&days) {
            let message = format!(
                "retention_days must be 1 to {RETENTION_DAYS_MAX}; leave it out to keep entries for good"
            );
            self.at(written, message);
        }
        u32::try_from(days).ok()
    }
}
