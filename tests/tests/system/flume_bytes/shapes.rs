//! Shapes of configurations, from a spooling directory to a file: charsets, limits, interceptors.

/// The input: lines of text in several scripts, empty lines, CR before LF, and the end.
pub(super) const INPUT: &str = "level=ERROR one 1:2:3 2026-01-02 03:04 password=abc\n\
    level=WARN äb 日本 user=7\r\n\n# comment\r\n  two  words\u{a0}x\ttab \n\
    ends with ERROR\r\nlevel=信息 4:5:6\n7:8:9 😀 END\n";

/// Interceptors of the source of a shape. Its other keys are those of `spooldir`.
type Shape = (&'static str, &'static [&'static str]);

/// The shapes. Names of keys begin after the name of the interceptor.
pub(super) const SHAPES: [Shape; 10] = [
    (
        "static",
        &[
            "type = static\nkey = dc\nvalue = NEW YORK",
            "type = static",
            "type = static\nkey = dc\nvalue = other",
            "type = static\nkey = dc\nvalue = last\npreserveExisting = false",
        ],
    ),
    ("keep", &["type = regex_filter\nregex = level=(ERROR|WARN)|END$"]),
    ("drop", &["type = regex_filter\nregex = ^\\\\s*(#.*)?$\nexcludeEvents = true"]),
    ("anchor", &["type = regex_filter\nregex = ERROR$|END"]),
    (
        "parts",
        &["type = regex_extractor\nregex = (\\\\d):(\\\\d):(\\\\d)\nserializers = a b c\n\
           serializers.a.name = one\nserializers.b.name = two\nserializers.c.name = three"],
    ),
    (
        "millis",
        &["type = regex_extractor\nserializers = t\n\
           regex = (\\\\d\\\\d\\\\d\\\\d-\\\\d\\\\d-\\\\d\\\\d \\\\d\\\\d:\\\\d\\\\d)\n\
           serializers.t.type = \
           org.apache.flume.interceptor.RegexExtractorInterceptorMillisSerializer\n\
           serializers.t.name = timestamp\nserializers.t.pattern = yyyy-MM-dd HH:mm"],
    ),
    (
        "words",
        &["type = regex_extractor\nregex = (\\\\w+)\\\\s(\\\\S+)\nserializers = w s\n\
           serializers.w.name = word\nserializers.s.name = next"],
    ),
    (
        "rest",
        &["type = regex_extractor\nregex = level=(.*)\nserializers = l\n\
           serializers.l.name = level"],
    ),
    (
        "replace",
        &[
            "type = search_replace\nsearchPattern = (password=)\\\\S+\nreplaceString = $1***",
            "type = search_replace\nsearchPattern = ^\\\\s+\nreplaceString = >",
            "type = search_replace\nsearchPattern = [\\\\w&&[^A-Za-z]]\nreplaceString = _",
        ],
    ),
    (
        "remove",
        &[
            "type = static\nkey = a1\nvalue = x",
            "type = static\nkey = b1\nvalue = x",
            "type = static\nkey = c1\nvalue = x",
            "type = remove_header\nwithName = b1",
            "type = remove_header\nfromList = c1 , d1\nmatching = a.*",
        ],
    ),
];

/// Returns the names of the shapes.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SHAPES.iter().map(|(name, _)| *name)
}

/// Returns the keys of the interceptors of a source, without a prefix; nothing if it has none.
pub(super) fn interceptors(flow: &str) -> String {
    let shape = SHAPES.iter().find(|(name, _)| *name == flow);
    let all = shape.map_or(&[][..], |(_, all)| *all);
    let mut text = String::new();
    let mut list = Vec::new();
    for (at, interceptor) in all.iter().enumerate() {
        for key in interceptor.lines() {
            text.push_str(&format!("\ninterceptors.i{at}.{key}"));
        }
        list.push(format!("i{at}"));
    }
    if list.is_empty() { text } else { format!("\ninterceptors = {}{text}", list.join(" ")) }
}
