//! The page for users of Sqoop matches the tables of this crate. `AQUEDUCT_BLESS=1` writes it.
#![allow(clippy::disallowed_methods, reason = "a test stands outside the world that `Env` is")]

use std::fs;
use std::path::Path;

use aqueduct_sqoop::page::{BEGIN, END, reference};

#[test]
fn the_page_has_the_answer_of_every_option() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/migrate-from-sqoop.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the line in front of it");
    let (found, after) = rest.split_once(END).expect("the line behind it");
    let reference = format!("\n{}\n", reference());
    if std::env::var_os("AQUEDUCT_BLESS").is_some() {
        let whole = format!("{before}{BEGIN}{reference}{END}{after}");
        fs::write(&path, whole).unwrap();
        return;
    }
    assert!(found == reference, "write it by AQUEDUCT_BLESS=1");
}
