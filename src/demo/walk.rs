//! The portal's walk: what citizens do, as calls across the bus. Each line tells consumer, provider,
//! method, status, time and exchange id; afterwards each exchange is looked up in evidence.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use prost_reflect::ReflectMessage as _;
use tonic::Code;
use ura_gateway::find_evidence;
use ura_proto::refusal::DOMAIN;
use ura_registry_mocks::{Fault, Mocks, Register};

use super::{DemoError, setup::Folder};
use crate::call::client::{Called, Client};

const CIVIL: &str = "ks.civilstatus.v1.CivilStatusService";
const TAX: &str = "ks.tax.v1.PropertyTaxService";
const VEHICLES: &str = "ks.vehicles.v1.VehicleService";

/// How often the walk asks whether the gateway has noticed the outage.
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

/// One call of the walk.
struct Step {
    /// What the citizen does.
    title: &'static str,
    consumer: &'static str,
    provider: &'static str,
    contract: &'static str,
    method: &'static str,
    purpose: &'static str,
    request: String,
    key: Option<String>,
    expected: Expected,
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
        writeln!(io::stdout(), "\nThe tax register goes down:\n")?;
        let outage = Fault { outage: true, ..Fault::default() };
        self.mocks.controls().set_fault(Register::PropertyTax, outage).await?;
        let (called, as_expected) = self.outage().await?;
        went &= as_expected;
        exchanges.extend(called);
        self.mocks.controls().set_fault(Register::PropertyTax, Fault::default()).await?;
        went &= self.look_up(&exchanges).await?;
        Ok(went)
    }

    /// What citizens do, about people whom the mock registers have.
    fn steps(&self) -> Result<Vec<Step>, DemoError> {
        let people = self.mocks.people();
        let child = people.child().ok_or("the mock registers have no child")?;
        let adult = people.adult().ok_or("the mock registers have no adult")?;
        let stranger = people.unregistered().ok_or("the mock registers know everybody")?;
        let invoice = people.unpaid_invoice().ok_or("the mock registers have no unpaid invoice")?;
        let vehicle = people.vehicle().ok_or("the mock registers have no vehicle")?;
        let payer = people.taxpayer(invoice);
        let number = |number: &str| format!(r#"{{"personal_number":"{number}"}}"#);
        let payment = format!(
            r#"{{"uniref":"{}","amount":{{"currency_code":"EUR","minor_units":{}}},"paid_on":{{"year":2026,"month":6,"day":1}},"payer":{{"name":"{} {}","personal_number":"{}"}}}}"#,
            invoice.uniref, 100, payer.given_name, payer.family_name, payer.personal_number
        );
        let key = format!("demo-{}-{}", invoice.uniref, std::process::id());
        let civil = |title, method, purpose, request, expected| Step {
            title,
            consumer: "ais/portal",
            provider: "arc/civil-status",
            contract: CIVIL,
            method,
            purpose,
            request,
            key: None,
            expected,
        };
        let tax = |title, method, request, key| Step {
            title,
            consumer: "ais/portal",
            provider: "atk/property-tax",
            contract: TAX,
            method,
            purpose: "property-tax",
            request,
            key,
            expected: Expected::Answer,
        };
        let vehicles = |title, method, request| Step {
            title,
            consumer: "ais/portal",
            provider: "mpb/vehicles",
            contract: VEHICLES,
            method,
            purpose: "vehicle-documents",
            request,
            key: None,
            expected: Expected::Answer,
        };
        let identity = format!(
            r#"{{"personal_number":"{}","given_name":"{}","family_name":"{}"}}"#,
            adult.personal_number, adult.given_name, adult.family_name
        );
        let child_number = number(&child.personal_number);
        Ok(vec![
            civil("open an account", "VerifyIdentity", "account-opening", identity, Expected::Answer),
            civil(
                "birth certificate",
                "GetBirthCertificate",
                "birth-certificate",
                child_number.clone(),
                Expected::Answer,
            ),
            civil(
                "… as a document",
                "GetBirthCertificateDocument",
                "birth-certificate",
                child_number.clone(),
                Expected::Answer,
            ),
            civil(
                "the family",
                "ListFamilyMembers",
                "birth-certificate",
                child_number.clone(),
                Expected::Answer,
            ),
            civil(
                "someone not in the register",
                "GetBirthCertificate",
                "birth-certificate",
                number(&stranger.personal_number),
                Expected::RegisterSays(Code::NotFound),
            ),
            tax("property tax: invoices", "ListInvoices", number(&payer.personal_number), None),
            tax("invoice by UNIREF", "GetInvoice", format!(r#"{{"uniref":"{}"}}"#, invoice.uniref), None),
            tax("pay 1.00 EUR of it", "ConfirmPayment", payment.clone(), Some(key.clone())),
            tax("… repeated, counts once", "ConfirmPayment", payment, Some(key)),
            vehicles("vehicle by plate", "GetVehicle", format!(r#"{{"plate":"{}"}}"#, vehicle.plate)),
            vehicles("vehicles of the owner", "ListVehicles", number(people.owner_number(vehicle))),
            Step {
                consumer: "mashti/school-books",
                ..civil(
                    "asked without a grant",
                    "GetBirthCertificate",
                    "birth-certificate",
                    child_number,
                    Expected::Refusal("GRANT_MISSING"),
                )
            },
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
        let mut metadata = vec![("ura-purpose", step.purpose), ("ura-case", "demo")];
        metadata.extend(step.key.as_deref().map(|key| ("idempotency-key", key)));
        Ok(client.call(step.contract, step.method, &step.request, &metadata).await?)
    }

    /// Asks the register that is down until the gateway itself says so; the calls before reach the
    /// adapter, which says it.
    async fn outage(&self) -> Result<(Vec<String>, bool), DemoError> {
        let step = self.steps()?.into_iter().find(|s| s.method == "GetInvoice").ok_or("no such step")?;
        let step =
            Step { title: "invoice by UNIREF", expected: Expected::Refusal("REGISTER_UNAVAILABLE"), ..step };
        let mut exchanges = Vec::new();
        for _ in 0..OUTAGE_POLLS_MAX {
            let called = self.call(&step).await?;
            exchanges.push(called.exchange.clone());
            if is_as_expected(step.expected, &called) {
                print(&step, &called)?;
                return Ok((exchanges, true));
            }
            tokio::time::sleep(OUTAGE_POLL).await;
        }
        writeln!(io::stdout(), "    the gateway did not notice that the register is down")?;
        Ok((exchanges, false))
    }

    /// Looks every exchange up in evidence. The closing of a read may follow its reply by a moment,
    /// the opening never does.
    async fn look_up(&self, exchanges: &[String]) -> Result<bool, DemoError> {
        let mut found = 0;
        for exchange in exchanges {
            let entries = find_evidence(self.store, exchange.parse()?).await?;
            if entries.is_empty() {
                writeln!(io::stdout(), "    exchange {exchange} is not in evidence")?;
            } else {
                found += 1;
            }
        }
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
        step.provider,
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
