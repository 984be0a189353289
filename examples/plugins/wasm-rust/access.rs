//! Parses lines of an access log in the combined format into the headers `client`, `method`, `path`
//! and `status`, and refuses other lines.

mod access_line;
mod aqueduct;

use aqueduct::{Batch, Column};

const NAMES: [&str; 4] = ["client", "method", "path", "status"];

fn access(batch: &Batch) -> Result<(), String> {
    let mut columns: [Column; 4] = Default::default();
    batch.each_body(|event, body| match access_line::parse(body) {
        Some(fields) => {
            for (column, field) in columns.iter_mut().zip(fields) {
                column.push(Some(field));
            }
        }
        None => {
            event.refuse("the body is not a line of an access log");
            for column in &mut columns {
                column.push(None);
            }
        }
    });
    for (name, column) in NAMES.iter().zip(&columns) {
        batch.set_column(name, column);
    }
    Ok(())
}

plugin!(access);
