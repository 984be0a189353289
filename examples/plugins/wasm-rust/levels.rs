//! Reads a level from each line into the header `level`, and drops lines below `least`.

mod aqueduct;

use aqueduct::{Batch, Column};

const LEVELS: [&str; 4] = ["DEBUG", "INFO", "WARN", "ERROR"];

fn levels(batch: &Batch) -> Result<(), String> {
    let least = aqueduct::text_setting("least").unwrap_or_else(|| "DEBUG".to_owned());
    let rank = |level: &str| LEVELS.iter().position(|known| *known == level);
    let least = rank(&least).ok_or_else(|| format!("`least` is not a level: {least:?}"))?;
    let mut column = Column::default();
    batch.each_body(|event, body| {
        let line = match std::str::from_utf8(body) {
            Ok(line) => line,
            Err(_) => {
                event.refuse("the body is not UTF-8");
                return column.push(None);
            }
        };
        let level = LEVELS.iter().find(|level| line.contains(**level)).unwrap_or(&"INFO");
        column.push(Some(level));
        if rank(level) < Some(least) {
            event.drop();
        }
    });
    batch.set_column("level", &column);
    Ok(())
}

plugin!(levels);
