//! A reader does what its guide says, in the order of the log.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use triwire::event::{Draft, Event, EventId, Topic};
use triwire::log::{End, Guide, Limits, Log, News, Next, Reader, Start};

use super::reading::{draft_of, fresh, rest, texts};

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

fn guided(log: &Arc<Log>) -> (Reader, Script) {
    let mut reader = fresh(log);
    let script = Script::default();
    reader.follow(Box::new(script.clone()));
    (reader, script)
}

fn draft(topic: &str, text: &str) -> Draft {
    draft_of(Topic::new(topic).expect("a good name"), text)
}

#[test]
fn a_change_goes_before_what_came_after_it() {
    let log = Log::new(Limits::default(), "s", 1, Box::new(|| 1));
    let (mut reader, script) = guided(&log);
    let [a, b] = ["a", "b"].map(|name| Topic::new(name).expect("a good name"));
    script.say(News::Join(vec![a.clone()], Start::Head));
    assert!(rest(&mut reader).is_empty());
    log.append(draft("a", "1")).expect("there is room");
    log.append(draft("b", "not yet")).expect("there is room");
    let mark = log.mark();
    script.say(News::Join(vec![b], Start::After(mark)));
    script.say(News::Tell(log.unlogged(draft("b", "before"))));
    log.append(draft("b", "2")).expect("there is room");
    assert_eq!(texts(&rest(&mut reader)), ["before", "1", "2"]);
    script.say(News::Leave(vec![a]));
    log.append(draft("a", "no more")).expect("there is room");
    log.append(draft("b", "3")).expect("there is room");
    assert_eq!(texts(&rest(&mut reader)), ["3"]);
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
    assert_eq!(texts(&rest(&mut reader)), ["large"]);
    assert_eq!(reader.position(), mark);
    // It has no id, and moves nothing.
    assert!(reader.cursor() < mark);
}
