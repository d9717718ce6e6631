//! Why a stream or a connection ended.

use std::fmt;

/// An error code (RFC 9113, section 7).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ErrorCode {
    /// Nothing went wrong.
    NoError = 0x0,
    /// The peer broke the protocol in a way that has no code of its own.
    ProtocolError = 0x1,
    /// An end's own fault.
    InternalError = 0x2,
    /// More payload than the window allowed.
    FlowControlError = 0x3,
    /// Settings were not acknowledged in time.
    SettingsTimeout = 0x4,
    /// A frame for a stream that is half closed already.
    StreamClosed = 0x5,
    /// A frame of the wrong size.
    FrameSizeError = 0x6,
    /// The stream was not processed and may be tried again.
    RefusedStream = 0x7,
    /// The stream is no longer wanted.
    Cancel = 0x8,
    /// The state of header compression is lost.
    CompressionError = 0x9,
    /// The connection that a CONNECT asked for was reset.
    ConnectError = 0xa,
    /// The peer costs more than it may.
    EnhanceYourCalm = 0xb,
    /// The transport is not secure enough.
    InadequateSecurity = 0xc,
    /// HTTP/1.1 is wanted instead.
    Http11Required = 0xd,
}

impl ErrorCode {
    /// The code that a frame carries. One that nobody knows counts as an internal error, as section 7 allows.
    pub(crate) fn from_wire(code: u32) -> Self {
        usize::try_from(code).ok().and_then(|code| ALL.get(code)).copied().unwrap_or(Self::InternalError)
    }

    pub(crate) fn to_wire(self) -> [u8; 4] {
        (self as u32).to_be_bytes()
    }
}

const ALL: [ErrorCode; 14] = [
    ErrorCode::NoError,
    ErrorCode::ProtocolError,
    ErrorCode::InternalError,
    ErrorCode::FlowControlError,
    ErrorCode::SettingsTimeout,
    ErrorCode::StreamClosed,
    ErrorCode::FrameSizeError,
    ErrorCode::RefusedStream,
    ErrorCode::Cancel,
    ErrorCode::CompressionError,
    ErrorCode::ConnectError,
    ErrorCode::EnhanceYourCalm,
    ErrorCode::InadequateSecurity,
    ErrorCode::Http11Required,
];

impl fmt::Display for ErrorCode {
    /// The name that RFC 9113 gives it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NoError => "NO_ERROR",
            Self::ProtocolError => "PROTOCOL_ERROR",
            Self::InternalError => "INTERNAL_ERROR",
            Self::FlowControlError => "FLOW_CONTROL_ERROR",
            Self::SettingsTimeout => "SETTINGS_TIMEOUT",
            Self::StreamClosed => "STREAM_CLOSED",
            Self::FrameSizeError => "FRAME_SIZE_ERROR",
            Self::RefusedStream => "REFUSED_STREAM",
            Self::Cancel => "CANCEL",
            Self::CompressionError => "COMPRESSION_ERROR",
            Self::ConnectError => "CONNECT_ERROR",
            Self::EnhanceYourCalm => "ENHANCE_YOUR_CALM",
            Self::InadequateSecurity => "INADEQUATE_SECURITY",
            Self::Http11Required => "HTTP_1_1_REQUIRED",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_survives_the_wire() {
        for code in ALL {
            assert_eq!(ErrorCode::from_wire(u32::from_be_bytes(code.to_wire())), code);
        }
        assert_eq!(ErrorCode::from_wire(14), ErrorCode::InternalError);
    }
}
