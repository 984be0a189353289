//! Additional metrics of the sink.

use metrics::MetricSpec;

pub(super) const METRICS: &[MetricSpec] = &[
    MetricSpec::counter(
        "late_events",
        "Events older than `late_after` that were written below `late_path`, including rewrites.",
    ),
    MetricSpec::counter(
        "overflow_events",
        "Events that were written below `_overflow`, because their batch has more than 16 times \
         `buckets_max` directories, including rewrites.",
    ),
    MetricSpec::counter("success_markers", "Directories that this sink has marked as complete."),
    MetricSpec::gauge(
        "unmarked_directories",
        "Directories with files of any collector that are not marked as complete yet.",
    ),
    MetricSpec::counter("receipts", "Receipts of complete directories that this sink has written."),
    MetricSpec::counter(
        "late_files",
        "Files that were committed after the receipt of their directory, as recorded by this sink.",
    ),
    MetricSpec::gauge(
        "directories_without_receipt",
        "Directories with files of any collector that have no receipt yet, or a late file to \
         record.",
    ),
    MetricSpec::gauge(
        "incomplete_seconds",
        "Time since the oldest directory that waits for edges could have got its receipt.",
    ),
    MetricSpec::gauge(
        "edges_that_hold_back",
        "Edges that the oldest directory without a receipt waits for.",
    ),
    MetricSpec::counter(
        "lineage_events",
        "Receipts and records of late files that this sink has sent to its OpenLineage server, \
         including repetitions.",
    ),
    MetricSpec::counter(
        "failed_lineage_events",
        "Failed attempts to send a receipt to the OpenLineage server; they are retried.",
    ),
    MetricSpec::gauge(
        "receipts_without_lineage_event",
        "Receipts and records of late files of any collector that the OpenLineage server does not \
         have yet.",
    ),
    MetricSpec::counter(
        "partition_receipts",
        "Receipts and records of late files that this sink has written to a partition in the Hive \
         metastore, including repetitions.",
    ),
    MetricSpec::counter(
        "failed_partition_receipts",
        "Failed attempts to write a receipt to a partition; they are retried.",
    ),
    MetricSpec::gauge(
        "receipts_without_partition",
        "Receipts and records of late files of any collector that are not properties of their \
         partition yet.",
    ),
    MetricSpec::counter(
        "registered_partitions",
        "Partitions that this sink has added to its table or found there.",
    ),
    MetricSpec::counter(
        "failed_registrations",
        "Failed attempts to add partitions; they are retried.",
    ),
    MetricSpec::gauge(
        "unregistered_partitions",
        "Directories with files of any collector that are not partitions of the table yet.",
    ),
    MetricSpec::counter("table_commits", "Commits of this sink to its Iceberg table."),
    MetricSpec::counter(
        "failed_table_commits",
        "Failed attempts to append files to the Iceberg table; they are retried.",
    ),
    MetricSpec::gauge(
        "entries_without_table",
        "Entries of the commit ledger that the Iceberg table does not contain yet.",
    ),
    MetricSpec::counter("merges", "Files that this sink has merged from small ones."),
    MetricSpec::counter("merged_files", "Small files that were merged into larger ones."),
    MetricSpec::counter(
        "merged_bytes",
        "Bytes of the small files that were merged into larger ones.",
    ),
    MetricSpec::counter(
        "unmerged_given_up",
        "Directories whose small files are not merged because the store rejects it.",
    ),
    MetricSpec::gauge(
        "unmerged_directories",
        "Directories with files of any collector whose small files are not merged yet.",
    ),
];
