//! Goal: each kind of HDFS failure costs time and nothing else: failures of its NameNode, its
//! directories, its DataNodes, its writers' leases and the responses to calls.
//!
//! Method: one HDFS with Hadoop's defaults for silent DataNodes, and permissions. Each test has its
//! own agent pair, which stores 2,000 lines per second below its own directory, causes one fault,
//! and repairs it. Afterwards Hadoop's shell must find each line once, and `aqueduct verify` must
//! prove the same. The test prints the recovery time: from the end of the fault to the first new
//! visible file; for a permanent fault, the longest time without a new file.
//!
//! ```text
//!   *.log ─► edge ─► collector ─┬─► NameNode    frozen, in safe mode, out of quota, rejecting
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
