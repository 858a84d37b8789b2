//! Whom a handshake believes: the ordinary checks of rustls, and then the SPIFFE id.

use std::sync::Arc;

use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::CryptoProvider,
    server::{
        ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{CertificateError, SpiffeId, TlsError, spiffe::Leaf};

/// How a client checks who answers. Both also demand a SPIFFE id of the own trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verify {
    /// By the DNS name or IP address that was dialled (RFC 9525).
    Name,
    /// By its SPIFFE id, which must be exactly this; names do not matter.
    Spiffe(SpiffeId),
}

/// Checks clients: chain, validity and usage by rustls, then the SPIFFE id.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    trust_domain: String,
}

/// Checks servers likewise.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    by_name: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    trust_domain: String,
    verify: Verify,
}

impl ClientVerifier {
    pub(super) fn new(
        roots: &Arc<RootCertStore>,
        provider: &Arc<CryptoProvider>,
        trust_domain: &str,
    ) -> Result<Self, TlsError> {
        let chain = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { chain, trust_domain: trust_domain.to_owned() })
    }
}

impl ServerVerifier {
    pub(super) fn new(
        roots: &Arc<RootCertStore>,
        provider: &Arc<CryptoProvider>,
        trust_domain: &str,
        verify: Verify,
    ) -> Result<Self, TlsError> {
        let by_name = WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(Self {
            by_name,
            roots: Arc::clone(roots),
            provider: Arc::clone(provider),
            trust_domain: trust_domain.to_owned(),
            verify,
        })
    }
}

/// The certificate's only SPIFFE id, if it is of this trust domain: a domain's authorities vouch for
/// nobody else.
fn id_in(trust_domain: &str, der: &CertificateDer<'_>) -> Result<SpiffeId, CertificateError> {
    let id = Leaf::read(der)?.id;
    if id.trust_domain == trust_domain {
        Ok(id)
    } else {
        Err(CertificateError::TrustDomain { id, expected: trust_domain.to_owned() })
    }
}

fn refusal(error: CertificateError) -> Error {
    Error::InvalidCertificate(rustls::CertificateError::Other(OtherError(Arc::new(error))))
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        id_in(&self.trust_domain, end_entity).map_err(refusal)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.verify {
            Verify::Name => {
                self.by_name.verify_server_cert(
                    end_entity,
                    intermediates,
                    server_name,
                    ocsp_response,
                    now,
                )?;
                id_in(&self.trust_domain, end_entity).map_err(refusal)?;
            }
            Verify::Spiffe(expected) => {
                verify_server_cert_signed_by_trust_anchor(
                    &ParsedCertificate::try_from(end_entity)?,
                    &self.roots,
                    intermediates,
                    now,
                    self.provider.signature_verification_algorithms.all,
                )?;
                let found = Leaf::read(end_entity).map_err(refusal)?.id;
                if found != *expected {
                    return Err(refusal(CertificateError::OtherPeer { expected: expected.clone(), found }));
                }
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_name.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_name.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_name.supported_verify_schemes()
    }
}
