//! What a session reads: topics, by one reader that merges them, and watches with filters, each by a reader of its own,
//! since what was before a watch is told to its reader alone.
//!
//! Whoever reads, events come in the order of their ids, so that the last one's is a cursor for all of them.

use std::cell::Cell;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::bundle::Bell;
use crate::counts::{Seat, WireName};
use crate::event::{EventId, Topic};
use crate::log::{Lag, Log, Next, Reader, Start};
use crate::problem::Problem;
use crate::wire::Carrier;

/// The readers of a session.
pub(super) struct Reading {
    log: Arc<Log>,
    shard: usize,
    /// The same for all of them.
    bell: Bell,
    /// It has the session's seat, whether it reads something or not.
    topics: Reader,
    named: Vec<Topic>,
    /// By what they were asked with.
    watches: Vec<(String, Reader)>,
}

impl Reading {
    /// Nothing yet.
    pub(super) fn new(log: &Arc<Log>, carrier: &Carrier) -> Reading {
        let seat = Seat::apart(&carrier.connection, WireName::SocketIo);
        // Not a member's: the connection may go, and the session stay.
        let bell = Bell::alone();
        let topics = Reader::new(log, carrier.shard, bell.clone(), seat, Lag::Gap, None);
        Reading {
            log: log.clone(),
            shard: carrier.shard,
            bell,
            topics,
            named: Vec::new(),
            watches: Vec::new(),
        }
    }

    /// Reads a topic too; returns the cursor after which nothing of it will be missed.
    ///
    /// # Errors
    /// 400 when it is one too many.
    pub(super) fn subscribe(&mut self, topic: Topic, start: Start) -> Result<EventId, Problem> {
        let cursor = self.topics.subscribe(std::slice::from_ref(&topic), start)?;
        if !self.named.contains(&topic) {
            self.named.push(topic);
        }
        Ok(cursor)
    }

    /// Reads it no more; what is not read is no mistake.
    pub(super) fn unsubscribe(&mut self, topic: &Topic) {
        self.topics.unsubscribe(std::slice::from_ref(topic));
        self.named.retain(|named| named != topic);
    }

    /// Has a reader of its own set to its place; one that was asked with the same stays where it is. Returns the cursor.
    ///
    /// # Errors
    /// 400 when it is one too many, and what setting it says.
    pub(super) fn watch(
        &mut self,
        asked: String,
        set: impl FnOnce(&mut Reader) -> Result<(), Problem>,
    ) -> Result<EventId, Problem> {
        if let Some((_, reader)) = self.watches.iter().find(|(known, _)| *known == asked) {
            return Ok(reader.cursor());
        }
        let most = self.log.limits().reader_topics;
        if self.watches.len() >= most {
            let detail = format!("a session may have {most} watches (reader-topics); end some");
            return Err(Problem::bad_request("too-many-topics", detail));
        }
        let (bell, seat) = (self.bell.clone(), self.topics.seat().beside());
        let mut reader = Reader::new(&self.log, self.shard, bell, seat, Lag::Gap, None);
        set(&mut reader)?;
        let cursor = reader.cursor();
        self.watches.push((asked, reader));
        Ok(cursor)
    }

    /// Ends a watch; what is not watched is no mistake.
    pub(super) fn unwatch(&mut self, asked: &str) {
        self.watches.retain(|(known, _)| known != asked);
    }

    /// Reads nothing any more.
    pub(super) fn clear(&mut self) {
        self.topics.unsubscribe(&self.named);
        self.named.clear();
        self.watches.clear();
    }

    /// What comes next, or `Pending` until something does.
    pub(super) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Next> {
        if let Some(next) = self.try_next() {
            return Poll::Ready(next);
        }
        // Something may have come before anybody waited.
        self.bell.wait(cx);
        self.try_next().map_or(Poll::Pending, Poll::Ready)
    }

    fn try_next(&mut self) -> Option<Next> {
        if self.watches.is_empty() {
            return self.topics.try_next();
        }
        let mut lowest: Option<(EventId, usize)> = None;
        loop {
            let before = lowest;
            for index in 0..=self.watches.len() {
                let seen = Cell::new(None);
                let look = |event: &crate::event::Event| {
                    seen.set(Some(event.id));
                    false
                };
                // What is no event goes first: it was there before.
                if let Some(notice) = self.reader(index).try_next_if(look) {
                    return Some(notice);
                }
                if let Some(id) = seen.get()
                    && lowest.is_none_or(|(low, _)| id < low)
                {
                    lowest = Some((id, index));
                }
            }
            // Once more: a lower one may have come to a reader that had been looked at, before the one that was found.
            if lowest == before {
                let (_, index) = lowest?;
                return self.reader(index).try_next();
            }
        }
    }

    fn reader(&mut self, index: usize) -> &mut Reader {
        match index.checked_sub(1) {
            None => &mut self.topics,
            Some(index) => &mut self.watches[index].1,
        }
    }
}
