//! Third-party query engines: Spark from PyPI, Flink from published jars, each downloaded once to
//! the user's cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::flume::jars_of;
use crate::python::environment;

/// Python packages of Spark.
const REQUIREMENTS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/spark/requirements.txt"));

/// Jars to download: Spark's Kafka source, a Hive client and Iceberg for Spark, and Flink.
const SPARK_KAFKA: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/spark/kafka/pom.xml"));
const SPARK_HIVE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/spark/hive/pom.xml"));
const SPARK_ICEBERG: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/spark/iceberg/pom.xml"));
const FLINK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/flink/pom.xml"));

/// Returns Python with Spark.
///
/// # Panics
///
/// When it cannot be installed.
#[must_use]
pub fn spark() -> Command {
    Command::new(environment("spark-3.5.7", REQUIREMENTS).join("python"))
}

/// Returns the folders of the jars of Spark's Kafka source, and of the Hive client.
///
/// # Panics
///
/// When they cannot be downloaded.
#[must_use]
pub fn spark_jars() -> [PathBuf; 2] {
    [jars_of("spark-kafka-3.5.7", SPARK_KAFKA), hive_client()]
}

/// Returns the folder of the jars of the Hive client.
///
/// # Panics
///
/// When they cannot be downloaded.
#[must_use]
pub fn hive_client() -> PathBuf {
    jars_of("spark-hive-3.1.3", SPARK_HIVE)
}

/// Returns the folder of the jar of Iceberg for Spark.
///
/// # Panics
///
/// When it cannot be downloaded.
#[must_use]
pub fn spark_iceberg() -> PathBuf {
    jars_of("spark-iceberg-1.11.0", SPARK_ICEBERG)
}

/// Returns a Flink job that runs in one process: `class` of this source, compiled into `dir`.
///
/// # Panics
///
/// When the jars cannot be downloaded, or the source does not compile.
#[must_use]
pub fn flink(dir: &Path, class: &str, source: &str) -> Command {
    let jars = jars_of("flink-1.20.3", FLINK);
    let classes = format!("{}:{}/*", dir.display(), jars.display());
    let file = dir.join(format!("{class}.java"));
    std::fs::write(&file, source).expect("the test's own folder");
    let mut javac = Command::new("javac");
    javac.arg("-cp").arg(&classes).arg("-d").arg(dir).arg(&file);
    let done = javac.output().expect("javac runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let mut java = Command::new("java");
    java.args(["-Xmx512m", "-XX:TieredStopAtLevel=1"]);
    java.args(
        ["java.util", "java.lang"].map(|it| format!("--add-opens=java.base/{it}=ALL-UNNAMED")),
    );
    java.args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"]).arg(classes).arg(class);
    java
}
