//! The answer, in sentences.

use std::fmt::{self, Write};

use culvert_policy::{Reason, Transport};

use super::{Endpoint, Explanation, Outcome};

/// Writes all of it.
pub fn write(explanation: &Explanation) -> String {
    let mut text = String::new();
    header(explanation, &mut text)
        .and_then(|()| explanation.endpoints.iter().try_for_each(|it| endpoint(it, &mut text)))
        .expect("writing to a string does not fail");
    text
}

fn header(explanation: &Explanation, text: &mut String) -> fmt::Result {
    let Explanation { from, to, endpoints } = explanation;
    let enrolled = if from.enrolled { "is enrolled" } else { "is not enrolled" };
    writeln!(text, "Pod {} {enrolled}, and connects to {}, port {}.", from.pod, to.host, to.port)?;
    if endpoints.is_empty() {
        writeln!(text, "The connection is refused.")?;
        reason(Reason::NoEndpoint, text)?;
    }
    Ok(())
}

fn endpoint(endpoint: &Endpoint, text: &mut String) -> fmt::Result {
    let pod = endpoint.pod.as_ref().map_or_else(String::new, |pod| format!(", pod {pod},"));
    writeln!(text, "\n{}{pod} {}.", endpoint.address, met(endpoint))?;
    for sentence in &endpoint.causes {
        match &sentence.object {
            Some(object) => writeln!(text, "  {object} {}.", sentence.says)?,
            None => writeln!(text, "  {}.", sentence.says)?,
        }
    }
    reason(endpoint.reason.0, text)
}

fn met(endpoint: &Endpoint) -> String {
    let how = match endpoint.transport.0 {
        Transport::Plaintext => "in plaintext",
        Transport::Hbone => "over HBONE, with mutual TLS",
        Transport::Sidecar => "over sidecar mTLS",
        Transport::Tls => "with TLS as a DestinationRule sets it",
    };
    match endpoint.outcome {
        Outcome::Ok => format!("is reached {how}"),
        Outcome::Refused => format!("is not reached: the connection would go {how}, and is refused"),
    }
}

fn reason(reason: Reason, text: &mut String) -> fmt::Result {
    writeln!(text, "  Why: {} ({reason})", reason.meaning())?;
    writeln!(text, "  What can be done: {}", reason.advice())
}
