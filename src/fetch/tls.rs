//! One TLS configuration for all that trust the same roots.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use rustls::{ClientConfig, RootCertStore, client::Resumption};
use rustls_pki_types::CertificateDer;

/// Servers whose TLS sessions are remembered, for each set of roots.
const SESSIONS: usize = 1024;

/// The TLS configurations of all sources: one for each set of extra roots, so that root stores and
/// resumable sessions are shared.
#[derive(Default)]
pub struct Tls {
    plain: OnceLock<Arc<ClientConfig>>,
    extra: Mutex<Vec<(WeakRoots, Arc<ClientConfig>)>>,
}

type WeakRoots = Weak<Vec<CertificateDer<'static>>>;

impl Tls {
    /// Nothing is built before it is asked for.
    pub fn new() -> Self {
        Self::default()
    }

    /// The configuration that trusts the bundled roots and these. The same `Arc` gives the same one.
    pub fn with_roots(&self, extra: &Arc<Vec<CertificateDer<'static>>>) -> Arc<ClientConfig> {
        if extra.is_empty() {
            return Arc::clone(self.plain.get_or_init(|| Arc::new(client_config(&[]))));
        }
        let mut known = self.extra.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(roots, _)| roots.strong_count() > 0);
        if let Some((_, config)) = known.iter().find(|(roots, _)| std::ptr::eq(roots.as_ptr(), Arc::as_ptr(extra))) {
            return Arc::clone(config);
        }
        let config = Arc::new(client_config(extra));
        known.push((Arc::downgrade(extra), Arc::clone(&config)));
        config
    }
}

/// HTTP/1.1 only: no ALPN is offered, for HTTP/2 is not spoken here.
fn client_config(extra: &[CertificateDer<'static>]) -> ClientConfig {
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    // the configuration has checked that each is a certificate; one that is no anchor verifies nothing
    roots.add_parsable_certificates(extra.iter().cloned());
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    // a resumed handshake costs a third of a full one
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    config
}
