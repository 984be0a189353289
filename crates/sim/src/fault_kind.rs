//! What can go wrong.

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// `kill -9` of an agent.
    Kill,
    /// SIGTERM, and a start.
    Restart,
    /// A host loses power: what was not synced may be gone.
    PowerCut,
    /// A host loses power in the middle of a write.
    TornWrite,
    /// Every host loses power at once.
    Blackout,
    /// A collector comes back with an empty disk.
    DiskLost,
    /// Nothing passes between two hosts.
    Partition,
    /// Nothing passes from one host to another.
    OneWay,
    /// What passes between two hosts waits.
    Hold,
    /// Connections are reset on one side, after what was sent has arrived.
    Reset,
    /// A collector gets batches and its answers are lost; nor does it reach the store.
    Stray,
    /// SIGSTOP, and SIGCONT.
    Freeze,
    /// SIGSTOP just before a call that makes the ledger another one, and SIGCONT: of two, one after
    /// the other, where one overtakes the other.
    StopAtTurn,
    /// All that one host asks of the store takes long, longer than others wait for it.
    StoreSlow,
    /// The store gives no answers.
    StoreAway,
    /// One host does not reach the store.
    StoreCut,
    /// Some calls of the store are refused.
    StoreRefuses,
    /// Some answers of the store are lost.
    StoreUnheard,
    /// Some calls of the store are done seconds later, when they are not waited for any more.
    StoreLate,
    /// A disk is full.
    DiskFull,
    /// Some writes fail, or every sync does.
    DiskFails,
    /// A disk takes its time.
    DiskSlow,
    /// A wall clock jumps.
    ClockJump,
    /// An edge's disk is copied while it is off, and both copies are started; later the second one
    /// is started again.
    Clone,
    /// An edge's data directory goes back to an earlier copy while it is down.
    EdgeRestored,
    /// A collector's data directory goes back to an earlier copy while it is down.
    CollectorRestored,
    /// Some agents are not found any more, or none is.
    Names,
    /// The store refuses one collector for so long that its senders turn to another one.
    StoreRefusesOne,
    /// The ledger is deleted, cut, or put back to an older copy; an operator rebuilds or adopts it.
    LedgerChanged,
}

/// All of them but seven: names only matter where agents look them up, turns of the ledger come
/// often enough only where the seed is about them, it is changed from outside only there, copies
/// need a host for them, what a restored edge had read since may be there twice, and how soon
/// senders turn is only seen where nothing else goes wrong.
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
    /// What it is called in reports.
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
