//! What a demo is made of: a PKI, contracts, directory and configurations in one folder, written as
//! an operator would, so that every file can be read and changed while the demo runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use time::{Duration, OffsetDateTime};
use ura_certs::{Authority, CertsError, Issue, LEAF_LIFETIME, Usage};
use ura_runtime::clock::Clock;

/// The demo's trust domain.
pub(super) const TRUST_DOMAIN: &str = "ura.test";

/// The systems of the demo: certificates are issued to them.
const SYSTEMS: [&str; 6] = [
    "ais/gateway",
    "ais/portal",
    "mashti/school-books",
    "arc/civil-status",
    "atk/property-tax",
    "mpb/vehicles",
];

/// Names under which ordinary clients reach the gateway.
const GATEWAY_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// An adapter of the demo: its system, its file and the variable in it that names its register.
pub(super) struct DemoAdapter {
    pub(super) system: &'static str,
    file: &'static str,
    text: &'static str,
    variable: &'static str,
}

/// The three adapters.
pub(super) const ADAPTERS: [DemoAdapter; 3] = [
    DemoAdapter {
        system: "arc/civil-status",
        file: "civil-status",
        text: include_str!("../../config/adapters/civil-status.toml"),
        variable: "${URA_CIVIL_STATUS_URL}",
    },
    DemoAdapter {
        system: "atk/property-tax",
        file: "property-tax",
        text: include_str!("../../config/adapters/property-tax.toml"),
        variable: "${URA_PROPERTY_TAX_URL}",
    },
    DemoAdapter {
        system: "mpb/vehicles",
        file: "vehicles",
        text: include_str!("../../config/adapters/vehicles.toml"),
        variable: "${URA_VEHICLES_URL}",
    },
];

/// Why the folder cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetupError {
    /// A file or folder.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The PKI.
    #[error(transparent)]
    Certs(#[from] CertsError),
}

/// The folder of a demo.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// A folder at this place; made where it is missing.
    pub(super) fn open(path: PathBuf) -> Result<Self, SetupError> {
        fs::create_dir_all(&path).map_err(|source| SetupError::Io { path: path.clone(), source })?;
        // Lines that can be pasted in another folder need the whole path.
        let whole = fs::canonicalize(&path).map_err(|source| SetupError::Io { path, source })?;
        Ok(Self(whole))
    }

    /// A place in the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The identity folder of a system.
    pub(super) fn identity(&self, system: &str) -> PathBuf {
        self.path("config/pki").join(system.replace('/', "-"))
    }

    /// Makes the PKI, or takes the one that is there.
    pub(super) fn make_pki(&self) -> Result<(), SetupError> {
        let now = OffsetDateTime::from_unix_timestamp(Clock::system().unix_us() / 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let dir = self.path("authority");
        let authority =
            if dir.exists() { Authority::open(&dir)? } else { Authority::init(&dir, TRUST_DOMAIN, now)? };
        for system in SYSTEMS {
            let out = self.identity(system);
            if out.exists() {
                continue;
            }
            let names: &[&str] = if system == "ais/gateway" { &GATEWAY_NAMES } else { &[] };
            let request = Issue {
                system: system.to_owned(),
                names: names.iter().map(|name| (*name).to_owned()).collect(),
                not_before: now - Duration::minutes(5),
                lifetime: LEAF_LIFETIME,
                usage: Usage::Both,
            };
            if let Some(parent) = out.parent() {
                make_dir(parent)?;
            }
            authority.issue(&request, &out)?;
        }
        Ok(())
    }

    /// Writes the contracts, where adapters and directory look for them.
    pub(super) fn write_contracts(&self) -> Result<(), SetupError> {
        for (name, text) in ura_proto::IMPORTS.iter().chain(&ura_proto::REGISTER_CONTRACTS) {
            write(&self.path("proto").join(name), text)?;
        }
        Ok(())
    }

    /// Writes the directory, unless there is one that somebody may have changed.
    pub(super) fn write_directory(&self) -> Result<(), SetupError> {
        let path = self.path("config/directory.toml");
        if path.exists() { Ok(()) } else { write(&path, include_str!("../../config/directory.toml")) }
    }

    /// Writes the gateway's configuration and returns its path.
    pub(super) fn write_gateway(&self, listen: &str) -> Result<PathBuf, SetupError> {
        let path = self.path("config/gateway.toml");
        let text = format!(
            "# Written by `ura demo`.\n\
             listen = \"{listen}\"\n\
             identity = \"pki/ais-gateway\"\n\
             directory = \"directory.toml\"\n\n\
             [evidence]\n\
             store = \"sqlite:../state/evidence.db\"\n\
             keys = \"../state/keys\"\n\
             log_keys = \"../state/log-keys\"\n\
             origin = \"{TRUST_DOMAIN}/gateway-1\"\n"
        );
        make_dir(&self.path("state"))?;
        write(&path, &text)?;
        Ok(path)
    }

    /// Writes an adapter's files and returns the path of its configuration.
    pub(super) fn write_adapter(
        &self,
        adapter: &DemoAdapter,
        register_url: &str,
        gateway: &str,
    ) -> Result<PathBuf, SetupError> {
        let declared = format!("adapters/{}.toml", adapter.file);
        write(&self.path("config").join(&declared), &adapter.text.replace(adapter.variable, register_url))?;
        let path = self.path("config").join(format!("adapter-{}.toml", adapter.file));
        let text = format!(
            "# Written by `ura demo`.\n\
             system = \"{}\"\n\
             identity = \"pki/{}\"\n\
             gateways = [\"{gateway}\"]\n\
             gateway_id = \"spiffe://{TRUST_DOMAIN}/ais/gateway\"\n\
             contracts = [\"{declared}\"]\n",
            adapter.system,
            adapter.system.replace('/', "-"),
        );
        write(&path, &text)?;
        Ok(path)
    }
}

fn make_dir(path: &Path) -> Result<(), SetupError> {
    fs::create_dir_all(path).map_err(|source| SetupError::Io { path: path.to_path_buf(), source })
}

fn write(path: &Path, text: &str) -> Result<(), SetupError> {
    if let Some(parent) = path.parent() {
        make_dir(parent)?;
    }
    fs::write(path, text).map_err(|source| SetupError::Io { path: path.to_path_buf(), source })
}
