//! Flags as they were given: `--name value`, `--name=value`, or `-n value`.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
};

use lexopt::Arg;

/// A flag that a command knows.
pub(crate) struct Flag {
    /// Without the hyphens.
    pub(crate) name: &'static str,
    /// One letter for the same.
    pub(crate) short: Option<char>,
    /// How help names the value; none is a flag that takes none.
    pub(crate) value: Option<&'static str>,
    /// One line for people.
    pub(crate) help: &'static str,
}

impl Flag {
    /// A flag with a value.
    pub(crate) const fn value(name: &'static str, value: &'static str, help: &'static str) -> Self {
        Self { name, short: None, value: Some(value), help }
    }

    /// A flag without one.
    pub(crate) const fn switch(name: &'static str, help: &'static str) -> Self {
        Self { name, short: None, value: None, help }
    }

    /// The same flag, by one letter too.
    pub(crate) const fn short(self, letter: char) -> Self {
        Self { short: Some(letter), ..self }
    }

    /// How help writes it.
    pub(crate) fn usage(&self) -> String {
        let short = self.short.map_or_else(String::new, |letter| format!("-{letter}, "));
        let value = self.value.map_or_else(String::new, |value| format!(" {value}"));
        format!("{short}--{}{value}", self.name)
    }
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
                    let found = flags.iter().find(|flag| flag.name == name).ok_or(format!("--{name}"));
                    given.read_flag(found, &mut parser);
                }
                Ok(Some(Arg::Short(letter))) => {
                    let found = flags.iter().find(|flag| flag.short == Some(letter));
                    given.read_flag(found.ok_or(format!("-{letter}")), &mut parser);
                }
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

    /// Whether a flag was given and not taken yet.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Whether a flag without a value was given.
    pub(crate) fn take_switch(&mut self, name: &'static str) -> bool {
        self.values.remove(name).is_some()
    }

    /// All that was wrong.
    pub(crate) fn into_mistakes(self) -> Vec<String> {
        self.mistakes
    }

    fn read_flag(&mut self, flag: Result<&Flag, String>, parser: &mut lexopt::Parser) {
        let value = parser.optional_value();
        let flag = match flag {
            Ok(flag) => flag,
            Err(unknown) => return self.mistake(format!("there is no flag {unknown}")),
        };
        match (flag.value, value) {
            (None, None) => self.keep(flag, OsString::new()),
            (None, Some(_)) => self.mistake(format!("--{} takes no value", flag.name)),
            (Some(meant), value) => match value.or_else(|| next_value(parser)) {
                Some(value) => self.keep(flag, value),
                None => self.mistake(format!("--{} needs a value, {meant}", flag.name)),
            },
        }
    }

    fn keep(&mut self, flag: &Flag, value: OsString) {
        if self.values.insert(flag.name, value).is_some() {
            self.mistake(format!("--{} was given twice", flag.name));
        }
    }
}

/// The next argument, unless it is a flag itself.
fn next_value(parser: &mut lexopt::Parser) -> Option<OsString> {
    let mut raw = parser.try_raw_args()?;
    let is_value = raw.peek().is_some_and(|next: &OsStr| !next.as_encoded_bytes().starts_with(b"--"));
    if is_value { raw.next() } else { None }
}
