//! A transaction: begun together with the first that it is asked, and never left in the middle.

use deadpool_postgres::{ClientWrapper, Object};
use tokio_postgres::Error;

use crate::problem::Problem;
use crate::store::postgres::failure;

/// Why a transaction has come to nothing.
pub(in crate::store::postgres) enum Failed {
    /// It may not when it is tried again.
    Turn(Problem),
    /// It will when it is tried again.
    For(Problem),
}

impl Failed {
    #[expect(clippy::needless_pass_by_value, reason = "it is what maps an error")]
    pub(super) fn of(error: Error) -> Failed {
        Failed::turn(&error)
    }

    pub(in crate::store::postgres) fn turn(error: &Error) -> Failed {
        let problem = failure::problem(error);
        match failure::is_turn(error) {
            true => Failed::Turn(problem),
            false => Failed::For(problem),
        }
    }
}

/// A connection with a transaction on it. If that is neither committed nor rolled back, nobody gets the connection again.
pub(super) struct Turn {
    connection: Option<Object>,
}

impl Turn {
    /// Nothing is said yet.
    pub(super) fn new(connection: Object) -> Turn {
        Turn {
            connection: Some(connection),
        }
    }

    /// Whom to ask.
    pub(super) fn client(&self) -> &ClientWrapper {
        let connection = self.connection.as_ref();
        connection.expect("it is there until the end")
    }

    /// Begins. Not waited for alone: what is asked next can be said at once.
    pub(super) async fn begin(&self) -> Result<(), Error> {
        self.client().batch_execute("begin").await
    }

    /// Ends it well, and lets go of the connection.
    pub(super) async fn commit(self) -> Result<(), Error> {
        self.end("commit").await
    }

    /// Ends it as if it had not been.
    pub(super) async fn roll_back(self) {
        // That it fails means that the connection is gone, and the transaction with it.
        let _ = self.end("rollback").await;
    }

    async fn end(mut self, how: &str) -> Result<(), Error> {
        let ended = self.client().batch_execute(how).await;
        if ended.is_ok() {
            self.connection = None;
        }
        ended
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(Object::take(connection));
        }
    }
}
