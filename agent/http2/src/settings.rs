//! SETTINGS (RFC 9113, section 6.5).

use crate::{
    Limits, Violation,
    flow::{DEFAULT_WINDOW, MAX_WINDOW},
    limits::{DEFAULT_FRAME, MAX_FRAME},
};

/// What the peer holds us to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Settings {
    pub(crate) streams: u32,
    pub(crate) window: u32,
    pub(crate) frame: u32,
}

impl Default for Settings {
    /// What holds where a peer says nothing.
    fn default() -> Self {
        Self { streams: u32::MAX, window: DEFAULT_WINDOW, frame: DEFAULT_FRAME }
    }
}

impl Settings {
    /// What holds after a frame's payload, of whole parameters. Those that mean nothing to us are checked only.
    pub(crate) fn updated(mut self, payload: &[u8], by_server: bool) -> Result<Self, Violation> {
        for parameter in payload.as_chunks().0 {
            let [k1, k0, v3, v2, v1, v0]: [u8; PARAMETER] = *parameter;
            let value = u32::from_be_bytes([v3, v2, v1, v0]);
            match u16::from_be_bytes([k1, k0]) {
                ENABLE_PUSH if value > 1 || (by_server && value == 1) => {
                    return Err(Violation::protocol("ENABLE_PUSH has a value that is not allowed"));
                }
                MAX_CONCURRENT_STREAMS => self.streams = value,
                INITIAL_WINDOW_SIZE if value > MAX_WINDOW => {
                    return Err(Violation::flow("INITIAL_WINDOW_SIZE is beyond 2^31-1"));
                }
                INITIAL_WINDOW_SIZE => self.window = value,
                MAX_FRAME_SIZE if !(DEFAULT_FRAME..=MAX_FRAME).contains(&value) => {
                    return Err(Violation::protocol("MAX_FRAME_SIZE is not within 2^14 and 2^24-1"));
                }
                MAX_FRAME_SIZE => self.frame = value,
                ENABLE_CONNECT_PROTOCOL if value > 1 => {
                    return Err(Violation::protocol("ENABLE_CONNECT_PROTOCOL is neither 0 nor 1"));
                }
                _ => {}
            }
        }
        Ok(self)
    }
}

/// The payload that announces our limits.
pub(crate) fn announcement(limits: &Limits, client: bool) -> Vec<u8> {
    let own = if client { (ENABLE_PUSH, 0) } else { (MAX_CONCURRENT_STREAMS, limits.streams) };
    let parameters = [
        own,
        (INITIAL_WINDOW_SIZE, limits.stream_window),
        (MAX_FRAME_SIZE, limits.frame),
        (MAX_HEADER_LIST_SIZE, limits.header_list),
    ];
    parameters
        .iter()
        .flat_map(|(key, value)| key.to_be_bytes().into_iter().chain(value.to_be_bytes()))
        .collect()
}

/// Bytes of one parameter.
pub(crate) const PARAMETER: usize = 6;
const ENABLE_PUSH: u16 = 0x2;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;
const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE: u16 = 0x5;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;
/// RFC 8441, section 3.
const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;

    fn updated(key: u8, value: u32, by_server: bool) -> Result<Settings, ErrorCode> {
        let payload: Vec<u8> = [0, key].into_iter().chain(value.to_be_bytes()).collect();
        Settings::default().updated(&payload, by_server).map_err(|violation| violation.code)
    }

    #[test]
    fn the_last_value_holds() {
        let payload = [0, 4, 0, 0, 0, 9, 0, 4, 0, 0, 0, 1, 0, 3, 0, 0, 0, 7];
        let settings = Settings::default().updated(&payload, false).unwrap();
        assert_eq!(settings, Settings { streams: 7, window: 1, ..Settings::default() });
    }

    #[test]
    fn values_that_are_not_allowed_are_refused_with_the_code_that_belongs_to_them() {
        assert_eq!(updated(2, 2, false), Err(ErrorCode::ProtocolError));
        assert_eq!(updated(2, 1, true), Err(ErrorCode::ProtocolError));
        assert_eq!(updated(4, 1 << 31, false), Err(ErrorCode::FlowControlError));
        assert_eq!(updated(5, (1 << 14) - 1, false), Err(ErrorCode::ProtocolError));
        assert_eq!(updated(5, 1 << 24, false), Err(ErrorCode::ProtocolError));
        assert_eq!(updated(8, 2, true), Err(ErrorCode::ProtocolError));
    }

    #[test]
    fn values_at_their_limits_and_unknown_ones_are_taken() {
        assert_eq!(updated(2, 1, false), Ok(Settings::default()));
        assert_eq!(updated(4, MAX_WINDOW, false).unwrap().window, MAX_WINDOW);
        assert_eq!(updated(5, MAX_FRAME, false).unwrap().frame, MAX_FRAME);
        assert_eq!(updated(0xff, u32::MAX, true), Ok(Settings::default()));
    }
}
