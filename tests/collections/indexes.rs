//! Indexes change how long a list takes, and nothing of what is in it.

use serde_json::{Value, json};

use crate::shelf::Shelf;
use crate::support::server::{Server, new_dir};

fn fields(data: &std::path::Path) -> Vec<String> {
    let file = rusqlite::Connection::open(data.join("collections.sqlite")).expect("a database");
    let mut select = file
        .prepare("select field from indexes order by number")
        .expect("a query");
    let fields = select.query_map([], |row| row.get(0)).expect("rows");
    fields.collect::<Result<_, _>>().expect("texts")
}

#[tokio::test]
async fn lists_are_the_same_with_indexes_and_without() {
    let data = new_dir();
    let with = Server::start(&[&format!("--data={}", data.display())]);
    let without = Server::start(&["--collection-indexes=0"]);
    let values = [
        "1",
        "\"1\"",
        "true",
        "false",
        "null",
        "0",
        "2.5",
        "\"a\"",
        "\"A\"",
        "[1]",
        "{\"k\":1}",
        "\"[1]\"",
        "-7",
        "\"é\"",
    ];
    let lines: String = (0..1400)
        .map(|n| {
            format!(
                "{{\"v\":{},\"w\":{{\"x\":{}}},\"n\":{n}}}\n",
                values[n % values.len()],
                n / 7 % 5
            )
        })
        .collect();
    let mut shelves = [
        Shelf::of(&with, "same").await,
        Shelf::of(&without, "same").await,
    ];
    for shelf in &mut shelves {
        assert_eq!(shelf.bulk(&lines).await.status, 201);
    }
    for query in [
        "sort=v",
        "sort=-v",
        "sort=v,-n",
        "sort=w.x,v",
        "filter[v]=1",
        "filter[v]=0",
        "filter[v]=true&sort=-n",
        "filter[v]=null&sort=n",
        "filter[v][ne]=1",
        "filter[v][in]=1,a,null",
        "filter[v][in]=0,true,2.5",
        "filter[v][gt]=0",
        "filter[v][lte]=1",
        "filter[v][gte]=%22A%22",
        "filter[v]=[1]",
        "filter[w.x]=3&filter[n][lt]=700&sort=-n",
        "filter[w.x][gte]=2&sort=w.x",
        "filter[v][gte]=%22[%22",
        "filter[v][lt]=%22{%22&sort=-v",
    ] {
        // The last of these is far behind.
        for (page, per_page) in [(1, 1000), (2, 1000), (12, 100)] {
            let query = format!("{query}&page={page}&per_page={per_page}");
            let mut found = Vec::new();
            for shelf in &mut shelves {
                let answer = shelf.list(&query).await;
                assert_eq!(answer.status, 200, "{query}: {answer:?}");
                found.push((answer.body["items"].clone(), answer.body["total"].clone()));
            }
            assert_eq!(found[0], found[1], "{query}");
        }
    }
    let [shelf, _] = &mut shelves;
    let whole = shelf.ids("sort=-v&per_page=1000").await;
    let mut parts = Vec::new();
    for page in 1..=14 {
        parts.extend(
            shelf
                .ids(&format!("sort=-v&per_page=100&page={page}"))
                .await,
        );
    }
    assert_eq!((&parts[..1000], parts.len()), (&*whole, 1400));
    assert_eq!(fields(&data), ["v", "n", "w.x"]);
    let [mut shelf, _] = shelves;
    shelf.put(1, &json!({"v": "moved"})).await;
    assert_eq!(shelf.ids("filter[v]=moved").await, [json!(1)]);
    drop(with);
    std::fs::remove_dir_all(data).expect("it can be removed");
}

#[tokio::test]
async fn there_are_so_many_and_the_one_that_is_not_used_goes() {
    let data = new_dir();
    let flag = format!("--data={}", data.display());
    let server = Server::start(&[&flag, "--collection-indexes=2"]);
    let mut shelf = Shelf::of(&server, "few").await;
    let lines: String = (0..1000)
        .map(|n| format!("{{\"a\":{n},\"b\":{n},\"c\":{n}}}\n"))
        .collect();
    assert_eq!(shelf.ids("filter[early]=1").await, Vec::<Value>::new());
    shelf.bulk(&lines).await;
    for field in ["a", "b", "c"] {
        assert_eq!(shelf.ids(&format!("filter[{field}]=7")).await, [json!(8)]);
    }
    assert_eq!(fields(&data), ["a", "b"]);
    for _ in 0..120 {
        shelf.ids("filter[b]=7").await;
    }
    assert_eq!(shelf.ids("filter[c]=7").await, [json!(8)]);
    assert_eq!(fields(&data), ["b", "c"]);
    // They are there after a restart.
    let server = Server::start_in(server.kill(), &[&flag, "--collection-indexes=2"]);
    let mut shelf = Shelf::of(&server, "few").await;
    assert_eq!(shelf.ids("filter[c]=7&filter[b]=7").await, [json!(8)]);
    assert_eq!(fields(&data), ["b", "c"]);
    drop(server);
    std::fs::remove_dir_all(data).expect("it can be removed");
}
