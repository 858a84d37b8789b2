//! Vehicles: a SOAP 1.1 service with its WSDL, as a ministry bought one long ago. Knows no other register.

mod request;
mod wsdl;

use std::{collections::HashMap, fmt::Write, sync::Arc};

use axum::{
    Router,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use quick_xml::escape::escape;
use time::Date;

pub(crate) use self::wsdl::PATH;
use self::{
    request::{Call, ENVELOPE},
    wsdl::NAMESPACE,
};
use crate::{
    http::Broken,
    population::{AS_OF, Owner, Population, Vehicle},
};

/// Vehicles of a page where the caller names no number.
const PAGE_DEFAULT: usize = 50;
/// Most vehicles of a page.
const PAGE_MAX: usize = 500;

/// The register's card index.
#[derive(Debug)]
pub(crate) struct Index {
    population: Arc<Population>,
    by_plate: HashMap<String, usize>,
    by_chassis: HashMap<String, usize>,
    by_owner: HashMap<String, Vec<usize>>,
}

impl Index {
    pub(crate) fn new(population: Arc<Population>) -> Self {
        let mut by_plate = HashMap::new();
        let mut by_chassis = HashMap::new();
        let mut by_owner = HashMap::<String, Vec<usize>>::new();
        for (at, vehicle) in population.vehicles.iter().enumerate() {
            by_plate.insert(plain(&vehicle.plate), at);
            by_chassis.insert(vehicle.chassis_number.clone(), at);
            let owner = match vehicle.owner {
                Owner::Person(id) => &population.people[id].personal_number,
                Owner::Business(id) => &population.businesses[id].number,
            };
            by_owner.entry(owner.clone()).or_default().push(at);
        }
        for list in by_owner.values_mut() {
            list.sort_by(|one, two| population.vehicles[*one].plate.cmp(&population.vehicles[*two].plate));
        }
        Self { population, by_plate, by_chassis, by_owner }
    }
}

/// A number without blanks and hyphens, in capitals.
fn plain(number: &str) -> String {
    number.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_uppercase()).collect()
}

/// What the service says instead of an answer.
enum Fault {
    NotFound,
    Malformed(&'static str),
    Internal,
}

/// The routes of the service.
pub(crate) fn routes(index: Arc<Index>) -> Router {
    Router::new().route(PATH, get(describe).post(call)).with_state(index)
}

/// How the service fails when it is ordered to.
pub(crate) fn broken() -> Broken {
    Broken {
        failure: || fault(&Fault::Internal),
        nonsense: || {
            let html = "<html><head><title>Mirëmbajtje</title><body>Sistemi <b>nuk punon</body>";
            ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()
        },
    }
}

async fn describe(RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1");
    match query {
        Some(query) if query.eq_ignore_ascii_case("wsdl") => xml(StatusCode::OK, wsdl::wsdl(host)),
        _ => (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")]).into_response(),
    }
}

async fn call(State(index): State<Arc<Index>>, headers: HeaderMap, body: String) -> Response {
    match answer(&index, &headers, &body) {
        Ok(answer) => xml(StatusCode::OK, envelope(&answer)),
        Err(problem) => fault(&problem),
    }
}

fn answer(index: &Index, headers: &HeaderMap, body: &str) -> Result<String, Fault> {
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.to_ascii_lowercase().starts_with("text/xml") {
        return Err(Fault::Malformed("Content-Type duhet të jetë text/xml"));
    }
    let call = request::parse(body).map_err(Fault::Malformed)?;
    let action = headers.get("soapaction").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if action.trim_matches('"') != format!("{NAMESPACE}#{}", call.operation) {
        return Err(Fault::Malformed("SOAPAction nuk i përgjigjet operacionit"));
    }
    match call.operation.as_str() {
        "MerrMjetin" => one(index, &call),
        "ListoMjetet" => list(index, &call),
        _ => Err(Fault::Malformed("operacion i panjohur")),
    }
}

fn one(index: &Index, call: &Call) -> Result<String, Fault> {
    only(call, &["targa", "nrShasise"])?;
    let at = match (call.get("targa"), call.get("nrShasise")) {
        (Some(plate), None) => index.by_plate.get(&plain(plate)),
        (None, Some(chassis)) => index.by_chassis.get(&plain(chassis)),
        _ => return Err(Fault::Malformed("kërkohet targa ose nrShasise")),
    };
    let vehicle = &index.population.vehicles[*at.ok_or(Fault::NotFound)?];
    let mut text = String::from("<m:MerrMjetinPergjigja>");
    write_vehicle(&mut text, vehicle);
    write_owner(&mut text, &index.population, vehicle);
    text.push_str("</m:MerrMjetinPergjigja>");
    Ok(text)
}

fn list(index: &Index, call: &Call) -> Result<String, Fault> {
    only(call, &["nrPersonal", "nui", "kufiri", "zhvendosja"])?;
    let owner = match (call.get("nrPersonal"), call.get("nui")) {
        (Some(number), None) | (None, Some(number)) => number,
        _ => return Err(Fault::Malformed("kërkohet nrPersonal ose nui")),
    };
    let limit = number(call, "kufiri", PAGE_DEFAULT)?;
    let offset = number(call, "zhvendosja", 0)?;
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Fault::Malformed("kufiri duhet të jetë prej 1 deri në 500"));
    }
    let all = index.by_owner.get(owner).map_or(&[][..], Vec::as_slice);
    let mut text = String::from("<m:ListoMjetetPergjigja>");
    element(&mut text, "gjithsej", &all.len().to_string());
    for at in all.iter().skip(offset).take(limit) {
        write_vehicle(&mut text, &index.population.vehicles[*at]);
    }
    text.push_str("</m:ListoMjetetPergjigja>");
    Ok(text)
}

fn only(call: &Call, names: &[&str]) -> Result<(), Fault> {
    if call.parameters.iter().all(|(name, _)| names.contains(&name.as_str())) {
        Ok(())
    } else {
        Err(Fault::Malformed("element i papritur"))
    }
}

fn number(call: &Call, name: &str, default: usize) -> Result<usize, Fault> {
    call.get(name)
        .map_or(Ok(default), |text| text.parse().map_err(|_| Fault::Malformed("numër i pavlefshëm")))
}

fn element(text: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    let _infallible = write!(text, "<m:{name}>{}</m:{name}>", escape(value));
}

fn day(day: Date) -> String {
    format!("{:02}.{:02}.{:04}", day.day(), u8::from(day.month()), day.year())
}

fn write_vehicle(text: &mut String, vehicle: &Vehicle) {
    let status = match (vehicle.deregistered, vehicle.valid_until < AS_OF) {
        (true, _) => "C",
        (false, true) => "S",
        (false, false) => "A",
    };
    text.push_str("<m:mjeti>");
    element(text, "targa", &vehicle.plate);
    element(text, "nrShasise", &vehicle.chassis_number);
    element(text, "marka", vehicle.kind.make);
    element(text, "modeli", vehicle.kind.model);
    element(text, "kategoria", vehicle.kind.category);
    element(text, "lendaDjegese", vehicle.kind.fuel);
    element(text, "ngjyra", vehicle.colour);
    element(text, "viti", &vehicle.year.to_string());
    element(text, "vellimi", &vehicle.kind.engine_cm3.to_string());
    element(text, "fuqia", &vehicle.kind.power_kw.to_string());
    element(text, "dtRegjistrimitPare", &day(vehicle.first_registered_on));
    element(text, "dtVlefshmerise", &day(vehicle.valid_until));
    element(text, "statusi", status);
    element(text, "ndalesa", &vehicle.restriction.to_string());
    text.push_str("</m:mjeti>");
}

fn write_owner(text: &mut String, population: &Population, vehicle: &Vehicle) {
    text.push_str("<m:pronari>");
    match vehicle.owner {
        Owner::Person(id) => {
            let person = &population.people[id];
            element(text, "lloji", "P");
            element(text, "nrPersonal", &person.personal_number);
            element(text, "emri", person.given_name);
            element(text, "mbiemri", person.family_name);
            element(text, "adresa", &person.address);
        }
        Owner::Business(at) => {
            let business = &population.businesses[at];
            element(text, "lloji", "B");
            element(text, "nui", &business.number);
            element(text, "emriBiznesit", &business.name);
            element(text, "adresa", &business.address);
        }
    }
    text.push_str("</m:pronari>");
}

fn envelope(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soap:Envelope xmlns:soap=\"{ENVELOPE}\" xmlns:m=\"{NAMESPACE}\"><soap:Body>{body}</soap:Body></soap:Envelope>"
    )
}

fn xml(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/xml; charset=utf-8")], text).into_response()
}

fn fault(problem: &Fault) -> Response {
    let (code, detail, message) = match problem {
        Fault::NotFound => ("soap:Client", "MjetiNukUGjet", "mjeti nuk u gjet"),
        Fault::Malformed(what) => ("soap:Client", "KerkeseEGabuar", *what),
        Fault::Internal => ("soap:Server", "GabimIBrendshem", "gabim i brendshëm"),
    };
    let message = escape(message);
    let body = format!(
        "<soap:Fault><faultcode>{code}</faultcode><faultstring>{message}</faultstring><detail><m:{detail}><m:mesazhi>{message}</m:mesazhi></m:{detail}></detail></soap:Fault>"
    );
    xml(StatusCode::INTERNAL_SERVER_ERROR, envelope(&body))
}
