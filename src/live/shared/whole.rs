//! All that is defined, as one replica says it to all: whoever knows nothing, or not for sure, takes it up.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::{EventId, Topic};
use crate::live::queries::{self, Name};
use crate::live::query::Definition;
use crate::live::subscriptions::Member;
use crate::live::{Live, tables};

/// What goes around the definitions of a part, in bytes.
const AROUND: usize = 256;

/// A part of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Part {
    /// The place of the last change that it contains.
    pub of: EventId,
    /// The how many-eth it is, from 0, of how many.
    part: usize,
    parts: usize,
    /// Whether it is to be believed by all, since something was lost.
    pub anew: bool,
    said: Vec<Said>,
}

/// One definition.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Table(tables::Asked, EventId),
    Query {
        name: Name,
        asked: queries::Asked,
        made: EventId,
        was_named: bool,
    },
    Subscription {
        id: String,
        queries: Vec<(Name, EventId)>,
        topics: Vec<(String, EventId)>,
        holders: Vec<String>,
    },
}

impl Part {
    pub(super) fn is_first(&self) -> bool {
        self.part == 0
    }

    pub(super) fn is_last(&self) -> bool {
        self.parts.checked_sub(1) == Some(self.part)
    }

    /// Whether it is the next of the same.
    pub(super) fn follows(&self, last: &Part) -> bool {
        let same = |part: &Part| (part.of, part.parts, part.anew);
        same(self) == same(last) && self.part.checked_sub(1) == Some(last.part)
    }
}

/// All of it.
#[derive(Debug)]
pub(super) struct Whole {
    /// The place of the last change that it contains.
    pub of: EventId,
    said: Vec<Said>,
}

impl Whole {
    pub(super) fn of(parts: Vec<Part>) -> Whole {
        Whole {
            of: parts.first().map_or(EventId::ZERO, |part| part.of),
            said: parts.into_iter().flat_map(|part| part.said).collect(),
        }
    }

    /// In parts of so many bytes.
    pub(super) fn parts(self, anew: bool, bytes: usize) -> Vec<Part> {
        let mut all: Vec<Vec<Said>> = vec![Vec::new()];
        let mut room = bytes.saturating_sub(AROUND);
        for said in self.said {
            let size = serde_json::to_vec(&said).map_or(0, |json| json.len() + 1);
            if size > room && all.last().is_some_and(|part| !part.is_empty()) {
                all.push(Vec::new());
                room = bytes.saturating_sub(AROUND);
            }
            room = room.saturating_sub(size);
            all.last_mut().expect("there is one").push(said);
        }
        let (of, parts) = (self.of, all.len());
        let part = |(part, said)| Part {
            of,
            part,
            parts,
            anew,
            said,
        };
        all.into_iter().enumerate().map(part).collect()
    }
}

impl Live {
    /// What there is, after the change at this place.
    pub(super) fn whole(&self, of: EventId) -> Whole {
        let mut said = Vec::new();
        for table in self.engine.tables() {
            if !tables::is_built_in(table.schema.name.as_str()) {
                said.push(Said::Table(tables::Asked::of(&table.schema), table.since));
            }
        }
        for query in self.all_queries() {
            if let Some(definition) = query.definition() {
                said.push(Said::Query {
                    name: query.name.clone(),
                    asked: definition.asked,
                    made: definition.made,
                    was_named: query.was_named(false),
                });
            }
        }
        let all: Vec<_> = self.subscriptions().values().cloned().collect();
        for subscription in all {
            let (members, holders) = subscription.said();
            let (mut queries, mut topics) = (Vec::new(), Vec::new());
            for Member {
                topic,
                query,
                since,
            } in members
            {
                match query {
                    Some(query) => queries.push((query.name.clone(), since)),
                    None => topics.push((topic.to_string(), since)),
                }
            }
            said.push(Said::Subscription {
                id: subscription.id().to_owned(),
                queries,
                topics,
                holders,
            });
        }
        Whole { of, said }
    }

    /// What there is, is this and nothing else.
    pub(super) fn adopt(self: &Arc<Live>, whole: Whole) {
        let mut tables = BTreeSet::new();
        let mut names = BTreeSet::new();
        let mut ids = BTreeSet::new();
        // Tables first: queries are read by them.
        let mut said = whole.said;
        said.sort_by_key(|said| match said {
            Said::Table(..) => 0,
            Said::Query { .. } => 1,
            Said::Subscription { .. } => 2,
        });
        let is_defined = |said: &Said| match said {
            Said::Table(asked, _) => Some(asked.name().to_owned()),
            _ => None,
        };
        tables.extend(said.iter().filter_map(is_defined));
        for table in self.engine.tables() {
            let name = &table.schema.name;
            if !tables::is_built_in(name.as_str()) && !tables.contains(name.as_str()) {
                let _ = self.engine.forget(name, whole.of);
            }
        }
        for said in said {
            match said {
                Said::Table(asked, since) => self.adopt_table(&asked, since),
                Said::Query {
                    name,
                    asked,
                    made,
                    was_named,
                } => {
                    let (Ok(query), Ok(())) = (self.slot(&name), asked.check()) else {
                        continue;
                    };
                    let known = query.definition();
                    if known.is_none_or(|known| known.asked != asked || known.made != made) {
                        query.define(Definition::new(asked, None, made));
                    }
                    query.was_named(was_named);
                    names.insert(name);
                }
                Said::Subscription {
                    id,
                    queries,
                    topics,
                    holders,
                } => {
                    self.adopt_subscription(&id, queries, topics, holders);
                    ids.insert(id);
                }
            }
        }
        for query in self.all_queries() {
            if query.is_defined() && !names.contains(&query.name) {
                query.delete();
            }
        }
        let gone: Vec<_> = {
            let mut all = self.subscriptions();
            all.extract_if(|id, _| !ids.contains(&**id)).collect()
        };
        for (_, subscription) in gone {
            subscription.end();
        }
    }

    fn adopt_table(self: &Arc<Live>, asked: &tables::Asked, since: EventId) {
        if let Ok(known) = self.table(asked.name()) {
            let is_same = tables::Asked::of(&known.schema) == *asked && known.since == since;
            if is_same || self.engine.forget(&known.schema.name, since).is_err() {
                return;
            }
        }
        let declared = asked.schema(&self.limits.engine);
        let declared = declared.and_then(|schema| self.declare(schema, since));
        if let Err(problem) = declared {
            tables::is_missing(asked.name(), &problem);
        }
    }

    fn adopt_subscription(
        &self,
        id: &str,
        queries: Vec<(Name, EventId)>,
        topics: Vec<(String, EventId)>,
        holders: Vec<String>,
    ) {
        let mut members = Vec::new();
        for (name, since) in queries {
            if let Ok(query) = self.slot(&name) {
                members.push(Member {
                    since,
                    ..Member::of_query(query)
                });
            }
        }
        for (topic, since) in topics {
            if let Ok(topic) = Topic::new(&topic)
                && !topic.is_of_query()
            {
                members.push(Member {
                    since,
                    ..Member::of_topic(topic)
                });
            }
        }
        // A reader could not begin with so many.
        let most = self.limits.reader_topics;
        if members.len() > most {
            tracing::error!(
                "subscription {id} is not there, though it is on others: it has {} queries and topics, and here are at most {most} (reader-topics)",
                members.len()
            );
            self.end_subscription(id);
            return;
        }
        let subscription = match self.subscription(id) {
            Ok(known) => {
                known.become_these(members);
                known
            }
            Err(_) => self.add(id, members),
        };
        subscription.held_by(holders);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(part: usize, parts: usize) -> Part {
        Part {
            of: EventId::ZERO,
            part,
            parts,
            anew: true,
            said: Vec::new(),
        }
    }

    #[test]
    fn parts_that_nobody_can_have_said_are_none_of_them() {
        assert!(part(0, 1).is_last() && part(1, 2).is_last() && !part(0, 2).is_last());
        assert!(part(1, 2).follows(&part(0, 2)));
        assert!(!part(0, 0).is_last() && !part(usize::MAX, 0).is_last());
        assert!(!part(0, 2).follows(&part(usize::MAX, 2)));
        assert!(!part(usize::MAX, 2).follows(&part(usize::MAX, 2)));
    }
}
