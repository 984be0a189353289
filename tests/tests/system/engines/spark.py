"""Runs the examples of docs/engines.md in one session of Spark while their datasets grow.

Its argument is a folder with the examples as `NAME.py`, and gets what they found as `NAME.lines`.
Directory and table are read again and again until the file `written` is there: each read has to hold
all that the one before found, every line once and whole, and for each partition of the table a line.
The two streams are stopped and started again once. `written` names results of Flink, each with the
number of lines that are waited for, which are read like the others. At last pyarrow reads the files of
the directory.
Ends with 1 and the reason where a read is not so.
"""

import pathlib
import re
import sys
import time

import pyarrow.parquet
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

FOLDER = pathlib.Path(sys.argv[1])
WHOLE = re.compile(r"\d-\d \d{1,3}")
# Longest time from `written` until the table has all lines of the directory, and Flink has all of its.
PATIENCE_SECONDS = 60
# Not in each state a dataset can be read: before its first file there is no schema, and no table.
NOT_YET = ("PATH_NOT_FOUND", "UNABLE_TO_INFER_SCHEMA", "TABLE_OR_VIEW_NOT_FOUND")


def fail(reason):
    # It stands in front of what the end of the session has to say.
    print(f"failed: {reason}", flush=True)
    sys.exit(1)


def run(name):
    """The variables of an example that has run; none before there is anything to read."""
    scope = {}
    try:
        exec(compile((FOLDER / f"{name}.py").read_text(), name, "exec"), scope)
    except AnalysisException as error:
        if error.getErrorClass() not in NOT_YET:
            raise
        return None
    return scope


class Reads:
    """What the reads of one dataset found."""

    def __init__(self, name):
        self.name, self.found, self.count, self.growths = name, set(), 0, 0

    def look(self, lines):
        found = set(lines)
        torn = [line for line in found if not WHOLE.fullmatch(line)]
        lost = self.found - found
        if len(lines) > len(found) or torn or lost:
            fail(
                f"{self.name}, read {self.count}: {len(lines) - len(found)} lines are repeated, "
                f"{len(lost)} of the read before are missing, and not whole are {torn[:3]}"
            )
        self.count += 1
        if len(found) > len(self.found):
            self.growths += 1
            print(f"{self.name} has grown", flush=True)
        self.found = found

    def keep(self):
        keep(self.name, self.found)
        print(f"{self.name}: {self.count} reads, {self.growths} growths", flush=True)


def keep(name, lines):
    (FOLDER / f"{name}.lines").write_text("".join(f"{line}\n" for line in lines))


def read_directory(reads):
    scope = run("directory")
    if scope is None:
        if reads.found:
            fail("the directory is not there any more")
        return
    files = scope["logs"].inputFiles()
    if odd := [file for file in files if "/_" in file or not file.endswith(".parquet")]:
        fail(f"files that no reader should see: {odd}")
    reads.look([row.line for row in scope["lines"].collect()])


def read_table(reads, spark):
    try:
        shown = {row[0] for row in spark.sql("SHOW PARTITIONS logs.web").collect()}
    except AnalysisException as error:
        if error.getErrorClass() not in NOT_YET:
            raise
        return
    rows = run("table")["web"].collect()
    if early := shown - {f"day={row.day}" for row in rows}:
        fail(f"partitions without a line: {sorted(early)}")
    reads.look([row.line for row in rows])


class Stream:
    """A query that runs all the time, and once in two runs."""

    def __init__(self, name):
        self.name, self.scope, self.runs = name, None, 0

    def start(self):
        if self.scope is None:
            self.scope = run(self.name)
            self.runs += self.scope is not None

    def restart(self):
        """Stops it once it has a result: what comes next is of another run."""
        if self.runs == 1 and self.scope and self.scope["query"].lastProgress:
            self.scope["query"].stop()
            self.scope = None

    def finish(self, spark):
        if self.runs == 1:
            self.scope["query"].processAllAvailable()
            self.restart()
            self.start()
        self.scope["query"].processAllAvailable()
        self.scope["query"].stop()
        keep(self.name, [row.line for row in spark.read.parquet(self.scope["RESULT"]).collect()])
        print(f"{self.name}: {self.runs} runs", flush=True)


def read_flink(spark, path, wanted):
    """The lines of a result, once there are so many; those that are there, after a while."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            lines = spark.read.option("recursiveFileLookup", "true").text(path).collect()
        except AnalysisException:
            lines = []
        if len(lines) >= wanted or time.monotonic() > until:
            keep(path.rsplit("/", 1)[1], [row.value for row in lines])
            return


def read_with_arrow(spark):
    """The lines of the directory's files by another reader, which reads copies of them."""
    path, configuration = spark._jvm.org.apache.hadoop.fs.Path, spark._jsc.hadoopConfiguration()
    lines = []
    for number, file in enumerate(run("directory")["logs"].inputFiles()):
        source, copy = path(file), FOLDER / f"copies/{number}.parquet"
        store = source.getFileSystem(configuration)
        store.copyToLocalFile(False, source, path(f"file://{copy}"), True)
        lines += pyarrow.parquet.read_table(copy, columns=["line"]).column("line").to_pylist()
    keep("arrow", lines)


def main():
    spark = SparkSession.builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    # What is loaded late is loaded now, so that the first reads are not slow.
    spark.sql("SHOW DATABASES").collect()
    warm = f"file://{FOLDER}/warm"
    spark.range(2).selectExpr("id", "id AS day").write.partitionBy("day").parquet(warm)
    spark.read.parquet(warm).collect()
    print("ready", flush=True)
    directory, table = Reads("directory"), Reads("table")
    streams = [Stream("files"), Stream("topic")]
    written, until = False, None
    while not (written and table.found == directory.found):
        if written and until is None:
            until = time.monotonic() + PATIENCE_SECONDS
        if until and time.monotonic() > until:
            fail(f"the table has {len(table.found)} of {len(directory.found)} lines")
        written = (FOLDER / "written").exists()
        for stream in streams:
            stream.restart()
            stream.start()
        read_directory(directory)
        read_table(table, spark)
    for reads in (directory, table):
        reads.keep()
    for stream in streams:
        stream.finish(spark)
    for result in (FOLDER / "written").read_text().splitlines():
        path, wanted = result.split(" ")
        read_flink(spark, path, int(wanted))
    read_with_arrow(spark)


main()
