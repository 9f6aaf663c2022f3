//! Whether all is here: one question for all who want to know meanwhile, and one answer.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Said;
use crate::live::Live;
use crate::problem::Problem;

/// Between two questions whether all is here: a stranger can ask for what is not there as often as it likes.
const SETTLES: Duration = Duration::from_millis(20);

/// The last question whether all is here.
#[derive(Default)]
pub(super) struct Settled {
    at: Option<Instant>,
    /// The how many-eth had this answer; one that was not waited for to its end has none.
    answer: Option<(u64, Result<(), Problem>)>,
}

impl Live {
    /// Waits until all is here that was there when this was asked, on whichever replica.
    ///
    /// # Errors
    /// 503 when the relay is away.
    pub async fn settle(&self) -> Result<(), Problem> {
        if !self.is_shared() {
            return Ok(());
        }
        let before = self.shared.settles.load(Ordering::Acquire);
        let mut last = self.shared.settling.lock().await;
        // Somebody has asked since then, and has his answer.
        if let Some((number, answer)) = &last.answer
            && *number > before
        {
            return answer.clone();
        }
        if let Some(at) = last.at {
            tokio::time::sleep_until(at + SETTLES).await;
        }
        let number = self.shared.settles.fetch_add(1, Ordering::AcqRel) + 1;
        last.at = Some(Instant::now());
        let answer = self.say_it(&Said::Settle).await;
        last.at = Some(Instant::now());
        last.answer = Some((number, answer.clone()));
        answer
    }
}
