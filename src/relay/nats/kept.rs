//! A stream as JetStream keeps it, and its lives.
//!
//! All its messages have one subject, `triwire.events.LIFE`, and a life is `MS-RANDOM`: each message says by its subject in which
//! milliseconds its place is. A new life is another subject, by which whatever the stream had before goes on to have its places,
//! and all that comes has greater ones.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::jetstream::context::{
    CreateStreamErrorKind, GetStreamErrorKind, RequestError, RequestErrorKind,
};
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, RawMessageErrorKind, RetentionPolicy, StorageType, Stream,
};
use async_nats::jetstream::{Context, ErrorCode};
use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::chain;
use crate::event::Place;
use crate::relay::{Bounds, Fault};

/// Longer than a server takes to make a stream.
const SETTLES: Duration = Duration::from_millis(200);

/// What a stream is to be.
pub(super) struct Wanted {
    pub(super) name: String,
    /// What its subjects begin with.
    pub(super) subject: String,
    pub(super) entries: u64,
    pub(super) replicas: usize,
    /// Whether it was said that it is another.
    pub(super) is_warned: AtomicBool,
    /// Held by who makes it.
    pub(super) making: Mutex<()>,
}

/// One that is there.
pub(super) struct Kept {
    context: Context,
    pub(super) stream: Stream<()>,
    config: Config,
    /// What the subjects of all its lives begin with.
    subject: String,
    pub(super) life: Life,
}

/// A life of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Life {
    /// Of all the places in it.
    pub(super) ms: u64,
    random: String,
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.random)
    }
}

impl Life {
    fn parse(text: &str) -> Option<Life> {
        let (ms, random) = text.split_once('-')?;
        Some(Life {
            ms: ms.parse().ok()?,
            random: random.to_owned(),
        })
    }

    /// Of a message with this subject.
    fn of(subject: &str, begins: &str) -> Option<Life> {
        Life::parse(subject.strip_prefix(begins)?.strip_prefix('.')?)
    }
}

impl Kept {
    /// Finds it, or makes it.
    pub(super) async fn find(wanted: &Wanted, context: &Context) -> Result<Kept, Fault> {
        let mut is_made = false;
        let mut found = wanted.look(context).await?;
        if found.is_none() {
            let _alone = wanted.making.lock().await;
            found = wanted.look(context).await?;
            if found.is_none() {
                is_made = make(wanted, context).await?;
                found = wanted.look(context).await?;
            }
        }
        let found = found.ok_or_else(|| Fault::passing("the stream that was made is not there"))?;
        let info = wanted.settled(context, found, is_made).await?;
        wanted.judge(&info.config)?;
        let life = match &*info.config.subjects {
            [subject] => Life::of(subject, &wanted.subject),
            _ => None,
        };
        let life = life.ok_or_else(|| {
            Fault::lasting(format!(
                "there is a stream {} of somebody else's, whose subjects are {:?} and not {}.MILLISECONDS-LIFE; name another by \
                 ?stream=",
                wanted.name, info.config.subjects, wanted.subject
            ))
        })?;
        let stream = context.get_stream_no_info(&wanted.name).await;
        Ok(Kept {
            context: context.clone(),
            stream: stream.map_err(|error| asked(&error))?,
            config: info.config,
            subject: wanted.subject.clone(),
            life,
        })
    }

    /// What is published to be in it.
    pub(super) fn subject(&self) -> String {
        format!("{}.{}", self.subject, self.life)
    }

    /// How many bytes a message of it may have, when that is limited.
    pub(super) fn entry_bytes(&self) -> Option<usize> {
        usize::try_from(self.config.max_message_size)
            .ok()
            .filter(|most| *most > 0)
    }

    /// Where a message is.
    pub(super) fn place(&self, subject: &str, sequence: u64) -> Option<Place> {
        let life = Life::of(subject, &self.subject)?;
        Some(Place {
            ms: life.ms,
            number: sequence,
        })
    }

    /// What it is now.
    pub(super) async fn bounds(&self) -> Result<Bounds, Fault> {
        let info = self.stream.get_info().await;
        let state = info.map_err(|error| Fault::passing(chain(&error)))?.state;
        let here = Place {
            ms: self.life.ms,
            number: state.last_sequence,
        };
        let (mut first, mut last) = (here, here);
        if state.messages > 0 {
            last = self.place_of(state.last_sequence).await?.unwrap_or(here);
            let ms = match state.subjects_count {
                1 => last.ms,
                _ => {
                    let first = self.place_of(state.first_sequence).await?;
                    first
                        .ok_or_else(|| Fault::passing("its first entry has gone"))?
                        .ms
                }
            };
            first = Place {
                ms,
                number: state.first_sequence.saturating_sub(1),
            };
        }
        Ok(Bounds {
            epoch: self.life.to_string(),
            first,
            last,
            is_whole: state.messages == state.last_sequence,
        })
    }

    /// The message with this number and its place, if it is there.
    pub(super) async fn found(&self, sequence: u64) -> Result<Option<(Place, Bytes)>, Fault> {
        match self.stream.get_raw_message(sequence).await {
            Ok(message) => {
                let place = self.place(&message.subject, sequence);
                Ok(place.map(|place| (place, message.payload)))
            }
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(Fault::passing(chain(&error))),
        }
    }

    /// Where the message with this number is.
    async fn place_of(&self, sequence: u64) -> Result<Option<Place>, Fault> {
        Ok(self.found(sequence).await?.map(|(place, _)| place))
    }

    /// Begins a new life, if this one has no greater places. Two who do so at once begin the same one.
    pub(super) async fn raise(&mut self, above: Place) -> Result<(), Fault> {
        if self.life.ms > above.ms {
            return Ok(());
        }
        let life = Life {
            ms: above.ms + 1,
            random: self.life.random.clone(),
        };
        let config = Config {
            subjects: vec![format!("{}.{life}", self.subject)],
            ..self.config.clone()
        };
        let updated = self.context.update_stream(config).await;
        updated.map_err(|error| Fault::passing(chain(&error)))?;
        self.life = life;
        Ok(())
    }
}

impl Wanted {
    /// What there is.
    async fn look(&self, context: &Context) -> Result<Option<Info>, Fault> {
        let error = match context.get_stream(&self.name).await {
            Ok(stream) => return Ok(Some(stream.cached_info().clone())),
            Err(error) => error,
        };
        match error.kind() {
            GetStreamErrorKind::JetStream(why)
                if why.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                Ok(None)
            }
            GetStreamErrorKind::JetStream(why) => Err(refused(&why)),
            _ => Err(asked(&error)),
        }
    }

    /// What there is when nobody makes it any more. Of two who make it at once, NATS 2.9 tells both that they have, for a
    /// moment has the one's and then the other's, and may have the wrong one on its disk: with the next start the stream would
    /// have another life.
    async fn settled(
        &self,
        context: &Context,
        mut found: Info,
        is_made: bool,
    ) -> Result<Info, Fault> {
        if found.state.messages > 0 {
            return Ok(found);
        }
        loop {
            sleep(SETTLES).await;
            let now = self.look(context).await?;
            let now = now.ok_or_else(|| Fault::passing("the stream is not there any more"))?;
            let is_same = now.config.subjects == found.config.subjects;
            found = now;
            if is_same {
                break;
            }
        }
        if is_made {
            // Has it written again.
            let written = context.update_stream(&found.config).await;
            written.map_err(|error| Fault::passing(chain(&error)))?;
        }
        Ok(found)
    }

    /// Whether one that is there can be used.
    fn judge(&self, there: &Config) -> Result<(), Fault> {
        let name = &self.name;
        let wrong = |what: &str| Err(Fault::lasting(format!("the stream {name} {what}")));
        if there.discard != DiscardPolicy::Old {
            return wrong(
                "refuses what is new when it is full, and is to let go of what is old: nats stream edit --discard=old",
            );
        }
        if there.retention != RetentionPolicy::Limits {
            return wrong(
                "lets go of what somebody has read, and there are several readers: its retention is to be limits",
            );
        }
        if there.no_ack || there.sealed {
            return wrong("takes nothing, or does not say that it has it (sealed, no_ack)");
        }
        let few =
            |most: i64| u64::try_from(most).is_ok_and(|most| (1..self.entries).contains(&most));
        let is_less = few(there.max_messages)
            || few(there.max_messages_per_subject)
            || there.max_bytes > 0
            || !there.max_age.is_zero();
        if is_less && !self.is_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "relay nats: the stream {name} keeps less than the {} entries of relay-entries: max_msgs {}, max_bytes {}, \
                 max_age {:?}; nats stream edit changes it",
                self.entries,
                there.max_messages,
                there.max_bytes,
                there.max_age
            );
        }
        Ok(())
    }
}

/// Whether it is this one that made it.
async fn make(wanted: &Wanted, context: &Context) -> Result<bool, Fault> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let life = Life {
        ms: now.map_or(1, |now| now.as_millis() as u64),
        random: format!("{:08x}", fastrand::u32(..)),
    };
    let config = Config {
        name: wanted.name.clone(),
        description: Some(
            "What the servers of triwire publish. Its subject is made by them.".to_owned(),
        ),
        subjects: vec![format!("{}.{life}", wanted.subject)],
        max_messages: i64::try_from(wanted.entries).unwrap_or(i64::MAX),
        discard: DiscardPolicy::Old,
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: wanted.replicas,
        ..Config::default()
    };
    let Err(error) = context.create_stream(config).await else {
        return Ok(true);
    };
    match error.kind() {
        CreateStreamErrorKind::JetStream(why) => match why.error_code() {
            // Another was first.
            ErrorCode::STREAM_NAME_EXIST => Ok(false),
            _ => Err(refused(&why)),
        },
        CreateStreamErrorKind::JetStreamUnavailable => Err(off()),
        _ => Err(Fault::passing(chain(&error))),
    }
}

/// What the server has answered.
fn refused(why: &async_nats::jetstream::Error) -> Fault {
    let code = why.error_code();
    if [
        ErrorCode::JETSTREAM_NOT_ENABLED,
        ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT,
    ]
    .contains(&code)
    {
        return off();
    }
    if [
        ErrorCode::STREAM_SUBJECT_OVERLAP,
        ErrorCode::STREAM_INVALID_CONFIG,
        ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED,
    ]
    .contains(&code)
    {
        return Fault::lasting(why);
    }
    Fault::passing(why)
}

fn asked(error: &(dyn std::error::Error + 'static)) -> Fault {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if let Some(request) = inner.downcast_ref::<RequestError>()
            && request.kind() == RequestErrorKind::NoResponders
        {
            return off();
        }
        cause = inner.source();
    }
    Fault::passing(chain(error))
}

fn off() -> Fault {
    Fault::lasting("JetStream is off on this server, or for this account: nats-server --jetstream")
}
