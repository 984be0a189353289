//! Keys of objects that are not paths of files: `a//b`, `a/../b`, keys with control characters or
//! with blanks at an end. The library fails a whole listing that has one of them. Therefore they
//! are removed from the answers of a server before it parses them, and counted.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use hyper::{Method, Uri};
use object_store::path::Path;

/// Maximum number of keys that are remembered, and therefore counted.
const KNOWN_MAX: usize = 10_000;
/// Maximum number of keys in the log.
const NAMED_MAX: usize = 10;

/// Elements of a listing, and their child with a key: of S3 and Google, then of Azure.
const ELEMENTS: [(&str, &str); 4] =
    [("Contents", "Key"), ("CommonPrefixes", "Prefix"), ("Blob", "Name"), ("BlobPrefix", "Name")];

/// The odd keys of a bucket that were seen.
#[derive(Debug, Default)]
pub(crate) struct OddKeys(Mutex<BTreeSet<String>>);

impl OddKeys {
    /// Returns the number of distinct odd keys.
    pub(crate) fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    /// Returns the listing without odd keys, which are logged when they are new.
    pub(crate) fn filter_listing(&self, page: Bytes) -> Bytes {
        let Ok(text) = std::str::from_utf8(&page) else { return page };
        let Some((kept, odd)) = without_odd_keys(text) else { return page };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in odd {
            if known.len() >= KNOWN_MAX || !known.insert(key.clone()) {
                continue;
            }
            if known.len() <= NAMED_MAX {
                tracing::warn!(
                    ?key,
                    "skipping an object, so its events are not read: its key has an empty part, \
                     `.`, `..`, a control character, or a leading or trailing space, so it is not \
                     a file path; copy it to another key",
                );
            }
        }
        kept.into()
    }
}

/// Returns `true` if a request asks for a listing.
pub(crate) fn is_listing(method: &Method, uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    let has = |wanted: &str| query.split('&').any(|part| part == wanted);
    *method == Method::GET && (has("list-type=2") || has("comp=list"))
}

/// Removes odd keys from a listing, and returns both; `None` without odd keys.
fn without_odd_keys(page: &str) -> Option<(String, Vec<String>)> {
    let (mut kept, mut odd, mut rest) = (String::new(), Vec::new(), page);
    while let Some((start, end, key)) = next_entry(rest) {
        if is_odd(&key) {
            kept.push_str(&rest[..start]);
            odd.push(key.into_owned());
        } else {
            kept.push_str(&rest[..end]);
        }
        rest = &rest[end..];
    }
    kept.push_str(rest);
    (!odd.is_empty()).then_some((kept, odd))
}

/// Returns the range and the key of the next entry of a listing.
fn next_entry(page: &str) -> Option<(usize, usize, Cow<'_, str>)> {
    let entries = ELEMENTS.iter().filter_map(|(element, name)| {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        let start = page.find(&open)?;
        let end = start + page[start..].find(&close)? + close.len();
        let (_, key) = page[start..end].split_once(&format!("<{name}>"))?;
        let (key, _) = key.split_once(&format!("</{name}>"))?;
        Some((start, end, key))
    });
    let (start, end, key) = entries.min_by_key(|(start, ..)| *start)?;
    let plain = quick_xml::escape::unescape(key).unwrap_or(Cow::Borrowed(key));
    Some((start, end, plain))
}

/// Returns `true` if a key, or a prefix that ends with `/`, is not a path.
fn is_odd(key: &str) -> bool {
    key.trim() != key || Path::parse(key).is_err() || key.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_keys_are_taken_out_of_a_listing_and_counted_once() {
        let object = |key: &str| format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>");
        let prefix = |key: &str| format!("<CommonPrefixes><Prefix>{key}</Prefix></CommonPrefixes>");
        let blob = |key: &str| format!("<Blob><Name>{key}</Name></Blob>");
        let page = |entries: &[String]| {
            format!("<List><Prefix>d//</Prefix><Blobs>{}</Blobs></List>", entries.concat())
        };
        let good = [object("d/a &amp; b.txt"), prefix("d/e/"), blob("d/ü"), object("d/")];
        let odd = [
            object("d/a//b"),
            object("d/../c"),
            object("d/./c"),
            object("d/x&#x1;y"),
            object("d/x\u{7f}"),
            object("d/line&#10;feed"),
            object(" d"),
            prefix("d//"),
            prefix("d/../"),
            blob("/d"),
        ];
        let mixed: Vec<String> = good
            .iter()
            .zip(&odd)
            .flat_map(|(g, o)| [o.clone(), g.clone()])
            .chain(odd[4..].iter().cloned())
            .collect();
        let (kept, found) = without_odd_keys(&page(&mixed)).unwrap();
        assert_eq!((kept, found.len()), (page(&good), odd.len()));
        assert_eq!(without_odd_keys(&page(&good)), None);
        let keys = OddKeys::default();
        for _ in 0..2 {
            assert_eq!(keys.filter_listing(page(&mixed).into()), page(&good));
        }
        assert_eq!(keys.count(), odd.len() as u64);
        assert_eq!(keys.filter_listing("<not a page".into()), "<not a page");
    }

    #[test]
    fn only_listings_are_looked_at() {
        let get = |uri: &str| is_listing(&Method::GET, &uri.parse().unwrap());
        assert!(
            get("http://h/b?list-type=2&prefix=a") && get("http://h/c?restype=container&comp=list")
        );
        assert!(!get("http://h/b/comp=list") && !get("http://h/b?prefix=list-type=2x"));
        assert!(!is_listing(&Method::PUT, &"http://h/b?list-type=2".parse().unwrap()));
    }
}
