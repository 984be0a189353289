//! Transactions and their savepoints, in the words of each database.
//!
//! A procedure may end the transaction that it is called in: what stands in front of it would be
//! applied without the ledger. PostgreSQL refuses that within a transaction. MySQL and MariaDB do
//! it without a word, but within a transaction of XA they refuse it; so calls are made in one.

use super::Session;
use crate::connection::Connection;
use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::odbc::Odbc;

impl Session {
    /// From the next transaction on, nothing that is called ends one.
    pub(in crate::sink) fn guard_commits(&mut self) {
        self.guards_commits = true;
    }

    /// The name of a transaction of XA, where calls are made in such: that of this connection.
    fn guarded(&self) -> Option<String> {
        match &self.connection {
            Connection::Mysql(mysql) if self.guards_commits => {
                Some(format!("'aqueduct-{}'", mysql.id()))
            }
            _ => None,
        }
    }

    /// The driver whose transactions are those of ODBC: not that of SQLite, in which a transaction
    /// that begins to write later than it begins may have to be given up.
    fn transactions(&mut self) -> Option<&mut Odbc> {
        match &mut self.connection {
            Connection::Odbc(odbc) if odbc.dialect != Dialect::Sqlite => Some(odbc),
            _ => None,
        }
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(in crate::sink) async fn begin(&mut self) -> Result<(), SqlError> {
        let target = self.target.clone();
        if let Some(odbc) = self.transactions() {
            odbc.call(&target, |session| session.begin()).await?;
            if self.dialect() == Dialect::Postgres {
                self.run("SET TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
                self.run("SET CONSTRAINTS ALL IMMEDIATE").await?;
            }
            return Ok(());
        }
        if let Some(name) = self.guarded() {
            return self.run(&format!("XA START {name}")).await;
        }
        self.run(match self.dialect() {
            // A row that breaks a deferred rule would be found by COMMIT, which does not name it.
            Dialect::Postgres => {
                "BEGIN ISOLATION LEVEL READ COMMITTED; SET CONSTRAINTS ALL IMMEDIATE"
            }
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            _ => "START TRANSACTION",
        })
        .await
    }

    /// Commits.
    ///
    /// # Errors
    /// It has failed, or is not answered.
    pub(in crate::sink) async fn commit(&mut self) -> Result<(), SqlError> {
        self.end(true).await
    }

    /// Undoes the transaction.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(in crate::sink) async fn rollback(&mut self) -> Result<(), SqlError> {
        self.end(false).await
    }

    async fn end(&mut self, commits: bool) -> Result<(), SqlError> {
        let target = self.target.clone();
        if let Some(name) = self.guarded() {
            self.run(&format!("XA END {name}")).await?;
            let end = if commits { "COMMIT" } else { "ROLLBACK" };
            let phase = if commits { " ONE PHASE" } else { "" };
            return self.run(&format!("XA {end} {name}{phase}")).await;
        }
        match self.transactions() {
            Some(odbc) => odbc.call(&target, move |session| session.end(commits)).await,
            None => self.run(if commits { "COMMIT" } else { "ROLLBACK" }).await,
        }
    }

    /// Sets a savepoint.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(in crate::sink) async fn save(&mut self) -> Result<(), SqlError> {
        self.run(match self.dialect() {
            Dialect::SqlServer => "SAVE TRANSACTION aqueduct",
            _ => "SAVEPOINT aqueduct",
        })
        .await
    }

    /// Goes back to the savepoint.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(in crate::sink) async fn back(&mut self) -> Result<(), SqlError> {
        self.run(match self.dialect() {
            Dialect::SqlServer => "ROLLBACK TRANSACTION aqueduct",
            _ => "ROLLBACK TO SAVEPOINT aqueduct",
        })
        .await
    }

    /// Takes the savepoint away, where it does not go with the next one of its name.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(in crate::sink) async fn release(&mut self) -> Result<(), SqlError> {
        match self.dialect() {
            Dialect::SqlServer | Dialect::Oracle => Ok(()),
            _ => self.run("RELEASE SAVEPOINT aqueduct").await,
        }
    }
}
