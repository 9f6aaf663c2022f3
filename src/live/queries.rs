//! Named queries: as their authors say them, and how they are made, changed, asked about and forgotten.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::change::{Op, taken};
use super::query::{Definition, Query};
use super::sql::Plan;
use super::{Expected, Live, is_expected};
use crate::event::{EventId, Topic};
use crate::problem::Problem;

/// How often a query may be told anew, in milliseconds.
pub const EVERY_MS: std::ops::RangeInclusive<u64> = 50..=3_600_000;

/// How long a temporary query is there that no subscription has named yet.
const GRACE: Duration = Duration::from_secs(60);

/// A query's name: 1 to 128 of `[A-Za-z0-9._:-]`, not `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// Checks a name as a peer gave it.
    ///
    /// # Errors
    /// A 400 that says what a name may be.
    pub fn new(text: &str) -> Result<Name, Problem> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(allowed);
        match fits && !matches!(text, "." | "..") {
            true => Ok(Name(text.into())),
            false => Err(Problem::bad_request(
                "query-name",
                "a query's name is 1 to 128 of A-Z a-z 0-9 . _ : -, and not . or ..",
            )),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.to_string()
    }
}

impl TryFrom<String> for Name {
    type Error = Problem;

    fn try_from(text: String) -> Result<Name, Problem> {
        Name::new(&text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A query as its author says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// What to evaluate.
    pub sql: String,
    /// How often, at most.
    #[serde(default = "every_second")]
    pub every_ms: u64,
    /// Whether it goes with the last subscription that names it. Of others it is not written, so that their etags are
    /// what they were.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub temporary: bool,
}

fn every_second() -> u64 {
    1000
}

impl Asked {
    /// # Errors
    /// 400 for what is not often or seldom enough.
    pub(super) fn check(&self) -> Result<(), Problem> {
        if EVERY_MS.contains(&self.every_ms) {
            return Ok(());
        }
        let (least, most) = EVERY_MS.into_inner();
        let detail = format!("every_ms is a number of milliseconds, {least} to {most}");
        Err(Problem::bad_request("every-ms", detail))
    }
}

impl Live {
    /// Takes up a query from before a restart.
    pub(super) async fn restore_query(&self, name: &str, body: &str) {
        let asked = serde_json::from_str::<Asked>(body);
        let (Ok(name), Ok(asked)) = (Name::new(name), asked) else {
            tracing::warn!("a query from before the restart cannot be read: {name}: {body}");
            return;
        };
        let plan = self.engine.plan(asked.sql.clone()).await;
        if let Err(problem) = &plan {
            tracing::warn!("query {name} from before the restart: {problem}");
        }
        if let Ok(query) = self.slot(&name) {
            query.define(Definition::new(asked, Some(plan), EventId::ZERO));
            // A temporary one is there as long as a subscription from before the restart.
            query.was_named(true);
        }
    }

    /// Makes a query.
    ///
    /// # Errors
    /// 400 for what is none, 409 when the name is taken, 429 when it is one too many.
    pub async fn create_query(self: Arc<Live>, name: Name, asked: Asked) -> Result<(), Problem> {
        asked.check()?;
        if !self.is_shared() && self.defined(&name).is_some() {
            return Err(taken(&name));
        }
        let plan = self.plan(&asked.sql).await?;
        self.change(Op::MakeQuery(name, asked), Some(plan)).await
    }

    /// Changes a query; its streams go on with the new one.
    ///
    /// # Errors
    /// 400 for what is none, 404 when there is none of this name, 412 when it is not the one that was expected.
    pub async fn change_query(
        self: Arc<Live>,
        name: Name,
        asked: Asked,
        expected: Expected,
    ) -> Result<(), Problem> {
        asked.check()?;
        if !self.is_shared() {
            self.expect_query(&name, &expected)?;
        }
        let plan = self.plan(&asked.sql).await?;
        let op = Op::ChangeQuery(name, asked, expected);
        self.change(op, Some(plan)).await
    }

    /// Forgets a query; its streams are told.
    ///
    /// # Errors
    /// 404 when there is none of this name, 412 when it is not the one that was expected.
    pub async fn delete_query(
        self: Arc<Live>,
        name: Name,
        expected: Expected,
    ) -> Result<(), Problem> {
        self.change(Op::DeleteQuery(name, expected), None).await
    }

    /// Reads a query; one that can not be read may be one of a table that is on its way here.
    async fn plan(&self, sql: &str) -> Result<Arc<Plan>, Problem> {
        match self.engine.plan(sql.to_owned()).await {
            Err(_) if self.is_shared() => {
                self.settle().await?;
                self.engine.plan(sql.to_owned()).await
            }
            read => read,
        }
    }

    /// One query, as JSON.
    ///
    /// # Errors
    /// 404 when there is none of this name.
    pub fn query(&self, name: &Name) -> Result<String, Problem> {
        let query = self.defined(name);
        let about = query.and_then(|query| query.describe(true));
        about.ok_or_else(|| unknown_queries(&[name.as_str()]))
    }

    /// So many queries after this name, as JSON, and whether there are more.
    pub fn list_queries(&self, after: Option<&Name>, most: usize) -> (Vec<String>, bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let queries = self.queries();
        let later = queries.range::<Name, _>((from, Bound::Unbounded));
        let mut found: Vec<Arc<Query>> = later
            .map(|(_, query)| query)
            .filter(|query| query.is_defined())
            .take(most + 1)
            .cloned()
            .collect();
        drop(queries);
        let are_more = found.len() > most;
        found.truncate(most);
        let found = found.iter().filter_map(|query| query.describe(false));
        (found.collect(), are_more)
    }

    /// How many names stand for one.
    pub(super) fn defined_queries(&self) -> usize {
        self.queries().values().filter(|q| q.is_defined()).count()
    }

    /// Lets go of what nobody has watched for a while, and of names that nobody uses.
    pub(super) fn rest_queries(&self) {
        let all = self.all_queries();
        all.iter().for_each(|query| query.rest());
        drop(all);
        let mut queries = self.queries();
        // A name that stands for nothing and that nobody follows.
        let gone = queries.extract_if(.., |_, q| Arc::strong_count(q) == 1 && !q.is_defined());
        let gone: Vec<Topic> = gone.map(|(_, query)| query.topic.clone()).collect();
        if !gone.is_empty() {
            self.log.clear(&gone);
        }
    }

    /// Forgets the temporary queries that no subscription names any more, or none has named in time.
    pub(super) async fn end_temporary_queries(self: &Arc<Live>) {
        let all = self.all_queries().into_iter();
        for query in all.filter(|query| query.is_over(GRACE)) {
            let made = query.definition().map(|definition| definition.made);
            let op = Op::EndQuery(query.name.clone(), made.unwrap_or_default());
            // What goes wrong now is tried again; after a restart that comes first, it ends once more.
            let _ = self.change(op, None).await;
        }
    }

    pub(super) fn all_queries(&self) -> Vec<Arc<Query>> {
        self.queries().values().cloned().collect()
    }

    fn queries(&self) -> MutexGuard<'_, BTreeMap<Name, Arc<Query>>> {
        self.queries.lock().expect("nothing panics under this lock")
    }

    /// The query of this name, or an empty place for it.
    pub(super) fn slot(&self, name: &Name) -> Result<Arc<Query>, Problem> {
        let mut queries = self.queries();
        if let Some(query) = queries.get(name) {
            return Ok(query.clone());
        }
        let query = Query::new(name.clone(), self.log.clone(), self.engine.clone())?;
        queries.insert(name.clone(), query.clone());
        Ok(query)
    }

    pub(super) fn defined(&self, name: &Name) -> Option<Arc<Query>> {
        let query = self.queries().get(name).cloned();
        query.filter(|query| query.is_defined())
    }

    pub(super) fn expect_query(
        &self,
        name: &Name,
        expected: &Expected,
    ) -> Result<Arc<Query>, Problem> {
        let unknown = || unknown_queries(&[name.as_str()]);
        let query = self.queries().get(name).cloned().ok_or_else(unknown)?;
        let definition = query.definition().ok_or_else(unknown)?;
        is_expected(expected, &definition.etag)?;
        Ok(query)
    }
}

pub(super) fn unknown_queries(names: &[&str]) -> Problem {
    let (are, queries) = match names.len() {
        1 => ("is", "query"),
        _ => ("are", "queries"),
    };
    let names = names.join(", ");
    let detail = format!("there {are} no {queries} {names}; POST /queries/NAME makes one");
    Problem::new(StatusCode::NOT_FOUND, "unknown-query", detail)
}
