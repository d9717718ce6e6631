//! `DestinationRule`s that were taken in, and demand what cannot be had.

use std::{collections::HashMap, sync::Arc};

use culvert_policy::{DestinationRule, Origination, TlsSettings};

use super::{Index, Kind, ObjectKey, Problem, Subject, object::Content};

impl Index {
    /// What is wrong with rules by what they demand, where `faults` is why TLS by some settings cannot be opened. What
    /// such a rule is for is refused, and never sent in plaintext.
    pub fn unmet_demands(&self, faults: &HashMap<Arc<Origination>, String>) -> Vec<Problem> {
        let rules = self.files.all(Kind::DestinationRule).into_iter();
        let mut problems: Vec<_> = rules.flat_map(|rule| of_rule(&rule, faults)).collect();
        problems.sort();
        problems.dedup();
        problems
    }
}

fn of_rule(rule: &Content, faults: &HashMap<Arc<Origination>, String>) -> Vec<Problem> {
    let Content::DestinationRule(rule) = rule else { return Vec::new() };
    rule.settings().filter_map(|settings| unmet(rule, settings, faults)).collect()
}

fn unmet(
    rule: &DestinationRule,
    settings: &TlsSettings,
    faults: &HashMap<Arc<Origination>, String>,
) -> Option<Problem> {
    let (field, reason) = match settings {
        TlsSettings::Disable | TlsSettings::IstioMutual => return None,
        TlsSettings::Originate(settings) => ("", faults.get(settings)?.clone()),
        TlsSettings::Unsupported(_, field) => {
            (*field, "Culvert does not carry it out, and refuses what the rule is for".to_owned())
        }
    };
    let key = ObjectKey {
        kind: Kind::DestinationRule,
        namespace: rule.meta.namespace.clone(),
        name: rule.meta.name.clone(),
    };
    let (subject, field) = (Some(Subject::Object(key)), field.to_owned());
    Some(Problem { file: None, document: None, subject, field, reason })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::testing::{destination_rule, index};

    fn rule(name: &str, tls: Value) -> Value {
        let mut rule = destination_rule("ns", name, "SIMPLE");
        rule["metadata"]["name"] = json!(name);
        rule["spec"]["trafficPolicy"]["tls"] = tls;
        rule
    }

    #[test]
    fn each_rule_is_named_with_what_it_demands_in_vain() {
        let mut subset = rule("subset", json!({"mode": "ISTIO_MUTUAL"}));
        let unsupported = json!({"mode": "SIMPLE", "caCrl": "/crl"});
        subset["spec"]["subsets"] = json!([{"name": "new", "trafficPolicy": {"tls": unsupported}}]);
        let index = index(&[
            rule("good", json!({"mode": "SIMPLE"})),
            rule("file", json!({"mode": "SIMPLE", "caCertificates": "/missing"})),
            rule("secret", json!({"mode": "MUTUAL", "credentialName": "s"})),
            subset,
        ]);
        let roots = Some("/missing".into());
        let server = culvert_policy::ServerProof::Certificate { roots, names: Vec::new() };
        let settings = Origination { server, ..Origination::default() };
        let faults = HashMap::from([(Arc::new(settings), "cannot read /missing".to_owned())]);
        let told: Vec<_> = index.unmet_demands(&faults).iter().map(ToString::to_string).collect();
        let in_vain = "Culvert does not carry it out, and refuses what the rule is for";
        let expected = [
            "DestinationRule ns/file: cannot read /missing".to_owned(),
            format!("DestinationRule ns/secret, credentialName: {in_vain}"),
            format!("DestinationRule ns/subset, caCrl: {in_vain}"),
        ];
        assert_eq!(told, expected);
    }
}
