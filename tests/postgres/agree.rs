//! Lists are the same as those of the embedded store: every order and every filter on values of every kind.

use serde_json::Value;

use super::database::Database;
use super::rest::{Rest, post};
use crate::support::client::link::Call;
use crate::support::raw::until;
use crate::support::server::Server;

/// What a field can hold.
const VALUES: [&str; 24] = [
    "null",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "1.0",
    "1.5",
    "2",
    "10",
    "1e3",
    "9007199254740993",
    "\"\"",
    "\"0\"",
    "\"1\"",
    "\"true\"",
    "\"null\"",
    "\"a\"",
    "\"B\"",
    "\"ä\"",
    "\"a b\"",
    "\"aa\"",
    "\"ab\\\"c\"",
    "\"zz\"",
];

/// What can be asked of it.
const ASKED: [&str; 19] = [
    "null",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "1.0",
    "1.5",
    "1e3",
    "9007199254740993",
    "",
    "a",
    "B",
    "ä",
    "zz",
    "\"1\"",
    "\"true\"",
    "\"null\"",
    "'; drop table x",
];

fn documents() -> String {
    let mut lines =
        String::from("{\"other\": 1}\n{\"id\": \"text\", \"v\": \"a\"}\n{\"id\": -3, \"v\": 2}\n");
    for (n, value) in VALUES.iter().enumerate() {
        lines += &format!(
            "{{\"v\": {value}, \"in\": {{\"v\": {value}}}, \"n\": {}}}\n",
            n % 5
        );
    }
    lines
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn questions() -> Vec<String> {
    let mut all: Vec<String> = [
        "",
        "?sort=v",
        "?sort=-v",
        "?sort=n,-v",
        "?sort=-n,v",
        "?sort=in.v",
        "?sort=-id",
        "?sort=none",
    ]
    .map(str::to_owned)
    .into();
    all.push("?per_page=4&page=3&sort=-v".into());
    for field in ["v", "in.v"] {
        for operator in ["eq", "ne", "lt", "lte", "gt", "gte"] {
            for asked in ASKED {
                all.push(format!("?filter[{field}][{operator}]={}", encoded(asked)));
            }
        }
    }
    all.push("?filter[v][in]=1,a,true,null".into());
    all.push("?filter[id]=1&sort=-v".into());
    all.push("?filter[id]=1.0".into());
    all.push("?filter[id]=%221%22".into());
    all.push("?filter[id]=text".into());
    all.push("?filter[id]=%22text%22".into());
    all.push("?filter[id][ne]=1&sort=-id&per_page=2".into());
    all.push("?filter[id][gt]=5".into());
    all.push("?filter[id][in]=text,2,-3".into());
    all.push("?filter[n]=1&filter[v][gte]=1&sort=-v".into());
    all.into_iter()
        .map(|query| query.replace('[', "%5B").replace(']', "%5D"))
        .collect()
}

/// What a list says, without where in the log it was taken.
async fn list(client: &mut Rest, query: &str) -> (Value, Vec<Value>) {
    let mut answer = client.get(&format!("items{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    let items = answer.body["items"].take();
    let ids = items
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| item["id"].clone());
    (answer.body["total"].clone(), ids.collect())
}

#[tokio::test]
async fn lists_are_those_of_the_embedded_store() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let (embedded, postgres) = (Server::start(&[]), database.server(&[]));
    let mut clients = [Rest::of(&embedded).await, Rest::of(&postgres).await];
    for client in &mut clients {
        let bulk = Call {
            headers: Vec::new(),
            ..post("items", &documents())
        };
        let made = client
            .0
            .call(bulk.with("content-type", "application/x-ndjson"))
            .await;
        assert_eq!(made.status, 201, "{made:?}");
    }
    for query in questions() {
        let [one, other] = &mut clients;
        let (one, other) = (list(one, &query).await, list(other, &query).await);
        assert_eq!(one, other, "{query}");
    }
}

#[tokio::test]
async fn an_index_is_made_for_what_lists_name() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let server = database.server(&["--collection-indexes", "1"]);
    let mut client = Rest::of(&server).await;
    database.sql(
        "insert into triwire.documents (collection, id, document)
            select 'items', n::text, jsonb_build_object('v', n % 100, 'in', jsonb_build_object('v', n)) from generate_series(1, 3000) n;
        analyze triwire.documents",
    );
    let indexes = || {
        database.sql("select string_agg(obj_description(indexrelid), ' ') from pg_index where indrelid = 'triwire.documents'::regclass and indisvalid and indpred is not null")
    };
    let (first, second) = ("?sort=-in.v&per_page=3", "?filter%5Bv%5D=7&per_page=3");
    let before = [
        list(&mut client, first).await,
        list(&mut client, second).await,
    ];
    until("there is an index", || indexes() == "items: in.v");
    // The first has been silent for long.
    let mut client = Rest::of(&server).await;
    let again = [
        list(&mut client, first).await,
        list(&mut client, second).await,
    ];
    assert_eq!(before, again);
    // A value of any length has a place in it.
    let long = "x".repeat(100_000);
    let put = client
        .put("items/long", &format!(r#"{{"in": {{"v": "{long}"}}}}"#))
        .await;
    assert_eq!(put.status, 201, "{put:?}");
    assert_eq!(
        list(&mut client, "?sort=-in.v&per_page=1").await.1,
        ["long"]
    );
    // Postgres counts late: nothing is asked over a connection that was silent meanwhile.
    let used = "select sum(idx_scan) > 0 from pg_stat_user_indexes where indexrelname like 'list%'";
    until("it is used", || database.sql(used) == "t");
    assert_eq!(indexes(), "items: in.v", "there may be one");
}
