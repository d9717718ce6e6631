//! `istio.v1.auth.IstioCertificateService`, the protocol that Istio's and Culvert's authorities speak.
//!
//! As in istio/api, `security/v1alpha1/ca.proto`. The caller's service-account token travels as `authorization: Bearer`.

use prost_types::Struct;

/// The only method's path.
pub const CREATE_CERTIFICATE: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

/// The key of [`IstioCertificateRequest::metadata`] under which an agent names the workload that it asks for, as a
/// SPIFFE id.
pub const IMPERSONATED_IDENTITY: &str = "ImpersonatedIdentity";

/// Asks for a certificate.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IstioCertificateRequest {
    /// A PKCS#10 request in PEM.
    #[prost(string, tag = "1")]
    pub csr: String,
    /// How long the certificate should live, in seconds; the authority may decide otherwise.
    #[prost(int64, tag = "3")]
    pub validity_duration: i64,
    /// What else the authority should know.
    #[prost(message, optional, tag = "4")]
    pub metadata: Option<Struct>,
}

/// The certificate that was asked for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IstioCertificateResponse {
    /// In PEM: the workload's own first, the root last.
    #[prost(string, repeated, tag = "1")]
    pub cert_chain: Vec<String>,
}
