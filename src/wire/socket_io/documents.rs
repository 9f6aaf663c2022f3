//! Requests for documents: from the arguments of an event to what REST would ask, and from its answer to the arguments
//! of the acknowledgement.

pub(super) mod list;

use std::borrow::Cow;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use self::list::List;
use super::call::refused;
use super::session::{Said, raw};
use crate::api::collections::ABOVE;
use crate::api::collections::answer::{Asked, Place, Reply};
use crate::problem::Problem;

/// Bodies as their types are called.
const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";

/// What an event asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Get,
    List,
    Post,
    Put,
    Patch,
    Delete,
}

/// A request, and what its acknowledgement shall say.
pub(super) struct Wanted {
    pub(super) asked: Asked,
    kind: Kind,
    /// Whether who reads a document wants to know its version too.
    meta: bool,
}

/// Arguments that were understood.
struct Read<'a> {
    path: String,
    query: String,
    body: Option<&'a RawValue>,
    options: Options,
}

/// What may stand after the other arguments.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Options {
    if_match: Option<Tag>,
    meta: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Tag {
    Version(u64),
    Text(String),
}

/// What is told of a document beside itself.
#[derive(Serialize)]
struct Meta {
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
}

impl Kind {
    /// What an event of this name asks for.
    pub(super) fn named(name: &str) -> Option<Kind> {
        match name {
            "GET" => Some(Kind::Get),
            "LIST" => Some(Kind::List),
            "POST" => Some(Kind::Post),
            "PUT" => Some(Kind::Put),
            "PATCH" => Some(Kind::Patch),
            "DELETE" => Some(Kind::Delete),
            _ => None,
        }
    }

    /// The arguments, for who gave others.
    fn usage(self) -> &'static str {
        match self {
            Kind::Get => "GET takes (collection, id[, {meta}])",
            Kind::List => "LIST takes (collection[, {page, per_page, sort, filters}])",
            Kind::Post => "POST takes (collection, document)",
            Kind::Put => {
                "PUT takes (collection, id, document[, {ifMatch}]) or (collection, document with id[, {ifMatch}])"
            }
            Kind::Patch => {
                "PATCH takes (collection, id, patch[, {ifMatch}]), its patch an object (RFC 7396) or a list (RFC 6902), or (collection, part of a document with id[, {ifMatch}])"
            }
            Kind::Delete => "DELETE takes (collection, id[, {ifMatch}])",
        }
    }

    fn method(self) -> Method {
        match self {
            Kind::Get | Kind::List => Method::GET,
            Kind::Post => Method::POST,
            Kind::Put => Method::PUT,
            Kind::Patch => Method::PATCH,
            Kind::Delete => Method::DELETE,
        }
    }

    /// Reads the arguments.
    ///
    /// # Errors
    /// 400 with what would be right. What documents, patches and ids may be is not looked at here.
    pub(super) fn understand(self, args: &[&RawValue]) -> Result<Wanted, Problem> {
        let read = self.read(args).map_err(|what| {
            let usage = self.usage();
            Problem::bad_request("arguments", format!("{what}: {usage}"))
        });
        let Read {
            path,
            query,
            body,
            options,
        } = read?;
        Ok(Wanted {
            asked: Asked {
                method: self.method(),
                place: Place::parse(&path)?,
                query,
                content_type: body.map(|body| self.content_type(body).to_owned()),
                body: Bytes::copy_from_slice(body.map_or("", RawValue::get).as_bytes()),
                if_match: options.if_match.map(Tag::into_header),
                if_none_match: None,
            },
            kind: self,
            meta: options.meta,
        })
    }

    fn read<'a>(self, args: &[&'a RawValue]) -> Result<Read<'a>, Cow<'static, str>> {
        let mut args = args.iter().copied();
        let collection: String = read(args.next(), "the collection is a text")?;
        let mut path = format!("{ABOVE}{}", segment(&collection));
        let (mut query, mut body) = (String::new(), None);
        match self {
            Kind::List => {
                if let Some(list) = args.next() {
                    query =
                        read::<List>(Some(list), "what is asked of the list is an object")?.query();
                }
            }
            Kind::Post => body = Some(given(args.next(), "there is no document")?),
            Kind::Get | Kind::Delete => path.push_str(&id(args.next())?),
            Kind::Put | Kind::Patch => {
                let first = given(args.next(), "there is no id")?;
                if is_object(first) {
                    path.push_str(&id_within(first)?);
                    body = Some(first);
                } else {
                    path.push_str(&id(Some(first))?);
                    body = Some(given(args.next(), "there is no document")?);
                }
            }
        }
        let options: Options = match args.next() {
            Some(options) => read(Some(options), "the last argument is no object of options")?,
            None => Options::default(),
        };
        if args.next().is_some() {
            return Err("these are too many arguments".into());
        }
        Ok(Read {
            path,
            query,
            body,
            options,
        })
    }

    fn content_type(self, body: &RawValue) -> &'static str {
        match self {
            Kind::Patch if is_object(body) => MERGE_PATCH,
            Kind::Patch => JSON_PATCH,
            _ => JSON,
        }
    }
}

impl Wanted {
    pub(super) fn is_list(&self) -> bool {
        self.kind == Kind::List
    }

    /// What the client is told of the outcome.
    pub(super) fn said(&self, outcome: Result<Reply, Problem>) -> Said {
        let reply = match outcome {
            Ok(reply) => reply,
            Err(problem)
                if problem.status == StatusCode::NOT_FOUND && problem.kind == "no-document" =>
            {
                return match self.kind {
                    Kind::Get => Said::Nothing,
                    Kind::Delete => Said::One(raw(&false)),
                    _ => refused(&problem),
                };
            }
            Err(problem) => return refused(&problem),
        };
        let meta = raw(&Meta {
            event: reply.event.map(|id| id.to_string()),
            version: reply.version,
            etag: reply.version.map(|version| format!("\"{version}\"")),
        });
        let body = reply.body.as_deref().unwrap_or(b"null");
        match self.kind {
            Kind::List => of_list(body),
            Kind::Delete => Said::Two(raw(&true), meta),
            Kind::Get if !self.meta => one(body),
            _ => match one(body) {
                Said::One(document) => Said::Two(document, meta),
                said => said,
            },
        }
    }
}

fn one(body: &[u8]) -> Said {
    match serde_json::from_slice::<&RawValue>(body) {
        Ok(document) => Said::One(document.to_owned()),
        Err(_) => Said::Nothing,
    }
}

/// The documents alone, as front ends want them, and then what is told of them.
fn of_list(body: &[u8]) -> Said {
    #[derive(Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        items: &'a RawValue,
        #[serde(flatten)]
        rest: Map<String, Value>,
    }
    match serde_json::from_slice::<Page>(body) {
        Ok(page) => Said::Two(page.items.to_owned(), raw(&page.rest)),
        Err(_) => Said::Nothing,
    }
}

impl Tag {
    /// As a header has it: a version may also be written without quotes.
    fn into_header(self) -> String {
        match self {
            Tag::Version(version) => format!("\"{version}\""),
            Tag::Text(text) => text,
        }
    }
}

/// The id as the end of a path.
fn id(given: Option<&RawValue>) -> Result<String, Cow<'static, str>> {
    let id: Value = read(given, "there is no id")?;
    match id {
        Value::Number(number) => Ok(format!("/{number}")),
        Value::String(text) if !text.is_empty() => Ok(format!("/{}", segment(&text))),
        _ => Err("an id is a number or a text".into()),
    }
}

/// The id of a document that says itself which it is.
fn id_within(document: &RawValue) -> Result<String, Cow<'static, str>> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        id: Option<&'a RawValue>,
    }
    let Named { id: given } = read(Some(document), "the document is not what is taken here")?;
    match given {
        Some(given) => id(Some(given)),
        None => Err("the document has no id".into()),
    }
}

fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

fn given<'a>(
    argument: Option<&'a RawValue>,
    missing: &'static str,
) -> Result<&'a RawValue, Cow<'static, str>> {
    argument
        .filter(|argument| argument.get() != "null")
        .ok_or(Cow::Borrowed(missing))
}

fn read<'a, T: Deserialize<'a>>(
    argument: Option<&'a RawValue>,
    otherwise: &'static str,
) -> Result<T, Cow<'static, str>> {
    let argument = argument.ok_or(Cow::Borrowed(otherwise))?;
    serde_json::from_str(argument.get()).map_err(|error| format!("{otherwise} ({error})").into())
}

fn segment(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &str, args: &str) -> Result<Wanted, Problem> {
        let args: Vec<&RawValue> = serde_json::from_str(args).expect("an array");
        Kind::named(name).expect("an event").understand(&args)
    }

    #[test]
    fn arguments() {
        let table = [
            ("GET", r#"["items",1]"#, "GET items 1"),
            ("GET", r#"["items",-1,{"meta":true}]"#, "GET items -1"),
            ("GET", r#"["items","a b%2Fü"]"#, "GET items a b%2Fü"),
            ("GET", r#"["items","$schema"]"#, "GET items $schema"),
            ("LIST", r#"["items"]"#, "GET items"),
            (
                "LIST",
                r#"["items",{"page":2,"per_page":10,"sort":"-created,name","filters":{"name":"x&y"}}]"#,
                "GET items ?filter%5Bname%5D=x%26y&page=2&per_page=10&sort=-created%2Cname",
            ),
            (
                "LIST",
                r#"["items",{"perPage":10,"sort":["-a","b"],"filter":{"n":{"gte":1.5,"lt":9},"s":["a","b,c",null],"q":"\"x\"","t":true}}]"#,
                "GET items ?filter%5Bn%5D%5Bgte%5D=1.5&filter%5Bn%5D%5Blt%5D=9&filter%5Bs%5D%5Bin%5D=a%2C%22b%2Cc%22%2Cnull&filter%5Bq%5D=%22%5C%22x%5C%22%22&filter%5Bt%5D=true&per_page=10&sort=-a%2Cb",
            ),
            (
                "POST",
                r#"["items",{"a":1}]"#,
                r#"POST items application/json {"a":1}"#,
            ),
            (
                "PUT",
                r#"["items",1,{"a":1},{"ifMatch":3}]"#,
                r#"PUT items 1 application/json {"a":1} "3""#,
            ),
            (
                "PUT",
                r#"["items",{"id":"x","a":1},{"ifMatch":"\"3\""}]"#,
                r#"PUT items x application/json {"id":"x","a":1} "3""#,
            ),
            (
                "PATCH",
                r#"["items",1,{"a":null}]"#,
                r#"PATCH items 1 application/merge-patch+json {"a":null}"#,
            ),
            (
                "PATCH",
                r#"["items",{"id":1,"a":2}]"#,
                r#"PATCH items 1 application/merge-patch+json {"id":1,"a":2}"#,
            ),
            (
                "PATCH",
                r#"["items","1",[{"op":"remove","path":"/a"}]]"#,
                r#"PATCH items 1 application/json-patch+json [{"op":"remove","path":"/a"}]"#,
            ),
            ("DELETE", r#"["items",1]"#, "DELETE items 1"),
        ];
        for (name, args, expected) in table {
            let wanted = asked(name, args);
            let Asked {
                method,
                place,
                query,
                body,
                content_type,
                if_match,
                ..
            } = wanted
                .unwrap_or_else(|problem| panic!("{args}: {problem}"))
                .asked;
            let mut written = match place {
                Place::Collection(collection) => format!("{method} {collection}"),
                Place::Schema(collection) => format!("{method} {collection} $schema"),
                Place::Document(collection, id) => format!("{method} {collection} {id}"),
            };
            if !query.is_empty() {
                written += &format!(" ?{query}");
            }
            let body = String::from_utf8(body.to_vec())
                .ok()
                .filter(|b| !b.is_empty());
            for part in [content_type, body, if_match].into_iter().flatten() {
                written += &format!(" {part}");
            }
            assert_eq!(written, expected, "{name} {args}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_what_would_be_right() {
        let table = [
            ("GET", "[]"),
            ("GET", r#"["items"]"#),
            ("GET", r#"["items",null]"#),
            ("GET", r#"["items",true]"#),
            ("GET", r#"["items",""]"#),
            ("GET", r#"["items",[1]]"#),
            ("GET", r#"["items",{"id":1}]"#),
            ("GET", r#"[1,"items"]"#),
            ("GET", r#"["items",1,2]"#),
            ("GET", r#"["items",1,{"wait":true}]"#),
            ("GET", r#"["items",1,{},{}]"#),
            ("LIST", r#"["items",1]"#),
            ("LIST", r#"["items",{"pages":1}]"#),
            ("LIST", r#"["items",{"page":-1}]"#),
            ("LIST", r#"["items",{"filters":["a"]}]"#),
            ("POST", r#"["items"]"#),
            ("POST", r#"["items",null]"#),
            ("PUT", r#"["items",1]"#),
            ("PUT", r#"["items",{"a":1}]"#),
            ("PATCH", r#"["items",[{"op":"remove","path":"/a"}]]"#),
            ("PATCH", r#"["items",{"id":{},"a":1}]"#),
            ("DELETE", r#"["items"]"#),
            ("DELETE", r#"["items",1,{"ifMatch":-1}]"#),
        ];
        for (name, args) in table {
            let problem = asked(name, args).err();
            let problem = problem.unwrap_or_else(|| panic!("{name} {args} is taken"));
            assert_eq!(problem.status, StatusCode::BAD_REQUEST);
            assert!(
                problem
                    .detail
                    .contains(&format!("{name} takes (collection")),
                "{problem}"
            );
        }
    }
}
