//! Additional metrics of the sink.

use metrics::MetricSpec;

pub(super) const METRICS: &[MetricSpec] = &[
    MetricSpec::counter(
        "late_events",
        "Events older than `late_after`, written below `late_path`, each time they are \
         written.",
    ),
    MetricSpec::counter(
        "overflow_events",
        "Events of batches with more than 16 times `buckets_max` directories, written below \
         `_overflow`, each time they are written.",
    ),
    MetricSpec::counter("success_markers", "Directories that this sink has marked as complete."),
    MetricSpec::gauge(
        "unmarked_directories",
        "Directories with files, of all collectors, that are not marked as complete yet.",
    ),
    MetricSpec::counter(
        "registered_partitions",
        "Partitions that this sink has added to its table, or found there.",
    ),
    MetricSpec::counter(
        "failed_registrations",
        "Tries to add partitions that failed; each is tried again.",
    ),
    MetricSpec::gauge(
        "unregistered_partitions",
        "Directories with files, of all collectors, that are not partitions of the table yet.",
    ),
    MetricSpec::counter("merges", "Files that this sink has made of several small ones."),
    MetricSpec::counter("merged_files", "Small files that became part of a larger one."),
    MetricSpec::counter(
        "merged_bytes",
        "Bytes of the small files that became part of a larger one.",
    ),
    MetricSpec::counter(
        "unmerged_given_up",
        "Directories whose small files stay as they are, because the store refuses to put them \
         together.",
    ),
    MetricSpec::gauge(
        "unmerged_directories",
        "Directories with files, of all collectors, whose small files are to be merged still.",
    ),
];
