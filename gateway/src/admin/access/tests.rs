//! What is told of accesses, on a real store.

use ura_evidence::keys::commitment;
use ura_proto::v1::{Access, Progress, Withheld, list_accesses_request::Subject};

use super::*;
use crate::admin::sample::{DAY_US, NOW_US, Sample};

/// A question about a person, as the bus forwards it.
fn question(
    exchange: ExchangeId,
    number: &str,
    page_size: u32,
    page_token: &str,
) -> Request<ListAccessesRequest> {
    let subject = Some(Subject::PersonalNumber(number.to_owned()));
    let page_token = page_token.to_owned();
    let mut request = Request::new(ListAccessesRequest {
        subject,
        page_size,
        page_token,
        ..ListAccessesRequest::default()
    });
    let metadata = request.metadata_mut();
    metadata.insert(metadata::CONSUMER, "ais/portal".parse().expect("ASCII"));
    metadata.insert(metadata::EXCHANGE_ID, exchange.to_string().parse().expect("ASCII"));
    metadata.insert(metadata::ACCEPT_LANGUAGE, "sq".parse().expect("ASCII"));
    request
}

/// Asks for one page.
async fn ask(
    sample: &mut Sample,
    number: &str,
    page_size: u32,
    token: &str,
) -> Result<ListAccessesResponse, Status> {
    let service = Accesses::new(sample.sources.clone());
    let exchange = sample.exchange();
    service.list_accesses(question(exchange, number, page_size, token)).await.map(Response::into_inner)
}

/// Ids of the exchanges told.
fn ids(accesses: &[Access]) -> Vec<&str> {
    accesses.iter().map(|access| access.exchange_id.as_str()).collect()
}

/// The disclosures on record, each with the exchange of its question.
fn disclosures(sample: &Sample) -> Vec<(Vec<u8>, Disclosure)> {
    let rows = std::mem::take(&mut *sample.recorded.lock().expect("no panic"));
    let entries = rows.iter().map(|row| ura_evidence::entry::decode(&row.body).expect("an entry"));
    entries
        .filter_map(|entry| match entry.kind {
            Some(Kind::Disclosure(disclosure)) => Some((entry.exchange_id, disclosure)),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_citizen_is_told_who_asked_what_and_why() {
    let mut sample = Sample::new().await;
    let (exchange, rows) = sample.answered(NOW_US - 5, |opening| opening.case_number = "C 1".into());
    sample.append(&rows).await;
    let told = ask(&mut sample, "1234 567-892", 0, "").await.expect("told");
    assert_eq!(told.next_page_token, "");
    assert_eq!(told.accesses.len(), 1, "{told:?}");
    let access = &told.accesses[0];
    assert_eq!(access.exchange_id, exchange.to_string());
    assert_eq!(access.time.expect("set").nanos, 999_995_000);
    let consumer = access.consumer.as_ref().expect("set");
    assert_eq!((&*consumer.system, &*consumer.name), ("ais/portal", "Shoqëria e informacionit"));
    let purpose = access.purpose.as_ref().expect("set");
    assert_eq!((&*purpose.title, &*purpose.legal_basis), ("Certifikatë e lindjes", "Law 04/L-003, Art. 14"));
    assert_eq!((&*access.case_number, access.answered), ("C 1", true));
    assert!(ask(&mut sample, "99", 0, "").await.expect("nothing to tell").accesses.is_empty());
    assert_eq!(disclosures(&sample).len(), 2, "each answer is on record");
}

#[tokio::test]
async fn what_a_grant_holds_back_is_on_record_and_leaves_no_trace() {
    let mut sample = Sample::new().await;
    let mut told = Vec::new();
    // From the oldest on: the grant as it is now, the record where it is gone, a refused call, a question.
    for (age_days, grant, disclose_from_us, is_told) in [
        (40, "later", i64::MAX, true),
        (35, "withheld", 0, false),
        (20, "later", 0, false),
        (10, "gone", NOW_US, true),
        (9, "gone", NOW_US + 1, false),
        (8, "gone", i64::MAX, false),
        (7, "gone", 0, true),
    ] {
        let (exchange, rows) = sample.answered(NOW_US - age_days * DAY_US, |opening| {
            opening.grant = grant.into();
            opening.disclose_from_unix_us = disclose_from_us;
        });
        sample.append(&rows).await;
        if is_told {
            told.insert(0, exchange.to_string());
        }
    }
    let (_, refused) = sample.answered(NOW_US - 2, |opening| opening.refusal = "GRANT_MISSING".into());
    sample.append(&refused).await;
    let own = "ura.v1.SubjectAccessService/ListAccesses";
    let (_, asked) = sample.answered(NOW_US - 1, |opening| opening.method = own.into());
    sample.append(&asked).await;

    let all = ask(&mut sample, "1234567892", 200, "").await.expect("told");
    assert_eq!((ids(&all.accesses), &*all.next_page_token), (told.iter().map(String::as_str).collect(), ""));
    let withheld =
        |grant: &str, accesses, until_unix_us| Withheld { grant: grant.into(), accesses, until_unix_us };
    let recorded = disclosures(&sample);
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    let (exchange, disclosure) = &recorded[0];
    assert_eq!(exchange.len(), 16);
    let expected = vec![
        withheld("gone", 2, i64::MAX),
        withheld("later", 1, NOW_US + 10 * DAY_US),
        withheld("withheld", 1, i64::MAX),
    ];
    assert_eq!(*disclosure, Disclosure { told: 3, withheld: expected });

    // Page by page it is the same, and all is counted once.
    let (mut paged, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = ask(&mut sample, "1234567892", 1, &token).await.expect("told");
        pages += 1;
        assert_eq!(page.accesses.len(), 1, "no page is empty");
        paged.extend(page.accesses.into_iter().map(|access| access.exchange_id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((paged, pages), (told, 3));
    let held_back = disclosures(&sample).into_iter().flat_map(|(_, disclosure)| disclosure.withheld);
    assert_eq!(held_back.map(|withheld| withheld.accesses).sum::<u32>(), 4);
}

#[tokio::test]
async fn whom_the_reply_named_is_told_too() {
    let mut sample = Sample::new().await;
    let (exchange, [opening, closing]) = sample.answered(NOW_US - 5, |opening| opening.subjects.clear());
    let subject = sample.sources.keys.newest().subject("person", b"1234567892", exchange);
    let commitment = commitment(&subject).to_vec();
    let subjects = vec![ura_proto::v1::Subject { kind: subject.kind.clone(), commitment }];
    let progress = Progress { subjects, from_reply: true, ..Progress::default() };
    let progress = Row::with_subjects(Some(exchange), NOW_US - 4, Kind::Progress(progress), vec![subject]);
    sample.append(&[opening, progress, closing]).await;
    let told = ask(&mut sample, "1234567892", 0, "").await.expect("told");
    assert_eq!(ids(&told.accesses), [exchange.to_string()]);
}

#[tokio::test]
async fn no_answer_without_a_record() {
    let mut sample = Sample::new().await;
    let (_, rows) = sample.answered(NOW_US - 5, |_| {});
    sample.append(&rows).await;
    *sample.writable.lock().expect("no panic") = false;
    let status = ask(&mut sample, "1234567892", 0, "").await.expect_err("not recorded");
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert!(status.message().starts_with("EVIDENCE_UNAVAILABLE"), "{status:?}");
}

#[tokio::test]
async fn a_token_is_of_one_question() {
    let mut sample = Sample::new().await;
    for age_us in [5, 6, 7] {
        let (_, rows) = sample.answered(NOW_US - age_us, |_| {});
        sample.append(&rows).await;
    }
    let first = ask(&mut sample, "1234567892", 1, "").await.expect("told");
    assert!(!first.next_page_token.is_empty());
    let second = ask(&mut sample, "1234567892", 5, &first.next_page_token).await.expect("another size");
    assert_eq!((second.accesses.len(), &*second.next_page_token), (2, ""));
    // New accesses move no page, and tokens outlive a rotation of the key.
    let (_, rows) = sample.answered(NOW_US, |_| {});
    sample.append(&rows).await;
    sample.sources.keys.rotate().expect("a new key");
    let again = ask(&mut sample, "1234567892", 5, &first.next_page_token).await.expect("the same page");
    assert_eq!(again.accesses, second.accesses);
    for (number, token) in [("99", first.next_page_token.as_str()), ("1234567892", "x")] {
        let status = ask(&mut sample, number, 1, token).await.expect_err("another question");
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert!(status.message().starts_with("page_token: "), "{status:?}");
    }
    let service = Accesses::new(sample.sources.clone());
    let mut bare = question(sample.exchange(), "1", 1, "");
    bare.metadata_mut().remove(metadata::EXCHANGE_ID);
    let status = service.list_accesses(bare).await.expect_err("not over the bus");
    assert_eq!(status.code(), tonic::Code::Internal);
}
