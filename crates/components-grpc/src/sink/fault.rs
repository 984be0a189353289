//! Reasons why a stream to the downstream agent is given up.

/// Reason why a stream is given up.
pub(super) enum Fault {
    Transport(Box<tonic::Status>),
    Protocol(wire::Malformed),
}

impl From<tonic::Status> for Fault {
    fn from(status: tonic::Status) -> Self {
        Self::Transport(Box::new(status))
    }
}

impl From<wire::Malformed> for Fault {
    fn from(malformed: wire::Malformed) -> Self {
        Self::Protocol(malformed)
    }
}
