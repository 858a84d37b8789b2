//! Five processes, civil status on PostgreSQL: every method of the three contracts answers what the
//! registers hold.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::{Value, json};
use ura_proto::v1::Outcome;
use ura_registry_mocks::population::{Community, Invoice, Owner, Person, Vehicle};

use crate::{
    bus::{Bus, CIVIL, Plan, TAX, VEHICLES},
    portal::{Portal, Reply},
    relatives::{certificate, child, day, family, registered},
};

#[tokio::test]
async fn nine_methods_of_three_contracts_answer_what_the_registers_hold() {
    let bus = Bus::start(Plan { postgres: true, ..Plan::default() }).await;
    let portal = bus.portal().await;
    identities(&bus, &portal).await;
    certificates(&bus, &portal).await;
    documents(&bus, &portal).await;
    families(&bus, &portal).await;
    invoices(&bus, &portal).await;
    payments(&bus, &portal).await;
    vehicles(&bus, &portal).await;
    names(&bus, &portal).await;
}

/// Whom a request names as a person of the register.
fn identity(person: &Person) -> Value {
    json!({
        "personalNumber": person.personal_number, "givenName": person.given_name, "familyName": person.family_name,
    })
}

async fn identities(bus: &Bus, portal: &Portal) {
    let method = format!("{CIVIL}/VerifyIdentity");
    let people = &bus.population;
    let (_, living) = registered(people, Person::is_alive).next().expect("somebody");
    let (_, dead) = registered(people, |person| !person.is_alive()).next().expect("somebody");
    let unknown = people.people.iter().find(|person| !person.registered).expect("somebody");
    let mut wrong = identity(living);
    wrong["givenName"] = json!("Askush");
    for (request, verdict) in [
        (identity(living), "MATCH"),
        (wrong, "MISMATCH"),
        (identity(dead), "DECEASED"),
        (identity(unknown), "NOT_REGISTERED"),
    ] {
        let answer = portal.get(&method, request).await;
        assert_eq!(answer, json!({ "verdict": format!("IDENTITY_VERDICT_{verdict}") }));
    }
}

async fn certificates(bus: &Bus, portal: &Portal) {
    let method = format!("{CIVIL}/GetBirthCertificate");
    let (_, child) = child(&bus.population);
    let request = json!({ "personalNumber": child.personal_number });
    let mut answer = portal.get(&method, request).await;
    let entry = answer["certificate"].as_object_mut().expect("a certificate").remove("entry");
    assert_eq!(answer["certificate"], certificate(&bus.population, child));

    let client = bus.civil_status().await;
    let query = "select k.emri, libri, faqja::int4, nr_rendor::int4, dt_regj from akt_lindjes
                 join komunat k on k.kom_id = kom_libri where nr_personal = $1";
    let row = client.query_one(query, &[&child.personal_number]).await.expect("the book's entry");
    let date: Vec<u32> =
        row.get::<_, String>(4).split('/').map(|part| part.parse().expect("a number")).collect();
    let expected = json!({
        "municipality": row.get::<_, String>(0), "book": row.get::<_, String>(1),
        "page": row.get::<_, i32>(2), "number": row.get::<_, i32>(3),
        "registeredOn": { "day": date[0], "month": date[1], "year": date[2] },
    });
    assert_eq!(entry, Some(expected));

    let unknown = bus.population.people.iter().find(|person| !person.registered).expect("somebody");
    let reply = portal.ask(&method, json!({ "personalNumber": unknown.personal_number })).await;
    assert_eq!(
        (reply.ended.status(), reply.messages.len()),
        (5, 0),
        "NOT_FOUND is a normal answer: {reply:?}"
    );
    assert_eq!(bus.closed(reply.ended.exchange()).await.closing().outcome(), Outcome::Answered);
}

async fn documents(bus: &Bus, portal: &Portal) {
    let client = bus.civil_status().await;
    let largest = "select nr_personal, tipi, permbajtja from dokumentet order by madhesia desc limit 1";
    let row = client.query_one(largest, &[]).await.expect("a document");
    let (number, stored): (String, Vec<u8>) = (row.get(0), row.get(2));
    let request = json!({ "personalNumber": number });
    let reply = portal.ask(&format!("{CIVIL}/GetBirthCertificateDocument"), request).await;
    assert_eq!(reply.ended.status(), 0, "{:?}", reply.ended.trailers);
    assert!(
        stored.len() > 32 * 1024 && reply.messages.len() > 2,
        "{} in {}",
        stored.len(),
        reply.messages.len()
    );
    assert_eq!(reply.messages[0]["mediaType"], json!(row.get::<_, String>(1)));
    assert_eq!(reply.messages[0]["sizeBytes"], json!(stored.len().to_string()));
    let base64 = base64::engine::general_purpose::STANDARD;
    let data = |message: &Value| base64.decode(message["data"].as_str().unwrap_or_default()).expect("base64");
    let sent: Vec<u8> = reply.messages.iter().flat_map(data).collect();
    assert!(sent == stored, "the document arrives as it is stored, byte for byte");
}

async fn families(bus: &Bus, portal: &Portal) {
    let method = format!("{CIVIL}/ListFamilyMembers");
    let (id, person) = child(&bus.population);
    for id in [id, person.mother.expect("known"), person.father.expect("known")] {
        let person = &bus.population.people[id];
        let expected = family(&bus.population, id);
        assert!(!expected.is_empty());
        let answer = portal.get(&method, json!({ "personalNumber": person.personal_number })).await;
        assert_eq!(answer, json!({ "members": expected }), "family of {}", person.personal_number);
        // The same in pages of one.
        let (mut members, mut token) = (Vec::new(), String::new());
        for _ in 0..=expected.len() {
            let request =
                json!({ "personalNumber": person.personal_number, "pageSize": 1, "pageToken": token });
            let page = portal.get(&method, request).await;
            members.extend(page["members"].as_array().cloned().unwrap_or_default());
            token = page["nextPageToken"].as_str().unwrap_or_default().to_owned();
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(members, expected);
    }
}

fn cents(cents: i64) -> Value {
    if cents == 0 {
        json!({ "currencyCode": "EUR" })
    } else {
        json!({ "currencyCode": "EUR", "minorUnits": cents.to_string() })
    }
}

/// An invoice of which nothing was paid, of a taxpayer with several.
fn unpaid(bus: &Bus) -> &Invoice {
    let all = &bus.population.invoices;
    let several = |person| all.iter().filter(|invoice| invoice.person == person).count() > 2;
    let fits = |invoice: &&Invoice| {
        !invoice.cancelled
            && invoice.paid_cents == 0
            && invoice.total_cents() > 500
            && several(invoice.person)
    };
    all.iter().find(fits).expect("an unpaid invoice")
}

/// What stands in the population of an invoice, as the contract tells it.
fn invoice_facts(bus: &Bus, invoice: &Invoice) -> Value {
    let property = &bus.population.properties[invoice.property];
    let lines: Vec<Value> = invoice
        .lines
        .iter()
        .map(|(text, amount)| json!({ "text": text, "amount": cents(*amount) }))
        .collect();
    json!({
        "taxYear": invoice.year, "issuedOn": day(invoice.issued_on), "dueOn": day(invoice.due_on),
        "amount": cents(invoice.total_cents()), "lines": lines, "propertyNumber": property.number,
        "municipality": bus.population.municipality(property.municipality).name_sq,
        "address": property.address, "areaM2": property.area_m2,
    })
}

/// The same facts out of an answer.
fn told(invoice: &Value) -> Value {
    let mut facts = json!({
        "propertyNumber": invoice["property"]["propertyNumber"],
        "municipality": invoice["property"]["municipality"],
        "address": invoice["property"]["address"], "areaM2": invoice["property"]["areaM2"],
    });
    for key in ["taxYear", "issuedOn", "dueOn", "amount", "lines"] {
        facts[key] = invoice[key].clone();
    }
    facts
}

async fn invoices(bus: &Bus, portal: &Portal) {
    let person = unpaid(bus).person;
    let taxpayer = &bus.population.people[person];
    let request = json!({ "personalNumber": taxpayer.personal_number });
    let answer = portal.get(&format!("{TAX}/ListInvoices"), request).await;
    let by_uniref: BTreeMap<&str, Value> = answer["invoices"]
        .as_array()
        .expect("invoices")
        .iter()
        .map(|invoice| (invoice["uniref"].as_str().expect("text"), told(invoice)))
        .collect();
    let own = bus.population.invoices.iter().filter(|invoice| invoice.person == person);
    let expected: BTreeMap<&str, Value> =
        own.map(|invoice| (invoice.uniref.as_str(), invoice_facts(bus, invoice))).collect();
    assert_eq!(by_uniref, expected);

    let invoice = unpaid(bus);
    let answer = portal.get(&format!("{TAX}/GetInvoice"), json!({ "uniref": invoice.uniref })).await;
    assert_eq!(told(&answer["invoice"]), invoice_facts(bus, invoice));
    assert_eq!(answer["invoice"]["status"], "INVOICE_STATUS_UNPAID");
    assert_eq!(answer["invoice"]["outstanding"], cents(invoice.total_cents()));
    assert_eq!(answer["taxpayer"], identity(taxpayer));
}

async fn payments(bus: &Bus, portal: &Portal) {
    let method = format!("{TAX}/ConfirmPayment");
    let invoice = unpaid(bus);
    let pay = async |key: &str, amount: i64| -> Reply {
        let request = json!({
            "uniref": invoice.uniref, "amount": { "currencyCode": "EUR", "minorUnits": amount },
            "paidOn": { "year": 2026, "month": 6, "day": 1 }, "payer": { "name": "Đorđe Šarić" },
        });
        portal.ask_with(&method, &[("idempotency-key", key)], request).await
    };
    let first = pay("pagesa-1", 100).await;
    assert_eq!(first.ended.status(), 0, "{first:?}");
    assert_eq!(first.messages[0]["status"], "INVOICE_STATUS_PARTLY_PAID");
    assert_eq!(first.messages[0]["outstanding"], cents(invoice.total_cents() - 100));
    let repeated = pay("pagesa-1", 100).await;
    assert_eq!(repeated.messages, first.messages, "a repeat gets the first answer");
    assert_eq!(bus.ask_mocks(&format!("/payments/{}", invoice.uniref)).await["payments"], 1);
    assert_eq!(pay("pagesa-1", 200).await.ended.status(), 6, "the key stands for another payment");
    let rest = pay("pagesa-2", invoice.total_cents() - 100).await;
    assert_eq!(rest.messages[0]["status"], "INVOICE_STATUS_PAID");
    assert_eq!(rest.messages[0]["outstanding"], cents(0));
    assert_eq!(pay("pagesa-3", 1).await.ended.status(), 9, "a paid invoice takes nothing more");
    assert_eq!(bus.ask_mocks(&format!("/payments/{}", invoice.uniref)).await["payments"], 2);
    for reply in [first, repeated, rest] {
        let records = bus.records(reply.ended.exchange()).await;
        assert_eq!((records.opening().grant.as_str(), records.closing().status), ("atk-2026-001", 0));
    }
}

fn owner(bus: &Bus, vehicle: &Vehicle) -> (Value, Value) {
    match vehicle.owner {
        Owner::Person(id) => {
            let person = &bus.population.people[id];
            (json!({ "personalNumber": person.personal_number }), json!({ "person": identity(person) }))
        }
        Owner::Business(at) => {
            let business = &bus.population.businesses[at];
            let shown = json!({ "businessNumber": business.number, "name": business.name });
            (json!({ "businessNumber": business.number }), json!({ "business": shown }))
        }
    }
}

async fn vehicles(bus: &Bus, portal: &Portal) {
    let all = &bus.population.vehicles;
    let of_person = all.iter().find(|vehicle| matches!(vehicle.owner, Owner::Person(_))).expect("a vehicle");
    let of_business =
        all.iter().find(|vehicle| matches!(vehicle.owner, Owner::Business(_))).expect("a vehicle");
    for vehicle in [of_person, of_business] {
        let (number, mut expected) = owner(bus, vehicle);
        for request in [json!({ "plate": vehicle.plate }), json!({ "chassisNumber": vehicle.chassis_number })]
        {
            let answer = portal.get(&format!("{VEHICLES}/GetVehicle"), request).await;
            let told = &answer["vehicle"];
            assert_eq!(
                (&told["plate"], &told["chassisNumber"]),
                (&json!(vehicle.plate), &json!(vehicle.chassis_number))
            );
            assert_eq!(
                (&told["make"], &told["model"]),
                (&json!(vehicle.kind.make), &json!(vehicle.kind.model))
            );
            assert_eq!((&told["colour"], &told["year"]), (&json!(vehicle.colour), &json!(vehicle.year)));
            assert_eq!(told["validUntil"], day(vehicle.valid_until));
            assert_eq!(told["category"], format!("VEHICLE_CATEGORY_{}", vehicle.kind.category));
            expected["address"] = answer["owner"]["address"].clone();
            assert_eq!(answer["owner"], expected);
        }
        let answer = portal.get(&format!("{VEHICLES}/ListVehicles"), number).await;
        let told: Vec<&str> = answer["vehicles"]
            .as_array()
            .expect("vehicles")
            .iter()
            .filter_map(|v| v["plate"].as_str())
            .collect();
        let same = |other: &&Vehicle| other.owner == vehicle.owner;
        let mut expected: Vec<&str> = all.iter().filter(same).map(|vehicle| vehicle.plate.as_str()).collect();
        expected.sort_unstable();
        assert_eq!(told, expected);
    }
}

/// Letters beyond ASCII survive every hop, both ways.
async fn names(bus: &Bus, portal: &Portal) {
    for letter in ["ë", "ç", "š", "č", "ž", "đ"] {
        let has = |person: &Person| {
            person.is_alive()
                && format!("{} {}", person.given_name, person.family_name).to_lowercase().contains(letter)
        };
        let (_, person) =
            registered(&bus.population, has).next().unwrap_or_else(|| panic!("nobody has {letter}"));
        let verdict = portal.get(&format!("{CIVIL}/VerifyIdentity"), identity(person)).await;
        assert_eq!(
            verdict["verdict"], "IDENTITY_VERDICT_MATCH",
            "{} {}",
            person.given_name, person.family_name
        );
        let number = json!({ "personalNumber": person.personal_number });
        let certificate = portal.get(&format!("{CIVIL}/GetBirthCertificate"), number).await;
        let told = &certificate["certificate"];
        assert_eq!(told["givenName"].as_str().expect("text").as_bytes(), person.given_name.as_bytes());
        assert_eq!(told["familyName"].as_str().expect("text").as_bytes(), person.family_name.as_bytes());
    }
    for community in [Community::Serbian, Community::Turkish] {
        let of = |person: &Person| person.community == community && person.is_alive();
        let (_, person) = registered(&bus.population, of).next().expect("somebody");
        let verdict = portal.get(&format!("{CIVIL}/VerifyIdentity"), identity(person)).await;
        assert_eq!(verdict["verdict"], "IDENTITY_VERDICT_MATCH");
    }
}
