//! Compares the columns of files with a table, and changes its schema for them.
//!
//! Readers match columns of files and tables by field id. A column of a file is therefore a column
//! of the table only if the table has its field id, and has or had its name for this id:
//!
//! | the table | result |
//! |---|---|
//! | has the id under the name | the column; a wider type of the file widens it |
//! | has the id under another name, an earlier schema had this name | the column: it was renamed |
//! | lacks the id, which an earlier schema had under the name | rejected: the column was dropped |
//! | has the name under another id | rejected: readers would find NULL |
//! | has neither, and the id was never assigned | a new column |
//!
//! A change requires the schema and the last field id of the loaded table. So of two writers that
//! add a column, one wins, and the other one finds the column when it loads the table again.

use serde_json::{Value, json};

use crate::TableError;
use crate::manifest::DataFile;
use crate::metadata::Table;
use crate::schema::{Field, FileColumn, is_wider_bound, reads, type_name};

/// A change of a schema that files need.
#[derive(Debug, Clone)]
pub struct Evolution {
    /// The request to the catalog.
    pub request: Value,
    /// The changed columns, for the log.
    pub columns: String,
}

/// A change of one column.
enum Change<'a> {
    Add(&'a FileColumn),
    Widen(&'a Field, &'a FileColumn),
}

impl Table {
    /// Checks that files with these columns are files of the table. `from_path` are columns whose
    /// values are in the path of a file. Returns the change that the table needs first; without
    /// `evolves`, a necessary change is an error.
    ///
    /// # Errors
    /// The first difference, and what to do.
    pub fn fit(
        &self,
        columns: &[FileColumn],
        from_path: &[String],
        evolves: bool,
    ) -> Result<Option<Evolution>, TableError> {
        let wrong = |problem: String| Err(TableError::Columns { problem });
        let mut changes = Vec::new();
        for column in columns {
            let FileColumn { id, name, .. } = column;
            if from_path.contains(name) {
                return wrong(format!(
                    "`{name}` is a column of the encoder and a directory of `url`; rename one of \
                     them"
                ));
            }
            let named = self.schema.fields.iter().find(|field| field.name == *name);
            let field = match (self.schema.field(*id), named) {
                (Some(field), None) if self.was_named(*id, name) => Some(field),
                (_, Some(field)) if field.id == *id => Some(field),
                (_, Some(field)) => {
                    return wrong(format!(
                        "the field id of `{name}` is {id} in the files and {} in the table; set \
                         `field_id = {}` for this column of the encoder",
                        field.id, field.id
                    ));
                }
                (_, None) => None,
            };
            match field {
                Some(field) => changes.extend(widening(field, column, evolves)?),
                None => {
                    self.check_new(column, columns, evolves)?;
                    changes.push(Change::Add(column));
                }
            }
        }
        let is_written = |field: &&Field| columns.iter().any(|column| column.id == field.id);
        match self.schema.fields.iter().find(|field| field.required && !is_written(field)) {
            Some(field) => wrong(format!(
                "the table requires the column `{}`, which the encoder lacks; add it to the \
                 encoder, or make it optional in the table",
                field.name
            )),
            None if changes.is_empty() => Ok(None),
            None => Ok(Some(self.evolution(&changes))),
        }
    }

    /// Checks that a file was written for the current schema. Another collector may have a later
    /// configuration: its files wait until it has changed the schema.
    ///
    /// # Errors
    /// A column of the file is missing, or has larger values than the table can have.
    pub fn check_file(&self, file: &DataFile) -> Result<(), TableError> {
        for column in &file.columns {
            let problem = match self.schema.field(column.id) {
                None if column.id > self.last_column_id => {
                    format!("has a column with the field id {}, which the table lacks", column.id)
                }
                Some(field) if is_wider_bound(&type_name(&field.kind), column) => {
                    format!("has a wider type than the table for the column `{}`", field.name)
                }
                _ => continue,
            };
            let problem = format!(
                "the file {} {problem}; it is appended after the collector that wrote it, or you, \
                 have changed the schema",
                file.path
            );
            return Err(TableError::Columns { problem });
        }
        Ok(())
    }

    /// Returns whether the field had this name.
    fn was_named(&self, id: i32, name: &str) -> bool {
        let fields = self.schemas.iter().flat_map(|schema| &schema.fields);
        fields.into_iter().any(|field| field.id == id && field.name == name)
    }

    /// Checks that a column can be added.
    fn check_new(
        &self,
        column: &FileColumn,
        columns: &[FileColumn],
        evolves: bool,
    ) -> Result<(), TableError> {
        let FileColumn { id, name, .. } = column;
        let lower = name.to_lowercase();
        let similar = self.schema.fields.iter().find(|field| field.name.to_lowercase() == lower);
        let problem = if self.was_named(*id, name) {
            format!(
                "the column `{name}` was dropped from the table; remove it from the encoder, and \
                 keep the ids of the others with `field_id`"
            )
        } else if let Some(field) = similar {
            format!(
                "`{name}` differs from the column `{}` of the table only by upper and lower case; \
                 rename it in the encoder",
                field.name
            )
        } else if !evolves {
            format!(
                "the table has no column `{name}`; set `iceberg.evolve_schema = true` to add it, \
                 add it yourself, or remove it from the encoder"
            )
        } else if *id <= self.last_column_id {
            let last = columns.iter().map(|it| it.id).max().unwrap_or(0).max(self.last_column_id);
            format!(
                "the table has no column `{name}`, and has used its field id {id} before; set \
                 `field_id = {}` for this column of the encoder",
                last + 1
            )
        } else {
            return Ok(());
        };
        Err(TableError::Columns { problem })
    }

    /// Returns these changes as one request.
    fn evolution(&self, changes: &[Change<'_>]) -> Evolution {
        let mut schema = self.schema.json.clone();
        let mut fields = schema["fields"].as_array().cloned().unwrap_or_default();
        let (mut last, mut texts) = (self.last_column_id, Vec::new());
        for change in changes {
            match change {
                Change::Add(FileColumn { id, name, kind, .. }) => {
                    // Earlier rows have NULL.
                    fields.push(json!({"id": id, "name": name, "required": false, "type": kind}));
                    last = last.max(*id);
                    texts.push(format!("added {name} {kind}"));
                }
                Change::Widen(field, column) => {
                    let same = |it: &&mut Value| it["id"].as_i64() == Some(field.id.into());
                    if let Some(own) = fields.iter_mut().find(same) {
                        own["type"] = column.kind.as_str().into();
                    }
                    texts.push(format!("widened {} to {}", field.name, column.kind));
                }
            }
        }
        schema["fields"] = fields.into();
        let schemas = self.schemas.iter().map(|schema| schema.id);
        schema["schema-id"] = (schemas.max().unwrap_or(-1) + 1).into();
        let request = json!({
            "requirements": [
                {"type": "assert-table-uuid", "uuid": self.uuid},
                {"type": "assert-current-schema-id", "current-schema-id": self.schema.id},
                {"type": "assert-last-assigned-field-id",
                    "last-assigned-field-id": self.last_column_id},
            ],
            "updates": [
                {"action": "add-schema", "schema": schema, "last-column-id": last},
                {"action": "set-current-schema", "schema-id": -1},
            ],
        });
        Evolution { request, columns: texts.join(", ") }
    }
}

/// Returns the change that a column of the table needs for a column of files.
fn widening<'a>(
    field: &'a Field,
    column: &'a FileColumn,
    evolves: bool,
) -> Result<Option<Change<'a>>, TableError> {
    let (there, FileColumn { name, kind, required, .. }) = (type_name(&field.kind), column);
    let is_wider = !reads(&there, kind) && reads(kind, &there);
    let problem = if field.required && !required {
        format!(
            "`{name}` must not be null in the table; set `required = true` for this column of the \
             encoder"
        )
    } else if reads(&there, kind) {
        return Ok(None);
    } else if is_wider && evolves {
        return Ok(Some(Change::Widen(field, column)));
    } else {
        let how = if is_wider {
            "set `iceberg.evolve_schema = true` to widen it, or change one of them"
        } else {
            "change one of them"
        };
        format!("`{name}` has the type {kind} in the files and {there} in the table; {how}")
    };
    Err(TableError::Columns { problem })
}

#[cfg(test)]
mod tests;
