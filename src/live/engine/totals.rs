//! A table of totals: a row for each group, with its keys and its aggregates, that results are made from.

use std::collections::HashSet;

use rusqlite::params_from_iter;

use super::panes::Program;
use super::query;
use super::state::{Cell, State};
use crate::live::sandbox::{Sandbox, Stopped};

/// One of them, in a sandbox.
pub(super) struct Totals {
    /// No table that is declared can be called so.
    name: String,
    /// Whether SQLite has it, with the columns that are wanted.
    pub(super) is_made: bool,
}

impl Totals {
    pub(super) fn new(of: &str) -> Totals {
        Totals {
            name: format!("totals${of}"),
            is_made: false,
        }
    }

    /// The name that a query's result knows the totals by is put in front of it.
    pub(super) fn under(&self, result: &str) -> String {
        format!("WITH totals AS (SELECT * FROM \"{}\") {result}", self.name)
    }

    /// Has these groups in it and no others; the names of the aggregates that have no value.
    pub(super) fn write<'g>(
        &mut self,
        sandbox: &Sandbox,
        program: &Program,
        groups: impl Iterator<Item = (&'g [Cell], &'g [State])>,
    ) -> Result<HashSet<String>, Stopped> {
        if !self.is_made {
            self.make(sandbox, program)?;
            self.is_made = true;
        }
        let columns = program.grouped.keys.len() + program.aggregates.len();
        let mut broken = HashSet::new();
        let write = || {
            let connection = sandbox.connection();
            let all = connection.unchecked_transaction()?;
            all.prepare_cached(&format!("DELETE FROM \"{}\"", self.name))?
                .execute([])?;
            let places = vec!["?"; columns].join(", ");
            let insert = format!("INSERT INTO \"{}\" VALUES ({places})", self.name);
            let mut insert = all.prepare_cached(&insert)?;
            for (key, states) in groups {
                let values = program.finish(states, &mut broken);
                insert.execute(params_from_iter(key.iter().map(Cell::value).chain(values)))?;
            }
            drop(insert);
            all.commit()
        };
        let written: rusqlite::Result<()> = write();
        written.map_err(|error| query::own(&error))?;
        Ok(broken)
    }

    fn make(&self, sandbox: &Sandbox, program: &Program) -> Result<(), Stopped> {
        let types = program.key_types(sandbox)?;
        let keys = types.iter().enumerate();
        let mut columns: Vec<String> = keys
            .map(|(index, kind)| format!("k{index} {kind}"))
            .collect();
        let names = program.aggregates.iter();
        columns.extend(names.map(|a| format!("\"{}\"", a.name.replace('"', "\"\""))));
        self.drop_table(sandbox);
        let ddl = format!("CREATE TABLE \"{}\" ({})", self.name, columns.join(", "));
        sandbox
            .connection()
            .execute_batch(&ddl)
            .map_err(|error| query::own(&error))?;
        sandbox.permit(&self.name);
        Ok(())
    }

    /// Leaves nothing behind.
    pub(super) fn drop_table(&self, sandbox: &Sandbox) {
        sandbox.forbid(&self.name);
        let ddl = format!("DROP TABLE IF EXISTS \"{}\"", self.name);
        if let Err(error) = sandbox.connection().execute_batch(&ddl) {
            tracing::error!("{}: {error}", self.name);
        }
    }
}
