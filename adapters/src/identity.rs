//! The adapter's own certificate, read anew whenever it is used for a new connection and whenever its
//! files change, so that a renewed one is taken without a restart.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use ura_proto::SystemId;
use ura_runtime::{
    process::chain,
    tls::{Identity, TlsError},
};

/// Why an identity folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The folder cannot be read, or its files do not go together.
    #[error("the identity in {} cannot be used", dir.display())]
    Unusable {
        /// The folder.
        dir: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<TlsError>,
    },
    /// The certificate is another system's.
    #[error(
        "the certificate in {} names {found}, but `system` is {wanted}: give the folder of {wanted}, or change `system`",
        dir.display()
    )]
    OtherSystem {
        /// The folder.
        dir: PathBuf,
        /// SPIFFE id in the certificate.
        found: String,
        /// System that the configuration names.
        wanted: SystemId,
    },
}

/// How often the files of the folder are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// An identity folder and what was last read from it.
pub(crate) struct Identities {
    dir: PathBuf,
    system: SystemId,
    last: Mutex<Last>,
    /// SHA-256 of the certificate that was last read, in DER.
    newest: watch::Sender<[u8; 32]>,
}

struct Last {
    identity: Identity,
    /// What was wrong at the last reading, so that it is logged once.
    trouble: Option<String>,
}

impl Identities {
    /// Reads the folder for the first time.
    pub(crate) fn open(dir: &Path, system: SystemId) -> Result<Self, IdentityError> {
        let identity = load(dir, &system)?;
        let newest = watch::Sender::new(identity.fingerprint());
        let last = Last { identity, trouble: None };
        Ok(Self { dir: dir.to_owned(), system, last: Mutex::new(last), newest })
    }

    /// Waits until the folder holds another certificate than this one, named by its SHA-256 in DER.
    pub(crate) async fn other_than(&self, fingerprint: [u8; 32]) {
        // The sender lives as long as this.
        drop(self.newest.subscribe().wait_for(|newest| *newest != fingerprint).await);
    }

    /// Reads the folder whenever its files change. Never ends.
    pub(crate) async fn follow(&self) {
        let mut seen = self.stamp().await;
        // They may have changed since they were first read.
        self.current().await;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.stamp().await;
            if now != seen {
                seen = now;
                self.current().await;
            }
        }
    }

    /// When each file was changed; `None` for one that is not there.
    async fn stamp(&self) -> [Option<SystemTime>; 3] {
        let mut stamp = [None; 3];
        for (changed, name) in stamp.iter_mut().zip(["cert.pem", "key.pem", "ca.pem"]) {
            let meta = tokio::fs::metadata(self.dir.join(name)).await;
            *changed = meta.and_then(|meta| meta.modified()).ok();
        }
        stamp
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The identity that the folder holds now; where it cannot be used, the last one that could.
    pub(crate) async fn current(&self) -> Identity {
        let (dir, system) = (self.dir.clone(), self.system.clone());
        let loaded = tokio::task::spawn_blocking(move || load(&dir, &system)).await;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match loaded {
            Ok(Ok(identity)) => {
                let fingerprint = identity.fingerprint();
                last.identity = identity;
                last.trouble = None;
                self.newest.send_if_modified(|newest| std::mem::replace(newest, fingerprint) != fingerprint);
            }
            Ok(Err(error)) => {
                let trouble = chain(&error);
                if last.trouble.as_ref() != Some(&trouble) {
                    tracing::warn!(system = %self.system, trouble, "going on with the certificate read before");
                    last.trouble = Some(trouble);
                }
            }
            // The runtime is going down.
            Err(_) => {}
        }
        last.identity.clone()
    }
}

fn load(dir: &Path, system: &SystemId) -> Result<Identity, IdentityError> {
    let identity = Identity::load(dir)
        .map_err(|source| IdentityError::Unusable { dir: dir.to_owned(), source: Box::new(source) })?;
    let found = identity.spiffe_id();
    if SystemId::from_spiffe_path(&found.path).as_ref() == Ok(system) {
        Ok(identity)
    } else {
        Err(IdentityError::OtherSystem {
            dir: dir.to_owned(),
            found: found.to_string(),
            wanted: system.clone(),
        })
    }
}
