//! The fleet server: sees all agents of a site, and rolls out a configuration in gated waves.
//!
//! ```text
//!   fragments/*.toml, assign.toml ─► Revision ─► render(labels) ─► text + hash
//!                                                     │
//!   agent ── POST /v1/opamp ─► Report ─► Fleet::report ─► Offer: nothing, or text + hash
//!                                          │    ▲
//!                      samples, gate, waves┘    └── rollout.json is on disk before the offer
//! ```
//!
//! Everything that decides is pure and synchronous: [`Fleet`] gets reports, the time and a
//! [`Save`], and returns offers. The server is a thin loop around it, so that the simulation in
//! `tests/simulation.rs` runs the same code with agents that fail, partitions and killed servers.
//!
//! # A roll-out
//!
//! 1. `aqueduct fleet roll-out` copies the fragments and the assignment to a *revision*, which
//!    never changes. Every known agent gets the text that its labels select. Agents whose text
//!    changes and that have reported recently are the members of the roll-out.
//! 2. The first wave has one agent for each distinct new text. The next ones are 5 % of the
//!    members, 50 %, and all.
//! 3. A member passes the gate if it reports the new hash, and stays as good as before for the soak
//!    time ([`gate`]): health, conservation, drops, dead letters, backlog, events accepted.
//! 4. If all members of a wave pass, the next wave opens; after the last one the revision is
//!    *accepted*. If one fails, all members that may have the new text get the accepted revision
//!    back.
//!
//! # Invariants
//!
//! 1. An agent gets a new text only after its wave has opened, and a wave opens only after all
//!    earlier waves have passed.
//! 2. The state of the roll-out is on disk before an offer that follows from it leaves the server.
//!    A restarted server therefore continues in the same wave, and an agent that has a text ignores
//!    its second offer: no wave is applied twice.
//! 3. A roll-out that has failed offers its text to no agent any more.
//! 4. A pinned agent gets only the text of its revision, which a roll-out has accepted.
//! 5. An agent that the server does not manage, because it speaks OpAMP but is not an Aqueduct
//!    agent, or because no assignment matches, gets no offer.
//!
//! | module | contents |
//! |---|---|
//! | `revision` | fragments, assignment, the text for an agent |
//! | `agents` | what is known of each agent; samples of its counts |
//! | [`gate`] | compares an agent with itself before the change |
//! | `rollout` | the state machine |
//! | `pins` | agents that keep a revision |
//! | `state` | the fleet: reports in, offers out |
//! | `history` | the last 24 hours, in SQLite |
//! | `topology` | which agent sends to which agent and store |
//! | `directory` | the directory of the server: revisions, state, audit log |
//! | `git` | commits of that directory |
//! | `exchange` | OpAMP messages to reports, offers to messages |
//! | `access`, `server`, `answers`, `view`, `page` | HTTP: identities, requests, JSON, the page |

mod access;
mod agents;
mod answers;
mod directory;
mod exchange;
pub mod gate;
mod git;
mod history;
mod page;
mod pins;
mod revision;
mod rollout;
mod server;
mod state;
mod topology;
mod view;

pub use access::Access;
pub use agents::{Agent, Failure, Report};
pub use directory::{Directory, DirectoryError};
pub use exchange::{Exchanged, MESSAGE_MAX, exchange};
pub use gate::{Counts, Level};
pub use history::{HistoryView, PointView, STEP_MS, Sample, Samples};
pub use pins::{Pin, Pins, Target};
pub use revision::{Assignment, Rendered, Revision};
pub use rollout::{Member, MemberState, Phase, Policy, Rollout, Rules};
pub use server::{ServeError, Settings, serve};
pub use state::{Act, Changed, Fleet, Offer, Refused, Save, Saved};
pub use topology::{Destination, Edge, Node, NodeKind, Receiver, Topology};
pub use view::{AgentView, FleetView, PinView, RolloutView};
