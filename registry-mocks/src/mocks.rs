//! Starts the three registers and their control port, and stops them.

use std::{collections::BTreeMap, sync::Arc};

use ura_runtime::clock::Clock;

use crate::{
    civil_status::CivilStatus,
    config::MocksConfig,
    control,
    error::MocksError,
    fault::{Fault, Register},
    http::{HttpRegister, PlainListener},
    people::People,
    population::Population,
    property_tax::{self, Ledger},
    request_log::{LoggedRequest, RequestLog},
    vehicles,
};

/// The running mocks. Dropped without [`Mocks::shutdown`], they end with the runtime.
pub struct Mocks {
    controls: Arc<Controls>,
    people: People,
    control: PlainListener,
}

impl Mocks {
    /// Makes the people, fills the civil status database and listens. `progress` gets short lines to show.
    ///
    /// # Errors
    /// [`MocksError`]: a value out of range, an address that is taken, a database that cannot be written.
    pub async fn start(config: MocksConfig, progress: impl Fn(&str) + Send) -> Result<Self, MocksError> {
        config.validate()?;
        progress(&format!("mocks: making {} people from seed {}", config.people, config.seed));
        let population = Arc::new(Population::generate(config.seed, config.people));
        progress(&format!(
            "mocks: {} marriages, {} properties, {} invoices, {} businesses, {} vehicles",
            population.marriages.len(),
            population.properties.len(),
            population.invoices.len(),
            population.businesses.len(),
            population.vehicles.len()
        ));
        let clock = Clock::system();
        let people = People::new(population.clone(), config.civil_status.documents_max);
        let ledger =
            Arc::new(Ledger::new(population.clone(), config.property_tax.payments_max, clock.clone()));
        let tax = HttpRegister::start(
            config.property_tax.listen,
            config.seed,
            RequestLog::new(config.requests_kept_max, clock.clone()),
            property_tax::broken(),
            property_tax::routes(ledger.clone()),
        )?;
        let index = Arc::new(vehicles::Index::new(population));
        let vehicles = HttpRegister::start(
            config.vehicles.listen,
            config.seed,
            RequestLog::new(config.requests_kept_max, clock),
            vehicles::broken(),
            vehicles::routes(index),
        )?;
        // Last: whoever finds an address taken has not touched the database of the mocks that run there.
        let civil = CivilStatus::fill(&config.civil_status, &people, &progress).await?;
        let controls = Arc::new(Controls { civil, tax, vehicles, ledger });
        let control = PlainListener::start(config.control, control::routes(controls.clone()))?;
        Ok(Self { controls, people, control })
    }

    /// Faults, logs and counts.
    #[must_use]
    pub fn controls(&self) -> &Controls {
        &self.controls
    }

    /// Somebody to ask about.
    #[must_use]
    pub fn people(&self) -> &People {
        &self.people
    }

    /// URL of the civil status database.
    #[must_use]
    pub fn civil_status_url(&self) -> String {
        self.controls.url(Register::CivilStatus)
    }

    /// Base URL of the tax service: scheme, address and port.
    #[must_use]
    pub fn tax_url(&self) -> String {
        self.controls.url(Register::PropertyTax)
    }

    /// Base URL of the vehicle service: scheme, address and port.
    #[must_use]
    pub fn vehicles_url(&self) -> String {
        self.controls.url(Register::Vehicles)
    }

    /// Base URL of the control port.
    #[must_use]
    pub fn control_url(&self) -> String {
        format!("http://{}", self.control.address)
    }

    /// Stops listening, closes every connection and lets go of the database.
    pub async fn shutdown(self) {
        self.control.stop().await;
        if let Some(controls) = Arc::into_inner(self.controls) {
            controls.tax.stop().await;
            controls.vehicles.stop().await;
            controls.civil.stop().await;
        }
    }
}

/// Faults, logs and counts of the running mocks; what the control port offers.
pub struct Controls {
    civil: CivilStatus,
    tax: HttpRegister,
    vehicles: HttpRegister,
    ledger: Arc<Ledger>,
}

impl Controls {
    /// Where a register is.
    #[must_use]
    pub fn url(&self, register: Register) -> String {
        match register {
            Register::CivilStatus => self.civil.url().to_owned(),
            Register::PropertyTax => format!("http://{}", self.tax.address),
            Register::Vehicles => format!("http://{}", self.vehicles.address),
        }
    }

    /// Where a register is, without the password that a database URL may hold: for logs and the control port.
    #[must_use]
    pub fn public_url(&self, register: Register) -> String {
        let url = self.url(register);
        let parts = url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?)));
        match parts {
            Some((scheme, (login, place))) => {
                let user = login.split_once(':').map_or(login, |(user, _)| user);
                format!("{scheme}://{user}@{place}")
            }
            None => url,
        }
    }

    /// The fault in force.
    pub async fn fault(&self, register: Register) -> Fault {
        match register {
            Register::CivilStatus => self.civil.fault().await,
            Register::PropertyTax => self.tax.fault(),
            Register::Vehicles => self.vehicles.fault(),
        }
    }

    /// Puts a fault in force, in place of the one before; it is there when this returns.
    ///
    /// # Errors
    /// [`MocksError::Fault`] where it is out of range or this register cannot have it; others where it could not be done.
    pub async fn set_fault(&self, register: Register, fault: Fault) -> Result<(), MocksError> {
        fault.check(register)?;
        match register {
            Register::CivilStatus => self.civil.set_fault(fault).await,
            Register::PropertyTax => self.tax.set_fault(fault).await,
            Register::Vehicles => self.vehicles.set_fault(fault).await,
        }
    }

    /// The last requests, oldest first.
    ///
    /// # Errors
    /// [`MocksError::Fault`] for the SQL register, which sees none.
    pub fn requests(&self, register: Register) -> Result<Vec<LoggedRequest>, MocksError> {
        Ok(self.http(register)?.log.entries())
    }

    /// Forgets the requests so far.
    ///
    /// # Errors
    /// [`MocksError::Fault`] for the SQL register, which sees none.
    pub fn forget_requests(&self, register: Register) -> Result<(), MocksError> {
        self.http(register)?.log.clear();
        Ok(())
    }

    /// Payments that the tax register counted, by UNIREF.
    #[must_use]
    pub fn payments(&self) -> BTreeMap<String, u64> {
        self.ledger.counts()
    }

    fn http(&self, register: Register) -> Result<&HttpRegister, MocksError> {
        match register {
            Register::PropertyTax => Ok(&self.tax),
            Register::Vehicles => Ok(&self.vehicles),
            Register::CivilStatus => {
                Err(MocksError::Fault("a SQL register has no log of requests".to_owned()))
            }
        }
    }
}
