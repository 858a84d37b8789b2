//! The HTTP client of a register: its connections, whom it trusts, and the certificate that it shows, which may be
//! replaced while it runs.

use std::sync::{Mutex, PoisonError};

use reqwest::{
    Client, Identity,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use tokio::time::Instant;

use super::IDLE;
use crate::{
    plan::{IdentityFiles, RegisterPlan},
    register::ConnectError,
    secrets,
};

/// Makes clients of the same settings.
pub(super) struct Clients {
    settings: Settings,
    identity: Option<IdentityFiles>,
    held: Mutex<Held>,
}

struct Settings {
    connections_max: usize,
    connect_timeout: std::time::Duration,
    headers: HeaderMap,
    authorities: Vec<reqwest::Certificate>,
}

struct Held {
    client: Client,
    /// What its certificate was made of; empty where it has none.
    pem: Vec<u8>,
    looked: Instant,
}

impl Clients {
    pub(super) fn new(plan: &RegisterPlan) -> Result<Self, ConnectError> {
        let headers = plan.headers.iter().filter_map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            let mut value = HeaderValue::from_str(value).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        });
        let authorities = match &plan.ca_file {
            None => Vec::new(),
            Some(path) => {
                let pem = secrets::read(path).map_err(|reason| secrets::unusable(path, reason))?;
                let read = reqwest::Certificate::from_pem_bundle(&pem)
                    .map_err(|error| secrets::unusable(path, error.to_string()))?;
                if read.is_empty() {
                    return Err(secrets::unusable(path, "there is no certificate in PEM in it"));
                }
                read
            }
        };
        let settings = Settings {
            connections_max: usize::try_from(plan.connections_max).unwrap_or(usize::MAX),
            connect_timeout: plan.timeout * 3 / 4,
            headers: headers.collect(),
            authorities,
        };
        let pem = plan.client_identity.as_ref().map(secrets::read_identity).transpose()?;
        let client = settings.client(pem.as_deref(), plan.client_identity.as_ref())?;
        let held = Held { client, pem: pem.unwrap_or_default(), looked: Instant::now() };
        Ok(Self { settings, identity: plan.client_identity.clone(), held: Mutex::new(held) })
    }

    /// The client, with the certificate that stands in the files now or did a little while ago.
    pub(super) async fn current(&self) -> Client {
        let (client, looked) = {
            let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            (held.client.clone(), held.looked)
        };
        let Some(files) = self.identity.clone().filter(|_| looked.elapsed() >= secrets::REREAD_EVERY) else {
            return client;
        };
        let path = files.certificate.clone();
        let read = tokio::task::spawn_blocking(move || secrets::read_identity(&files)).await;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.looked = Instant::now();
        let renewed = match read {
            Ok(Ok(pem)) if pem != held.pem => {
                self.settings.client(Some(&pem), self.identity.as_ref()).map(|client| (client, pem))
            }
            Ok(Err(error)) => Err(error),
            Ok(Ok(_)) | Err(_) => return held.client.clone(),
        };
        match renewed {
            // Calls in hand end on the connections that they have.
            Ok((client, pem)) => (held.client, held.pem) = (client, pem),
            Err(error) => {
                let reason = ura_runtime::process::chain(&error);
                tracing::warn!(file = %path.display(), reason, "going on with the certificate read before");
            }
        }
        held.client.clone()
    }
}

impl Settings {
    fn client(&self, pem: Option<&[u8]>, files: Option<&IdentityFiles>) -> Result<Client, ConnectError> {
        let mut client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(self.connect_timeout)
            .pool_max_idle_per_host(self.connections_max)
            .pool_idle_timeout(IDLE)
            .default_headers(self.headers.clone())
            .tls_certs_merge(self.authorities.clone());
        if let (Some(pem), Some(files)) = (pem, files) {
            let path = &files.certificate;
            let identity = Identity::from_pem(pem)
                .map_err(|_| secrets::unusable(path, "no certificate and key in PEM"))?;
            client = client.identity(identity);
        }
        client.build().map_err(ConnectError::Http)
    }
}
