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
//!
//! Lane: core
//! Needs: java mvn curl flock
//! Weight: 0
//! Limit: 20m
//! Paths: @core deploy/hadoop

mod answers;
mod datanodes;
mod directories;
mod namenode;
mod relay;
mod site;
mod writers;
