//! Goal: a mistake in an expression is reported at its line of the configuration.
//!
//! Method: an interceptor is built from a text, with the components of the full programs.

use std::path::Path;

use pipeline::{BuildContext, Catalogue, Interceptor};

const CATALOGUE: Catalogue =
    Catalogue { groups: &[&components::GROUP, &aqueduct_components_expr::GROUP], unavailable: &[] };

#[test]
fn a_mistake_is_reported_at_its_line_with_the_remedy() {
    let list =
        "[\n  { matches = \"a\" },\n  { type = \"cel\", expression = \"headers.ms > 5\" },\n]";
    for (kind, text, path, line) in [
        ("filter", format!("keep = {list}"), "keep.1.expression", 3),
        ("sample", format!("rate = 0.5\nkeep = {list}"), "keep.1.expression", 4),
        ("mask", format!("pattern = \"a\"\nwhen = {list}"), "when.1.expression", 4),
        (
            "route",
            format!("header = \"to\"\n[[rules]]\nvalue = \"x\"\nwhen = {list}"),
            "rules.0.when.1.expression",
            6,
        ),
    ] {
        let settings = config::read(Path::new("a.toml"), &text).unwrap();
        let cx = BuildContext {
            catalogue: CATALOGUE,
            ..BuildContext::alone("in-0", Path::new("unused"), env::real())
        };
        let entry = CATALOGUE.find::<dyn Interceptor>(kind).unwrap();
        let error = (entry.build)(&settings, &cx).err().unwrap();
        assert_eq!((error.path.as_str(), error.place.line), (path, line), "{kind}");
        let expected = "line 1, character 12: cannot compare or combine text with a whole number; \
                        write int(…) or double(…) around the text";
        assert_eq!(error.problem, expected);
    }
}
