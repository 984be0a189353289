//! Flume's file channel alone, from its published jars: synced transactions with the batch's number
//! of events, from several producers, and one consumer.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::cache::Cache;
use crate::e2e::flume::{jars, java};
use crate::error::{Doing, Error, Result};
use crate::load::{BODY_BYTES, Load};
use crate::process;

/// Time for the just-in-time compiler.
const WARM_UP: Duration = Duration::from_secs(4);

/// The program that runs the channel.
pub(super) struct FileChannel {
    jars: PathBuf,
}

impl FileChannel {
    /// Downloads the jars unless they are in the cache.
    pub(super) fn prepare(cache: &Cache) -> Result<Self> {
        Ok(Self { jars: jars(cache)? })
    }

    /// Returns events per second.
    pub(super) fn measure(
        &self,
        load: Load,
        producers: usize,
        limit: Duration,
        cache: &Cache,
    ) -> Result<f64> {
        let scratch = cache.scratch()?;
        let source = scratch.path().join("FileChannelBench.java");
        for (path, text) in [
            (&source, include_str!("../../peers/flume/FileChannelBench.java")),
            (&scratch.path().join("log4j2.xml"), include_str!("../../peers/flume/log4j2.xml")),
        ] {
            fs::write(path, text).at("write", path)?;
        }
        let mut java = java(&self.jars, scratch.path());
        java.arg(&source).arg(scratch.path().join("channel"));
        java.args([producers, load.events, BODY_BYTES].map(|number| number.to_string()));
        java.args([WARM_UP, limit].map(|time| time.as_secs_f64().to_string()));
        let output = process::run("java (Flume's file channel)", &mut java)?;
        let line = output.lines().last().unwrap_or_default();
        let mut numbers = line.split(' ').map(str::parse::<f64>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(events)), Some(Ok(seconds))) => Ok(events / seconds),
            _ => Err(Error::Answer {
                from: "Flume's file channel".to_owned(),
                detail: format!("it said {line:?}"),
            }),
        }
    }
}
