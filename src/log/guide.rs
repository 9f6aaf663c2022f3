//! A guide: somebody else decides, while a reader reads, what it reads. What the guide has to say is news: topics to
//! join and to leave, something to tell that is in no log, and the end.

use std::sync::Arc;

use super::Log;
use super::notice::{End, Start};
use crate::bundle::Bell;
use crate::event::{Event, EventId, Topic};

/// Decides what a reader reads. Who changes its mind rings the reader, by the [`Ringer`] that the guide was given.
pub trait Guide: Send {
    /// Whether it decides on topics at all; one that does not only tells something first.
    fn decides(&self) -> bool {
        true
    }

    /// Whether there is news: asked at each look for an event, so this must be no more than a look.
    fn has_news(&self) -> bool;

    /// The next of it. A [`News::Tell`] that does not fit stays where it is, and nothing comes before it.
    fn news(&mut self, fits: &dyn Fn(&Event) -> bool) -> Option<News>;

    /// The cursor that a reader which leaves now must not go beyond, if there is still something to tell.
    fn held_at(&self) -> Option<EventId>;
}

/// What a guide says.
#[derive(Clone, Debug)]
pub enum News {
    /// Read these too. They must not be more than a reader may have.
    Join(Vec<Topic>, Start),
    /// Do not read these any more, from now on.
    Leave(Vec<Topic>),
    /// Tell this first: it is in no log, and so has no id ([`Log::unlogged`]).
    Tell(Arc<Event>),
    /// Nothing comes any more.
    End(End),
}

/// Wakes a reader, from any thread.
#[derive(Clone)]
pub struct Ringer {
    log: Arc<Log>,
    shard: usize,
    bell: Bell,
}

impl Ringer {
    pub(super) fn new(log: Arc<Log>, shard: usize, bell: Bell) -> Ringer {
        Ringer { log, shard, bell }
    }

    /// Wakes it, on its own shard.
    pub fn ring(&self) {
        self.log.hubs[self.shard].remind(0, self.bell.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::*;
    use crate::counts::{Connection, Counts, ListenerFacts, Seat, WireName};
    use crate::event::{Draft, EventType, Payload};
    use crate::log::{Lag, Limits, Next, Reader};

    /// Says what it is given.
    #[derive(Clone, Default)]
    struct Script(Arc<Mutex<VecDeque<News>>>);

    impl Script {
        fn say(&self, news: News) {
            self.0.lock().expect("not poisoned").push_back(news);
        }
    }

    impl Guide for Script {
        fn has_news(&self) -> bool {
            !self.0.lock().expect("not poisoned").is_empty()
        }

        fn news(&mut self, fits: &dyn Fn(&Event) -> bool) -> Option<News> {
            let mut script = self.0.lock().expect("not poisoned");
            match script.front() {
                Some(News::Tell(event)) if !fits(event) => None,
                _ => script.pop_front(),
            }
        }

        fn held_at(&self) -> Option<EventId> {
            let script = self.0.lock().expect("not poisoned");
            let is_told = |news: &News| matches!(news, News::Tell(_));
            script.iter().any(is_told).then_some(EventId::ZERO)
        }
    }

    fn draft(topic: &str, text: &'static str) -> Draft {
        Draft {
            topic: Topic::new(topic).expect("a good name"),
            event_type: EventType::default(),
            payload: Payload::text(text.into()).expect("UTF-8"),
        }
    }

    fn guided(log: &Arc<Log>) -> (Reader, Script) {
        let facts = ListenerFacts {
            name: "http1",
            addr: String::new(),
            tls: false,
            http: "1.1",
        };
        let connection = Connection::new(Counts::new(1, vec![facts]), 0, 0);
        let seat = Seat::new(connection, WireName::SseHttp1);
        let mut reader = Reader::new(log, 0, Bell::alone(), seat, Lag::Gap, None);
        let script = Script::default();
        reader.follow(Box::new(script.clone()));
        (reader, script)
    }

    fn texts(reader: &mut Reader) -> Vec<String> {
        let text = |next: Next| match next {
            Next::Event(event) => String::from_utf8_lossy(event.draft.payload.bytes()).into_owned(),
            other => format!("{other:?}"),
        };
        std::iter::from_fn(|| reader.try_next())
            .take(9)
            .map(text)
            .collect()
    }

    #[test]
    fn a_change_goes_before_what_came_after_it() {
        let log = Log::new(Limits::default(), "s", 1, Box::new(|| 1));
        let (mut reader, script) = guided(&log);
        let [a, b] = ["a", "b"].map(|name| Topic::new(name).expect("a good name"));
        script.say(News::Join(vec![a.clone()], Start::Head));
        assert!(texts(&mut reader).is_empty());
        log.append(draft("a", "1")).expect("there is room");
        log.append(draft("b", "not yet")).expect("there is room");
        let mark = log.mark();
        script.say(News::Join(vec![b], Start::After(mark)));
        script.say(News::Tell(log.unlogged(draft("b", "before"))));
        log.append(draft("b", "2")).expect("there is room");
        assert_eq!(texts(&mut reader), ["before", "1", "2"]);
        script.say(News::Leave(vec![a]));
        log.append(draft("a", "no more")).expect("there is room");
        log.append(draft("b", "3")).expect("there is room");
        assert_eq!(texts(&mut reader), ["3"]);
        script.say(News::End(End::Deleted));
        log.append(draft("b", "too late")).expect("there is room");
        for _ in 0..2 {
            assert!(matches!(reader.try_next(), Some(Next::End(End::Deleted))));
        }
    }

    #[test]
    fn what_does_not_fit_is_told_later_and_holds_the_cursor() {
        let log = Log::new(Limits::default(), "s", 1, Box::new(|| 1));
        let (mut reader, script) = guided(&log);
        let mark = log.mark();
        script.say(News::Tell(log.unlogged(draft("a", "large"))));
        assert!(reader.try_next_if(|_| false).is_none());
        assert_eq!(reader.position(), EventId::ZERO);
        assert_eq!(texts(&mut reader), ["large"]);
        assert_eq!(reader.position(), mark);
        // It has no id, and moves nothing.
        assert!(reader.cursor() < mark);
    }
}
