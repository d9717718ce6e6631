//! A list of header fields.

mod rules;

use crate::{ErrorCode, hpack::FIELD_OVERHEAD};

/// The header fields of a request, in the order in which they came.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Head {
    /// Names and values, one behind the other.
    bytes: Vec<u8>,
    fields: Vec<Field>,
}

/// From names and values, unchecked.
impl<'a> FromIterator<(&'a str, &'a str)> for Head {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(fields: I) -> Self {
        fields.into_iter().fold(Self::default(), |mut head, (name, value)| {
            head.push(name.as_bytes(), value.as_bytes());
            head
        })
    }
}

/// Where a field's name and value end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Field {
    name: usize,
    value: usize,
}

/// A list that means nothing: the stream's error is a protocol error (RFC 9113, section 8.1.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Malformed;

impl Malformed {
    pub(crate) const CODE: ErrorCode = ErrorCode::ProtocolError;
}

impl Head {
    /// All fields, those whose names start with a colon too.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let starts = std::iter::once(0).chain(self.fields.iter().map(|field| field.value));
        let parts = starts.zip(&self.fields);
        parts.map(|(start, field)| (&self.bytes[start..field.name], &self.bytes[field.name..field.value]))
    }

    /// The value of the first field of a name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields().find_map(|(other, value)| (other == name.as_bytes()).then_some(value))
    }

    /// What is asked for; a request has it always.
    pub fn method(&self) -> &[u8] {
        self.get(":method").unwrap_or_default()
    }

    /// Host and port; a CONNECT has it always.
    pub fn authority(&self) -> Option<&[u8]> {
        self.get(":authority")
    }

    /// What an extended CONNECT asks for (RFC 8441, section 4). A plain one has none.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.get(":protocol")
    }

    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(name);
        let name = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.fields.push(Field { name, value: self.bytes.len() });
    }

    /// As RFC 9113, section 6.5.2 counts.
    pub(crate) const fn size(&self) -> usize {
        self.bytes.len() + self.fields.len() * FIELD_OVERHEAD
    }
}
