//! `hdfs dfs -put` of the same file: no pipeline, no durability on the way, one JVM.

use std::time::Instant;

use super::{Bench, Results, progress};
use crate::error::Result;
use crate::process;

/// Measures one run: from the start of the JVM to its exit, as users experience it.
pub(super) fn measure(bench: &Bench<'_>, results: &mut Results) -> Result<()> {
    let target = format!("/bench/put-{}", bench.round);
    process::run("hdfs fs -mkdir", &mut bench.hdfs.shell(&["-mkdir", "-p", &target]))?;
    let source = bench.log.path.display().to_string();
    bench.log.warm()?;
    let cpu_before = process::children_cpu_s()?;
    let started = Instant::now();
    process::run("hdfs fs -put", &mut bench.hdfs.shell(&["-put", &source, &target]))?;
    let seconds = started.elapsed().as_secs_f64();
    let cpu_s = process::children_cpu_s()? - cpu_before;
    progress(&format!("hdfs-put run {}: {seconds:.2} s, {cpu_s:.2} s CPU", bench.round + 1));
    bench.hdfs.compare(&target, bench.log, "hdfs-put")?;
    results.seconds.push(seconds);
    results.cpu.push(cpu_s * 1e6 / bench.log.lines as f64);
    bench.hdfs.delete(&target)
}
