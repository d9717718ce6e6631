//! What the server's pod serves.

/// A program that listens in the server's pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// iperf3, for the whole run.
    Iperf,
    /// Sends back whatever comes.
    Echo,
    /// Reads everything and counts it.
    Sink,
    /// Accepts and never reads.
    Mute,
    /// Answers one message and closes.
    Once,
    /// Reads everything, beside what is measured.
    Neighbour,
}

impl Service {
    pub(super) const ALL: [Self; 6] =
        [Self::Iperf, Self::Echo, Self::Sink, Self::Mute, Self::Once, Self::Neighbour];

    /// Where it listens in a row, of which this is the number. Ports that the last row has left in TIME-WAIT slow the
    /// next one down otherwise.
    pub(super) const fn port(self, row: u16) -> u16 {
        match self {
            Self::Iperf => 5201,
            Self::Echo => 7000 + row,
            Self::Sink => 8000 + row,
            Self::Mute => 9000 + row,
            Self::Once => 10_000 + row,
            Self::Neighbour => 11_000 + row,
        }
    }

    /// Where a sidecar of the server takes connections for it.
    pub(super) const fn sidecar_port(self, row: u16) -> u16 {
        self.port(row) + 10_000
    }

    /// What has `culvert-load` serve it.
    pub(super) const fn verb(self) -> &'static str {
        match self {
            Self::Iperf => "iperf3",
            Self::Echo => "serve",
            Self::Sink | Self::Neighbour => "sink",
            Self::Mute => "mute",
            Self::Once => "once",
        }
    }

    /// By how much its programs stand behind others for the CPU. At the same priority, a core that a neighbour saturates
    /// comes to those who wait a slice at a time: a direct connection takes 15 to 27 times longer then, and what carries
    /// it does not show.
    pub(super) const fn niceness(self) -> &'static str {
        match self {
            Self::Neighbour => "19",
            _ => "0",
        }
    }
}
