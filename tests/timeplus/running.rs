//! A query that runs, read as the strictest of its clients do: an event is one line of data, perhaps with its name in the
//! line before, and there is nothing else.

use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::client::at;
use super::support::client::link::{Call, Connection, Link, Target};
use super::support::client::publisher::Answer;
use super::support::server::PATIENCE;

/// What a line may have, if there is more than one row in it.
const LINE: usize = 64 * 1024;

/// Members of a query; none is ever null.
const MEMBERS: [&str; 15] = [
    "analysis",
    "description",
    "duration",
    "end_time",
    "id",
    "message",
    "name",
    "response_time",
    "result",
    "sinks",
    "sql",
    "start_time",
    "status",
    "tags",
    "timeColumns",
];

#[derive(Debug, PartialEq)]
pub enum Event {
    Query(Value),
    Rows(Vec<Value>),
    Metrics(Value),
}

pub struct Running {
    pub connection: Connection,
    pub id: String,
    /// As it was when it began.
    pub query: Value,
    body: Incoming,
    unread: BytesMut,
    /// Rows that have come.
    count: u64,
}

impl Running {
    pub async fn of(target: &Target, sql: &str) -> Running {
        Running::over(target, Link::Http1, json!({ "sql": sql })).await
    }

    pub async fn over(target: &Target, link: Link, body: Value) -> Running {
        let begun = Running::try_over(target, link, body).await;
        begun.unwrap_or_else(|answer| panic!("refused: {answer:?}"))
    }

    /// # Errors
    /// The answer, when it is not a stream.
    pub async fn try_over(target: &Target, link: Link, body: Value) -> Result<Running, Answer> {
        let mut connection = Connection::open(target, link).await;
        let call = Call::post(at("/queries"), body.to_string())
            .with("accept", "application/json")
            .with("accept-encoding", "gzip, br, zstd");
        let (head, body) = connection.send(call).await.expect("an answer").into_parts();
        if head.status != 200 {
            let body = body.collect().await.expect("the body ends").to_bytes();
            let body = match &*body {
                b"" => Value::Null,
                body => serde_json::from_slice(body).expect("JSON"),
            };
            return Err(Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body,
            });
        }
        assert_eq!(head.headers["content-type"], "text/event-stream");
        assert_eq!(head.headers["cache-control"], "no-cache");
        for name in ["content-encoding", "content-length"] {
            assert!(!head.headers.contains_key(name), "{head:?}");
        }
        let mut running = Running {
            connection,
            id: String::new(),
            query: Value::Null,
            body,
            unread: BytesMut::new(),
            count: 0,
        };
        let first = running.next().await;
        let Some(Event::Query(query)) = first else {
            panic!("the query comes first: {first:?}");
        };
        query["id"]
            .as_str()
            .expect("an id")
            .clone_into(&mut running.id);
        running.query = query;
        Ok(running)
    }

    /// The next event; nothing at the end of the body.
    pub async fn next(&mut self) -> Option<Event> {
        let next = timeout(PATIENCE, self.read()).await;
        next.unwrap_or_else(|_| panic!("nothing for {PATIENCE:?}"))
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            let end = self.unread.windows(2).position(|w| w == b"\n\n");
            if let Some(end) = end {
                let block = self.unread.split_to(end + 2);
                let block = str::from_utf8(&block[..end]).expect("UTF-8");
                return Some(self.event(block));
            }
            match self.body.frame().await {
                Some(frame) => {
                    let bytes = frame.expect("the body does not break").into_data();
                    self.unread.extend_from_slice(&bytes.expect("no trailers"));
                }
                None => {
                    assert!(self.unread.is_empty(), "{:?}", self.unread);
                    return None;
                }
            }
        }
    }

    fn event(&mut self, block: &str) -> Event {
        let lines: Vec<&str> = block.split('\n').collect();
        assert!(!block.contains('\r'), "{block}");
        let (name, line) = match lines[..] {
            [line] => (None, line),
            [name, line] => (name.strip_prefix("event: "), line),
            _ => panic!("not one line, nor two: {block}"),
        };
        let data = line.strip_prefix("data: ").expect("data, after one space");
        let data: Value = serde_json::from_str(data).expect("JSON");
        match (lines.len(), name) {
            (1, None) => {
                let rows = data.as_array().expect("an array of rows").clone();
                assert!(rows.iter().all(Value::is_array), "rows are arrays: {block}");
                assert!(
                    rows.len() == 1 || line.len() <= LINE,
                    "{} bytes",
                    line.len()
                );
                assert!(!rows.is_empty());
                self.count += rows.len() as u64;
                Event::Rows(rows)
            }
            (2, Some("query")) => {
                check(&data);
                Event::Query(data)
            }
            (2, Some("metrics")) => {
                assert_eq!(data["count"], self.count, "as many as have come");
                Event::Metrics(data)
            }
            _ => panic!("no such event: {block}"),
        }
    }

    /// So many rows, past metrics.
    pub async fn rows(&mut self, count: usize) -> Vec<Value> {
        let mut rows = Vec::new();
        while rows.len() < count {
            match self.next().await {
                Some(Event::Rows(more)) => rows.extend(more),
                Some(Event::Metrics(_)) => {}
                other => panic!("{} rows of {count}, then {other:?}", rows.len()),
            }
        }
        assert_eq!(rows.len(), count, "{rows:?}");
        rows
    }

    pub async fn metrics(&mut self) -> Value {
        loop {
            match self.next().await {
                Some(Event::Metrics(metrics)) => return metrics,
                Some(Event::Rows(_)) => {}
                other => panic!("no metrics, but {other:?}"),
            }
        }
    }

    /// The rows that are left, and the query as it has ended; then the body ends.
    pub async fn rest(&mut self) -> (Vec<Value>, Value) {
        let mut rows = Vec::new();
        loop {
            match self.next().await {
                Some(Event::Rows(more)) => rows.extend(more),
                Some(Event::Metrics(_)) => {}
                Some(Event::Query(query)) => {
                    assert_eq!(query["id"], *self.id);
                    assert_eq!(self.next().await, None);
                    return (rows, query);
                }
                None => panic!("it has not said how it ended"),
            }
        }
    }
}

/// Holds a query to what the strictest model wants.
pub fn check(query: &Value) {
    for member in MEMBERS {
        assert!(!query[member].is_null(), "{member}: {query:#}");
    }
    let times = &query["timeColumns"];
    for member in ["eventTime", "indexTime", "windowStart", "windowEnd"] {
        assert!(times[member].is_i64(), "{member}: {query:#}");
    }
    assert!(query["result"]["header"].is_array(), "{query:#}");
    let has_null = query.to_string().contains(":null");
    assert!(!has_null, "{query:#}");
}
