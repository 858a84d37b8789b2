//! The three registers as their clients see them, and the faults that the control port orders.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use sqlx::{Connection, Row, SqliteConnection};
use ura_registry_mocks::{Fault, Mocks, MocksConfig, MocksError, Register, RequestState};

/// Named in every population, so a failure can be repeated.
const SEED: u64 = 1;

struct World {
    mocks: Mocks,
    client: Client,
    _folder: tempfile::TempDir,
}

async fn world(people: usize) -> World {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("new/civil.db").display());
    let mocks = Mocks::start(MocksConfig::new(SEED, people, url), |_| {}).await.unwrap();
    World { mocks, client: Client::builder().no_proxy().build().unwrap(), _folder: folder }
}

impl World {
    async fn get(&self, url: String) -> Response {
        self.client.get(url).send().await.unwrap()
    }

    async fn put(&self, register: &str, fault: Value) -> StatusCode {
        let url = format!("{}/registers/{register}", self.mocks.control_url());
        self.client.put(url).json(&fault).send().await.unwrap().status()
    }

    async fn pay(&self, key: &str, uniref: &str, amount: &str) -> Response {
        let body = json!({ "uniref": uniref, "shuma": amount, "monedha": "EUR", "data_pageses": "2026-06-01",
            "paguesi": { "emri": "Gëzim Çitaku" } });
        let url = format!("{}/api/v2/pagesat", self.mocks.tax_url());
        self.client.post(url).header("Idempotency-Key", key).json(&body).send().await.unwrap()
    }

    async fn soap(&self, operation: &str, body: &str) -> Response {
        let text = format!(
            "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns=\"urn:mpb:qrm:mjetet:v1\"><e:Body><{operation}>{body}</{operation}></e:Body></e:Envelope>"
        );
        self.client
            .post(format!("{}/sherbimi/mjetet", self.mocks.vehicles_url()))
            .header("Content-Type", "text/xml; charset=utf-8")
            .header("SOAPAction", format!("\"urn:mpb:qrm:mjetet:v1#{operation}\""))
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .body(text)
            .send()
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn the_tax_register_lists_shows_and_pages() {
    let world = world(800).await;
    let invoice = world.mocks.people().unpaid_invoice().unwrap();
    let person = world.mocks.people().taxpayer(invoice);
    let base = world.mocks.tax_url();
    let list = format!("{base}/api/v2/faturat?nr_personal={}", person.personal_number);
    let all: Value = world.get(list.clone()).await.json().await.unwrap();
    let total = all["te_dhenat"]["gjithsej"].as_u64().unwrap();
    assert_eq!(all["te_dhenat"]["faturat"].as_array().unwrap().len() as u64, total);
    let page: Value = world.get(format!("{list}&kufiri=1&zhvendosja=0")).await.json().await.unwrap();
    assert_eq!(page["te_dhenat"]["faturat"][0], all["te_dhenat"]["faturat"][0]);
    let open: Value = world.get(format!("{list}&statusi=PAPAGUAR")).await.json().await.unwrap();
    let open = open["te_dhenat"]["faturat"].as_array().unwrap();
    assert!(open.iter().any(|one| one["uniref"] == invoice.uniref.as_str()));
    assert!(open.iter().all(|one| one["statusi"] == "PAPAGUAR"));

    let one: Value =
        world.get(format!("{base}/api/v2/faturat/{}", invoice.uniref)).await.json().await.unwrap();
    assert_eq!(one["te_dhenat"]["tatimpaguesi"]["emri"], person.given_name);
    assert_eq!(one["te_dhenat"]["fatura"]["mbetja"], one["te_dhenat"]["fatura"]["shuma"]);

    for (path, status, code) in [
        ("faturat/0000000000000000", 404, "FATURA_NUK_EKZISTON"),
        ("faturat?nr_personal=1&kufiri=0", 400, "KERKESE_E_GABUAR"),
        ("faturat?nr_personal=1&statusi=X", 400, "KERKESE_E_GABUAR"),
        ("faturat", 400, "KERKESE_E_GABUAR"),
        ("tjeter", 404, "RRUGE_E_PANJOHUR"),
    ] {
        let answer = world.get(format!("{base}/api/v2/{path}")).await;
        assert_eq!(answer.status().as_u16(), status, "{path}");
        assert_eq!(answer.json::<Value>().await.unwrap()["gabimi"]["kodi"], code, "{path}");
    }
    let nobody: Value =
        world.get(format!("{base}/api/v2/faturat?nr_personal=0000000000")).await.json().await.unwrap();
    assert_eq!(nobody["te_dhenat"]["faturat"], json!([]));
    world.mocks.shutdown().await;
}

#[tokio::test]
async fn a_payment_counts_once_for_its_key() {
    let world = world(800).await;
    let uniref = world.mocks.people().unpaid_invoice().unwrap().uniref.clone();
    let first = world.pay("k-1", &uniref, "0.50").await;
    assert_eq!(first.status(), 201);
    let first: Value = first.json().await.unwrap();
    assert_eq!(first["te_dhenat"]["statusi"], "PJESERISHT");
    assert_eq!(world.pay("k-1", &uniref, "0.50").await.json::<Value>().await.unwrap(), first);
    let other = world.pay("k-1", &uniref, "0.51").await;
    assert_eq!(other.status(), 409);
    assert_eq!(other.json::<Value>().await.unwrap()["gabimi"]["kodi"], "CELESI_I_PERDORUR");
    assert_eq!(world.pay("", &uniref, "0.50").await.status(), 400);
    assert_eq!(world.pay("k-2", &uniref, "999999.00").await.status(), 422);

    let count: Value =
        world.get(format!("{}/payments/{uniref}", world.mocks.control_url())).await.json().await.unwrap();
    assert_eq!(count["payments"], 1);
    assert_eq!(world.mocks.controls().payments()[&uniref], 1);
    let log = world.mocks.controls().requests(Register::PropertyTax).unwrap();
    assert_eq!(log[0].headers["idempotency-key"], "k-1");
    assert_eq!((log[0].state, log[0].status), (RequestState::Answered, 201));
    world.mocks.shutdown().await;
}

#[tokio::test]
async fn the_vehicle_register_speaks_soap() {
    let world = world(800).await;
    let people = world.mocks.people();
    let vehicle = people.vehicle().unwrap();
    let loose_plate = vehicle.plate.to_lowercase().replace('-', " ");
    let by_plate = world.soap("MerrMjetin", &format!("<targa>{loose_plate}</targa>")).await;
    assert_eq!(by_plate.status(), 200);
    let by_plate = by_plate.text().await.unwrap();
    assert!(by_plate.contains(&format!("<m:nrPersonal>{}</m:nrPersonal>", people.owner_number(vehicle))));
    let body = format!("<targa/><nrShasise>{}</nrShasise>", vehicle.chassis_number);
    assert_eq!(world.soap("MerrMjetin", &body).await.text().await.unwrap(), by_plate);

    let owner = people.owner_of_several().unwrap();
    let body = format!("<nrPersonal>{}</nrPersonal>", owner.personal_number);
    let list = world.soap("ListoMjetet", &body).await.text().await.unwrap();
    assert!(list.matches("<m:mjeti>").count() >= 2);
    let page =
        world.soap("ListoMjetet", &format!("{body}<kufiri>1</kufiri><zhvendosja>1</zhvendosja>")).await;
    assert_eq!(page.text().await.unwrap().matches("<m:mjeti>").count(), 1);

    for (operation, body, detail) in [
        ("MerrMjetin", "<targa>07-999-ZZ</targa>", "MjetiNukUGjet"),
        ("MerrMjetin", "", "KerkeseEGabuar"),
        ("MerrMjetin", "<targa>1</targa><nrShasise>2</nrShasise>", "KerkeseEGabuar"),
        ("Fshij", "", "KerkeseEGabuar"),
        ("ListoMjetet", "<nui>1</nui><kufiri>x</kufiri>", "KerkeseEGabuar"),
    ] {
        let fault = world.soap(operation, body).await;
        assert_eq!(fault.status(), 500, "{operation} {body}");
        let text = fault.text().await.unwrap();
        assert!(text.contains("<faultcode>soap:Client</faultcode>"), "{text}");
        assert!(text.contains(&format!("<detail><m:{detail}>")), "{text}");
    }
    let wsdl =
        world.get(format!("{}/sherbimi/mjetet?wsdl", world.mocks.vehicles_url())).await.text().await.unwrap();
    assert!(wsdl.contains(&format!("{}/sherbimi/mjetet", world.mocks.vehicles_url())));
    let log = world.mocks.controls().requests(Register::Vehicles).unwrap();
    assert!(log[0].headers["traceparent"].starts_with("00-0af7651916cd43dd"));
    world.mocks.shutdown().await;
}

#[tokio::test]
async fn an_outage_refuses_and_ends_on_the_same_port() {
    let world = world(50).await;
    let url = format!("{}/api/v2/faturat?nr_personal=1", world.mocks.tax_url());
    assert_eq!(world.get(url.clone()).await.status(), 200);
    for _ in 0..3 {
        assert_eq!(world.put("property-tax", json!({ "outage": true })).await, 200);
        let refused = world.client.get(url.clone()).send().await.unwrap_err();
        assert!(refused.is_connect(), "{refused:?}");
        assert_eq!(world.put("property-tax", json!({})).await, 200);
        assert_eq!(world.get(url.clone()).await.status(), 200);
    }
    world.mocks.shutdown().await;
}

#[tokio::test]
async fn ordered_failures_nonsense_and_delays_happen() {
    let world = world(50).await;
    let url = format!("{}/api/v2/faturat?nr_personal=1", world.mocks.tax_url());
    assert_eq!(world.put("property-tax", json!({ "fail_next": 1, "nonsense": true })).await, 200);
    assert_eq!(world.get(url.clone()).await.status(), 500);
    let nonsense = world.get(url.clone()).await;
    assert_eq!(nonsense.status(), 200);
    assert!(nonsense.json::<Value>().await.is_err());
    assert_eq!(world.put("vehicles", json!({ "failure_ratio": 1.0 })).await, 200);
    let fault = world.soap("MerrMjetin", "<targa>x</targa>").await.text().await.unwrap();
    assert!(fault.contains("<faultcode>soap:Server</faultcode>"), "{fault}");

    // A client that goes away during a delay is seen to have gone.
    assert_eq!(world.put("property-tax", json!({ "delay_ms": 600_000 })).await, 200);
    world.mocks.controls().forget_requests(Register::PropertyTax).unwrap();
    let gone = world.client.get(url).timeout(Duration::from_millis(50)).send().await;
    assert!(gone.unwrap_err().is_timeout());
    let dropped = async {
        loop {
            let log = world.mocks.controls().requests(Register::PropertyTax).unwrap();
            if log.last().is_some_and(|entry| entry.state == RequestState::Dropped) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), dropped).await.unwrap();
    for (register, fault, status) in [
        ("property-tax", json!({ "delay_ms": 600_001 }), 409),
        ("civil-status", json!({ "fail_next": 1 }), 409),
        ("vehicles", json!({ "delay": 1 }), 400),
        ("weather", json!({}), 404),
    ] {
        assert_eq!(world.put(register, fault).await.as_u16(), status, "{register}");
    }
    world.mocks.shutdown().await;
}

#[tokio::test]
async fn the_civil_register_holds_the_same_people() {
    let world = world(800).await;
    let url = world.mocks.civil_status_url();
    let people = world.mocks.people();
    let child = people.child().unwrap();
    let (mother, _) = people.parents(child).unwrap();
    let mut database = SqliteConnection::connect(&url).await.unwrap();
    let row = sqlx::query(
        "select p.emri, p.dtl, l.dt_lindjes, l.nena_nrp, d.permbajtja, d.madhesia from personat p
         join akt_lindjes l using (nr_personal) join dokumentet d using (nr_personal) where nr_personal = ?",
    )
    .bind(&child.personal_number)
    .fetch_one(&mut database)
    .await
    .unwrap();
    let born = child.born_on;
    let (month, day) = (u8::from(born.month()), born.day());
    assert_eq!(row.get::<String, _>("emri"), child.given_name);
    assert_eq!(row.get::<String, _>("dtl"), format!("{day:02}.{month:02}.{}", born.year()));
    assert_eq!(row.get::<String, _>("dt_lindjes"), format!("{}{month:02}{day:02}", born.year()));
    assert_eq!(row.get::<String, _>("nena_nrp"), mother.personal_number);
    let document: Vec<u8> = row.get("permbajtja");
    assert!(document.starts_with(b"%PDF-"));
    assert_eq!(row.get::<i64, _>("madhesia"), i64::try_from(document.len()).unwrap());
    let missing = people.unregistered().unwrap();
    let found = sqlx::query("select 1 from personat where nr_personal = ?").bind(&missing.personal_number);
    assert!(found.fetch_optional(&mut database).await.unwrap().is_none());

    // An outage keeps readers out; nonsense spoils the dates; both end.
    let controls = world.mocks.controls();
    database.close().await.unwrap();
    let read = async || {
        let options = url.parse::<sqlx::sqlite::SqliteConnectOptions>().unwrap().busy_timeout(Duration::ZERO);
        let mut database = SqliteConnection::connect_with(&options).await?;
        let text: String =
            sqlx::query_scalar("select min(dtl) from personat").fetch_one(&mut database).await?;
        database.close().await?;
        Ok::<_, sqlx::Error>(text)
    };
    let dark = Fault { outage: true, ..Fault::default() };
    controls.set_fault(Register::CivilStatus, dark).await.unwrap();
    assert!(read().await.unwrap_err().to_string().contains("locked"));
    let nonsense = Fault { nonsense: true, ..Fault::default() };
    controls.set_fault(Register::CivilStatus, nonsense).await.unwrap();
    assert!(read().await.unwrap().starts_with('#'));
    controls.set_fault(Register::CivilStatus, Fault::default()).await.unwrap();
    assert!(!read().await.unwrap().starts_with('#'));
    world.mocks.shutdown().await;
}

#[tokio::test]
async fn a_database_of_somebody_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}?mode=rwc", folder.path().join("other.db").display());
    let mut database = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("create table personat (a text)").execute(&mut database).await.unwrap();
    database.close().await.unwrap();
    let refused = Mocks::start(MocksConfig::new(SEED, 5, url.clone()), |_| {}).await.err().unwrap();
    assert!(matches!(refused, MocksError::NotOurs { table: "personat" }), "{refused}");
    // Its own database is made anew.
    let url = url.replace("other.db", "own.db");
    for _ in 0..2 {
        Mocks::start(MocksConfig::new(SEED, 5, url.clone()), |_| {}).await.unwrap().shutdown().await;
    }
}
