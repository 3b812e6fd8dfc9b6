//! The OCI distribution protocol over the HTTP seam.
