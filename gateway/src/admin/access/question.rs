//! Reading a question about accesses: whose, of which time, how many. Pure.

use std::sync::Arc;

use prost::Message as _;
use prost_types::Timestamp;
use tonic::Status;
use ura_proto::v1::ListAccessesRequest;

use crate::{
    admin::status::wrong,
    directory::subject::{Plan, scan},
};

/// Accesses on a page where the request does not say.
const PAGE_SIZE: u32 = 50;

/// Most accesses on a page.
const PAGE_SIZE_MAX: u32 = 200;

/// A question that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// Kind of the subject, as the contract's annotation names it.
    pub(super) kind: Arc<str>,
    /// Canonical form of its value.
    pub(super) canonical: Vec<u8>,
    /// Only from this time on, microseconds since 1970-01-01 UTC.
    pub(super) from_us: Option<i64>,
    /// Only before this time.
    pub(super) until_us: Option<i64>,
    /// Accesses on the page, 1 to 200.
    pub(super) page_size: usize,
}

impl Question {
    /// Reads a request. The subject is read by the plan of the approved contract, as it was for the record
    /// of this very question: both name the same subject in the same canonical form.
    ///
    /// # Errors
    /// INVALID_ARGUMENT, naming the field and what would be right.
    pub(super) fn read(request: &ListAccessesRequest, plan: &Plan) -> Result<Self, Status> {
        let nobody =
            || wrong("subject", "say whose accesses: exactly one of the fields of `subject`, not empty");
        let found = scan(plan, &request.encode_to_vec()).map_err(|error| wrong("subject", error))?;
        let mut found = found.into_iter();
        let (Some(subject), None) = (found.next(), found.next()) else { return Err(nobody()) };
        let from_us = request.from.as_ref().map(|time| unix_us("from", time)).transpose()?;
        let until_us = request.until.as_ref().map(|time| unix_us("until", time)).transpose()?;
        if from_us.zip(until_us).is_some_and(|(from, until)| from >= until) {
            return Err(wrong("until", "it must be later than `from`"));
        }
        let page_size = if request.page_size == 0 { PAGE_SIZE } else { request.page_size };
        if page_size > PAGE_SIZE_MAX {
            return Err(wrong("page_size", format!("{page_size} is above {PAGE_SIZE_MAX}")));
        }
        let page_size = usize::try_from(page_size).expect("at most 200");
        Ok(Self { kind: subject.kind, canonical: subject.value, from_us, until_us, page_size })
    }

    /// What a page token belongs to: the same subject and period, asked by the same system. The size of the
    /// page may change.
    pub(super) fn binding(&self, consumer: &str) -> Vec<u8> {
        let mut binding = Vec::new();
        for part in [consumer.as_bytes(), self.kind.as_bytes(), &self.canonical] {
            binding.extend((part.len() as u64).to_be_bytes());
            binding.extend(part);
        }
        for time in [self.from_us, self.until_us] {
            binding.push(u8::from(time.is_some()));
            binding.extend(time.unwrap_or(0).to_be_bytes());
        }
        binding
    }
}

/// A time in microseconds since 1970-01-01 UTC; parts of one are rounded up, so that `from` takes in nothing
/// earlier and `until` nothing later.
fn unix_us(field: &str, time: &Timestamp) -> Result<i64, Status> {
    let problem = "it is no time: seconds from 0001-01-01 to 9999-12-31, nanos from 0 to 999999999";
    // The bounds of google.protobuf.Timestamp.
    let fits = (-62_135_596_800..=253_402_300_799).contains(&time.seconds);
    let nanos = u32::try_from(time.nanos).ok().filter(|nanos| fits && *nanos < 1_000_000_000);
    let nanos = nanos.ok_or_else(|| wrong(field, problem))?;
    Ok(time.seconds * 1_000_000 + i64::from(nanos.div_ceil(1000)))
}

#[cfg(test)]
pub(super) mod tests {
    use tonic::Code;
    use ura_proto::v1::list_accesses_request::Subject;

    use super::*;
    use crate::directory::contract::{Contract, Files};

    /// The service as the program brings it along.
    pub(in super::super) fn contract() -> Contract {
        Contract::approve("ura.v1.SubjectAccessService", &Files::BuiltIn, None).expect("own contract")
    }

    fn read(request: &ListAccessesRequest) -> Result<Question, Status> {
        Question::read(request, contract().methods[0].request_subjects.as_ref().expect("it names subjects"))
    }

    fn person(number: &str) -> ListAccessesRequest {
        let subject = Some(Subject::PersonalNumber(number.to_owned()));
        ListAccessesRequest { subject, ..ListAccessesRequest::default() }
    }

    fn at(seconds: i64, nanos: i32) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos })
    }

    #[test]
    fn a_question_is_read_as_its_record_is() {
        let asked =
            ListAccessesRequest { from: at(1, 1), until: at(2, 0), page_size: 7, ..person("1234 567-892") };
        let expected = Question {
            kind: "person".into(),
            canonical: b"1234567892".to_vec(),
            from_us: Some(1_000_001),
            until_us: Some(2_000_000),
            page_size: 7,
        };
        assert_eq!(read(&asked).expect("a good question"), expected);
        let plain = read(&person("1")).expect("a good question");
        assert_eq!((plain.from_us, plain.until_us, plain.page_size), (None, None, 50));
        let business = Some(Subject::BusinessNumber("81 11".to_owned()));
        let business =
            read(&ListAccessesRequest { subject: business, ..person("") }).expect("a good question");
        assert_eq!((&*business.kind, &business.canonical[..]), ("business", &b"8111"[..]));
    }

    #[test]
    fn each_wrong_field_is_named() {
        for (field, asked) in [
            ("subject", ListAccessesRequest::default()),
            ("subject", person("")),
            ("subject", person("  ")),
            ("until", ListAccessesRequest { from: at(2, 0), until: at(2, 0), ..person("1") }),
            ("until", ListAccessesRequest { from: at(3, 0), until: at(2, 0), ..person("1") }),
            ("from", ListAccessesRequest { from: at(1, -1), ..person("1") }),
            ("from", ListAccessesRequest { from: at(1, 1_000_000_000), ..person("1") }),
            ("until", ListAccessesRequest { until: at(i64::MAX, 0), ..person("1") }),
            ("until", ListAccessesRequest { until: at(i64::MIN, 0), ..person("1") }),
            ("page_size", ListAccessesRequest { page_size: 201, ..person("1") }),
        ] {
            let status = read(&asked).expect_err(field);
            assert_eq!(status.code(), Code::InvalidArgument);
            assert!(status.message().starts_with(&format!("{field}: ")), "{field}: {status:?}");
        }
    }

    #[test]
    fn every_part_of_a_question_binds_its_token_but_the_size() {
        let question = |asked: &ListAccessesRequest| read(asked).expect("a good question");
        let mine = question(&person("12")).binding("ais/portal");
        let resized = ListAccessesRequest { page_size: 3, page_token: "x".into(), ..person("1 2") };
        assert_eq!(question(&resized).binding("ais/portal"), mine);
        assert_ne!(question(&person("12")).binding("ais/other"), mine);
        let business = Some(Subject::BusinessNumber("12".to_owned()));
        for other in [
            person("13"),
            ListAccessesRequest { subject: business, ..person("") },
            ListAccessesRequest { from: at(0, 0), ..person("12") },
            ListAccessesRequest { until: at(0, 0), ..person("12") },
        ] {
            assert_ne!(question(&other).binding("ais/portal"), mine, "{other:?}");
        }
    }
}
