//! The files of the live page. They contain no data of the agent, so they need no token.

use hyper::{StatusCode, header};

use super::answer::{Answer, typed};

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, type and content of each file but the page itself.
const FILES: &[(&str, &str, &str)] = &[
    ("/page/page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("/page/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("/page/main.js", SCRIPT, include_str!("page/main.js")),
    ("/page/agent.js", SCRIPT, include_str!("page/agent.js")),
    ("/page/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/page/units.js", SCRIPT, include_str!("page/units.js")),
    ("/page/graph.js", SCRIPT, include_str!("page/graph.js")),
    ("/page/history.js", SCRIPT, include_str!("page/history.js")),
    ("/page/tables.js", SCRIPT, include_str!("page/tables.js")),
    ("/page/tap.js", SCRIPT, include_str!("page/tap.js")),
    ("/page/operate.js", SCRIPT, include_str!("page/operate.js")),
    ("/page/details.js", SCRIPT, include_str!("page/details.js")),
];

const INDEX: &str = include_str!("page/index.html");

/// The page itself.
pub(super) fn index() -> Answer {
    file("text/html; charset=utf-8", INDEX)
}

/// Returns the file at this path, if it exists.
pub(super) fn asset(path: &str) -> Option<Answer> {
    let (_, kind, content) = FILES.iter().find(|(at, ..)| *at == path)?;
    Some(file(kind, content))
}

fn file(kind: &str, content: &'static str) -> Answer {
    let mut answer = typed(StatusCode::OK, kind, content);
    // Another version of the agent has other files at the same paths.
    let asks = header::HeaderValue::from_static("no-cache");
    answer.headers_mut().insert(header::CACHE_CONTROL, asks);
    // A list for programs is at the same path.
    answer.headers_mut().insert(header::VARY, header::HeaderValue::from_static("Accept"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of all files together, so that the edge stays small.
    const BYTES_MAX: usize = 100 * 1024;

    #[test]
    fn the_page_is_small_and_needs_nothing_from_elsewhere() {
        let all: usize = FILES.iter().map(|(.., content)| content.len()).sum();
        assert!(all + INDEX.len() <= BYTES_MAX, "{all}");
        for content in FILES.iter().map(|(.., content)| *content).chain([INDEX]) {
            let elsewhere = content.replace("http://www.w3.org/2000/svg", "");
            assert!(!elsewhere.contains("http:") && !elsewhere.contains("https:"), "{content}");
        }
    }

    /// Texts come from clients and servers: they are set as text and never read as markup or code.
    #[test]
    fn no_text_becomes_markup_or_code() {
        let ways = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "createContextualFragment",
            "DOMParser",
            "setHTML",
            "srcdoc",
            "eval(",
            "new Function",
            "javascript:",
            ".href",
            "style=",
        ];
        for (path, _, content) in FILES {
            for way in ways {
                assert!(!content.contains(way), "{path}: {way}");
            }
        }
        let index = INDEX.replace("<script type=\"module\" src=\"page/main.js\"></script>", "");
        for inline in ["<script", " on", "style=", "<style", "javascript:"] {
            let found =
                index.split('<').find(|tag| format!("<{tag}").contains(inline) && inline != " on");
            assert!(inline == " on" || found.is_none(), "{inline}: {found:?}");
        }
        let handlers = index.split('<').filter_map(|rest| rest.split('>').next());
        let mut attributes = handlers.flat_map(str::split_whitespace);
        assert!(attributes.all(|it| !it.starts_with("on") || !it.contains('=')));
    }

    #[test]
    fn every_file_that_is_asked_for_is_there() {
        let texts = FILES.iter().map(|(.., content)| *content).chain([INDEX]);
        let mut asked = 0;
        for text in texts {
            let names = text.split(['"', '\'']).filter(|name| {
                let has_end = name.ends_with(".js") || name.ends_with(".css");
                has_end && !name.contains(' ')
            });
            for name in names {
                let name = name.trim_start_matches("./").trim_start_matches("page/");
                asked += 1;
                assert!(asset(&format!("/page/{name}")).is_some(), "{name}");
            }
        }
        assert!(asked > FILES.len(), "{asked}");
    }
}
