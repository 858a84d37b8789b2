//! Exchanges as a bus of a state has them: who asks whom for what, about whom, in which trace. Each is made from its
//! number alone, but for its id. Knows no store.

use aws_lc_rs::digest::{SHA256, digest};
use ura_evidence::{
    entry::Row,
    keys::{EpochKey, commitment},
};
use ura_proto::{
    ExchangeId,
    v1::{Closing, Opening, Outcome, Subject, entry::Kind},
};

/// Institutions and their systems: the first are those that ask, all of them are asked.
const SYSTEMS: [&str; 20] = [
    "ais/portal",
    "mia/border",
    "tax/audit",
    "arc/registrar",
    "health/clinic",
    "police/inquiry",
    "customs/desk",
    "pension/office",
    "arc/civil-status",
    "atk/property-tax",
    "kbra/business",
    "moj/criminal-record",
    "mia/vehicles",
    "moe/diplomas",
    "health/insurance",
    "cadastre/land",
    "court/register",
    "bank/credit",
    "election/roll",
    "post/address",
];
const CONSUMERS: u64 = 8;
/// Contracts, each with five methods.
pub const CONTRACTS: [&str; 6] = [
    "ks.civilstatus.v1.CivilStatusService",
    "ks.propertytax.v1.PropertyTaxService",
    "ks.business.v1.BusinessRegistryService",
    "ks.vehicles.v1.VehicleService",
    "ks.health.v1.InsuranceService",
    "ks.cadastre.v1.CadastreService",
];
const METHODS: [&str; 5] = ["GetRecord", "ListRecords", "GetDocument", "RegisterChange", "ConfirmStatus"];
const PURPOSES: [&str; 8] = [
    "birth-certificate",
    "tax-assessment",
    "border-control",
    "social-benefit",
    "criminal-inquiry",
    "inheritance",
    "vehicle-registration",
    "school-enrolment",
];
const REASONS: [&str; 4] = ["GRANT_MISSING", "PURPOSE_MISSING", "REGISTER_UNAVAILABLE", "GRANT_EXPIRED"];

/// How many persons the exchanges are about.
pub const PERSONS: u64 = 100_000;
/// Of so many exchanges one is about the person who is asked about most.
pub const FAMOUS_EVERY: u64 = 1000;
/// Of so many exchanges one is refused.
const REFUSED_EVERY: u64 = 50;
/// Exchanges of one trace: one click of a citizen.
const OF_A_TRACE: u64 = 2;
/// From the first exchange to the last.
const SPAN_US: i64 = 10 * 86_400_000_000;

/// All exchanges of a log.
#[derive(Clone, Copy, Debug)]
pub struct Exchanges {
    pub count: u64,
    /// When the first was opened, microseconds since 1970-01-01 UTC.
    begin_us: i64,
}

/// One exchange: what it is found by.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub number: u64,
    pub id: ExchangeId,
    pub recorded_us: i64,
    pub consumer: &'static str,
    pub provider: &'static str,
    pub method: String,
    pub person: String,
    pub trace: [u8; 16],
    /// Empty where it was permitted.
    pub reason: &'static str,
}

impl Exchanges {
    /// So many, all of them in the past.
    pub fn before(now_us: i64, count: u64) -> Self {
        Self { count, begin_us: now_us - SPAN_US - 3_600_000_000 }
    }

    /// When one is opened, microseconds since 1970-01-01 UTC.
    pub fn time_us(&self, number: u64) -> i64 {
        let part = u128::from(number) * u128::from(SPAN_US.unsigned_abs()) / u128::from(self.count);
        self.begin_us + i64::try_from(part).expect("within the span")
    }

    /// One of them, with a new id.
    pub fn exchange(&self, number: u64) -> Exchange {
        let pick = |salt: u64, of: u64| mixed(number.wrapping_mul(16).wrapping_add(salt)) % of;
        let recorded_us = self.time_us(number);
        let person = if number.is_multiple_of(FAMOUS_EVERY) { PERSONS } else { pick(1, PERSONS) };
        let trace = number / OF_A_TRACE;
        let trace = u128::from(mixed(!trace)) << 64 | u128::from(mixed(trace.wrapping_add(1 << 40)));
        let contract = pick(4, 6);
        let method = format!("{}/{}", at(&CONTRACTS, contract), at(&METHODS, pick(5, 5)));
        Exchange {
            number,
            id: ExchangeId::at(recorded_us),
            recorded_us,
            consumer: at(&SYSTEMS, pick(2, CONSUMERS)),
            provider: at(&SYSTEMS, CONSUMERS + 2 * contract + pick(3, 2)),
            method,
            person: number_of(person),
            trace: trace.to_be_bytes(),
            reason: if number % REFUSED_EVERY == 7 { at(&REASONS, pick(6, 4)) } else { "" },
        }
    }
}

/// Personal number of the person whom most exchanges are about.
pub fn famous() -> String {
    number_of(PERSONS)
}

fn number_of(person: u64) -> String {
    format!("{}", 1_000_000_000 + person)
}

fn at<const N: usize>(names: &[&'static str; N], place: u64) -> &'static str {
    usize::try_from(place).ok().and_then(|place| names.get(place)).expect("a place in the list")
}

impl Exchange {
    /// Its opening.
    pub fn opening(&self, epoch: &EpochKey) -> Row {
        let refused = !self.reason.is_empty();
        let subject = epoch.subject("person", self.person.as_bytes(), self.id);
        let salt = epoch.salt(self.id);
        let number = self.number.to_be_bytes();
        let grant = format!("{}-2026-{:03}", self.provider, self.number % 40);
        let writes = self.method.ends_with("RegisterChange");
        let opening = Opening {
            consumer: self.consumer.to_owned(),
            provider: self.provider.to_owned(),
            method: self.method.clone(),
            purpose: PURPOSES[usize::try_from(self.number % 8).expect("small")].to_owned(),
            case_number: if self.number.is_multiple_of(2) {
                format!("2026-{}", self.number)
            } else {
                String::new()
            },
            grant: if refused { String::new() } else { grant },
            directory_version: "2026-11-01.3".to_owned(),
            directory_digest: hash(&[b"directory"]),
            refusal: self.reason.to_owned(),
            subjects: vec![Subject { kind: "person".to_owned(), commitment: commitment(&subject).to_vec() }],
            request_digest: hash(&[&salt, &number]),
            request_bytes: 17 + self.number % 400,
            trace_id: self.trace.to_vec(),
            idempotency_key_digest: if writes { hash(&[&salt, b"key", &number]) } else { Vec::new() },
            epoch: epoch.id().to_owned(),
            grant_digest: if refused { Vec::new() } else { hash(&[b"grant"]) },
            consumer_certificate: hash(&[self.consumer.as_bytes()]),
            disclose_from_unix_us: 0,
        };
        Row::with_subjects(Some(self.id), self.recorded_us, Kind::Opening(opening), vec![subject])
    }

    /// Its closing; a refused exchange has none.
    pub fn closing(&self, epoch: &EpochKey) -> Option<Row> {
        if !self.reason.is_empty() {
            return None;
        }
        let salt = epoch.salt(self.id);
        let duration_us = 2000 + mixed(self.number) % 60_000;
        let closing = Closing {
            outcome: Outcome::Answered.into(),
            reply_digest: hash(&[&salt, b"reply", &self.number.to_be_bytes()]),
            reply_bytes: 200 + self.number % 3000,
            request_bytes: 17 + self.number % 400,
            duration_us,
            answered_us: duration_us - 500,
            adapter_certificate: hash(&[self.provider.as_bytes()]),
            adapter_address: format!(
                "10.20.{}.{}:{}",
                self.number % 12,
                self.number % 250,
                40_000 + self.number % 9
            ),
            ..Closing::default()
        };
        let recorded_us = self.recorded_us + i64::try_from(duration_us).expect("below a minute");
        Some(Row::new(Some(self.id), recorded_us, Kind::Closing(closing)))
    }
}

fn hash(parts: &[&[u8]]) -> Vec<u8> {
    digest(&SHA256, &parts.concat()).as_ref().to_vec()
}

/// A number that looks random and is the same each time (splitmix64).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
