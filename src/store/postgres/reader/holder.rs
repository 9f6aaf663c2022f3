//! Reading the outbox for several servers behind one relay: one of them does, and tells all by the relay's order.
//!
//! Which one is decided by a lock in the database, so that not all do the same work; it goes with its session to another.
//! That each change is told once does not hang on it, but on the turns in the relay's order.

use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::{Instant, timeout};
use tokio_postgres::types::ToSql;

use super::{LONGEST, LOOKS, Session, silent};
use crate::database::why;
use crate::event::EventId;
use crate::problem::Problem;
use crate::store::postgres::Shared;
use crate::store::postgres::order::{PASSED_OVER, STORE, passed_over};
use crate::store::postgres::outbox::{Found, Place, Told, What};
use crate::store::postgres::word::{self, Turn};

/// How soon it is tried again when the relay has not taken something.
const SOON: Duration = Duration::from_millis(200);

/// For how long it is left to another server that has begun a turn: somewhat more than this.
const LEFT: Duration = Duration::from_secs(3);

/// How often the place is written down: when something was told, and in any case, so that nothing is taken out of the outbox
/// after it. A look at something that was taken out since is taken for a loss.
const OFTEN: Duration = Duration::from_secs(5);
const AT_LEAST: Duration = Duration::from_secs(20);

/// What goes around changes, in bytes, but for the place.
const AROUND: usize = 400;

/// A session of a server that is gone must not keep the lock for the hours that systems wait by themselves.
const SESSION: &str = "
    set tcp_keepalives_idle = 5; set tcp_keepalives_interval = 2; set tcp_keepalives_count = 3";

const LOCK: &str = "select pg_try_advisory_lock(hashtextextended('triwire ' || $1::text, 0))";
const UNLOCK: &str = "select pg_advisory_unlock(hashtextextended('triwire ' || $1::text, 0))";

/// Ends the session that has the lock when it has not been heard of for long, though it is to ask something every second:
/// its server hangs. A long reading is not one that hangs.
const FREE: &str = "
    select count(pg_terminate_backend(a.pid)) > 0
    from pg_locks l join pg_stat_activity a using (pid), hashtextextended('triwire ' || $1::text, 0) key
    where l.locktype = 'advisory' and l.granted and l.objsubid = 1
        and l.database = (select d.oid from pg_database d where d.datname = current_database())
        and (l.classid::bigint << 32 | l.objid::bigint) = key
        and a.state_change < now() - interval '10 s' * case a.state when 'idle' then 1 else 12 end";

const FIND: &str = "select at, place from triwire.told where relay = $1";
const KEEP: &str = "
    insert into triwire.told values ($1, $2, $3)
    on conflict (relay) do update set at = excluded.at, place = excluded.place";

/// What one server has to do with it.
pub(super) struct Holder {
    /// Which one it is.
    relay: String,
    has_lock: bool,
    /// Until then others are left to it.
    left_until: Option<Instant>,
    turn: Option<Begun>,
    /// Bytes of a word: the relay may take less than is set.
    word_bytes: usize,
    is_failing: bool,
}

/// A turn of this server's.
struct Begun {
    turn: Turn,
    /// The last that was said in it.
    at: EventId,
    /// What is written down, and since when.
    kept: Option<(EventId, Place, Instant)>,
}

/// Why it has to stop.
enum Stopped {
    Database(String),
    Relay(Problem),
}

impl From<String> for Stopped {
    fn from(why: String) -> Stopped {
        Stopped::Database(why)
    }
}

impl From<tokio_postgres::Error> for Stopped {
    fn from(error: tokio_postgres::Error) -> Stopped {
        Stopped::Database(why(&error))
    }
}

impl Holder {
    pub(super) fn new(relay: String) -> Holder {
        Holder {
            relay,
            word_bytes: usize::MAX,
            has_lock: false,
            left_until: None,
            turn: None,
            is_failing: false,
        }
    }

    /// A new session has no lock.
    pub(super) async fn begin(&mut self, session: &Session) -> Result<(), String> {
        self.has_lock = false;
        self.turn = None;
        let set = session.client.batch_execute(SESSION).await;
        set.map_err(|error| why(&error))
    }

    /// Whether it is this server that tells.
    pub(super) fn tells(&self) -> bool {
        self.turn.is_some()
    }

    /// Tells all what is new, if it is this server's turn; how long to wait at most until it is tried again.
    pub(super) async fn go(
        &mut self,
        session: &Session,
        shared: &Shared,
        place: &mut Place,
    ) -> Result<Duration, String> {
        let log = shared.announcer.log();
        if log.ready().is_err() {
            // Another may be able to.
            self.leave(session).await?;
        } else if !self.has_lock && self.left_until.is_none_or(|until| until < Instant::now()) {
            self.has_lock = asked(session, LOCK, &self.relay).await?;
            if !self.has_lock && asked(session, FREE, &self.relay).await? {
                tracing::warn!(
                    "store: the server that told all others hangs; another takes its place"
                );
            }
        }
        if !self.has_lock {
            session.look(shared).await?;
            return Ok(LOOKS);
        }
        match self.tell(session, shared, place).await {
            Ok(()) => {
                self.is_failing = false;
                Ok(LOOKS)
            }
            Err(Stopped::Database(why)) => Err(why),
            Err(Stopped::Relay(problem)) => {
                self.turn = None;
                if problem.kind == PASSED_OVER {
                    let left = LEFT.mul_f64(1.0 + fastrand::f64());
                    self.left_until = Some(Instant::now() + left);
                    self.leave(session).await?;
                } else if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(
                        "store: changes can not be told to all servers: {problem}; it is tried again"
                    );
                }
                Ok(SOON)
            }
        }
    }

    async fn leave(&mut self, session: &Session) -> Result<(), String> {
        self.turn = None;
        if std::mem::take(&mut self.has_lock) {
            asked(session, UNLOCK, &self.relay).await?;
        }
        Ok(())
    }

    async fn tell(
        &mut self,
        session: &Session,
        shared: &Shared,
        place: &mut Place,
    ) -> Result<(), Stopped> {
        match &self.turn {
            Some(Begun { turn, .. }) if shared.order.since(&turn.claim).is_none() => {
                return Err(over());
            }
            Some(_) => {}
            None => self.begin_turn(session, shared, place).await?,
        }
        loop {
            let was_partial = place.is_partial();
            let mut reading = session.outbox.read(&session.client, place).await?;
            while let Some(Found { what, after }) = reading.next().await? {
                match what {
                    What::Loss => {
                        let said = self.turn()?.turn.loses(&after);
                        self.say(shared, said).await?;
                    }
                    What::Changes(changes) => {
                        self.changes(shared, &changes, place, &after).await?;
                    }
                }
                *place = after;
            }
            if !was_partial {
                session.learn(shared, reading.definitions).await?;
                return Ok(self.keep(session, shared, place).await?);
            }
        }
    }

    /// Begins a turn, and finds out up to which place others have told.
    async fn begin_turn(
        &mut self,
        session: &Session,
        shared: &Shared,
        place: &mut Place,
    ) -> Result<(), Stopped> {
        let mut turn = Turn {
            store: shared.order.store.clone(),
            claim: format!("{:032x}", fastrand::u128(..)),
            since: None,
        };
        said(shared, turn.begins()).await?;
        let at = shared.order.since(&turn.claim).ok_or_else(over)?;
        turn.since = Some(at);
        let kept = session.client.query_opt(FIND, &[&self.relay]).await?;
        let kept = kept.and_then(|row| {
            let (at, place) = (row.try_get(0).ok()?, row.try_get(1).ok()?);
            Some((read_id(at)?, str::parse(place).ok()?))
        });
        let told = shared.order.told();
        // What was written down after the last that was told is a later place than that had; what is from a time that has not
        // come was in another life of the relay.
        let known = match (told, kept) {
            (Some((said, _)), Some((written, place))) if (said..at).contains(&written) => {
                Some(place)
            }
            (Some((_, place)), _) | (None, Some((_, place))) => Some(place),
            (None, None) => None,
        };
        *place = known.unwrap_or_else(|| place.clone());
        tracing::info!("store: this server tells all others of the relay what is changed");
        self.turn = Some(Begun {
            turn,
            at,
            kept: None,
        });
        Ok(())
    }

    /// Tells changes, as many in an entry as it holds.
    async fn changes(
        &mut self,
        shared: &Shared,
        mut changes: &[Told],
        before: &Place,
        after: &Place,
    ) -> Result<(), Stopped> {
        while !changes.is_empty() {
            self.word_bytes = self.word_bytes.min(shared.announcer.log().word_bytes());
            let most = self
                .word_bytes
                .saturating_sub(AROUND + 2 * after.to_string().len());
            let fit = fitting(changes, most);
            let (now, later) = changes.split_at(fit.len());
            let to = match (later, now) {
                ([_, ..], [.., (last, _)]) => before.on_the_way(after, last.seq),
                _ => after.clone(),
            };
            let said = self.turn()?.turn.tells(&to, fit);
            match self.say(shared, said).await {
                Err(Stopped::Relay(problem)) if problem.status.as_u16() == 413 && most > 0 => {
                    self.word_bytes /= 2;
                }
                said => {
                    said?;
                    changes = later;
                }
            }
        }
        Ok(())
    }

    async fn say(&mut self, shared: &Shared, word: String) -> Result<(), Stopped> {
        said(shared, word).await?;
        // Another turn may have begun since, and have told something.
        let begun = self.turn()?;
        if shared.order.since(&begun.turn.claim).is_some()
            && let Some((at, _)) = shared.order.told()
        {
            begun.at = at;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<&mut Begun, Stopped> {
        self.turn.as_mut().ok_or_else(over)
    }

    /// Writes the place down for who comes after: at once, and then now and then.
    async fn keep(
        &mut self,
        session: &Session,
        shared: &Shared,
        place: &Place,
    ) -> Result<(), String> {
        let Some(begun) = &mut self.turn else {
            return Ok(());
        };
        let age = shared.source.settings.outbox.age;
        let is_kept = begun.kept.as_ref().is_some_and(|(at, kept, since)| {
            let wait = match *at == begun.at {
                true => AT_LEAST.min(age / 2),
                false => OFTEN.min(age / 8),
            };
            kept == place || since.elapsed() < wait
        });
        if is_kept {
            return Ok(());
        }
        let (relay, at) = (&self.relay, write_id(begun.at));
        let asked: [&(dyn ToSql + Sync); 3] = [relay, &at, &place.to_string()];
        let kept = timeout(LONGEST, session.client.execute(KEEP, &asked)).await;
        let kept = kept.map_err(|_| silent())?;
        kept.map_err(|error| why(&error))?;
        begun.kept = Some((begun.at, place.clone(), Instant::now()));
        Ok(())
    }
}

/// Another server has begun a turn.
fn over() -> Stopped {
    Stopped::Relay(passed_over())
}

/// Says something to all; done when it was heard here, and counts.
async fn said(shared: &Shared, word: String) -> Result<(), Stopped> {
    let said = shared.announcer.log().say(STORE, word).await;
    said.map_err(Stopped::Relay)
}

/// The changes that are the next, as many as there may be in so many bytes, and one in any case.
fn fitting(changes: &[Told], most: usize) -> Vec<Box<RawValue>> {
    let mut bytes = 0;
    let mut fit = Vec::new();
    for told in changes {
        let one = word::change(told, most);
        bytes += one.get().len() + 1;
        if bytes > most && !fit.is_empty() {
            break;
        }
        fit.push(one);
    }
    fit
}

async fn asked(session: &Session, sql: &str, relay: &str) -> Result<bool, String> {
    let row = timeout(LONGEST, session.client.query_one(sql, &[&relay])).await;
    let row = row.map_err(|_| silent())?;
    row.and_then(|row| row.try_get(0))
        .map_err(|error| why(&error))
}

/// Texts are in the order of the ids.
fn write_id(id: EventId) -> String {
    format!("{:020}-{:020}", id.ms, id.n)
}

fn read_id(text: &str) -> Option<EventId> {
    let (ms, n) = text.split_once('-')?;
    Some(EventId {
        ms: ms.parse().ok()?,
        n: n.parse().ok()?,
    })
}
