//! One host: what survives the crash of its agent, and the world that the agent sees.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use channel::testkit::SimDisk;
use pipeline::env::{Blocking, Clock, Entropy};
use pipeline::{Env, IntervalSet};
use tokio::sync::{Notify, mpsc};

use crate::dice::Dice;
use crate::names::SimNames;
use crate::net::{Cut, SimNet};
use crate::world::{World, lock};

/// When every simulation begins: a moment in 2023.
const EPOCH: Duration = Duration::from_secs(1_700_000_000);

/// Bytes of a machine's disk.
pub(crate) const DISK_BYTES: u64 = 16 << 20;

/// One host.
pub(crate) struct Machine {
    /// Its name in the network.
    pub(crate) name: Arc<str>,
    /// What its agent runs.
    pub(crate) configuration: String,
    pub(crate) world: Arc<World>,
    dice: Dice,
    disk: Mutex<SimDisk>,
    clock_millis: AtomicI64,
    /// Most milliseconds that blocking work waits before it is done.
    disk_slow_millis: AtomicU64,
    /// Nothing gets in or out while it is frozen.
    frozen: AtomicBool,
    /// A watch channel would wake its waiters in a random order.
    thaw: Notify,
    /// It was stopped just before a call of the store, and has not been looked after since.
    has_stopped: AtomicBool,
    /// The store cannot be reached from here.
    store_cut: AtomicBool,
    /// Most milliseconds that a call of the store is on its way from here, beyond the usual.
    store_slow_millis: AtomicU64,
    /// There is no power, or the disk is in trouble: applications do not write.
    off: AtomicBool,
    disk_troubled: AtomicBool,
    /// Connections that can be reset.
    pub(crate) connections: Mutex<BTreeMap<u64, Arc<Cut>>>,
    signals: Mutex<Option<mpsc::UnboundedSender<&'static str>>>,
    /// The agent has ended, and why.
    ended: Mutex<Option<String>>,
    sender: Mutex<SenderBook>,
    /// It does not exist yet: it will be a copy of another one.
    unborn: AtomicBool,
}

/// What a sender outside remembers, through all lives of the agent.
#[derive(Default)]
struct SenderBook {
    /// The next event to be offered.
    next: u64,
    accepted: IntervalSet,
}

impl Machine {
    /// A host with an empty disk.
    pub(crate) fn new(name: &str, seed: u64, configuration: String, world: Arc<World>) -> Self {
        let dice = Dice::new(seed, name);
        let disk = Mutex::new(SimDisk::new(dice.bits()));
        let machine = Self {
            name: name.into(),
            configuration,
            world,
            dice,
            disk,
            clock_millis: AtomicI64::new(0),
            disk_slow_millis: AtomicU64::new(0),
            frozen: AtomicBool::new(false),
            thaw: Notify::new(),
            has_stopped: AtomicBool::new(false),
            store_cut: AtomicBool::new(false),
            store_slow_millis: AtomicU64::new(0),
            off: AtomicBool::new(false),
            disk_troubled: AtomicBool::new(false),
            connections: Mutex::default(),
            signals: Mutex::default(),
            ended: Mutex::default(),
            sender: Mutex::default(),
            unborn: AtomicBool::new(false),
        };
        machine.disk().set_capacity(DISK_BYTES);
        machine
    }

    /// The world as the agent of one life sees it.
    pub(crate) fn env(self: &Arc<Self>) -> Env {
        Env {
            clock: Arc::new(MachineClock(self.clone())),
            entropy: Arc::new(MachineEntropy(self.clone())),
            net: Arc::new(SimNet { machine: self.clone() }),
            names: Arc::new(SimNames(self.clone())),
            disk: Arc::new(self.disk()),
            blocking: Arc::new(Threads(self.clone())),
            host: self.name.clone(),
        }
    }

    /// The disk that it has now.
    pub(crate) fn disk(&self) -> SimDisk {
        lock(&self.disk).clone()
    }

    /// The disk is taken away with all that is on it; there is an empty one in its place.
    pub(crate) fn lose_disk(&self) {
        let disk = SimDisk::new(self.dice.bits());
        disk.set_capacity(DISK_BYTES);
        *lock(&self.disk) = disk;
    }

    /// It is not there before it becomes a copy.
    pub(crate) fn wait_for_birth(&self) {
        self.unborn.store(true, Ordering::Relaxed);
    }

    /// Whether it is there.
    pub(crate) fn is_born(&self) -> bool {
        !self.unborn.load(Ordering::Relaxed)
    }

    /// It comes into being, with a copy of what is on the disk of `other`.
    pub(crate) fn become_copy_of(&self, other: &Self) {
        *lock(&self.disk) = other.disk().copy();
        self.unborn.store(false, Ordering::Relaxed);
    }

    /// The wall clock goes wrong by so much.
    pub(crate) fn shift_clock(&self, millis: i64) {
        self.clock_millis.store(millis, Ordering::Relaxed);
    }

    /// Blocking work waits up to so long before it is done.
    pub(crate) fn slow_disk(&self, millis: u64) {
        self.disk_slow_millis.store(millis, Ordering::Relaxed);
    }

    /// The process is stopped, or goes on.
    pub(crate) fn freeze(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::Relaxed);
        if !frozen {
            self.thaw.notify_waiters();
        }
    }

    /// Waits until the process is not stopped.
    pub(crate) async fn thawed(&self) {
        while self.frozen.load(Ordering::Relaxed) {
            self.thaw.notified().await;
        }
    }

    /// The process is stopped where it is.
    pub(crate) fn stop_here(&self) {
        self.freeze(true);
        self.has_stopped.store(true, Ordering::Relaxed);
    }

    /// Whether it was stopped where it was since this was last asked.
    pub(crate) fn has_stopped(&self) -> bool {
        self.has_stopped.swap(false, Ordering::Relaxed)
    }

    /// The way to the store is cut, or whole again.
    pub(crate) fn cut_store(&self, cut: bool) {
        self.store_cut.store(cut, Ordering::Relaxed);
    }

    /// Whether the way to the store is cut.
    pub(crate) fn is_store_cut(&self) -> bool {
        self.store_cut.load(Ordering::Relaxed)
    }

    /// Each call of the store is up to so long on its way.
    pub(crate) fn slow_store(&self, millis: u64) {
        self.store_slow_millis.store(millis, Ordering::Relaxed);
    }

    /// What a call of the store is on its way now, beyond the usual.
    pub(crate) fn way_to_store(&self) -> Duration {
        match self.store_slow_millis.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            most => Duration::from_millis(self.dice.between(most * 3 / 4, most)),
        }
    }

    /// A lookup is on its way, and the process may be stopped.
    pub(crate) async fn pause_for_names(&self) {
        tokio::time::sleep(self.dice.millis(1, 300)).await;
        self.thawed().await;
    }

    /// The power is on, or off.
    pub(crate) fn power(&self, on: bool) {
        self.off.store(!on, Ordering::Relaxed);
    }

    /// The disk is in trouble, or well again.
    pub(crate) fn trouble_disk(&self, troubled: bool) {
        self.disk_troubled.store(troubled, Ordering::Relaxed);
    }

    /// Whether an application can write here. One whose write fails halfway is another story.
    pub(crate) fn takes_writes(&self) -> bool {
        !self.off.load(Ordering::Relaxed) && !self.disk_troubled.load(Ordering::Relaxed)
    }

    /// Resets this side of all connections with `peer`.
    pub(crate) fn reset_connections(&self, peer: &str) {
        let connections: Vec<Arc<Cut>> = lock(&self.connections).values().cloned().collect();
        connections.iter().filter(|cut| cut.peer == peer).for_each(|cut| cut.cut());
    }

    /// A new life begins: where its signals come from.
    pub(crate) fn begin_life(&self) -> mpsc::UnboundedReceiver<&'static str> {
        lock(&self.connections).clear();
        *lock(&self.ended) = None;
        let (sender, signals) = mpsc::unbounded_channel();
        *lock(&self.signals) = Some(sender);
        signals
    }

    /// Sends the agent a signal.
    pub(crate) fn signal(&self, name: &'static str) {
        if let Some(signals) = &*lock(&self.signals) {
            // An agent that has ended hears nothing.
            let _ = signals.send(name);
        }
    }

    /// The agent has ended.
    pub(crate) fn end_life(&self, reason: String) {
        *lock(&self.ended) = Some(reason);
    }

    /// The sender offers its next events, of `count` in all, and never again.
    pub(crate) fn offer(&self, count: u64) -> Range<u64> {
        let mut sender = lock(&self.sender);
        let (start, more) = (sender.next, self.dice.between(1, 12));
        sender.next = count.min(start + more);
        start..sender.next
    }

    /// The sender has the answer that these are stored.
    pub(crate) fn accepted(&self, events: Range<u64>) {
        lock(&self.sender).accepted.insert_range(events);
    }

    /// How many events the sender has offered, and of which it has the answer that they are stored.
    pub(crate) fn sent(&self) -> (u64, IntervalSet) {
        let sender = lock(&self.sender);
        (sender.next, sender.accepted.clone())
    }

    /// Why the agent has ended, if it has.
    pub(crate) fn ended(&self) -> Option<String> {
        lock(&self.ended).take()
    }
}

struct MachineClock(Arc<Machine>);

impl Clock for MachineClock {
    fn now(&self) -> SystemTime {
        let right = SystemTime::UNIX_EPOCH + EPOCH + self.0.world.now();
        let wrong = self.0.clock_millis.load(Ordering::Relaxed);
        let by = Duration::from_millis(wrong.unsigned_abs());
        if wrong < 0 { right - by } else { right + by }
    }
}

/// The numbers go on through crashes: no two lives draw the same.
struct MachineEntropy(Arc<Machine>);

impl Entropy for MachineEntropy {
    fn next_u64(&self) -> u64 {
        self.0.dice.bits()
    }
}

/// Blocking work: each piece waits for its turn of a thread, and is then done at once.
struct Threads(Arc<Machine>);

impl Blocking for Threads {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        let machine = self.0.clone();
        // Without a runtime the host is just being crashed: its threads die with it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let slow = machine.disk_slow_millis.load(Ordering::Relaxed);
            let wait = match slow {
                0 => Duration::from_micros(machine.dice.below(1500)),
                slow => machine.dice.millis(1, slow),
            };
            tokio::time::sleep(wait).await;
            machine.thawed().await;
            work();
        });
    }

    /// As many on every machine that a seed is run on.
    fn cores(&self) -> usize {
        2
    }
}
