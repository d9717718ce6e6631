//! Label and field selectors.

use std::collections::BTreeMap;

use super::{resources::Resource, status::ApiError, stored::Stored};

/// What a list or a watch is restricted to.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    demand: Demand,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Demand {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Missing,
}

impl Selector {
    /// Reads both selectors of a request.
    pub(super) fn parse(resource: &Resource, labels: &str, fields: &str) -> Result<Self, ApiError> {
        let labels = requirements(labels)?;
        let fields = requirements(fields)?;
        let known = |key: &str| ["metadata.name", "metadata.namespace"].contains(&key);
        if let Some(other) =
            fields.iter().find(|it| !known(&it.key) && !resource.fields.contains(&it.key.as_str()))
        {
            return Err(ApiError::bad_request(format!("field label not supported: {}", other.key)));
        }
        Ok(Self { labels, fields })
    }

    pub(super) fn matches(&self, object: &Stored) -> bool {
        self.labels.iter().all(|it| it.demand.met_by(object.labels.get(&it.key).map(String::as_str)))
            && self.fields.iter().all(|it| it.demand.met_by(Some(object.field(&it.key))))
    }

    /// The one name that it lets through, which RBAC takes for the name of the object asked for.
    pub(super) fn single_name(&self) -> Option<&str> {
        self.fields.iter().find_map(|it| match &it.demand {
            Demand::In(values) if it.key == "metadata.name" && values.len() == 1 => Some(values[0].as_str()),
            _ => None,
        })
    }

    pub(super) const fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }
}

impl Demand {
    fn met_by(&self, value: Option<&str>) -> bool {
        let is_one_of = |values: &[String]| value.is_some_and(|value| values.iter().any(|it| it == value));
        match self {
            Self::In(values) => is_one_of(values),
            Self::NotIn(values) => !is_one_of(values),
            Self::Exists => value.is_some(),
            Self::Missing => value.is_none(),
        }
    }
}

/// Commas part requirements, but for those inside parentheses.
fn requirements(text: &str) -> Result<Vec<Requirement>, ApiError> {
    let mut inside = false;
    let parts = text.split(|letter| {
        inside = (inside || letter == '(') && letter != ')';
        letter == ',' && !inside
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).map(requirement).collect()
}

fn requirement(text: &str) -> Result<Requirement, ApiError> {
    let one = |value: &str| vec![value.trim().to_owned()];
    let (key, demand) = if let Some((key, value)) = text.split_once("!=") {
        (key, Demand::NotIn(one(value)))
    } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        (key, Demand::In(one(value)))
    } else if let Some((key, values)) = text.split_once(" notin ") {
        (key, Demand::NotIn(set(values)?))
    } else if let Some((key, values)) = text.split_once(" in ") {
        (key, Demand::In(set(values)?))
    } else if let Some(key) = text.strip_prefix('!') {
        (key, Demand::Missing)
    } else {
        (text, Demand::Exists)
    };
    if key.trim().is_empty() || key.trim().contains(' ') {
        return Err(ApiError::bad_request(format!("unable to parse requirement: {text:?}")));
    }
    Ok(Requirement { key: key.trim().to_owned(), demand })
}

fn set(text: &str) -> Result<Vec<String>, ApiError> {
    let values = text.trim().strip_prefix('(').and_then(|text| text.strip_suffix(')'));
    let values = values.ok_or_else(|| ApiError::bad_request(format!("expected a set, found {text:?}")))?;
    Ok(values.split(',').map(|value| value.trim().to_owned()).collect())
}

/// Labels as an object has them.
pub(super) type Labels = BTreeMap<String, String>;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_are_selected_by_value_set_and_presence() {
        let pods = Resource::named("pods");
        let pod = json!({ "metadata": { "name": "a", "labels": { "app": "web", "tier": "front" } } });
        let pod = Stored::new(pods, pod, 1).expect("a pod has a name");
        for (selector, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier!=back", true),
            ("app in (api, web),tier", true),
            ("app notin (api,web)", false),
            ("!app", false),
            ("!zone", true),
            ("zone notin (a)", true),
            ("zone!=a", true),
            ("zone=a", false),
        ] {
            let parsed = Selector::parse(pods, selector, "").expect(selector);
            assert_eq!(parsed.matches(&pod), expected, "{selector}");
        }
        for selector in ["a b", "=x", "app in api"] {
            Selector::parse(pods, selector, "").expect_err(selector);
        }
    }

    #[test]
    fn fields_are_those_of_the_resource() {
        let pods = Resource::named("pods");
        let pod = json!({ "metadata": { "namespace": "full", "name": "a" }, "spec": { "nodeName": "n" } });
        let pod = Stored::new(pods, pod, 1).expect("a pod has a name");
        for (selector, expected) in [
            ("metadata.name=a", true),
            ("spec.nodeName=n,metadata.namespace=full", true),
            ("spec.nodeName!=n", false),
            ("status.phase!=Running", true),
        ] {
            let parsed = Selector::parse(pods, "", selector).expect(selector);
            assert_eq!(parsed.matches(&pod), expected, "{selector}");
        }
        Selector::parse(Resource::named("services"), "", "spec.nodeName=n").expect_err("not of a Service");
    }
}
