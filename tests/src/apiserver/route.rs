//! What a request asks for, read off its method, path and query.

use http::Method;

use super::{resources::Resource, status::ApiError, store::Store};

/// What is done to a resource, as RBAC names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Read one object.
    Get,
    /// Read all.
    List,
    /// Follow changes.
    Watch,
    /// Add an object.
    Create,
    /// Replace an object.
    Update,
    /// Change a part of an object.
    Patch,
    /// Remove an object.
    Delete,
    /// Remove all.
    DeleteCollection,
}

/// A part of an object with an address of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subresource {
    Status,
    /// A token for a service account.
    Token,
}

/// A request for objects.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) resource: &'static Resource,
    pub(super) version: &'static str,
    pub(super) verb: Verb,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<Subresource>,
    pub(super) query: Query,
}

/// The parameters that the server knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    pub(super) label_selector: String,
    pub(super) field_selector: String,
    pub(super) limit: Option<usize>,
    pub(super) continuation: Option<String>,
    pub(super) resource_version: Option<u64>,
    pub(super) version_match: Option<VersionMatch>,
    pub(super) bookmarks: bool,
    pub(super) send_initial_events: bool,
    pub(super) timeout_seconds: Option<u64>,
    pub(super) field_manager: Option<String>,
    watch: bool,
}

/// How a list's version relates to the one that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VersionMatch {
    Exact,
    NotOlderThan,
}

impl Verb {
    /// Its name in a rule.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    fn of(method: &Method, named: bool, watch: bool) -> Option<Self> {
        Some(match (method.as_str(), named) {
            ("GET", true) => Self::Get,
            ("GET", false) if watch => Self::Watch,
            ("GET", false) => Self::List,
            ("POST", _) => Self::Create,
            ("PUT", true) => Self::Update,
            ("PATCH", true) => Self::Patch,
            ("DELETE", true) => Self::Delete,
            ("DELETE", false) => Self::DeleteCollection,
            _ => return None,
        })
    }
}

impl Subresource {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Token => "token",
        }
    }

    fn of(resource: &Resource, name: &str) -> Option<Self> {
        match name {
            "status" if resource.has_status => Some(Self::Status),
            "token" if resource.plural == "serviceaccounts" => Some(Self::Token),
            _ => None,
        }
    }
}

impl Call {
    /// Reads a path below `/api` or `/apis`; none if nothing is served there.
    pub(super) fn parse(
        store: &Store,
        method: &Method,
        path: &str,
        query: &str,
    ) -> Result<Option<Self>, ApiError> {
        let parts: Vec<_> = path.trim_matches('/').split('/').collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Ok(None),
        };
        let Some(place) = Place::of(group, rest) else { return Ok(None) };
        let served = store.served(place.resource).iter().find(|served| **served == version);
        let Some(version) = served else { return Ok(None) };
        let query = Query::parse(query)?;
        let Some(verb) = Verb::of(method, place.name.is_some(), query.watch) else { return Ok(None) };
        let owned = |part: Option<&str>| part.map(str::to_owned);
        let (namespace, name) = (owned(place.namespace), owned(place.name));
        let Place { resource, subresource, .. } = place;
        Ok(Some(Self { resource, version, verb, namespace, name, subresource, query }))
    }
}

struct Place<'a> {
    resource: &'static Resource,
    namespace: Option<&'a str>,
    name: Option<&'a str>,
    subresource: Option<Subresource>,
}

impl<'a> Place<'a> {
    fn of(group: &str, parts: &[&'a str]) -> Option<Self> {
        let (namespace, plural, rest) = match *parts {
            ["namespaces", namespace, plural, ref rest @ ..]
                if Resource::find(group, plural).is_some_and(|it| it.namespaced) =>
            {
                (Some(namespace), plural, rest)
            }
            [plural, ref rest @ ..] => (None, plural, rest),
            [] => return None,
        };
        let resource = Resource::find(group, plural)?;
        let (name, subresource) = match *rest {
            [] => (None, None),
            [name] => (Some(name), None),
            [name, subresource] => (Some(name), Some(Subresource::of(resource, subresource)?)),
            _ => return None,
        };
        // What lives in a namespace is named within it.
        let is_complete = name.is_none() || namespace.is_some() == resource.namespaced;
        is_complete.then_some(Self { resource, namespace, name, subresource })
    }
}

impl Query {
    fn parse(text: &str) -> Result<Self, ApiError> {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()).filter(|(_, value)| !value.is_empty()) {
            let number = || value.parse().map_err(|_| unreadable(&name, &value));
            match &*name {
                "labelSelector" => query.label_selector = value.into_owned(),
                "fieldSelector" => query.field_selector = value.into_owned(),
                "limit" => query.limit = Some(value.parse().map_err(|_| unreadable(&name, &value))?),
                "continue" => query.continuation = Some(value.into_owned()),
                "resourceVersion" => query.resource_version = Some(number()?),
                "resourceVersionMatch" => query.version_match = Some(version_match(&value)?),
                "allowWatchBookmarks" => query.bookmarks = is_true(&value),
                "sendInitialEvents" => query.send_initial_events = is_true(&value),
                "timeoutSeconds" => query.timeout_seconds = Some(number()?),
                "fieldManager" => query.field_manager = Some(value.into_owned()),
                "watch" => query.watch = is_true(&value),
                _ => {}
            }
        }
        query.limit = query.limit.filter(|limit| *limit > 0);
        Ok(query)
    }
}

fn version_match(value: &str) -> Result<VersionMatch, ApiError> {
    match value {
        "Exact" => Ok(VersionMatch::Exact),
        "NotOlderThan" => Ok(VersionMatch::NotOlderThan),
        _ => Err(unreadable("resourceVersionMatch", value)),
    }
}

fn is_true(value: &str) -> bool {
    ["1", "true"].contains(&value)
}

fn unreadable(name: &str, value: &str) -> ApiError {
    ApiError::bad_request(format!("invalid value of {name}: {value:?}"))
}
