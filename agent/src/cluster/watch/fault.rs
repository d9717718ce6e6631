//! Why following cannot go on as it was.

use std::{error::Error, time::Duration};

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use kube::core::Status;

/// Why following cannot go on as it was, by what is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// No answer, or one that another try may better.
    #[error("{reason}")]
    Unavailable { reason: String, retry_after: Option<Duration> },
    /// RBAC.
    #[error("{0}")]
    Denied(String),
    /// There is no such resource.
    #[error("the API server has no such resource")]
    NotServed,
    /// What was known is too old to go on from: only a fresh list helps.
    #[error("the version that was known is no longer kept")]
    Expired,
    /// A watch that was cut off, or that ended before it said anything.
    #[error("the watch was cut: {0}")]
    Cut(String),
    /// The answer is not what the protocol has.
    #[error("the API server's answer cannot be understood: {0}")]
    Malformed(String),
}

/// The longest `Retry-After` that is obeyed.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);

impl Fault {
    /// What an answer other than success means.
    pub(super) fn of_answer(code: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let written: Option<Status> = serde_json::from_slice(body).ok();
        let mut status = written.unwrap_or_default();
        status.code = code.as_u16();
        let header = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        match Self::of_status(&status) {
            Self::Unavailable { reason, retry_after } => {
                let retry_after = header.map(Duration::from_secs).or(retry_after);
                Self::Unavailable { reason, retry_after: retry_after.map(|wait| wait.min(MAX_RETRY_AFTER)) }
            }
            fault => fault,
        }
    }

    /// What an error in the midst of a watch means.
    pub(super) fn of_status(status: &Status) -> Self {
        match status.code {
            403 => Self::Denied(status.message.clone()),
            404 => Self::NotServed,
            410 => Self::Expired,
            code => Self::Unavailable {
                reason: format!("the API server answers {code}: {}", explanation(status)),
                retry_after: retry_after(status),
            },
        }
    }

    /// No answer at all.
    pub(super) fn no_answer(error: &dyn Error) -> Self {
        let reason = format!("the API server cannot be reached: {}", causes(error));
        Self::Unavailable { reason, retry_after: None }
    }

    /// No answer in time.
    pub(super) fn too_slow(patience: Duration) -> Self {
        let reason = format!("the API server did not answer within {patience:?}");
        Self::Unavailable { reason, retry_after: None }
    }
}

fn explanation(status: &Status) -> &str {
    match status.code {
        401 => "it does not accept the agent's token or certificate",
        _ if status.message.is_empty() => "it does not say why",
        _ => &status.message,
    }
}

fn retry_after(status: &Status) -> Option<Duration> {
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()).min(MAX_RETRY_AFTER))
}

/// An error and all that is behind it, the last of which says most: "connection refused".
pub(super) fn causes(error: &dyn Error) -> String {
    let chain = std::iter::successors(Some(error), |error| (*error).source());
    let mut said: Vec<String> = Vec::new();
    for cause in chain.map(ToString::to_string) {
        if !said.iter().any(|before| before.contains(&cause)) {
            said.push(cause);
        }
    }
    said.join(": ")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn answered(code: u16, retry_after: Option<&'static str>, body: &str) -> Fault {
        let header = retry_after.map(|value| (RETRY_AFTER, HeaderValue::from_static(value)));
        let headers = header.into_iter().collect();
        Fault::of_answer(StatusCode::from_u16(code).unwrap(), &headers, body.as_bytes())
    }

    fn wait(fault: &Fault) -> Option<u64> {
        match fault {
            Fault::Unavailable { retry_after, .. } => retry_after.map(|wait| wait.as_secs()),
            _ => None,
        }
    }

    #[test]
    fn each_answer_says_what_to_do() {
        let forbidden = r#"{"kind": "Status", "code": 403, "message": "pods is forbidden"}"#;
        assert_eq!(answered(403, None, forbidden), Fault::Denied("pods is forbidden".to_owned()));
        assert_eq!(answered(404, None, "404 page not found"), Fault::NotServed);
        assert_eq!(answered(410, None, "{}"), Fault::Expired);
        for code in [401, 429, 500, 503, 504] {
            let fault = answered(code, None, "");
            assert!(matches!(&fault, Fault::Unavailable { .. }), "{fault:?}");
            assert!(fault.to_string().contains(&code.to_string()), "{fault}");
        }
    }

    #[test]
    fn the_server_says_how_long_to_wait_and_is_not_believed_without_end() {
        let details = r#"{"kind": "Status", "details": {"retryAfterSeconds": 7}}"#;
        assert_eq!(wait(&answered(429, None, details)), Some(7));
        assert_eq!(wait(&answered(429, Some("3"), details)), Some(3));
        assert_eq!(wait(&answered(503, Some("1000000000000"), "")), Some(300));
        assert_eq!(wait(&answered(503, Some("Wed, 21 Oct 2015 07:28:00 GMT"), "")), None);
    }
}
