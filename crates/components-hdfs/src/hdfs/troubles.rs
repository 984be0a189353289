//! Problems of the tasks of a sink that do not prevent delivery, on its status page.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use pipeline::SinkBoard;

/// The problems of all tasks of a sink. Clones share them. The status page has one text, so a task
/// must not clear the problem of another one.
#[derive(Debug, Clone, Default)]
pub(super) struct Troubles {
    board: SinkBoard,
    of_tasks: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Troubles {
    /// Shows the problems on this board.
    pub(super) fn new(board: SinkBoard) -> Self {
        Self { board, of_tasks: Arc::default() }
    }

    /// Sets the problem of a task; `None` if it works.
    pub(super) fn set(&self, task: &str, problem: Option<String>) {
        let mut of_tasks = self.of_tasks.lock().unwrap_or_else(PoisonError::into_inner);
        match problem {
            Some(problem) => of_tasks.insert(task.to_owned(), problem),
            None => of_tasks.remove(task),
        };
        let all: Vec<&str> = of_tasks.values().map(String::as_str).collect();
        self.board.set_trouble((!all.is_empty()).then(|| all.join("; ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_works_does_not_hide_the_problem_of_another_one() {
        let board = SinkBoard::default();
        let troubles = Troubles::new(board.clone());
        let shown = || board.read().trouble;
        troubles.set("a", Some("a is down".into()));
        troubles.set("b", Some("b is down".into()));
        assert_eq!(shown().unwrap(), "a is down; b is down");
        troubles.set("a", None);
        assert_eq!(shown().unwrap(), "b is down");
        troubles.set("b", None);
        assert_eq!(shown(), None);
    }
}
