//! Goal: a cluster that fails costs time and nothing else, for each way in which HDFS fails: its
//! NameNode, its directories, its DataNodes, the leases of its writers and the answers to calls.
//!
//! Method: one HDFS with Hadoop's defaults for DataNodes that are silent, and permissions. Each
//! test has an agent pair of its own that stores 2,000 lines a second below a directory of its own,
//! breaks one thing, and mends it. Behind the fault Hadoop's shell finds each line once, and
//! `aqueduct verify` proves the same. Printed is the time to recover: from the end of the fault to
//! the first file that becomes visible behind it; of a fault that stays, the longest time from its
//! beginning on in which none became visible.
//!
//! ```text
//!   *.log ─► edge ─► collector ─┬─► NameNode    frozen, in safe mode, out of quota, refusing
//!                               │   (through a relay that cuts connections around one call)
//!                               └─► DataNodes   killed, frozen, slow, full
//! ```
//!
//! With `AQUEDUCT_LONG` faults last longer and are repeated, and there are more of them.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a system test looks at the machine as it is, and prints what it measured"
)]

#[path = "clusters/answers.rs"]
mod answers;
#[path = "clusters/datanodes.rs"]
mod datanodes;
#[path = "clusters/directories.rs"]
mod directories;
#[path = "clusters/namenode.rs"]
mod namenode;
#[path = "clusters/relay.rs"]
mod relay;
#[path = "clusters/site.rs"]
mod site;
#[path = "clusters/writers.rs"]
mod writers;
