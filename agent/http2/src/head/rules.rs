//! Which lists of fields are well-formed (RFC 9113, sections 8.2, 8.3 and 8.5).

use super::{Head, Malformed};

impl Head {
    pub(crate) fn check_request(&self) -> Result<(), Malformed> {
        self.check_fields(&[":method", ":scheme", ":authority", ":path", ":protocol"])?;
        let (scheme, path) = (self.get(":scheme"), self.get(":path"));
        let complete = match (self.get(":method"), self.protocol()) {
            (Some(b"CONNECT"), None) => scheme.is_none() && path.is_none() && self.authority().is_some(),
            (Some(b"CONNECT"), Some(_)) | (Some(_), None) => {
                scheme.is_some() && path.is_some_and(|path| !path.is_empty())
            }
            (Some(_), Some(_)) | (None, _) => false,
        };
        if complete { Ok(()) } else { Err(Malformed) }
    }

    /// The status of an answer.
    pub(crate) fn check_response(&self) -> Result<u16, Malformed> {
        self.check_fields(&[":status"])?;
        let digits =
            self.get(":status").filter(|status| status.len() == 3 && status.iter().all(u8::is_ascii_digit));
        let digits = digits.ok_or(Malformed)?;
        let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        // HTTP/2 has no Upgrade (section 8.6).
        if status < 100 || status == 101 { Err(Malformed) } else { Ok(status) }
    }

    pub(crate) fn check_trailers(&self) -> Result<(), Malformed> {
        self.check_fields(&[])
    }

    /// Pseudo-header fields are of those that are allowed, stand first and occur once; all others may cross HTTP/2.
    fn check_fields(&self, pseudo: &[&str]) -> Result<(), Malformed> {
        let (mut seen, mut regular) = (0_u32, false);
        for (name, value) in self.fields() {
            let fine = if name.starts_with(b":") {
                let place = pseudo.iter().position(|other| other.as_bytes() == name).ok_or(Malformed)?;
                let twice = seen & (1 << place) != 0;
                seen |= 1 << place;
                !twice && !regular
            } else {
                regular = true;
                is_name(name) && !is_of_connection(name, value)
            };
            if !fine || !is_value(value) {
                return Err(Malformed);
            }
        }
        Ok(())
    }
}

/// Section 8.2.1, and no colon.
fn is_name(name: &[u8]) -> bool {
    let is_allowed = |byte: &u8| matches!(byte, 0x21..=0x7e) && !byte.is_ascii_uppercase() && *byte != b':';
    !name.is_empty() && name.iter().all(is_allowed)
}

/// Section 8.2.1.
fn is_value(value: &[u8]) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let is_line_end = |byte: &u8| matches!(byte, 0 | b'\r' | b'\n');
    !is_space(value.first()) && !is_space(value.last()) && !value.iter().any(is_line_end)
}

/// Section 8.2.2.
fn is_of_connection(name: &[u8], value: &[u8]) -> bool {
    match name {
        b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade" => true,
        b"te" => value != b"trailers",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&str, &str)]) -> Head {
        let mut head = Head::default();
        for (name, value) in fields {
            head.push(name.as_bytes(), value.as_bytes());
        }
        head
    }

    fn connect_with(field: (&str, &str)) -> Head {
        head(&[(":method", "CONNECT"), (":authority", "a:1"), field])
    }

    #[test]
    fn requests_that_http_knows_are_well_formed() {
        let get = [(":method", "GET"), (":scheme", "https"), (":path", "/"), ("te", "trailers")];
        assert_eq!(head(&get).check_request(), Ok(()));
        let plain = [(":authority", "10.0.0.7:80"), (":method", "CONNECT"), ("baggage", "")];
        assert_eq!(head(&plain).check_request(), Ok(()));
        let extended =
            [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/")];
        assert_eq!(head(&extended).check_request(), Ok(()));
    }

    #[test]
    fn requests_with_missing_or_superfluous_pseudo_headers_are_malformed() {
        let lists: [&[(&str, &str)]; 8] = [
            &[],
            &[(":method", "CONNECT")],
            &[(":method", "GET"), (":path", "/")],
            &[(":method", "GET"), (":scheme", "https"), (":path", "")],
            &[(":method", "CONNECT"), (":authority", "a:1"), (":scheme", "https")],
            &[(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")],
            &[(":method", "GET"), (":scheme", "https"), (":path", "/"), (":protocol", "websocket")],
            &[("a", "b"), (":method", "CONNECT"), (":authority", "a:1")],
        ];
        for list in lists {
            assert_eq!(head(list).check_request(), Err(Malformed), "{list:?}");
        }
    }

    #[test]
    fn fields_that_may_not_cross_are_malformed() {
        for field in [
            (":authority", "b:1"),
            (":status", "200"),
            (":other", ""),
            ("Name", ""),
            ("na me", ""),
            ("", ""),
            ("na:me", ""),
            ("name", "a\nb"),
            ("name", "a\0"),
            ("name", " a"),
            ("name", "a\t"),
            ("connection", "x"),
            ("proxy-connection", ""),
            ("keep-alive", ""),
            ("transfer-encoding", ""),
            ("upgrade", ""),
            ("te", "gzip"),
        ] {
            assert_eq!(connect_with(field).check_request(), Err(Malformed), "{field:?}");
        }
    }

    #[test]
    fn answers_have_one_status_of_three_digits() {
        assert_eq!(head(&[(":status", "200"), ("server", "x")]).check_response(), Ok(200));
        for status in ["", "20", "2000", "2x0", "099", "101"] {
            assert_eq!(head(&[(":status", status)]).check_response(), Err(Malformed), "{status}");
        }
        assert_eq!(head(&[]).check_response(), Err(Malformed));
        assert_eq!(head(&[(":status", "200"), (":status", "200")]).check_response(), Err(Malformed));
    }

    #[test]
    fn trailers_have_no_pseudo_headers() {
        assert_eq!(head(&[("grpc-status", "0")]).check_trailers(), Ok(()));
        assert_eq!(head(&[(":status", "200")]).check_trailers(), Err(Malformed));
    }
}
