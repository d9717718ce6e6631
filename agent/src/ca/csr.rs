//! The certificate signing request: what of it counts is its key, and that it asks for one identity.

use culvert_policy::SpiffeId;
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SubjectPublicKeyInfo};
use rustls::pki_types::{CertificateSigningRequestDer, pem::PemObject};
use x509_parser::{
    certification_request::X509CertificationRequest,
    cri_attributes::ParsedCriAttribute,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
};

/// More than any request for a P-256 key needs.
const MAX_PEM: usize = 16 * 1024;
/// A P-256 point that is not compressed: 4, x, y (SEC 1, section 2.3.3).
const POINT: usize = 65;

/// Why a request is not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CsrFault {
    #[error("expected a request of at most {MAX_PEM} bytes, found {found}")]
    TooLong { found: usize },
    #[error("expected one CERTIFICATE REQUEST in PEM")]
    NotPem,
    #[error("expected a PKCS#10 certificate request")]
    Unreadable,
    #[error("expected an ECDSA P-256 key")]
    Key,
    #[error("expected a request that is signed with its own key")]
    Signature,
    #[error("expected exactly one URI among the names, found {found}")]
    NotOneUri { found: usize },
    #[error("expected the URI {expected}, found {found:?}")]
    OtherUri { expected: SpiffeId, found: String },
}

/// The key of a request for `id`. Nothing else of the request is used.
pub(super) fn key_of(pem: &str, id: &SpiffeId) -> Result<SubjectPublicKeyInfo, CsrFault> {
    let der = only_request(pem)?;
    let (rest, request) = X509CertificationRequest::from_der(&der).map_err(|_| CsrFault::Unreadable)?;
    if !rest.is_empty() {
        return Err(CsrFault::Unreadable);
    }
    let key = p256(&request)?;
    request.verify_signature().map_err(|_| CsrFault::Signature)?;
    check_uri(&request, id)?;
    Ok(key)
}

fn only_request(pem: &str) -> Result<CertificateSigningRequestDer<'static>, CsrFault> {
    if pem.len() > MAX_PEM {
        return Err(CsrFault::TooLong { found: pem.len() });
    }
    let mut requests = CertificateSigningRequestDer::pem_slice_iter(pem.as_bytes());
    match (requests.next(), requests.next()) {
        (Some(Ok(request)), None) => Ok(request),
        _ => Err(CsrFault::NotPem),
    }
}

fn p256(request: &X509CertificationRequest<'_>) -> Result<SubjectPublicKeyInfo, CsrFault> {
    let found = &request.certification_request_info.subject_pki;
    let key = SubjectPublicKeyInfo::from_der(found.raw).map_err(|_| CsrFault::Key)?;
    let is_point = key.der_bytes().len() == POINT && key.der_bytes()[0] == 4;
    if !is_point || key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
        return Err(CsrFault::Key);
    }
    Ok(key)
}

fn check_uri(request: &X509CertificationRequest<'_>, id: &SpiffeId) -> Result<(), CsrFault> {
    let names: Vec<&GeneralName<'_>> = names(request).collect();
    let uris: Vec<_> = names.into_iter().filter(|name| is_uri(name)).collect();
    match uris[..] {
        [GeneralName::URI(uri)] if *uri == id.to_string() => Ok(()),
        [GeneralName::URI(uri)] => {
            let found = uri.chars().take(MAX_SHOWN).collect();
            Err(CsrFault::OtherUri { expected: id.clone(), found })
        }
        [_] => Err(CsrFault::Unreadable),
        _ => Err(CsrFault::NotOneUri { found: uris.len() }),
    }
}

/// How much of a refused name an error repeats.
const MAX_SHOWN: usize = 256;

/// Of every extension request and every extension in it: a request may hold several.
fn names<'a>(request: &'a X509CertificationRequest<'_>) -> impl Iterator<Item = &'a GeneralName<'a>> {
    let attributes = request.certification_request_info.iter_attributes();
    let requested = attributes.filter_map(|attribute| match attribute.parsed_attribute() {
        ParsedCriAttribute::ExtensionRequest(request) => Some(&request.extensions),
        _ => None,
    });
    requested.flatten().flat_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => &names.general_names[..],
        _ => &[],
    })
}

/// One that cannot be read counts too: other readers might see an identity in it.
fn is_uri(name: &GeneralName<'_>) -> bool {
    matches!(name, GeneralName::URI(_) | GeneralName::Invalid(..))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{
        CertificateParams, DnType, IsCa, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
        SanType, SignatureAlgorithm,
    };

    use super::*;

    fn id() -> SpiffeId {
        SpiffeId::new("cluster.local", "full", "sleep")
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn request(names: Vec<SanType>) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params
    }

    fn signed(params: &CertificateParams, algorithm: &'static SignatureAlgorithm) -> String {
        let key = KeyPair::generate_for(algorithm).unwrap();
        params.serialize_request(&key).unwrap().pem().unwrap()
    }

    fn p256(params: &CertificateParams) -> String {
        signed(params, &PKCS_ECDSA_P256_SHA256)
    }

    fn valid() -> String {
        p256(&request(vec![uri(&id().to_string())]))
    }

    fn fault(pem: &str) -> CsrFault {
        match key_of(pem, &id()) {
            Ok(_) => panic!("the request was accepted"),
            Err(fault) => fault,
        }
    }

    #[test]
    fn the_key_comes_out() {
        let key = KeyPair::generate().unwrap();
        let pem = request(vec![uri(&id().to_string())]).serialize_request(&key).unwrap().pem().unwrap();
        assert_eq!(key_of(&pem, &id()).unwrap().der_bytes(), key.der_bytes());
    }

    #[test]
    fn whatever_else_it_asks_for_is_passed_over() {
        let mut greedy = request(vec![
            uri(&id().to_string()),
            SanType::DnsName("kubernetes.default.svc".try_into().unwrap()),
            SanType::IpAddress([10, 0, 0, 1].into()),
        ]);
        greedy.distinguished_name.push(DnType::CommonName, "admin");
        greedy.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        key_of(&p256(&greedy), &id()).unwrap();
    }

    #[test]
    fn only_one_identity_is_signed_and_it_is_the_one_that_was_asked_for() {
        let own = id().to_string();
        assert_eq!(fault(&p256(&request(vec![]))), CsrFault::NotOneUri { found: 0 });
        let twice = request(vec![uri(&own), uri(&own)]);
        assert_eq!(fault(&p256(&twice)), CsrFault::NotOneUri { found: 2 });
        for other in ["spiffe://cluster.local/ns/full/sa/sleep2", "SPIFFE://cluster.local/ns/full/sa/sleep"] {
            let found = fault(&p256(&request(vec![uri(other)])));
            assert_eq!(found, CsrFault::OtherUri { expected: id(), found: other.to_owned() });
        }
    }

    #[test]
    fn only_p256_keys_are_signed() {
        for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519, &PKCS_RSA_SHA256] {
            assert_eq!(fault(&signed(&request(vec![uri(&id().to_string())]), algorithm)), CsrFault::Key);
        }
    }

    #[test]
    fn the_caller_must_hold_the_key() {
        let der = only_request(&valid()).unwrap();
        let mut forged = der.to_vec();
        *forged.last_mut().unwrap() ^= 1;
        let forged = CertificateSigningRequestDer::from(forged);
        let (_, request) = X509CertificationRequest::from_der(&forged).unwrap();
        assert!(request.verify_signature().is_err());
        assert_eq!(fault(&pem_of(&forged)), CsrFault::Signature);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        assert_eq!(fault(""), CsrFault::NotPem);
        assert_eq!(fault(&format!("{}{}", valid(), valid())), CsrFault::NotPem);
        assert_eq!(fault(&valid().replace("CERTIFICATE REQUEST", "CERTIFICATE")), CsrFault::NotPem);
        assert_eq!(fault(&pem_of(b"nothing of ASN.1")), CsrFault::Unreadable);
        let trailing = [&only_request(&valid()).unwrap()[..], b"more"].concat();
        assert_eq!(fault(&pem_of(&trailing)), CsrFault::Unreadable);
        let long = "x".repeat(MAX_PEM + 1);
        assert_eq!(fault(&long), CsrFault::TooLong { found: MAX_PEM + 1 });
    }

    /// A request in PEM as anybody could write it.
    fn pem_of(der: &[u8]) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let encoded = der.chunks(3).flat_map(|chunk| {
            let bits =
                chunk.iter().chain([&0; 2]).take(3).fold(0, |bits, byte| bits << 8 | usize::from(*byte));
            (0..4).map(move |digit| {
                if digit > chunk.len() { '=' } else { char::from(ALPHABET[bits >> (18 - 6 * digit) & 63]) }
            })
        });
        let encoded: String = encoded.collect();
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{encoded}\n-----END CERTIFICATE REQUEST-----\n")
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn no_change_of_a_byte_gets_another_key_or_identity_signed(
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<proptest::sample::Index>(),
            cuts in any::<bool>(),
        ) {
            let valid = valid();
            let own = key_of(&valid, &id()).unwrap();
            let original = only_request(&valid).unwrap().to_vec();
            let mut changed = original.clone();
            for (index, byte) in changes {
                changed[index.index(original.len())] = byte;
            }
            if cuts {
                changed.truncate(cut.index(original.len()));
            }
            // Some bytes around what is signed mean nothing, such as the number of unused bits before the signature.
            let signed = key_of(&pem_of(&changed), &id());
            prop_assert!(signed.is_err() || signed.is_ok_and(|key| key.der_bytes() == own.der_bytes()));
        }

        #[test]
        fn bytes_of_any_kind_are_refused_in_order(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert!(key_of(&pem_of(&bytes), &id()).is_err());
            prop_assert!(key_of(&String::from_utf8_lossy(&bytes), &id()).is_err());
        }
    }
}
