//! One `PeerAuthentication`.

use std::{collections::BTreeMap, str::FromStr};

use crate::{Labels, Meta, Mode, selects};

/// A `PeerAuthentication` whose contents make sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAuthentication {
    meta: Meta,
    selector: Labels,
    mode: ModeSetting,
    ports: BTreeMap<u16, ModeSetting>,
}

/// A `PeerAuthentication` as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerAuthenticationSpec {
    /// `selector.matchLabels`; none and empty are the same.
    pub selector: Labels,
    /// `mtls.mode`.
    pub mode: ModeSetting,
    /// `portLevelMtls`, by container port; absent and empty are not the same.
    pub ports: Option<BTreeMap<String, ModeSetting>>,
}

/// `mtls.mode` as it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ModeSetting {
    /// As the next wider scope says.
    #[default]
    Unset,
    /// This one.
    Set(Mode),
}

/// What is wrong with a `PeerAuthentication`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerAuthenticationError {
    /// `portLevelMtls` in a policy for a whole namespace or mesh.
    #[error("portLevelMtls needs a selector with labels: name the workloads, or remove it")]
    PortsWithoutSelector,
    /// `portLevelMtls: {}`.
    #[error("portLevelMtls is empty: list a port, or remove it")]
    NoPorts,
    /// A key of `portLevelMtls` is not a port.
    #[error("expected a container port from 1 to 65535 as key of portLevelMtls, found {0:?}")]
    NotAPort(String),
}

/// `mtls.mode` is a word that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected mode UNSET, DISABLE, PERMISSIVE or STRICT, found {0:?}")]
pub struct UnknownMode(String);

impl PeerAuthentication {
    /// Checks what was written, as Istio does on admission (`pkg/config/validation`, `PeerAuthentication`).
    pub fn new(meta: Meta, spec: PeerAuthenticationSpec) -> Result<Self, PeerAuthenticationError> {
        let ports = match spec.ports {
            None => BTreeMap::new(),
            Some(_) if spec.selector.is_empty() => return Err(PeerAuthenticationError::PortsWithoutSelector),
            Some(ports) if ports.is_empty() => return Err(PeerAuthenticationError::NoPorts),
            Some(ports) => ports.into_iter().map(port_setting).collect::<Result<_, _>>()?,
        };
        Ok(Self { meta, selector: spec.selector, mode: spec.mode, ports })
    }

    /// Which object it is.
    pub const fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Whether it is for a whole namespace, or the mesh.
    pub(crate) fn is_wide(&self) -> bool {
        self.selector.is_empty()
    }

    /// Whether it is for the workload with these labels, of its own namespace.
    pub(crate) fn is_for(&self, labels: &Labels) -> bool {
        !self.is_wide() && selects(&self.selector, labels)
    }

    pub(crate) const fn mode(&self) -> ModeSetting {
        self.mode
    }

    /// What it says of one container port by itself.
    pub(crate) fn port_mode(&self, port: u16) -> ModeSetting {
        self.ports.get(&port).copied().unwrap_or_default()
    }

    /// The ports of which it says something by themselves.
    pub(crate) fn ports(&self) -> impl Iterator<Item = u16> {
        self.ports.keys().copied()
    }
}

fn port_setting((port, mode): (String, ModeSetting)) -> Result<(u16, ModeSetting), PeerAuthenticationError> {
    match port.parse() {
        Ok(number) if number != 0 => Ok((number, mode)),
        _ => Err(PeerAuthenticationError::NotAPort(port)),
    }
}

impl ModeSetting {
    /// The mode, where one is set.
    pub(crate) const fn set(self) -> Option<Mode> {
        match self {
            Self::Unset => None,
            Self::Set(mode) => Some(mode),
        }
    }
}

impl FromStr for ModeSetting {
    type Err = UnknownMode;

    fn from_str(word: &str) -> Result<Self, UnknownMode> {
        match word {
            "UNSET" => Ok(Self::Unset),
            "DISABLE" => Ok(Self::Set(Mode::Disable)),
            "PERMISSIVE" => Ok(Self::Set(Mode::Permissive)),
            "STRICT" => Ok(Self::Set(Mode::Strict)),
            _ => Err(UnknownMode(word.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{labels, meta};

    fn spec(selector: &[(&str, &str)], ports: Option<&[(&str, ModeSetting)]>) -> PeerAuthenticationSpec {
        PeerAuthenticationSpec {
            selector: labels(selector),
            mode: ModeSetting::Unset,
            ports: ports.map(|ports| ports.iter().map(|(port, mode)| ((*port).to_owned(), *mode)).collect()),
        }
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        use PeerAuthenticationError::{NoPorts, NotAPort, PortsWithoutSelector};
        let strict = ModeSetting::Set(Mode::Strict);
        let app: &[(&str, &str)] = &[("app", "httpbin")];
        for (spec, expected) in [
            (spec(&[], Some(&[("80", strict)])), Err(PortsWithoutSelector)),
            (spec(&[], Some(&[])), Err(PortsWithoutSelector)),
            (spec(app, Some(&[])), Err(NoPorts)),
            (spec(app, Some(&[("0", strict)])), Err(NotAPort("0".to_owned()))),
            (spec(app, Some(&[("-1", strict)])), Err(NotAPort("-1".to_owned()))),
            (spec(app, Some(&[("80", strict), ("65536", strict)])), Err(NotAPort("65536".to_owned()))),
            (spec(app, Some(&[("http", strict)])), Err(NotAPort("http".to_owned()))),
            (spec(app, Some(&[("1", strict), ("65535", strict)])), Ok(())),
            (spec(&[], None), Ok(())),
        ] {
            let made = PeerAuthentication::new(meta(None, "full", "p"), spec.clone());
            assert_eq!(made.map(drop), expected, "{spec:?}");
        }
    }

    #[test]
    fn modes_are_four_words() {
        assert_eq!("UNSET".parse(), Ok(ModeSetting::Unset));
        assert_eq!("STRICT".parse(), Ok(ModeSetting::Set(Mode::Strict)));
        assert_eq!("PERMISSIVE".parse(), Ok(ModeSetting::Set(Mode::Permissive)));
        assert_eq!("DISABLE".parse(), Ok(ModeSetting::Set(Mode::Disable)));
        for word in ["", "strict", "MUTUAL"] {
            assert_eq!(word.parse::<ModeSetting>(), Err(UnknownMode(word.to_owned())));
        }
    }
}
