//! Flags as they were given: `--name value` or `--name=value`.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
};

use lexopt::Arg;

/// A flag that a command knows. Each takes a value.
pub(crate) struct Flag {
    /// Without the hyphens.
    pub(crate) name: &'static str,
    /// How help names the value.
    pub(crate) value: &'static str,
    /// One line for people.
    pub(crate) help: &'static str,
}

/// The values that were given, and what was wrong with them.
pub(crate) struct Given {
    values: BTreeMap<&'static str, OsString>,
    mistakes: Vec<String>,
    help: bool,
}

impl Given {
    /// Reads all arguments of a command that knows `flags`.
    pub(crate) fn read(flags: &[Flag], arguments: impl Iterator<Item = OsString>) -> Self {
        let mut given = Self { values: BTreeMap::new(), mistakes: Vec::new(), help: false };
        let mut parser = lexopt::Parser::from_args(arguments.collect::<Vec<_>>());
        loop {
            match parser.next() {
                Ok(None) => return given,
                Ok(Some(Arg::Long("help") | Arg::Short('h'))) => given.help = true,
                Ok(Some(Arg::Long(name))) => {
                    let name = name.to_owned();
                    given.read_flag(flags, &name, &mut parser);
                }
                Ok(Some(Arg::Short(letter))) => given.mistake(format!("there is no flag -{letter}")),
                Ok(Some(Arg::Value(value))) => {
                    given.mistake(format!("unexpected argument {:?}", value.to_string_lossy()));
                }
                Err(error) => given.mistake(error.to_string()),
            }
        }
    }

    /// Whether help was asked for.
    pub(crate) const fn wants_help(&self) -> bool {
        self.help
    }

    /// Notes a mistake.
    pub(crate) fn mistake(&mut self, text: String) {
        self.mistakes.push(text);
    }

    /// The value of a flag, converted; nothing if it is absent, or wrong (which is noted).
    pub(crate) fn take<T>(
        &mut self,
        name: &'static str,
        convert: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.take_os(name)?;
        let converted = value.to_str().ok_or_else(|| "expected UTF-8 text".to_owned()).and_then(convert);
        match converted {
            Ok(value) => Some(value),
            Err(expected) => {
                self.mistake(format!("--{name}: {expected}, found {:?}", value.to_string_lossy()));
                None
            }
        }
    }

    /// The value of a flag, as it stands.
    pub(crate) fn take_os(&mut self, name: &'static str) -> Option<OsString> {
        self.values.remove(name)
    }

    /// All that was wrong.
    pub(crate) fn into_mistakes(self) -> Vec<String> {
        self.mistakes
    }

    fn read_flag(&mut self, flags: &[Flag], name: &str, parser: &mut lexopt::Parser) {
        let value = parser.optional_value();
        let Some(flag) = flags.iter().find(|flag| flag.name == name) else {
            return self.mistake(format!("there is no flag --{name}"));
        };
        let Some(value) = value.or_else(|| next_value(parser)) else {
            return self.mistake(format!("--{name} needs a value, {}", flag.value));
        };
        if self.values.insert(flag.name, value).is_some() {
            self.mistake(format!("--{name} was given twice"));
        }
    }
}

/// The next argument, unless it is a flag itself.
fn next_value(parser: &mut lexopt::Parser) -> Option<OsString> {
    let mut raw = parser.try_raw_args()?;
    let is_value = raw.peek().is_some_and(|next: &OsStr| !next.as_encoded_bytes().starts_with(b"--"));
    if is_value { raw.next() } else { None }
}
