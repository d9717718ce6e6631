//! Errors as Kubernetes tells them: an HTTP status and a `Status` object.

use serde_json::{Value, json};

use super::resources::Resource;

/// Why a request fails, as `metav1.StatusReason` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    AlreadyExists,
    Conflict,
    Expired,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    Invalid,
    TooManyRequests,
    InternalError,
    ServiceUnavailable,
    Timeout,
}

/// A request that fails.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct ApiError {
    pub(super) reason: Reason,
    pub(super) message: String,
    /// When to come back, in seconds.
    pub(super) retry_after: Option<u32>,
    about: Option<(&'static Resource, String)>,
    /// The field that is wrong, and why.
    cause: Option<(&'static str, String)>,
}

impl Reason {
    pub(super) const fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Expired => 410,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::InternalError => 500,
            Self::ServiceUnavailable => 503,
            Self::Timeout => 504,
        }
    }
}

impl ApiError {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry_after: None, about: None, cause: None }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    pub(super) fn not_found(resource: &'static Resource, name: &str) -> Self {
        Self::new(Reason::NotFound, format!("{} {name:?} not found", resource.qualified()))
            .about(resource, name)
    }

    pub(super) fn already_exists(resource: &'static Resource, name: &str) -> Self {
        Self::new(Reason::AlreadyExists, format!("{} {name:?} already exists", resource.qualified()))
            .about(resource, name)
    }

    pub(super) fn conflict(resource: &'static Resource, name: &str, why: &str) -> Self {
        let what = format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource.qualified());
        Self::new(Reason::Conflict, what).about(resource, name)
    }

    pub(super) fn invalid(resource: &'static Resource, name: &str, why: &str) -> Self {
        Self::new(Reason::Invalid, format!("{} {name:?} is invalid: {why}", resource.kind))
            .about(resource, name)
    }

    /// A field that cannot be changed to this value.
    pub(super) fn immutable(
        resource: &'static Resource,
        name: &str,
        field: &'static str,
        value: &str,
    ) -> Self {
        let why = format!("Invalid value: {value:?}: field is immutable");
        let error = Self::invalid(resource, name, &format!("{field}: {why}"));
        Self { cause: Some((field, why)), ..error }
    }

    /// A version that is no longer known to the server.
    pub(super) fn too_old(asked: u64, oldest: u64) -> Self {
        Self::new(Reason::Expired, format!("too old resource version: {asked} ({oldest})"))
    }

    pub(super) fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    fn about(mut self, resource: &'static Resource, name: &str) -> Self {
        self.about = Some((resource, name.to_owned()));
        self
    }

    /// The `Status` object.
    pub(super) fn status(&self) -> Value {
        let mut details = serde_json::Map::new();
        if let Some((resource, name)) = &self.about {
            details.insert("kind".to_owned(), resource.plural.into());
            details.insert("group".to_owned(), resource.group.into());
            details.insert("name".to_owned(), name.as_str().into());
        }
        if let Some((field, why)) = &self.cause {
            let cause = json!({"reason": "FieldValueInvalid", "message": why, "field": field});
            details.insert("causes".to_owned(), json!([cause]));
        }
        if let Some(seconds) = self.retry_after {
            details.insert("retryAfterSeconds".to_owned(), seconds.into());
        }
        json!({
            "apiVersion": "v1",
            "kind": "Status",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": format!("{:?}", self.reason),
            "details": details,
            "code": self.reason.code(),
        })
    }
}
