//! TLS to the database, as the URL's `sslmode` and `sslrootcert` say.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

/// What is checked of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    Nothing,
    Issuer,
    IssuerAndName,
}

pub(super) fn config(check: Check, roots: Option<&Path>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let strict: Arc<dyn ServerCertVerifier> = match roots {
        _ if check == Check::Nothing => Arc::new(Lenient { inner: None, provider }),
        Some(path) => WebPkiServerVerifier::builder_with_provider(Arc::new(read(path)?), Arc::clone(&provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))
            .map(|inner| lenient(check, inner, provider))?,
        None => {
            let inner = Arc::new(rustls_platform_verifier::Verifier::new(Arc::clone(&provider))?);
            lenient(check, inner, provider)
        }
    };
    Ok(builder.dangerous().with_custom_certificate_verifier(strict).with_no_client_auth())
}

fn lenient(
    check: Check,
    inner: Arc<dyn ServerCertVerifier>,
    provider: Arc<CryptoProvider>,
) -> Arc<dyn ServerCertVerifier> {
    match check {
        Check::IssuerAndName => inner,
        Check::Issuer | Check::Nothing => Arc::new(Lenient { inner: Some(inner), provider }),
    }
}

fn read(path: &Path) -> Result<RootCertStore, Error> {
    let failed = |error| Error::Other(OtherError(Arc::new(error)));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(failed)? {
        roots.add(certificate.map_err(failed)?)?;
    }
    Ok(roots)
}

/// For `sslmode=require` and `verify-ca`, which people ask for by name: the first checks nothing of the
/// certificate, the second not the name in it. The handshake's signature is checked in any case.
#[derive(Debug)]
struct Lenient {
    inner: Option<Arc<dyn ServerCertVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        match inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
