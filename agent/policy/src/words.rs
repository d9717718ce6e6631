//! Enumerations whose variants have a word each, the same wherever people or programs read it.

/// None of the words that were expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {expected}, found {found:?}")]
pub struct UnknownWord {
    pub(crate) expected: String,
    pub(crate) found: String,
}

/// Gives an enumeration the list of its variants, and their words both ways.
macro_rules! words {
    ($type:ident { $($variant:ident => $word:expr),+ $(,)? }) => {
        impl $type {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word for it in logs, metrics and the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::UnknownWord;

            fn from_str(word: &str) -> Result<Self, $crate::UnknownWord> {
                let known = Self::ALL.iter().find(|known| known.as_str() == word).copied();
                known.ok_or_else(|| $crate::UnknownWord {
                    expected: Self::ALL.iter().map(|known| known.as_str()).collect::<Vec<_>>().join(", "),
                    found: word.to_owned(),
                })
            }
        }
    };
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    use crate::{Mode, PeerStatus, Reason, Transport};

    #[test]
    fn each_word_is_read_back() {
        assert!(Mode::ALL.iter().all(|it| it.as_str().parse() == Ok(*it)));
        assert!(PeerStatus::ALL.iter().all(|it| it.as_str().parse() == Ok(*it)));
        assert!(Transport::ALL.iter().all(|it| it.as_str().parse() == Ok(*it)));
        assert!(Reason::ALL.iter().all(|it| it.as_str().parse() == Ok(*it)));
    }

    #[test]
    fn another_word_is_refused_with_those_that_there_are() {
        let error = "strict".parse::<Mode>().unwrap_err().to_string();
        assert_eq!(error, "expected one of STRICT, PERMISSIVE, DISABLE, found \"strict\"");
    }
}
