//! What is asked.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// How a connection from a pod to a destination would go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The client pod's namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// A name, as clients of that namespace write it, or an address.
    pub host: String,
    /// The port; none means the only one there is.
    pub port: Option<u16>,
}

/// The text is no question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// The client.
    #[error("expected NAMESPACE/POD")]
    From,
    /// The destination.
    #[error("expected HOST, HOST:PORT, ADDRESS:PORT or [ADDRESS]:PORT, with a port from 1 to 65535")]
    To,
}

/// The longest name that the DNS has, in bytes (RFC 1035, section 2.3.4); names of pods are no longer.
const MAX_NAME: usize = 253;

impl Question {
    /// A question as a person writes it.
    pub fn new(from: &str, to: &str) -> Result<Self, QuestionError> {
        let (namespace, pod) = parse_from(from)?;
        let (host, port) = parse_to(to)?;
        Ok(Self { namespace, pod, host, port })
    }
}

/// Reads `NAMESPACE/POD`.
pub fn parse_from(text: &str) -> Result<(String, String), QuestionError> {
    match text.split_once('/') {
        Some((namespace, pod)) if is_name(namespace) && is_name(pod) => {
            Ok((namespace.to_owned(), pod.to_owned()))
        }
        _ => Err(QuestionError::From),
    }
}

/// Reads `HOST[:PORT]`. A bare IPv6 address has no port.
pub fn parse_to(text: &str) -> Result<(String, Option<u16>), QuestionError> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok((text.to_owned(), None));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(QuestionError::To)?;
        let is_address = address.parse::<IpAddr>().is_ok();
        let port =
            if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(QuestionError::To)?) };
        let port = port.map(parse_port).transpose()?;
        return if is_address { Ok((address.to_owned(), port)) } else { Err(QuestionError::To) };
    }
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let port = port.map(parse_port).transpose()?;
    if is_name(host) { Ok((host.to_owned(), port)) } else { Err(QuestionError::To) }
}

fn parse_port(text: &str) -> Result<u16, QuestionError> {
    text.parse().ok().filter(|port| *port != 0).ok_or(QuestionError::To)
}

fn is_name(text: &str) -> bool {
    let is_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !text.is_empty() && text.len() <= MAX_NAME && text.bytes().all(is_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_names_and_addresses() {
        for (text, host, port) in [
            ("httpbin", "httpbin", None),
            ("httpbin.full.svc.cluster.local:8000", "httpbin.full.svc.cluster.local", Some(8000)),
            ("httpbin.full.svc.cluster.local.:80", "httpbin.full.svc.cluster.local.", Some(80)),
            ("10.0.0.7:80", "10.0.0.7", Some(80)),
            ("10.0.0.7", "10.0.0.7", None),
            ("[fd00::7]:80", "fd00::7", Some(80)),
            ("[fd00::7]", "fd00::7", None),
            ("fd00::7", "fd00::7", None),
        ] {
            assert_eq!(parse_to(text), Ok((host.to_owned(), port)), "{text}");
        }
        for text in
            ["", ":80", "a:", "a:0", "a:65536", "a:http", "a b", "[a]:80", "[::1", "[::1]80", "http://a"]
        {
            assert_eq!(parse_to(text), Err(QuestionError::To), "{text}");
        }
    }

    #[test]
    fn clients_are_pods_of_a_namespace() {
        assert_eq!(parse_from("full/sleep"), Ok(("full".to_owned(), "sleep".to_owned())));
        for text in ["", "sleep", "/sleep", "full/", "full/sleep/x", "fu ll/sleep"] {
            assert_eq!(parse_from(text), Err(QuestionError::From), "{text}");
        }
    }
}
