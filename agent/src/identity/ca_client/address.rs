//! Where an authority is, and the name that it must prove.

use std::{fmt, str::FromStr};

use http::uri::Authority;
use rustls::pki_types::ServerName;

/// `HOST:PORT`, where the host is a DNS name or an address (an IPv6 address in brackets).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaAddress {
    host: String,
    port: u16,
    name: ServerName<'static>,
}

/// The text is no `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected HOST:PORT such as culvert-ca.culvert-system.svc:15012, found {0:?}")]
pub struct CaAddressError(String);

impl CaAddress {
    /// What to look up and where to connect.
    pub(super) fn target(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// What the server's certificate must be for.
    pub(super) fn name(&self) -> ServerName<'static> {
        self.name.clone()
    }
}

impl FromStr for CaAddress {
    type Err = CaAddressError;

    fn from_str(text: &str) -> Result<Self, CaAddressError> {
        let error = || CaAddressError(text.to_owned());
        let authority: Authority = text.parse().map_err(|_| error())?;
        let port = authority.port_u16().filter(|port| *port != 0).ok_or_else(error)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|_| error())?;
        let address = Self { host: host.to_owned(), port, name };
        if address.to_string() == text { Ok(address) } else { Err(error()) }
    }
}

impl fmt::Display for CaAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes() {
        for text in ["culvert-ca.culvert-system.svc:15012", "10.0.0.7:443", "[fd00::7]:15012"] {
            assert_eq!(text.parse::<CaAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_no_host_and_port() {
        for text in [
            "",
            "ca",
            "ca:",
            "ca:0",
            "ca:65536",
            ":443",
            "https://ca:443",
            "a@ca:443",
            "c a:443",
            "fd00::7:443",
        ] {
            assert!(text.parse::<CaAddress>().is_err(), "{text} was accepted");
        }
    }
}
