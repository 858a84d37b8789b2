//! The portal's walk: what citizens do, as calls across the bus. Each line tells consumer, provider,
//! method, status, time and exchange id; afterwards each exchange is looked up in evidence.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use prost_reflect::ReflectMessage as _;
use tonic::Code;
use ura_evidence::{
    find,
    store::{Address, Reader},
};
use ura_proto::refusal::DOMAIN;
use ura_registry_mocks::{Fault, Mocks, Register};

use super::{DemoError, setup::Folder};
use crate::call::client::{Called, Client};

const CIVIL: &str = "ks.civilstatus.v1.CivilStatusService";
const TAX: &str = "ks.tax.v1.PropertyTaxService";
const VEHICLES: &str = "ks.vehicles.v1.VehicleService";

/// How often the walk asks whether the gateway has noticed an outage or its end.
const OUTAGE_POLL: Duration = Duration::from_millis(100);
const OUTAGE_POLLS_MAX: usize = 100;

/// How a step is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// Answered.
    Answer,
    /// The register's own "no", passed on.
    RegisterSays(Code),
    /// A refusal of the bus with this reason.
    Refusal(&'static str),
}

/// Whom the portal asks, and why.
#[derive(Clone, Copy)]
struct Route {
    provider: &'static str,
    contract: &'static str,
    purpose: &'static str,
}

const ACCOUNT: Route = Route { provider: "arc/civil-status", contract: CIVIL, purpose: "account-opening" };
const BIRTH: Route = Route { provider: "arc/civil-status", contract: CIVIL, purpose: "birth-certificate" };
const PROPERTY: Route = Route { provider: "atk/property-tax", contract: TAX, purpose: "property-tax" };
const VEHICLE: Route = Route { provider: "mpb/vehicles", contract: VEHICLES, purpose: "vehicle-documents" };

const ACCESSES: Route = Route {
    provider: "ais/gateway",
    contract: "ura.v1.SubjectAccessService",
    purpose: "data-subject-access",
};

/// One call of the walk.
struct Step {
    /// What the citizen does.
    title: &'static str,
    consumer: &'static str,
    route: Route,
    method: &'static str,
    request: String,
    key: Option<String>,
    expected: Expected,
}

impl Step {
    /// A call of the portal that is answered.
    fn new(title: &'static str, route: Route, method: &'static str, request: &str) -> Self {
        let request = request.to_owned();
        Self { title, consumer: "ais/portal", route, method, request, key: None, expected: Expected::Answer }
    }

    /// A write's key.
    fn key(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self }
    }

    /// Ends otherwise.
    fn ends(self, expected: Expected) -> Self {
        Self { expected, ..self }
    }
}

/// The walk and what it needs.
pub(super) struct Walk<'d> {
    folder: &'d Folder,
    gateway: &'d str,
    mocks: &'d Mocks,
    store: &'d str,
}

impl<'d> Walk<'d> {
    /// A walk over a running demo.
    pub(super) fn new(folder: &'d Folder, gateway: &'d str, mocks: &'d Mocks, store: &'d str) -> Self {
        Self { folder, gateway, mocks, store }
    }

    /// All steps; `false` where one did not end as it should or is not in evidence.
    pub(super) async fn all(&self) -> Result<bool, DemoError> {
        let steps = self.steps()?;
        let mut exchanges = Vec::new();
        let mut went = true;
        writeln!(io::stdout(), "\nA portal asks three institutions' registers:\n")?;
        for step in &steps {
            let (called, as_expected) = self.take(step).await?;
            went &= as_expected;
            exchanges.push(called.exchange);
        }
        let tax = Register::PropertyTax;
        writeln!(io::stdout(), "\nThe tax register goes down:\n")?;
        self.mocks.controls().set_fault(tax, Fault { outage: true, ..Fault::default() }).await?;
        went &= self.until(Expected::Refusal("REGISTER_UNAVAILABLE"), &mut exchanges).await?;
        writeln!(io::stdout(), "\n… and comes back:\n")?;
        self.mocks.controls().set_fault(tax, Fault::default()).await?;
        went &= self.until(Expected::Answer, &mut exchanges).await?;
        went &= self.look_up(&exchanges).await?;
        Ok(went)
    }

    /// What citizens do, about people whom the mock registers have.
    fn steps(&self) -> Result<Vec<Step>, DemoError> {
        let people = self.mocks.people();
        let child = people.child().ok_or("the mock registers have no child")?;
        let adult = people.adult().ok_or("the mock registers have no adult")?;
        // Among few people there may be none whom the register does not know.
        let stranger = people.unregistered().map_or("0000000000", |person| &person.personal_number);
        let invoice = people.unpaid_invoice().ok_or("the mock registers have no unpaid invoice")?;
        let vehicle = people.vehicle().ok_or("the mock registers have no vehicle")?;
        let payer = people.taxpayer(invoice);
        let number = |number: &str| format!(r#"{{"personal_number":"{number}"}}"#);
        let identity = format!(
            r#"{{"personal_number":"{}","given_name":"{}","family_name":"{}"}}"#,
            adult.personal_number, adult.given_name, adult.family_name
        );
        let payment = format!(
            r#"{{"uniref":"{}","amount":{{"currency_code":"EUR","minor_units":100}},"paid_on":{{"year":2026,"month":6,"day":1}},"payer":{{"name":"{} {}","personal_number":"{}"}}}}"#,
            invoice.uniref, payer.given_name, payer.family_name, payer.personal_number
        );
        let key = format!("demo-{}-{}", invoice.uniref, std::process::id());
        let child = number(&child.personal_number);
        let uniref = format!(r#"{{"uniref":"{}"}}"#, invoice.uniref);
        let plate = format!(r#"{{"plate":"{}"}}"#, vehicle.plate);
        let not_found = Expected::RegisterSays(Code::NotFound);
        let no_grant = Step::new("asked without a grant", BIRTH, "GetBirthCertificate", &child)
            .ends(Expected::Refusal("GRANT_MISSING"));
        Ok(vec![
            Step::new("open an account", ACCOUNT, "VerifyIdentity", &identity),
            Step::new("birth certificate", BIRTH, "GetBirthCertificate", &child),
            Step::new("… as a document", BIRTH, "GetBirthCertificateDocument", &child),
            Step::new("the family", BIRTH, "ListFamilyMembers", &child),
            Step::new("someone not in the register", BIRTH, "GetBirthCertificate", &number(stranger))
                .ends(not_found),
            Step::new("property tax: invoices", PROPERTY, "ListInvoices", &number(&payer.personal_number)),
            Step::new("invoice by UNIREF", PROPERTY, "GetInvoice", &uniref),
            Step::new("pay 1.00 EUR of it", PROPERTY, "ConfirmPayment", &payment).key(&key),
            Step::new("… repeated, counts once", PROPERTY, "ConfirmPayment", &payment).key(&key),
            Step::new("vehicle by plate", VEHICLE, "GetVehicle", &plate),
            Step::new(
                "vehicles of the owner",
                VEHICLE,
                "ListVehicles",
                &number(people.owner_number(vehicle)),
            ),
            Step { consumer: "mashti/school-books", ..no_grant },
            Step::new("who looked at my data?", ACCESSES, "ListAccesses", &child),
        ])
    }

    /// Makes one call and prints its line.
    async fn take(&self, step: &Step) -> Result<(Called, bool), DemoError> {
        let called = self.call(step).await?;
        print(step, &called)?;
        let as_expected = is_as_expected(step.expected, &called);
        if !as_expected {
            writeln!(io::stdout(), "    expected {:?}", step.expected)?;
        }
        Ok((called, as_expected))
    }

    async fn call(&self, step: &Step) -> Result<Called, DemoError> {
        let client = Client::connect(self.gateway, &self.folder.identity(step.consumer)).await?;
        let mut metadata = vec![("ura-purpose", step.route.purpose), ("ura-case", "demo")];
        metadata.extend(step.key.as_deref().map(|key| ("idempotency-key", key)));
        Ok(client.call(step.route.contract, step.method, &step.request, &metadata).await?)
    }

    /// Asks for an invoice until the call ends as expected: the calls before show what the gateway has
    /// not noticed yet.
    async fn until(&self, expected: Expected, exchanges: &mut Vec<String>) -> Result<bool, DemoError> {
        let step = self.steps()?.into_iter().find(|s| s.method == "GetInvoice").ok_or("no such step")?;
        let step = step.ends(expected);
        for _ in 0..OUTAGE_POLLS_MAX {
            let called = self.call(&step).await?;
            exchanges.push(called.exchange.clone());
            if is_as_expected(expected, &called) {
                print(&step, &called)?;
                return Ok(true);
            }
            tokio::time::sleep(OUTAGE_POLL).await;
        }
        writeln!(io::stdout(), "    the gateway did not notice it")?;
        Ok(false)
    }

    /// Looks every exchange up in evidence. The closing of a read may follow its reply by a moment,
    /// the opening never does.
    async fn look_up(&self, exchanges: &[String]) -> Result<bool, DemoError> {
        let reader = Reader::open(&Address::parse(self.store)?).await?;
        let mut found = 0;
        for exchange in exchanges {
            let entries = find::exchange(&reader, exchange.parse()?).await?;
            if entries.is_empty() {
                writeln!(io::stdout(), "    exchange {exchange} is not in evidence")?;
            } else {
                found += 1;
            }
        }
        reader.close().await;
        writeln!(io::stdout(), "\n{found} of {} exchanges found in evidence by their ids.", exchanges.len())?;
        Ok(found == exchanges.len())
    }
}

fn is_as_expected(expected: Expected, called: &Called) -> bool {
    let info = called.error_info();
    match expected {
        Expected::Answer => called.status.code() == Code::Ok,
        Expected::RegisterSays(code) => {
            called.status.code() == code && info.is_some_and(|info| info.domain != DOMAIN)
        }
        Expected::Refusal(reason) => info.is_some_and(|info| info.domain == DOMAIN && info.reason == reason),
    }
}

/// The line of one call, and the text of its refusal.
fn print(step: &Step, called: &Called) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let status = format!("{:?}", called.status.code());
    writeln!(
        out,
        "  {:<28} {:<20} {:<17} {:<28} {:<17} {:>6.1} ms  {}",
        step.title,
        step.consumer,
        step.route.provider,
        step.method,
        status,
        called.elapsed.as_secs_f64() * 1000.0,
        called.exchange
    )?;
    if called.status.code() == Code::Ok {
        writeln!(out, "    {}", summary(called))?;
    } else {
        writeln!(out, "    {}", called.status.message())?;
    }
    Ok(())
}

/// The first reply in one line, cut; how many there were.
fn summary(called: &Called) -> String {
    const CHARS_MAX: usize = 150;
    let Some(first) = called.replies.first() else { return "no reply".to_owned() };
    let bytes: usize = called
        .replies
        .iter()
        .flat_map(|reply| reply.fields().filter_map(|(_, value)| value.as_bytes().map(|bytes| bytes.len())))
        .sum();
    if bytes > 0 {
        return format!(
            "{} messages of {}, {bytes} bytes of data",
            called.replies.len(),
            first.descriptor().name()
        );
    }
    let text = serde_json::to_string(first).unwrap_or_default();
    let cut: String = text.chars().take(CHARS_MAX).collect();
    if cut.len() < text.len() { format!("{cut}…") } else { cut }
}
