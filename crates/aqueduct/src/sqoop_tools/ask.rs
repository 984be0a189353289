//! `eval`, `list-tables` and `list-databases`: a statement, and its rows as a table.

use std::fmt::Write;
use std::process::ExitCode;

use components_sql::source::{self, ANSWER_ROWS_MAX, Answer};
use pipeline::Env;
use program::cli;
use sqoop::{About, Import, Question};

use crate::ending::{prepared, with_password};
use crate::import::prepare::{asked_with, context};

/// Asks, and prints the answer.
pub(super) fn run(tool: &str, question: &Question, env: &Env) -> ExitCode {
    let env = match with_password(tool, question.import.password(), env) {
        Ok(env) => env,
        Err(code) => return code,
    };
    let asked = match &question.about {
        About::Statement(statement) => source::Question::Statement(statement),
        About::Tables => source::Question::Tables,
        About::Databases => source::Question::Databases,
    };
    match answered(tool, &question.import, asked, &env) {
        Ok(answer) => cli::print(&match &question.about {
            About::Statement(_) => table(&answer),
            About::Tables | About::Databases => names(&answer),
        }),
        Err(code) => code,
    }
}

/// Asks the database of an import.
///
/// # Errors
/// It failed; the reason is printed.
pub(super) fn answered(
    tool: &str,
    import: &Import,
    question: source::Question<'_>,
    env: &Env,
) -> Result<Answer, ExitCode> {
    let answer = prepared(tool, async {
        let config = asked_with(import, "/unused".as_ref(), env)?;
        Ok(source::ask(config, question, &context(env)).await?)
    })?;
    if answer.is_cut {
        cli::print_line(&format!("{tool}: only the first {ANSWER_ROWS_MAX} rows are shown"));
    }
    Ok(answer)
}

/// Formats the first column, one name in a line.
fn names(answer: &Answer) -> String {
    let names = answer.rows.iter().filter_map(|row| row.first()?.as_deref());
    names.fold(String::new(), |text, name| text + name + "\n")
}

/// Formats rows like Sqoop: columns between bars.
fn table(answer: &Answer) -> String {
    if answer.columns.is_empty() {
        return match answer.changed {
            Some(rows) => format!("{rows} rows changed\n"),
            None => String::new(),
        };
    }
    let shown = |value: &Option<String>| {
        let text = value.as_deref().unwrap_or("(null)");
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>()
    };
    let head = answer.columns.clone();
    let rows = answer.rows.iter().map(|row| row.iter().map(shown).collect());
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max();
    let widths: Vec<usize> =
        (0..answer.columns.len()).map(|at| width(at).unwrap_or_default()).collect();
    let rule = "-".repeat(widths.iter().map(|width| width + 3).sum::<usize>() + 1);
    let mut text = format!("{rule}\n");
    for (number, line) in lines.iter().enumerate() {
        for (value, width) in line.iter().zip(&widths) {
            write!(text, "| {value:<width$} ").expect("a string takes it");
        }
        text += "|\n";
        if number == 0 {
            writeln!(text, "{rule}").expect("a string takes it");
        }
    }
    text + &rule + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_a_table_and_changes_are_a_number() {
        let row = |id: &str, name: Option<&str>| vec![Some(id.to_owned()), name.map(str::to_owned)];
        let answer = Answer {
            columns: vec!["id".to_owned(), "name".to_owned()],
            rows: vec![row("1", Some("Größe\n\u{1b}[2J")), row("10", None)],
            ..Answer::default()
        };
        let rule = "-------------------";
        let expected = format!(
            "{rule}\n| id | name       |\n{rule}\n| 1  | Größe  [2J |\n| 10 | (null)     |\n\
             {rule}\n"
        );
        assert_eq!(table(&answer), expected);
        let changed = Answer { changed: Some(3), ..Answer::default() };
        assert_eq!(table(&changed), "3 rows changed\n");
    }
}
