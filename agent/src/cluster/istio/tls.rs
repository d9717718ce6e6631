//! `tls` of a `DestinationRule`, as it is written and what it means (`istio.io/api`,
//! `networking/v1alpha3/destination_rule.proto`, `ClientTLSSettings`; what is refused as Istio's
//! `pkg/config/validation` has it).

use std::{path::PathBuf, sync::Arc};

use culvert_policy::{ClientFiles, ClientTls, Origination, ServerProof, TlsSettings};
use rustls::pki_types::DnsName;
use serde::Deserialize;

use super::{super::model::Invalid, word};

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct TlsFields {
    #[serde(deserialize_with = "word")]
    mode: Option<ClientTls>,
    client_certificate: Option<String>,
    private_key: Option<String>,
    ca_certificates: Option<String>,
    ca_crl: Option<String>,
    credential_name: Option<String>,
    subject_alt_names: Option<Vec<String>>,
    sni: Option<String>,
    insecure_skip_verify: Option<bool>,
}

impl TlsFields {
    /// What it means; `field` is where it stands. `DISABLE` is the first word of the enumeration, so it is what a
    /// setting without a mode means.
    pub(super) fn check(self, field: &str) -> Result<TlsSettings, Invalid> {
        match self.mode.unwrap_or(ClientTls::Disable) {
            ClientTls::Disable => Ok(TlsSettings::Disable),
            ClientTls::IstioMutual => Ok(TlsSettings::IstioMutual),
            mode @ (ClientTls::Simple | ClientTls::Mutual) => self.originate(mode, field),
        }
    }

    /// A demand that cannot be met is not refused as an object: without the rule, its connections would be plaintext.
    fn originate(self, mode: ClientTls, field: &str) -> Result<TlsSettings, Invalid> {
        if let Some(unsupported) = self.unsupported() {
            return Ok(TlsSettings::Unsupported(mode, unsupported));
        }
        let (certificate, private_key) = (&self.client_certificate, &self.private_key);
        let client = match mode {
            ClientTls::Mutual => Some(ClientFiles {
                certificate: needed(certificate.as_ref(), &format!("{field}.clientCertificate"))?,
                private_key: needed(private_key.as_ref(), &format!("{field}.privateKey"))?,
            }),
            _ => None,
        };
        let sni = written(self.sni.as_ref()).map(|sni| server_name(sni, &format!("{field}.sni")));
        Ok(TlsSettings::Originate(Arc::new(Origination {
            sni: sni.transpose()?,
            server: self.proof(field)?,
            client,
        })))
    }

    fn unsupported(&self) -> Option<&'static str> {
        let fields = [("credentialName", &self.credential_name), ("caCrl", &self.ca_crl)];
        fields.into_iter().find_map(|(name, value)| written(value.as_ref()).map(|_| name))
    }

    fn proof(self, field: &str) -> Result<ServerProof, Invalid> {
        let roots = written(self.ca_certificates.as_ref()).map(PathBuf::from);
        let names: Vec<_> = self.subject_alt_names.unwrap_or_default().into_iter().map(Arc::from).collect();
        if !self.insecure_skip_verify.unwrap_or_default() {
            return Ok(ServerProof::Certificate { roots, names });
        }
        if roots.is_some() || !names.is_empty() {
            let field = format!("{field}.insecureSkipVerify");
            return Err(Invalid::new(
                field,
                "there are caCertificates or subjectAltNames: keep one of the two",
            ));
        }
        Ok(ServerProof::None)
    }
}

/// Protocol buffers do not tell an empty string from an absent one.
fn written(text: Option<&String>) -> Option<&String> {
    text.filter(|text| !text.is_empty())
}

fn needed(path: Option<&String>, field: &str) -> Result<PathBuf, Invalid> {
    let path = written(path).map(PathBuf::from);
    path.ok_or_else(|| Invalid::new(field, "mode MUTUAL needs the path of a file, found none"))
}

fn server_name(name: &str, field: &str) -> Result<Arc<str>, Invalid> {
    match DnsName::try_from(name) {
        Ok(_) => Ok(name.into()),
        Err(_) => Err(Invalid::new(field, format!("expected a DNS name, found {name:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(tls: Value) -> Result<TlsSettings, String> {
        let fields: TlsFields = serde_json::from_value(tls).map_err(|error| error.to_string())?;
        fields.check("tls").map_err(|invalid| format!("{invalid:?}"))
    }

    fn originate(change: impl FnOnce(&mut Origination)) -> TlsSettings {
        let mut origination = Origination::default();
        change(&mut origination);
        TlsSettings::Originate(origination.into())
    }

    #[test]
    fn what_is_written_is_what_is_meant() {
        let files = || ClientFiles { certificate: "/c.pem".into(), private_key: "/k.pem".into() };
        let mutual = json!({"mode": "MUTUAL", "clientCertificate": "/c.pem", "privateKey": "/k.pem"});
        let names = || vec!["a.example.com".into(), "spiffe://b/c".into()];
        for (written, expected) in [
            (json!({}), TlsSettings::Disable),
            (json!({"mode": "DISABLE", "caCertificates": "/ca.pem"}), TlsSettings::Disable),
            (json!({"mode": "ISTIO_MUTUAL"}), TlsSettings::IstioMutual),
            (json!({"mode": "SIMPLE", "sni": "", "credentialName": ""}), originate(|_| ())),
            (json!({"mode": "SIMPLE", "clientCertificate": "/c.pem"}), originate(|_| ())),
            (
                json!({"mode": "SIMPLE", "sni": "s.example"}),
                originate(|it| it.sni = Some("s.example".into())),
            ),
            (
                json!({"mode": "SIMPLE", "caCertificates": "/ca.pem",
                    "subjectAltNames": ["a.example.com", "spiffe://b/c"]}),
                originate(|it| {
                    it.server = ServerProof::Certificate { roots: Some("/ca.pem".into()), names: names() };
                }),
            ),
            (
                json!({"mode": "SIMPLE", "insecureSkipVerify": true}),
                originate(|it| it.server = ServerProof::None),
            ),
            (json!({"mode": "SIMPLE", "insecureSkipVerify": false}), originate(|_| ())),
            (mutual, originate(|it| it.client = Some(files()))),
            (
                json!({"mode": "MUTUAL", "credentialName": "secret"}),
                TlsSettings::Unsupported(ClientTls::Mutual, "credentialName"),
            ),
            (
                json!({"mode": "SIMPLE", "caCrl": "/crl.pem"}),
                TlsSettings::Unsupported(ClientTls::Simple, "caCrl"),
            ),
        ] {
            assert_eq!(read(written.clone()), Ok(expected), "{written}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_its_field() {
        for (written, field) in [
            (json!({"mode": "MUTUAL", "privateKey": "/k.pem"}), "tls.clientCertificate"),
            (json!({"mode": "MUTUAL", "clientCertificate": "/c.pem"}), "tls.privateKey"),
            (json!({"mode": "SIMPLE", "sni": "10.0.0.1"}), "tls.sni"),
            (json!({"mode": "SIMPLE", "sni": "*.example.com"}), "tls.sni"),
            (
                json!({"mode": "SIMPLE", "insecureSkipVerify": true, "caCertificates": "/ca.pem"}),
                "tls.insecureSkipVerify",
            ),
            (
                json!({"mode": "SIMPLE", "insecureSkipVerify": true, "subjectAltNames": ["a"]}),
                "tls.insecureSkipVerify",
            ),
        ] {
            let error = read(written.clone()).unwrap_err();
            assert!(error.contains(field), "{written}: {error}");
        }
    }
}
