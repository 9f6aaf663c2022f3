//! Lists: pages, orders, filters, and how many there are.

use serde_json::{Value, json};

use crate::shelf::{Shelf, cursor, event};
use crate::support::server::Server;

pub async fn hold(server: &Server) {
    pages_make_up_the_whole(&mut Shelf::of(server, "lists_pages").await).await;
    orders_are_by_fields_and_then_by_ids(&mut Shelf::of(server, "lists_orders").await).await;
    filters_choose(&mut Shelf::of(server, "lists_filters").await).await;
    what_is_malformed_is_refused(&mut Shelf::of(server, "lists_bad").await).await;
}

async fn pages_make_up_the_whole(shelf: &mut Shelf) {
    let lines: String = (1..=120).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let made = shelf.bulk(&lines).await;
    assert_eq!(made.status, 201, "{made:?}");
    let first = shelf.list("").await;
    let body = &first.body;
    let said = (&body["page"], &body["per_page"], &body["total"]);
    assert_eq!(said, (&json!(1), &json!(50), &json!(120)));
    // What is listed is not told after it; ids of a relay's order have some in between.
    assert!(cursor(&first) >= event(&made));
    let mut all = Vec::new();
    for page in 1..=3 {
        all.extend(shelf.ids(&format!("page={page}&per_page=50")).await);
    }
    let expected: Vec<Value> = (1..=120).map(Value::from).collect();
    assert_eq!(all, expected);
    assert_eq!(shelf.ids("page=4").await, Vec::<Value>::new());
    assert_eq!(shelf.ids("page=12&per_page=10").await.len(), 10);
    assert_eq!(shelf.ids("per_page=1000").await, expected);
    assert_eq!(shelf.ids("page=9000000000000000").await.len(), 0);
    shelf.delete(1).await;
    assert_eq!(shelf.list("").await.body["total"], 119);
}

async fn orders_are_by_fields_and_then_by_ids(shelf: &mut Shelf) {
    for document in [
        json!({"id": 1, "k": "b", "n": 2, "in": {"k": 1}}),
        json!({"id": 2, "k": "a", "n": 10, "in": {"k": 3}}),
        json!({"id": 3, "k": "b", "n": 1.5, "in": {"k": 2}}),
        json!({"id": "x", "k": "a", "n": "2"}),
        json!({"id": 10, "k": "é", "n": null}),
        json!({"id": -1, "k": "B", "n": true}),
    ] {
        assert_eq!(shelf.post(&document).await.status, 201);
    }
    for (query, expected) in [
        ("", json!([-1, 1, 2, 3, 10, "x"])),
        ("sort=id", json!([-1, 1, 2, 3, 10, "x"])),
        ("sort=-id", json!(["x", 10, 3, 2, 1, -1])),
        ("sort=k", json!([-1, 2, "x", 1, 3, 10])),
        ("sort=-k", json!([10, 3, 1, "x", 2, -1])),
        ("sort=k,-id", json!([-1, "x", 2, 3, 1, 10])),
        ("sort=k,-n", json!([-1, "x", 2, 1, 3, 10])),
        // What is not there, then numbers with truth among them, then texts.
        ("sort=n", json!([10, -1, 3, 1, 2, "x"])),
        ("sort=in.k&filter[in.k][ne]=null", json!([1, 3, 2])),
        ("sort=-in.k&filter[in.k][ne]=null&per_page=2", json!([2, 3])),
    ] {
        assert_eq!(Value::from(shelf.ids(query).await), expected, "{query}");
    }
}

async fn filters_choose(shelf: &mut Shelf) {
    for document in [
        json!({"id": 1, "v": 1, "s": "x"}),
        json!({"id": 2, "v": 2.0, "s": "X"}),
        json!({"id": 3, "v": "1", "s": "x,y"}),
        json!({"id": 4, "v": true, "s": "it's; drop table c1; --"}),
        json!({"id": 5, "v": "true", "s": "%"}),
        json!({"id": 6, "v": null, "s": "_"}),
        json!({"id": 7, "s": "\"q\""}),
        json!({"id": 8, "v": [1], "s": ""}),
        json!({"id": 9, "v": {"w": 1}, "s": "é"}),
        json!({"id": 10, "v": "[1]", "s": "null"}),
        json!({"id": 11, "v": false, "s": "a\\b"}),
        json!({"id": 12, "v": 0, "s": "0"}),
    ] {
        assert_eq!(shelf.post(&document).await.status, 201);
    }
    for (query, expected) in [
        ("filter[v]=1", json!([1, 3])),
        ("filter[v]=1.0", json!([1])),
        ("filter[v]=2", json!([2])),
        ("filter[v]=%221%22", json!([3])),
        ("filter[v]=true", json!([4, 5])),
        ("filter[v]=%22true%22", json!([5])),
        ("filter[v]=false", json!([11])),
        ("filter[v]=0", json!([12])),
        ("filter[v]=null", json!([6, 7])),
        ("filter[v]=[1]", json!([10])),
        ("filter[v.w]=1", json!([9])),
        ("filter[v][ne]=1", json!([2, 4, 5, 6, 7, 8, 9, 10, 11, 12])),
        (
            "filter[v][ne]=null",
            json!([1, 2, 3, 4, 5, 8, 9, 10, 11, 12]),
        ),
        ("filter[v][in]=1,2,null", json!([1, 2, 3, 6, 7])),
        ("filter[v][in]=true,%22[1]%22", json!([4, 5, 10])),
        ("filter[v][gt]=0", json!([1, 2])),
        ("filter[v][gte]=0", json!([1, 2, 12])),
        ("filter[v][lt]=2", json!([1, 12])),
        ("filter[v][lte]=2", json!([1, 2, 12])),
        ("filter[v][gt]=%221%22", json!([5, 10])),
        ("filter[v][lt]=b", json!([3, 10])),
        ("filter[s]=x", json!([1])),
        ("filter[s][in]=x,X", json!([1, 2])),
        ("filter[s][in]=%22x,y%22,x", json!([1, 3])),
        ("filter[s]=it's;%20drop%20table%20c1;%20--", json!([4])),
        ("filter[s]=%25", json!([5])),
        ("filter[s]=_", json!([6])),
        ("filter[s]=%22%5C%22q%5C%22%22", json!([7])),
        ("filter[s]=", json!([8])),
        ("filter[s]=%C3%A9", json!([9])),
        ("filter[s]=null", json!([10])),
        ("filter[s]=a%5Cb", json!([11])),
        ("filter[s][gte]=x", json!([1, 3, 9])),
        ("filter[id]=3", json!([3])),
        ("filter[id][in]=1,2,%22x%22", json!([1, 2])),
        ("filter[id][gt]=10", json!([11, 12])),
        ("filter[id][ne]=1&filter[id][lt]=4", json!([2, 3])),
        ("filter[v]=1&filter[s]=x", json!([1])),
        ("filter[none]=1", json!([])),
        (
            "filter[v][lt]=zzz&sort=-id&per_page=2&page=1",
            json!([10, 5]),
        ),
    ] {
        let found = shelf.list(query).await;
        assert_eq!(found.status, 200, "{query}: {found:?}");
        let ids: Vec<Value> = found.body["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|item| item["id"].clone())
            .collect();
        assert_eq!(Value::from(ids.clone()), expected, "{query}");
        if !query.contains("per_page") {
            assert_eq!(found.body["total"], ids.len(), "{query}");
        }
    }
}

async fn what_is_malformed_is_refused(shelf: &mut Shelf) {
    shelf.post(&json!({"n": 1})).await;
    for query in [
        "page=0",
        "page=-1",
        "page=x",
        "page=",
        "page=1.5",
        "page=99999999999999999999",
        "page=18446744073709551615",
        "per_page=0",
        "per_page=1001",
        "per_page=1e2",
        "sort=",
        "sort=a,,b",
        "sort=--a",
        "sort=a%20desc",
        "sort=a;drop%20table%20documents",
        "sort=json_extract(json,'$.a')",
        "sort=1",
        "sort=a.",
        "filter=1",
        "filter[]=1",
        "filter[a'b]=1",
        "filter[a%22b]=1",
        "filter[a)%20or%201=1%20--]=1",
        "filter[n][like]=1",
        "filter[n][gt][x]=1",
        "filter[n]=%22",
        "watch=2",
    ] {
        let answer = shelf.list(query).await;
        assert_eq!(answer.status, 400, "{query}: {answer:?}");
        assert!(answer.body["detail"].is_string(), "{query}");
    }
    let many = vec!["filter[n]=1"; 17].join("&");
    assert_eq!(shelf.list(&many).await.status, 400);
    let long = format!("filter[n]={}", "x".repeat(1025));
    assert_eq!(shelf.list(&long).await.status, 400);
    assert_eq!(shelf.ids("unknown=1&_=2").await, [json!(1)]);
}
