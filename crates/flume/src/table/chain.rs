//! Interceptors, selectors and sink processors.

use super::{As, Becomes, Row, Use, by, decision, ignored, key, row, same, set};

const INTERCEPTOR: &str = "interceptor";

pub(super) const ROWS: &[Row] = &[
    row(
        INTERCEPTOR,
        "timestamp",
        &["org.apache.flume.interceptor.TimestampInterceptor"],
        Becomes::Kind("timestamp"),
        &[&[
            same("headerName", "timestamp", "header", As::Text),
            same("header", "timestamp", "header", As::Text),
            set("preserveExisting", "false", "preserve_existing", As::Flag),
        ]],
    ),
    row(
        INTERCEPTOR,
        "host",
        &["org.apache.flume.interceptor.HostInterceptor"],
        Becomes::Kind("host"),
        &[&[
            same("hostHeader", "host", "header", As::Text),
            set("preserveExisting", "false", "preserve_existing", As::Flag),
            by("useIP", "true", "the header is always the host name, never the address"),
        ]],
    ),
    row(
        INTERCEPTOR,
        "static",
        &["org.apache.flume.interceptor.StaticInterceptor"],
        Becomes::Kind("static"),
        &[&[
            set("key", "key", "key", As::Text),
            set("value", "value", "value", As::Text),
            same("preserveExisting", "true", "preserve_existing", As::Flag),
        ]],
    ),
    row(
        INTERCEPTOR,
        "remove_header",
        &["org.apache.flume.interceptor.RemoveHeaderInterceptor"],
        Becomes::Kind("remove_header"),
        &[&[
            by("withName", "", "`names`"),
            by("fromList", "", "`names`"),
            by("fromListSeparator", "\\s*,\\s*", "the separator of `fromList`"),
            same("matching", "", "matching", As::Replaced),
        ]],
    ),
    row(
        INTERCEPTOR,
        "uuid",
        &["org.apache.flume.sink.solr.morphline.UUIDInterceptor"],
        Becomes::Kind("uuid"),
        &[&[
            same("headerName", "id", "header", As::Text),
            same("preserveExisting", "true", "preserve_existing", As::Flag),
            same("prefix", "", "prefix", As::Text),
        ]],
    ),
    row(
        INTERCEPTOR,
        "morphline",
        &["org.apache.flume.sink.solr.morphline.MorphlineInterceptor"],
        Becomes::Several("an interceptor for each command, see [morphlines](#morphlines)"),
        &[&[
            by("morphlineFile", "*", "the commands of the file; the agent reads it when it starts"),
            by("morphlineId", "", "the name of the morphline, if the file has several"),
            ignored("*", "", "it tunes the morphline library"),
        ]],
    ),
    row(
        INTERCEPTOR,
        "search_replace",
        &["org.apache.flume.interceptor.SearchAndReplaceInterceptor"],
        Becomes::Kind("search_replace"),
        &[&[
            set("searchPattern", "*", "search", As::Replaced),
            by("replaceString", "", "`replace`: `$1` becomes `${1}`"),
            by("charset", "UTF-8", "patterns match bytes; other values need a decision"),
        ]],
    ),
    row(
        INTERCEPTOR,
        "regex_filter",
        &["org.apache.flume.interceptor.RegexFilteringInterceptor"],
        Becomes::Kind("regex_filter"),
        &[&[
            set("regex", ".*", "regex", As::Search),
            same("excludeEvents", "false", "exclude", As::Flag),
        ]],
    ),
    row(
        INTERCEPTOR,
        "regex_extractor",
        &["org.apache.flume.interceptor.RegexExtractorInterceptor"],
        Becomes::Kind("regex_extractor"),
        &[&[
            set("regex", "*", "regex", As::Search),
            by("serializers", "*", "`serializers`"),
            by("serializers.*", "", "`name`, and `date` for the serializer of milliseconds"),
        ]],
    ),
    row(
        "selector",
        "replicating",
        &["org.apache.flume.channel.ReplicatingChannelSelector"],
        Becomes::Kind("replicating"),
        &[&[by("optional", "", "`optional_channels` of the source")]],
    ),
    row(
        "selector",
        "multiplexing",
        &["org.apache.flume.channel.MultiplexingChannelSelector"],
        Becomes::Kind("multiplexing"),
        &[&[
            same("header", "flume.selector.header", "header", As::Text),
            by("mapping.*", "", "`mapping`"),
            by("default", "", "`default`"),
            by("optional.*", "", "`also`, and `optional_channels` of the source"),
        ]],
    ),
    row(
        "selector",
        "load_balancing",
        &["org.apache.flume.channel.LoadBalancingChannelSelector"],
        Becomes::Kind("load_balancing"),
        &[&[by(
            "policy",
            "round_robin",
            "`policy`; `hash` for a source that reads again after a crash",
        )]],
    )
    .differs(
        "each batch goes to one channel, or to another one if that is full; if the source reads \
         events again after a crash, a hash of each event selects its channel, so that it gets the \
         same channel again",
    ),
    row(
        "processor",
        "default",
        &["org.apache.flume.sink.DefaultSinkProcessor"],
        Becomes::Kind("single"),
        &[],
    ),
    row(
        "processor",
        "failover",
        &["org.apache.flume.sink.FailoverSinkProcessor"],
        Becomes::Kind("failover"),
        &[&[
            by("priority.*", "", "`priorities`"),
            same("maxpenalty", "30000", "backoff_max", As::Millis),
        ]],
    ),
    row(
        "processor",
        "load_balance",
        &["org.apache.flume.sink.LoadBalancingSinkProcessor"],
        Becomes::Kind("load_balance"),
        &[&[
            by("selector", "round_robin", "`policy`; custom classes need a decision"),
            key(
                "backoff",
                "false",
                Use::Ignored("a failed sink always pauses, and its batch goes to another sink"),
            ),
            same("selector.maxTimeOut", "30000", "backoff_max", As::Millis),
            same("maxTimeOut", "30000", "backoff_max", As::Millis),
            decision("selector.*", "", "custom selectors are not supported"),
        ]],
    ),
];
