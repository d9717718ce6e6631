//! What is wrong with what the cluster says.

use std::fmt;

use super::ObjectKey;

/// Something that was not taken in. What was in force before is in force still.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Problem {
    /// The file that it stands in.
    pub file: String,
    /// The document of that file, counted from 1; none is the whole file.
    pub document: Option<usize>,
    /// The object, where so much could be read.
    pub object: Option<ObjectKey>,
    /// The field, as a path; empty where it is not about one.
    pub field: String,
    /// What is wrong, and what to do about it.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(document) = self.document {
            write!(f, ", document {document}")?;
        }
        if let Some(object) = &self.object {
            write!(f, ", {object}")?;
        }
        if !self.field.is_empty() {
            write!(f, ", {}", self.field)?;
        }
        write!(f, ": {}", self.reason)
    }
}
