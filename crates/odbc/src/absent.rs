//! A connection in a build without a driver manager: there is none.

use std::convert::Infallible;
use std::time::Duration;

use crate::types::{Column, Problem, Value};

/// A connection, which this build does not have.
#[derive(Debug)]
pub struct Session(Infallible);

impl Session {
    /// Whether this build can connect.
    pub const IS_BUILT: bool = false;

    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub fn connect(_: &str, _: Option<(&str, &str)>, _: Duration) -> Result<Self, Problem> {
        Err(Problem::new("IM000", "this program is built without the feature `odbc`"))
    }

    /// Name of the database system.
    pub fn dbms(&self) -> &str {
        match self.0 {}
    }

    /// Whether the connection is gone.
    pub fn is_dead(&self) -> bool {
        match self.0 {}
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// It has failed.
    pub fn execute(&self, _: &str, _: &[Value], _: Duration) -> Result<Option<u64>, Problem> {
        match self.0 {}
    }

    /// The columns of a result.
    ///
    /// # Errors
    /// It has failed.
    pub fn describe(&self, _: &str, _: Duration) -> Result<Vec<Column>, Problem> {
        match self.0 {}
    }

    /// Gives each row of a result.
    ///
    /// # Errors
    /// It has failed.
    pub fn query(
        &self,
        _: &str,
        _: &[Value],
        _: Duration,
        _: &mut dyn FnMut(Vec<Value>) -> bool,
    ) -> Result<(), Problem> {
        match self.0 {}
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// It has failed.
    pub fn begin(&self) -> Result<(), Problem> {
        match self.0 {}
    }

    /// Ends a transaction.
    ///
    /// # Errors
    /// It has failed.
    pub fn end(&self, _: bool) -> Result<(), Problem> {
        match self.0 {}
    }
}
