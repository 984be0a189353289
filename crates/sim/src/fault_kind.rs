//! The kinds of faults.

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// `kill -9` of an agent.
    Kill,
    /// SIGTERM, then a restart.
    Restart,
    /// A host loses power: data that was not synced may be lost.
    PowerCut,
    /// A host loses power in the middle of a write.
    TornWrite,
    /// Every host loses power at the same time.
    Blackout,
    /// A collector restarts with an empty disk.
    DiskLost,
    /// No messages pass between two hosts.
    Partition,
    /// No messages pass from one host to another.
    OneWay,
    /// Messages between two hosts are delayed.
    Hold,
    /// Connections are reset on one side, after the sent data has arrived.
    Reset,
    /// A collector receives batches, but its responses are lost, and it cannot reach the store.
    Stray,
    /// SIGSTOP, then SIGCONT.
    Freeze,
    /// SIGSTOP just before a call that changes the ledger, then SIGCONT. Strikes two hosts in a
    /// row, where one overtakes the other.
    StopAtTurn,
    /// All store calls of one host take longer than others wait for it.
    StoreSlow,
    /// The store does not answer.
    StoreAway,
    /// One host cannot reach the store.
    StoreCut,
    /// The store rejects some calls.
    StoreRefuses,
    /// Some responses of the store are lost.
    StoreUnheard,
    /// The store performs some calls seconds later, after their callers have timed out.
    StoreLate,
    /// A disk is full.
    DiskFull,
    /// Some writes fail, or all syncs.
    DiskFails,
    /// A disk is slow.
    DiskSlow,
    /// A wall clock jumps.
    ClockJump,
    /// An edge's disk is copied while it is off, and both copies start. The second one restarts
    /// later.
    Clone,
    /// An edge's data directory is restored from an earlier copy while it is down.
    EdgeRestored,
    /// A collector's data directory is restored from an earlier copy while it is down.
    CollectorRestored,
    /// Discovery finds only some agents, or none.
    Names,
    /// The store rejects one collector for so long that its senders switch to another one.
    StoreRefusesOne,
    /// The ledger is deleted, truncated or restored from an older copy. An operator rebuilds or
    /// adopts it.
    LedgerChanged,
}

/// All kinds but seven, which need special seeds: names only matter with discovery; ledger turns
/// need frequent ledger changes; outside changes of the ledger need an operator; copies need a host
/// for them; restored edges may duplicate events; and the switch of senders is measured without
/// other faults.
pub(crate) const KINDS: &[FaultKind] = &[
    FaultKind::Kill,
    FaultKind::Restart,
    FaultKind::PowerCut,
    FaultKind::TornWrite,
    FaultKind::Blackout,
    FaultKind::DiskLost,
    FaultKind::Partition,
    FaultKind::OneWay,
    FaultKind::Hold,
    FaultKind::Reset,
    FaultKind::Stray,
    FaultKind::Freeze,
    FaultKind::StoreSlow,
    FaultKind::StoreAway,
    FaultKind::StoreCut,
    FaultKind::StoreRefuses,
    FaultKind::StoreUnheard,
    FaultKind::StoreLate,
    FaultKind::DiskFull,
    FaultKind::DiskFails,
    FaultKind::DiskSlow,
    FaultKind::ClockJump,
];

impl FaultKind {
    /// Returns the name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Restart => "restart",
            Self::PowerCut => "power cut",
            Self::TornWrite => "power cut in a write",
            Self::Blackout => "power cut of all",
            Self::DiskLost => "disk lost",
            Self::Partition => "partition",
            Self::OneWay => "one-way partition",
            Self::Hold => "delay",
            Self::Reset => "reset",
            Self::Stray => "stray copies",
            Self::Freeze => "freeze",
            Self::StopAtTurn => "stop at a turn",
            Self::StoreSlow => "store slow for one",
            Self::StoreAway => "store away",
            Self::StoreCut => "store cut off",
            Self::StoreRefuses => "store refuses",
            Self::StoreRefusesOne => "store refuses one collector",
            Self::StoreUnheard => "store unheard",
            Self::StoreLate => "store late",
            Self::DiskFull => "disk full",
            Self::DiskFails => "disk fails",
            Self::DiskSlow => "disk slow",
            Self::ClockJump => "clock jump",
            Self::Clone => "clone",
            Self::EdgeRestored => "edge restored",
            Self::CollectorRestored => "collector restored",
            Self::Names => "names",
            Self::LedgerChanged => "ledger changed",
        }
    }
}
