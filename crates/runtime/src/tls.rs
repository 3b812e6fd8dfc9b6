//! Owns the process's one TLS provider. Two providers compiled in would make rustls panic at first
//! use; this build has ring alone, and every `main` and test harness calls [`init`] once.

/// Installs the TLS provider for the process. Calling it again changes nothing.
pub fn init() {
    // A second call reports the provider that is already there, which is this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
