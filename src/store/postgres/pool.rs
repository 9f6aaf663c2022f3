//! Connections: one for each transaction that runs, kept for the next.

use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use futures_util::future::FutureExt;

use super::failure;
use crate::database::{Place, why};
use crate::problem::Problem;

/// How long a request waits for a connection that others use, or that is being made.
const WAITED: Duration = Duration::from_secs(10);

/// What holds in every session. A lock or a statement that takes too long is given up, since somebody waits for the
/// answer; what is acknowledged is on the disk; nothing is worth compiling. All else is as the database has it for the
/// role: defaults and triggers of the user's own tables rely on that.
pub(super) const SESSION: &str = "
    set jit = off; set statement_timeout = '20s'; set lock_timeout = '5s'; set idle_in_transaction_session_timeout = '30s';
    select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off';
";

/// All connections but that of the outbox's reader. They live on the runtime of whoever needs the first.
pub(super) struct Connections {
    pool: Pool,
}

impl Connections {
    /// Makes none yet.
    pub(super) fn new(place: &Place, most: usize) -> Connections {
        let manager = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(place.config.clone(), place.tls.clone(), manager);
        let settle = Hook::async_fn(|client, _| {
            let settled = async move { client.batch_execute(SESSION).await };
            settled
                .map(|settled| settled.map_err(HookError::Backend))
                .boxed()
        });
        let pool = Pool::builder(manager)
            .max_size(most)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WAITED))
            .create_timeout(Some(WAITED))
            .recycle_timeout(Some(WAITED))
            .post_create(settle)
            .build();
        Connections {
            pool: pool.expect("a runtime is named, which time limits need"),
        }
    }

    /// One that nobody else uses.
    ///
    /// # Errors
    /// 503 when there is none.
    pub(super) async fn one(&self) -> Result<Object, Problem> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                failure::away(&why(&error))
            }
            PoolError::Timeout(_) => {
                failure::away("all its connections (store-connections) are in use")
            }
            other => failure::away(&other.to_string()),
        })
    }
}
