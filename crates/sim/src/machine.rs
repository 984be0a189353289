//! One host: the state that survives a crash of its agent, and the agent's environment.

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

/// Start time of every simulation, in 2023.
const EPOCH: Duration = Duration::from_secs(1_700_000_000);

/// Size of a machine's disk.
pub(crate) const DISK_BYTES: u64 = 16 << 20;

/// One host.
pub(crate) struct Machine {
    /// Host name.
    pub(crate) name: Arc<str>,
    /// Configuration of its agent.
    pub(crate) configuration: String,
    pub(crate) world: Arc<World>,
    dice: Dice,
    disk: Mutex<SimDisk>,
    clock_millis: AtomicI64,
    /// Maximum delay of blocking work, in milliseconds.
    disk_slow_millis: AtomicU64,
    /// While frozen, the host neither sends nor receives.
    frozen: AtomicBool,
    /// A watch channel would wake its waiters in a random order.
    thaw: Notify,
    /// Whether it was stopped just before a store call, and the driver has not yet noticed.
    has_stopped: AtomicBool,
    /// Whether it cannot reach the store.
    store_cut: AtomicBool,
    /// Maximum additional delay of a store call from here, in milliseconds.
    store_slow_millis: AtomicU64,
    /// Whether power or disk has a fault: applications do not write.
    off: AtomicBool,
    disk_troubled: AtomicBool,
    /// Connections that can be reset.
    pub(crate) connections: Mutex<BTreeMap<u64, Arc<Cut>>>,
    signals: Mutex<Option<mpsc::UnboundedSender<&'static str>>>,
    /// Why the agent has exited, if it has.
    ended: Mutex<Option<String>>,
    sender: Mutex<SenderBook>,
    /// Whether it does not exist yet: it will be a copy of another machine.
    unborn: AtomicBool,
}

/// State of an external sender, across all restarts of the agent.
#[derive(Default)]
struct SenderBook {
    /// The next event to send.
    next: u64,
    accepted: IntervalSet,
}

impl Machine {
    /// Creates a host with an empty disk.
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

    /// Returns the environment for one run of the agent.
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

    /// Returns the current disk.
    pub(crate) fn disk(&self) -> SimDisk {
        lock(&self.disk).clone()
    }

    /// Replaces the disk by an empty one.
    pub(crate) fn lose_disk(&self) {
        let disk = SimDisk::new(self.dice.bits());
        disk.set_capacity(DISK_BYTES);
        *lock(&self.disk) = disk;
    }

    /// Marks the machine as nonexistent until it becomes a copy.
    pub(crate) fn wait_for_birth(&self) {
        self.unborn.store(true, Ordering::Relaxed);
    }

    /// Returns whether the machine exists.
    pub(crate) fn is_born(&self) -> bool {
        !self.unborn.load(Ordering::Relaxed)
    }

    /// Creates the machine, with a copy of the disk of `other`.
    pub(crate) fn become_copy_of(&self, other: &Self) {
        *lock(&self.disk) = other.disk().copy();
        self.unborn.store(false, Ordering::Relaxed);
    }

    /// Shifts the wall clock.
    pub(crate) fn shift_clock(&self, millis: i64) {
        self.clock_millis.store(millis, Ordering::Relaxed);
    }

    /// Sets the maximum delay of blocking work.
    pub(crate) fn slow_disk(&self, millis: u64) {
        self.disk_slow_millis.store(millis, Ordering::Relaxed);
    }

    /// Stops or continues the process.
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

    /// Stops the process at its current call.
    pub(crate) fn stop_here(&self) {
        self.freeze(true);
        self.has_stopped.store(true, Ordering::Relaxed);
    }

    /// Returns whether it was stopped at a call since the last query.
    pub(crate) fn has_stopped(&self) -> bool {
        self.has_stopped.swap(false, Ordering::Relaxed)
    }

    /// Cuts or restores the connection to the store.
    pub(crate) fn cut_store(&self, cut: bool) {
        self.store_cut.store(cut, Ordering::Relaxed);
    }

    /// Returns whether the connection to the store is cut.
    pub(crate) fn is_store_cut(&self) -> bool {
        self.store_cut.load(Ordering::Relaxed)
    }

    /// Sets the maximum additional delay of store calls.
    pub(crate) fn slow_store(&self, millis: u64) {
        self.store_slow_millis.store(millis, Ordering::Relaxed);
    }

    /// Draws the additional delay of a store call.
    pub(crate) fn way_to_store(&self) -> Duration {
        match self.store_slow_millis.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            most => Duration::from_millis(self.dice.between(most * 3 / 4, most)),
        }
    }

    /// Delays a lookup, and waits while the process is stopped.
    pub(crate) async fn pause_for_names(&self) {
        tokio::time::sleep(self.dice.millis(1, 300)).await;
        self.thawed().await;
    }

    /// Turns the power on or off.
    pub(crate) fn power(&self, on: bool) {
        self.off.store(!on, Ordering::Relaxed);
    }

    /// Marks the disk as faulty or healthy.
    pub(crate) fn trouble_disk(&self, troubled: bool) {
        self.disk_troubled.store(troubled, Ordering::Relaxed);
    }

    /// Returns whether applications can write here. Half-finished application writes are out of
    /// scope.
    pub(crate) fn takes_writes(&self) -> bool {
        !self.off.load(Ordering::Relaxed) && !self.disk_troubled.load(Ordering::Relaxed)
    }

    /// Resets this side of all connections with `peer`.
    pub(crate) fn reset_connections(&self, peer: &str) {
        let connections: Vec<Arc<Cut>> = lock(&self.connections).values().cloned().collect();
        connections.iter().filter(|cut| cut.peer == peer).for_each(|cut| cut.cut());
    }

    /// Starts a new run of the agent. Returns the receiver of its signals.
    pub(crate) fn begin_life(&self) -> mpsc::UnboundedReceiver<&'static str> {
        lock(&self.connections).clear();
        *lock(&self.ended) = None;
        let (sender, signals) = mpsc::unbounded_channel();
        *lock(&self.signals) = Some(sender);
        signals
    }

    pub(crate) fn signal(&self, name: &'static str) {
        if let Some(signals) = &*lock(&self.signals) {
            // Fails only if the agent has exited.
            let _ = signals.send(name);
        }
    }

    /// Records why the agent has exited.
    pub(crate) fn end_life(&self, reason: String) {
        *lock(&self.ended) = Some(reason);
    }

    /// Returns the sender's next events, out of `count`. Each event is sent only once.
    pub(crate) fn offer(&self, count: u64) -> Range<u64> {
        let mut sender = lock(&self.sender);
        let (start, more) = (sender.next, self.dice.between(1, 12));
        sender.next = count.min(start + more);
        start..sender.next
    }

    /// Records the acknowledgement of these events.
    pub(crate) fn accepted(&self, events: Range<u64>) {
        lock(&self.sender).accepted.insert_range(events);
    }

    /// Returns the number of events sent, and the acknowledged ones.
    pub(crate) fn sent(&self) -> (u64, IntervalSet) {
        let sender = lock(&self.sender);
        (sender.next, sender.accepted.clone())
    }

    /// Returns why the agent has exited, if it has.
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

/// Numbers continue through crashes, so that no two runs draw the same ones.
struct MachineEntropy(Arc<Machine>);

impl Entropy for MachineEntropy {
    fn next_u64(&self) -> u64 {
        self.0.dice.bits()
    }
}

/// Blocking work: each task waits for a simulated thread and then runs without a pause.
struct Threads(Arc<Machine>);

impl Blocking for Threads {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        let machine = self.0.clone();
        // Without a runtime the host is crashing, and its threads with it.
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

    /// Constant, so that a seed gives the same result on every machine.
    fn cores(&self) -> usize {
        2
    }
}
