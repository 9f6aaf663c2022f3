//! What is asked of collections, on any face, and what is answered.

use std::fmt::Write as _;

use bytes::Bytes;
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::{ABOVE, said};
use crate::api::Services;
use crate::event::EventId;
use crate::problem::Problem;
use crate::store::ask::Ask;
use crate::store::name::{Collection, Id};
use crate::store::schema::Schema;
use crate::store::write::{Document, Expected, Op, Write, Written};
use crate::store::{Collections, Limits, Page};

/// A request, without the wire that it came on.
#[derive(Clone, Debug)]
pub struct Asked {
    /// GET, POST, PUT, PATCH or DELETE.
    pub method: Method,
    /// Of what.
    pub place: Place,
    /// As in a URL, without its question mark.
    pub query: String,
    /// The document, the patch, or what else the method takes.
    pub body: Bytes,
    /// What the body is, where there is a choice.
    pub content_type: Option<String>,
    /// As the header says it.
    pub if_match: Option<String>,
    /// As the header says it.
    pub if_none_match: Option<String>,
}

/// What a path stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A collection.
    Collection(Collection),
    /// What its documents must be.
    Schema(Collection),
    /// One of them.
    Document(Collection, Id),
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// As in HTTP.
    pub status: StatusCode,
    /// The document's version, which is its ETag.
    pub version: Option<u64>,
    /// Where what was made is.
    pub location: Option<String>,
    /// In JSON.
    pub body: Option<Bytes>,
    /// The event that tells of the change.
    pub event: Option<EventId>,
}

impl Place {
    /// Reads a path.
    ///
    /// # Errors
    /// 404 for what is none of these, 400 for a name or an id that can be none.
    pub fn parse(path: &str) -> Result<Place, Problem> {
        let unknown = || {
            let detail = format!(
                "there is nothing at {path}; collections are at {ABOVE}NAME, their documents at {ABOVE}NAME/ID"
            );
            Problem::new(StatusCode::NOT_FOUND, "not-found", detail)
        };
        let decode = |text| {
            let text = percent_decode_str(text).decode_utf8();
            text.map_err(|_| Problem::bad_request("path", "the path is not UTF-8"))
        };
        let below = path.strip_prefix(ABOVE).ok_or_else(unknown)?;
        let Some((name, id)) = below.split_once('/') else {
            return Collection::new(&decode(below)?).map(Place::Collection);
        };
        let (collection, id) = (Collection::new(&decode(name)?)?, decode(id)?);
        match &*id {
            "$schema" => Ok(Place::Schema(collection)),
            id => Ok(Place::Document(collection, Id::parse(id)?)),
        }
    }

    fn takes(&self) -> &'static str {
        match self {
            Place::Collection(_) => "GET, HEAD, POST",
            Place::Schema(_) => "GET, HEAD, PUT, DELETE",
            Place::Document(..) => "GET, HEAD, PUT, PATCH, DELETE",
        }
    }
}

impl Asked {
    /// How large its body may be, and the key that says so.
    pub fn largest(&self, limits: &Limits) -> (usize, &'static str) {
        match self.is_bulk() {
            true => (limits.bulk_bytes, "batch-bytes"),
            false => (limits.document_bytes, "document-bytes"),
        }
    }

    /// Whether a list is asked for, whose answer may be large.
    pub fn is_list(&self) -> bool {
        self.method == Method::GET && matches!(self.place, Place::Collection(_))
    }

    fn is_bulk(&self) -> bool {
        self.method == Method::POST && self.essence() == "application/x-ndjson"
    }

    /// The content type without its parameters.
    fn essence(&self) -> String {
        let whole = self.content_type.as_deref().unwrap_or_default();
        let essence = whole.split(';').next().unwrap_or_default();
        essence.trim().to_ascii_lowercase()
    }

    fn expected(&self) -> Result<Expected, Problem> {
        match (&self.if_match, self.if_none_match.as_deref().map(str::trim)) {
            (None, None) => Ok(Expected::Any),
            (Some(tags), None) => said::versions(tags).map(|versions| match versions {
                Some(versions) => Expected::Versions(versions),
                None => Expected::Present,
            }),
            (None, Some("*")) => Ok(Expected::Absent),
            _ => {
                let detail = "a change takes If-Match with etags, or If-None-Match with *";
                Err(Problem::bad_request("if-none-match", detail))
            }
        }
    }

    fn write(self, collection: Collection, id: Option<Id>, op: Op) -> Result<Write, Problem> {
        Ok(Write {
            expected: self.expected()?,
            collection,
            id,
            op,
            line: None,
        })
    }
}

impl Reply {
    fn new(status: StatusCode, body: Option<Bytes>) -> Reply {
        Reply {
            status,
            version: None,
            location: None,
            body,
            event: None,
        }
    }

    fn document(document: Document) -> Reply {
        Reply {
            version: Some(document.version),
            ..Reply::new(StatusCode::OK, Some(document.json))
        }
    }

    fn written(written: Written, collection: &Collection) -> Reply {
        let made = written.made;
        let location = made.then(|| location(collection, &written.id));
        let reply = match written.document {
            Some(document) => Reply::document(document),
            None => Reply::new(StatusCode::NO_CONTENT, None),
        };
        Reply {
            status: if made {
                StatusCode::CREATED
            } else {
                reply.status
            },
            location,
            event: Some(written.event),
            ..reply
        }
    }
}

impl Services {
    /// Answers who is connected already.
    ///
    /// # Errors
    /// What is told of what cannot be done.
    pub async fn answer(&self, asked: Asked) -> Result<Reply, Problem> {
        let (most, key) = asked.largest(self.collections.limits());
        if asked.body.len() > most {
            return Err(Problem::too_large("the body", most as u64, key));
        }
        answer(&self.collections, asked).await
    }
}

/// Answers.
///
/// # Errors
/// What is told of what cannot be done.
pub async fn answer(collections: &Collections, asked: Asked) -> Result<Reply, Problem> {
    let method = asked.method.clone();
    match (method.as_str(), asked.place.clone()) {
        ("GET", Place::Collection(collection)) => list(collections, &collection, &asked).await,
        ("POST", Place::Collection(collection)) if asked.is_bulk() => {
            bulk(collections, &collection, &asked).await
        }
        ("POST", Place::Collection(collection)) => {
            let document = said::object(&asked.body)?;
            let id = document.get("id").map(Id::of).transpose()?;
            write(collections, asked, collection, id, Op::Create(document)).await
        }
        ("GET", Place::Document(collection, id)) => {
            let document = collections.get(&collection, &id).await?;
            let known = asked
                .if_none_match
                .as_deref()
                .map(said::versions)
                .transpose()?;
            let is_known =
                |known: Option<Vec<u64>>| known.is_none_or(|v| v.contains(&document.version));
            if known.is_some_and(is_known) {
                let version = Some(document.version);
                let reply = Reply::new(StatusCode::NOT_MODIFIED, None);
                return Ok(Reply { version, ..reply });
            }
            Ok(Reply::document(document))
        }
        ("PUT", Place::Document(collection, id)) => {
            let document = said::object(&asked.body)?;
            write(
                collections,
                asked,
                collection,
                Some(id),
                Op::Replace(document),
            )
            .await
        }
        ("PATCH", Place::Document(collection, id)) => {
            let op = said::patch(&asked.body, &asked.essence())?;
            write(collections, asked, collection, Some(id), op).await
        }
        ("DELETE", Place::Document(collection, id)) => {
            write(collections, asked, collection, Some(id), Op::Delete).await
        }
        ("GET", Place::Schema(collection)) => {
            let schema = collections.schema(&collection).await?;
            Ok(Reply::new(StatusCode::OK, Some(schema.text().clone())))
        }
        ("PUT", Place::Schema(collection)) => {
            let schema = Schema::read(asked.body, collections.limits())?;
            let text = schema.text().clone();
            let place = format!("{ABOVE}{collection}/$schema");
            let (status, location) = match collections.put_schema(collection, schema.into()).await?
            {
                true => (StatusCode::OK, None),
                false => (StatusCode::CREATED, Some(place)),
            };
            let reply = Reply::new(status, Some(text));
            Ok(Reply { location, ..reply })
        }
        ("DELETE", Place::Schema(collection)) => {
            collections.delete_schema(collection).await?;
            Ok(Reply::new(StatusCode::NO_CONTENT, None))
        }
        (_, place) => Err(Problem::method(HeaderValue::from_static(place.takes()))),
    }
}

async fn write(
    collections: &Collections,
    asked: Asked,
    collection: Collection,
    id: Option<Id>,
    op: Op,
) -> Result<Reply, Problem> {
    let write = asked.write(collection.clone(), id, op)?;
    let written = collections.write(write).await?;
    Ok(Reply::written(written, &collection))
}

async fn list(
    collections: &Collections,
    collection: &Collection,
    asked: &Asked,
) -> Result<Reply, Problem> {
    let pairs = || form_urlencoded::parse(asked.query.as_bytes());
    if pairs().any(|(name, value)| name == "watch" && value != "0") {
        let detail = format!(
            "a stream is a request of its own, GET {ABOVE}{collection}?watch=1; on an open WebSocket, subscribe to the topic {}",
            collection.topic()
        );
        return Err(Problem::bad_request("watch", detail));
    }
    let ask = Ask::parse(pairs(), collections.limits().per_page)?;
    let page = collections.list(collection, &ask).await?;
    Ok(Reply::new(StatusCode::OK, Some(listed(&ask, &page))))
}

/// `{"items":[…],"versions":[…],"page":1,"per_page":50,"total":123,"cursor":"…"}`: with the version of each item, by which
/// a watcher knows what it has already and a writer says what it means to change.
fn listed(ask: &Ask, page: &Page) -> Bytes {
    let mut text = br#"{"items":["#.to_vec();
    for (index, document) in page.documents.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        text.extend_from_slice(&document.json);
    }
    let versions: Vec<String> = (page.documents.iter().map(|d| d.version.to_string())).collect();
    let mut rest = String::new();
    // To a string it cannot fail.
    let _ = write!(
        rest,
        r#"],"versions":[{}],"page":{},"per_page":{},"total":{},"cursor":"{}"}}"#,
        versions.join(","),
        ask.page,
        ask.per_page,
        page.total,
        page.cursor
    );
    text.extend_from_slice(rest.as_bytes());
    text.into()
}

async fn bulk(
    collections: &Collections,
    collection: &Collection,
    asked: &Asked,
) -> Result<Reply, Problem> {
    let most = collections.limits().bulk_documents;
    let mut writes = Vec::new();
    for (index, line) in asked.body.split(|b| *b == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if writes.len() == most {
            let detail =
                format!("a bulk has at most {most} documents (batch-events); send several");
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-many-documents",
                detail,
            ));
        }
        let line_number = Some(index + 1);
        let read = said::object(line).and_then(|document| {
            let id = document.get("id").map(Id::of).transpose()?;
            Ok((id, Op::Create(document)))
        });
        let (id, op) = read.map_err(|problem| problem.of_line(line_number))?;
        writes.push(Write {
            collection: collection.clone(),
            id,
            op,
            expected: Expected::Any,
            line: line_number,
        });
    }
    let written = collections.bulk(writes).await?;
    let [first, .., last] = &*written else {
        let only = written.first().map(|only| only.event);
        let only =
            only.ok_or_else(|| Problem::bad_request("empty", "there is no document in the body"))?;
        return Ok(bulk_reply(1, only, only));
    };
    Ok(bulk_reply(written.len(), first.event, last.event))
}

fn bulk_reply(count: usize, first: EventId, last: EventId) -> Reply {
    let body = format!(r#"{{"count":{count},"first":"{first}","last":"{last}"}}"#);
    let reply = Reply::new(StatusCode::CREATED, Some(body.into()));
    Reply {
        event: Some(last),
        ..reply
    }
}

/// Where a document is.
fn location(collection: &Collection, id: &Id) -> String {
    /// What would not stay as it is in the segment of a path.
    const SEGMENT: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'#')
        .add(b'%')
        .add(b'<')
        .add(b'>')
        .add(b'?')
        .add(b'[')
        .add(b'\\')
        .add(b']')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}');
    let id = id.to_string();
    format!("{ABOVE}{collection}/{}", utf8_percent_encode(&id, SEGMENT))
}
