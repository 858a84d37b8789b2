//! A fourth contract, over tables that nothing of this repository knows, plugged into a running bus by
//! files only. Every method is called as a portal calls it, and what comes back is compared.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, clippy::print_stderr)]

#[path = "fourth/plugged.rs"]
mod plugged;
#[allow(dead_code, unreachable_pub)] // Of another target; this one uses a part.
#[path = "processes/process.rs"]
mod process;
#[allow(unreachable_pub)]
mod world;

use base64::Engine as _;
use plugged::{Plugged, make_register};
use serde_json::{Value, json};

const CARD: &str = r#""card_number":"9007199254740993""#;
const BOOKING: &str = r#"{"personal_number":"1000000001","kind":"VISIT_KIND_SPECIALIST",
  "day":{"year":2026,"month":12,"day":3},"copay_minor_units":"350"}"#;

fn date(year: i32, month: i32, day: i32) -> Value {
    json!({ "year": year, "month": month, "day": day })
}

fn letter(base64: &Value) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(base64.as_str().expect("text")).expect("base64")
}

#[tokio::test]
async fn rows_fill_messages_of_every_kind() {
    let bus = Plugged::new().await;
    let found = bus.get("GetPatient", &format!("{{{CARD}}}"), &[]).await;
    let patient = json!({ "patient": {
        "cardNumber": "9007199254740993", "personalNumber": "1000000001",
        "name": { "given": "Çlirim", "family": "Krasniqi" },
        "sex": "SEX_MALE", "bornOn": date(1961, 3, 5), "weightKg": 81,
        "address": { "street": "Rr. Nënë Tereza 5", "town": { "name": "Prishtinë", "postalCode": 10000 } },
        "contacts": { "email": "clirim@example.test", "tel": "+383 44 000 001" },
        "allergies": { "penicilinë": 3, "qumësht": 1 }, "languages": ["sq", "sr"],
        "changedAt": "2026-11-21T13:05:09Z", "bloodGroup": "BLOOD_GROUP_O",
    } });
    assert_eq!(found, [patient]);
    let found = bus.get("GetPatient", r#"{"card_number":1002}"#, &[]).await;
    let patient = json!({ "patient": {
        "cardNumber": "1002", "personalNumber": "1000000002",
        "name": { "given": "Ëngjëll", "family": "Šabanović" },
        "sex": "SEX_FEMALE", "bornOn": date(2000, 2, 29), "diedOn": date(2025, 12, 31),
        "insured": true, "note": "Diabet – e përcjellë", "address": { "town": { "name": "Pejë" } },
    } });
    assert_eq!(found, [patient]);

    let letters = bus.get("GetDischargeLetter", r#"{"visit_number":1}"#, &[]).await;
    let expected =
        json!({ "mediaType": "application/pdf", "document": "JVBERi0=", "signedAt": "2025-12-02T08:00:00Z" });
    assert_eq!(letters, [expected]);
    let letters = bus.get("GetDischargeLetter", r#"{"visit_number":2}"#, &[]).await;
    assert_eq!(letters, [json!({ "mediaType": "application/pdf" })]);
    bus.never_restarted();
}

#[tokio::test]
async fn lists_are_paged_and_filtered_and_streams_flow() {
    let bus = Plugged::new().await;
    let first = bus.get("ListVisits", &format!("{{{CARD},\"page_size\":3}}"), &[]).await.remove(0);
    let doctor = json!({ "name": "Dr. Špresë Çela" });
    let visits = json!([
        { "visitNumber": "1", "kind": "VISIT_KIND_SPECIALIST", "visitedOn": date(2025, 12, 10),
          "recordedAt": "2025-12-10T07:30:00Z", "copayMinorUnits": "400",
          "doctor": { "name": "Dr. Špresë Çela", "speciality": "Kardiologji" },
          "diagnoses": [
            { "code": "I10", "text": "Hipertension", "treatments": [
              { "medicine": "Lisinopril", "dailyDoseMg": 10.5, "until": date(2027, 2, 1) },
              { "medicine": "Aspirinë" } ] },
            { "code": "E11", "text": "Diabet – tipi 2", "treatments": [
              { "medicine": "Metformin", "dailyDoseMg": 850.0, "until": date(2026, 12, 31) } ] } ] },
        { "visitNumber": "2", "kind": "VISIT_KIND_EMERGENCY", "visitedOn": date(2026, 1, 11),
          "recordedAt": "2026-01-11T22:30:00Z", "copayMinorUnits": "1250", "doctor": doctor,
          "diagnoses": [{ "code": "J00", "text": "Ftohje" }] },
        { "visitNumber": "3", "kind": "VISIT_KIND_OUTPATIENT", "visitedOn": date(2026, 2, 2),
          "recordedAt": "2026-02-01T23:30:00Z" },
    ]);
    assert_eq!((&first["visits"], &first["total"]), (&visits, &json!(4)));
    let token = first["nextPageToken"].as_str().expect("there is more");
    let second = format!("{{{CARD},\"page_size\":3,\"page_token\":\"{token}\"}}");
    let last = json!({ "visitNumber": "4", "kind": "VISIT_KIND_EMERGENCY", "visitedOn": date(2026, 3, 1),
        "copayMinorUnits": "9999999999" });
    assert_eq!(bus.get("ListVisits", &second, &[]).await, [json!({ "visits": [last], "total": 4 })]);
    let since = r#""kind":"VISIT_KIND_EMERGENCY","since":{"year":2026,"month":2,"day":1}"#;
    let found = bus.get("ListVisits", &format!("{{{CARD},{since}}}"), &[]).await;
    assert_eq!(found, [json!({ "visits": [last], "total": 1 })]);
    assert_eq!(bus.get("ListVisits", r#"{"card_number":5}"#, &[]).await, [json!({})]);

    let rows = bus.get("ExportVaccinations", "{}", &[]).await;
    assert_eq!(rows.len(), 600);
    let fourth =
        json!({ "cardNumber": "1000003", "vaccine": "Fruth", "dose": 4, "givenOn": date(2023, 4, 4) });
    assert_eq!(rows[3], fourth);
    let chosen = r#"{"from":{"year":2025,"month":6,"day":1},"until":{"year":2025,"month":6,"day":30},"vaccines":["Tetanos"]}"#;
    let chosen = bus.get("ExportVaccinations", chosen, &[]).await;
    let fits = |row: &&Value| {
        row["vaccine"] == "Tetanos" && row["givenOn"]["year"] == 2025 && row["givenOn"]["month"] == 6
    };
    assert_eq!(chosen, rows.iter().filter(fits).cloned().collect::<Vec<_>>());

    let pieces = bus.get("DownloadImage", r#"{"visit_number":1}"#, &[]).await;
    assert_eq!(
        (pieces.len(), &pieces[0]["mediaType"], &pieces[0]["sizeBytes"]),
        (4, &json!("image/png"), &json!("200000"))
    );
    let content: Vec<u8> = pieces.iter().flat_map(|piece| letter(&piece["data"])).collect();
    assert_eq!(content, "ç".repeat(100_000).into_bytes());
    bus.never_restarted();
}

#[tokio::test]
async fn a_repeated_write_counts_once() {
    let bus = Plugged::new().await;
    let key = ["--idempotency-key", "visit-1"];
    let booked = json!({ "visitNumber": "5", "kind": "VISIT_KIND_SPECIALIST", "day": date(2026, 12, 3),
        "copayMinorUnits": "350" });
    for _ in 0..2 {
        assert_eq!(bus.get("BookVisit", BOOKING, &key).await, std::slice::from_ref(&booked));
    }
    let other = bus.refused("BookVisit", &BOOKING.replace("350", "351"), &key).await;
    assert!(other.contains("ALREADY_EXISTS") && other.contains("was used for another visit"), "{other}");
    let nobody = bus
        .refused("BookVisit", &BOOKING.replace("1000000001", "1999999999"), &["--idempotency-key", "visit-2"])
        .await;
    assert!(nobody.contains("NOT_FOUND") && nobody.contains("Nobody has this personal number."), "{nobody}");
    let found = bus.get("ListVisits", &format!("{{{CARD},\"page_size\":1}}"), &[]).await;
    assert_eq!(found[0]["total"], 5);
}

#[tokio::test]
async fn what_may_not_be_or_does_not_fit_is_told() {
    let bus = Plugged::new().await;
    let request = ["-d", r#"{"card_number":1002}"#];
    for (who, purpose, reason) in [
        ("mashti-school-books", "health-card", "GRANT_MISSING"),
        ("ais-portal", "property-tax", "PURPOSE_NOT_GRANTED"),
    ] {
        let called = bus.call_as(who, purpose, "GetPatient", &request).await;
        assert!(!called.ok && called.lines.join("\n").contains(reason), "{called:?}");
    }
    for (method, request, parts) in [
        ("GetPatient", r#"{"card_number":7}"#, ["NOT_FOUND", "Nobody has this health card."]),
        (
            "GetPatient",
            r#"{"card_number":1003}"#,
            ["CONTRACT_MISMATCH", "field born_on: is no day of the calendar"],
        ),
        (
            "GetPatient",
            r#"{"card_number":1004}"#,
            ["CONTRACT_MISMATCH", "field sex: has a value that the table does not list"],
        ),
        ("DownloadImage", r#"{"visit_number":2}"#, ["NOT_FOUND", "no such entry"]),
        ("ListVisits", r#"{"card_number":1002,"page_token":"abc"}"#, ["INVALID_ARGUMENT", "page_token"]),
        ("ListVisits", r#"{"card_number":1002,"kind":77}"#, ["INVALID_ARGUMENT", "`kind`"]),
        (
            "ListVisits",
            r#"{"card_number":1002,"since":{"year":2026,"month":13,"day":1}}"#,
            ["INVALID_ARGUMENT", "`since`"],
        ),
    ] {
        let told = bus.refused(method, request, &[]).await;
        assert!(parts.iter().all(|part| told.contains(part)), "{method} {request}: {told}");
        assert!(!told.contains("31.02.1999"), "values stay in the register: {told}");
    }
}

#[tokio::test]
async fn evidence_names_subjects_that_are_text_and_numbers() {
    let bus = Plugged::new().await;
    let called =
        bus.call_as("ais-portal", "health-card", "GetPatient", &["-v", "-d", &format!("{{{CARD}}}")]).await;
    let exchange = called.lines.iter().find_map(|line| line.strip_prefix("exchange ")).expect("an id");
    let evidence = bus.evidence(exchange).await;
    let subjects: Vec<_> =
        evidence.lines().filter_map(|line| line.trim().strip_prefix("subject ")).map(str::trim).collect();
    let kinds: Vec<_> = subjects.iter().filter_map(|subject| subject.split(' ').next()).collect();
    assert_eq!(
        kinds,
        ["health-card", "health-card", "person"],
        "of the request, then of the reply: {evidence}"
    );
    assert_eq!(subjects[0], subjects[1], "one card, one pseudonym");
    assert!(!evidence.contains("9007199254740993") && !evidence.contains("1000000001"), "{evidence}");
}

#[tokio::test]
async fn a_register_that_goes_comes_back_and_is_replaced() {
    let bus = Plugged::new().await;
    let (request, kept) = (r#"{"card_number":1002}"#, bus.path("institution/kept.db"));
    assert_eq!(bus.get("GetPatient", request, &[]).await.len(), 1);
    std::fs::rename(bus.register(), &kept).expect("moved away");
    let told = bus.refused("GetPatient", request, &[]).await;
    assert!(told.contains("REGISTER_UNAVAILABLE"), "{told}");
    std::fs::rename(&kept, bus.register()).expect("moved back");
    bus.until("GetPatient", request, |told| told.contains("Ëngjëll")).await;

    // A register that is exported anew every night: the new file answers, not the one that was open.
    let next = bus.path("institution/next.db");
    make_register(&next, include_str!("fourth/register.sql")).await;
    make_register(&next, "update KARTELAT set EMRI_P = 'Žana' where KRT_NR = 1002").await;
    std::fs::rename(next, bus.register()).expect("replaced");
    let found = bus.get("GetPatient", request, &[]).await;
    assert_eq!(found[0]["patient"]["name"]["given"], "Žana");
    bus.never_restarted();
}
