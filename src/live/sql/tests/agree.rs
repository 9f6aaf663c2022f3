//! The three ways of keeping a query fresh agree: on random rows, what groups are put together from parts by plain Rust,
//! and what is yielded of rows batch by batch, is what SQLite says of the query as it was written.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rusqlite::types::Value;
use rusqlite::{Connection, Row};

use super::*;
use crate::live::sandbox::moments::Moments;

/// The time of the evaluation.
const NOW: i64 = 100_000;

type Reading = (Option<&'static str>, Option<i64>, Option<f64>, i64);

/// A group's keys, and the arguments of its rows in two parts.
type Group = (Vec<Value>, [Vec<Vec<Value>>; 2]);

fn reading() -> impl Strategy<Value = Reading> {
    (
        prop::option::of(prop::sample::select(vec!["a", "b", "B", ""])),
        prop::option::of(-3_i64..4),
        prop::option::of((-8_i32..9).prop_map(|n| f64::from(n) / 4.0)),
        NOW - 20_000..NOW + 1,
    )
}

/// Queries of rows.
fn of_rows() -> impl Strategy<Value = String> {
    let from = prop::sample::select(vec![
        "readings",
        "readings as r",
        "tumble(readings, interval 5 second)",
        "hop(readings, interval '2' second, interval 6 second)",
    ]);
    let items = prop::sample::select(vec![
        "*",
        "k, v",
        "v + x as y, _tp_time",
        "upper(k) u, case when v > 0 then 'more' else 'less' end",
        "coalesce(v, x, 0), k is null",
    ]);
    (items, from, condition())
        .prop_map(|(items, from, condition)| format!("select {items} from {from}{condition}"))
}

fn condition() -> impl Strategy<Value = String> {
    let terms = vec![
        "v > 0",
        "x <= 0.5 or k = 'a'",
        "k is not null",
        "not (v = 1 or v = 2)",
        "k like 'b%'",
        "v in (1, 2, 3)",
        "v between -1 and 1",
        "v % 2 = 0 and x is distinct from v",
    ];
    prop::collection::vec(prop::sample::select(terms), 0..3).prop_map(|terms| {
        let terms: Vec<String> = terms.into_iter().map(|t| format!("({t})")).collect();
        match terms.as_slice() {
            [] => String::new(),
            terms => format!(" where {}", terms.join(" and ")),
        }
    })
}

/// Queries of groups. The order is by all columns, so that there is one.
fn of_groups() -> impl Strategy<Value = String> {
    let keys = prop::sample::select(vec![
        ("", "readings"),
        ("k", "readings"),
        ("k, v", "readings"),
        ("lower(k)", "readings r"),
        ("v > 0", "readings"),
        ("window_start", "tumble(readings, interval 5 second)"),
        (
            "k, window_end",
            "hop(readings, interval 2 second, interval 6 second)",
        ),
    ]);
    let aggregates = vec![
        "count(*)",
        "count(v)",
        "count(distinct k)",
        "count(*) filter (where v > 0)",
        "sum(v)",
        "total(v)",
        "avg(v)",
        "min(v)",
        "max(k)",
        "max(v) - min(v)",
        "stddev(v)",
        "round(var_pop(v), 6)",
        "sum(v) * 1.0 / count(*)",
        "avg(v * v) filter (where k is not null)",
    ];
    let having = prop::sample::select(vec![
        "",
        " having count(*) > 1",
        " having sum(v) > 0 or min(k) is null",
    ]);
    let window = prop::sample::select(vec![
        "",
        "_tp_time > now() - interval 10 second",
        "now() - interval 5 second <= _tp_time",
    ]);
    let aggregates = prop::collection::btree_set(prop::sample::select(aggregates), 1..5);
    (keys, aggregates, condition(), having, window).prop_map(
        |((keys, from), aggregates, condition, having, window)| {
            let keyed = keys.split(", ").filter(|key| !key.is_empty());
            let items: Vec<&str> = keyed.clone().chain(aggregates).collect();
            let order: Vec<String> = (1..=items.len()).map(|n| n.to_string()).collect();
            let condition = match (condition.is_empty(), window) {
                (_, "") => condition,
                (true, window) => format!(" where {window}"),
                (false, window) => format!("{condition} and {window}"),
            };
            let group_by = if keys.is_empty() {
                String::new()
            } else {
                format!(" group by {keys}")
            };
            format!(
                "select {} from {from}{condition}{group_by}{having} order by {}",
                items.join(", "),
                order.join(", ")
            )
        },
    )
}

fn sandbox(readings_now: &[Reading]) -> Sandbox {
    let sandbox = Sandbox::open(&Limits::default()).unwrap();
    let connection = sandbox.connection();
    connection.execute_batch(&readings().ddl()).unwrap();
    sandbox.permit("readings");
    let insert = "insert into readings values (?1, ?2, ?3, ?4)";
    for row in readings_now {
        connection.execute(insert, *row).unwrap();
    }
    sandbox
}

fn table(connection: &Connection, sql: &str) -> Vec<Vec<Value>> {
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    if let Some(at) = statement.parameter_index(":now").unwrap() {
        statement.raw_bind_parameter(at, NOW).unwrap();
    }
    let cells = |row: &Row<'_>| (0..columns).map(|n| row.get(n)).collect();
    let mut rows = statement.raw_query();
    let mut table = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let row: rusqlite::Result<Vec<Value>> = cells(row);
        table.push(row.unwrap());
    }
    table
}

/// The same but for the last digits of floats, which depend on the order of adding.
fn alike(a: &[Vec<Value>], b: &[Vec<Value>]) -> bool {
    let cell = |pair: (&Value, &Value)| match pair {
        (Value::Real(a), Value::Real(b)) => (a - b).abs() <= 1e-9 * a.abs().max(1.0),
        (a, b) => a == b,
    };
    let row = |(a, b): (&Vec<Value>, &Vec<Value>)| a.len() == b.len() && a.iter().zip(b).all(cell);
    a.len() == b.len() && a.iter().zip(b).all(row)
}

/// What an aggregate makes of the values of two parts, by another way than SQLite's where there are parts.
fn aggregate(function: Function, parts: [&[Value]; 2]) -> Value {
    let present = || parts.into_iter().flatten().filter(|v| **v != Value::Null);
    let float = |value: &Value| match value {
        Value::Integer(n) => *n as f64,
        Value::Real(x) => *x,
        _ => 0.0,
    };
    let count = present().count();
    let sum: f64 = present().map(float).sum();
    let ordered = || {
        let mut list: Vec<&Value> = present().collect();
        list.sort_by(|a, b| match (a, b) {
            (Value::Text(a), Value::Text(b)) => a.cmp(b),
            (a, b) => float(a).total_cmp(&float(b)),
        });
        list
    };
    match function {
        Function::Count => Value::Integer(count as i64),
        Function::CountDistinct => {
            let mut list = ordered();
            list.dedup();
            Value::Integer(list.len() as i64)
        }
        Function::Sum if count == 0 => Value::Null,
        Function::Sum if present().all(|v| matches!(v, Value::Integer(_))) => {
            Value::Integer(sum as i64)
        }
        Function::Sum | Function::Total => Value::Real(sum),
        Function::Avg if count == 0 => Value::Null,
        Function::Avg => Value::Real(sum / count as f64),
        Function::Min => ordered().first().map_or(Value::Null, |v| (*v).clone()),
        Function::Max => ordered().last().map_or(Value::Null, |v| (*v).clone()),
        Function::VarPop | Function::VarSamp | Function::StddevPop | Function::StddevSamp => {
            let mut all = Moments::default();
            for part in parts {
                let mut moments = Moments::default();
                let values = part.iter().filter(|v| **v != Value::Null);
                values.for_each(|v| moments.add(float(v)));
                all.merge(&moments);
            }
            all.finish(function).map_or(Value::Null, Value::Real)
        }
        Function::Earliest | Function::Latest => {
            panic!("only the dialect takes rows in their order")
        }
    }
}

/// Evaluates groups as the engine does, in two parts.
fn groups_of(connection: &Connection, groups: &Groups) -> Vec<Vec<Value>> {
    let Grouped {
        from, keys, window, ..
    } = &groups.rows;
    let count = "1".to_owned();
    let arguments = groups
        .aggregates
        .iter()
        .map(|a| a.argument.as_ref().unwrap_or(&count));
    let time = window.as_ref().map_or("null", |w| &w.time);
    let items: Vec<&String> = keys.iter().chain(arguments).collect();
    let items: String = items.iter().map(|item| format!(", {item}")).collect();
    let mut parts: BTreeMap<String, Group> = BTreeMap::new();
    if keys.is_empty() {
        parts.entry(String::new()).or_default();
    }
    for (n, mut row) in table(connection, &format!("select {time}{items} from {from}"))
        .into_iter()
        .enumerate()
    {
        let values = row.split_off(1 + keys.len());
        let key = row.split_off(1);
        let inside = window.as_ref().is_none_or(|w| match row[0] {
            Value::Integer(time) if w.inclusive => time >= NOW - w.size as i64,
            Value::Integer(time) => time > NOW - w.size as i64,
            _ => false,
        });
        if inside {
            let name: String = key.iter().map(|k| format!("{k:?},")).collect();
            let group = parts.entry(name).or_default();
            group.0 = key;
            group.1[n % 2].push(values);
        }
    }
    let columns = (0..keys.len()).map(|n| format!("k{n}"));
    let columns: Vec<String> = columns
        .chain(groups.aggregates.iter().map(|a| format!("\"{}\"", a.name)))
        .collect();
    connection
        .execute_batch("drop table if exists totals")
        .unwrap();
    // A key alone, or nothing at all, is still a table.
    let columns = if columns.is_empty() {
        vec!["empty".to_owned()]
    } else {
        columns
    };
    connection
        .execute_batch(&format!("create table totals ({})", columns.join(", ")))
        .unwrap();
    for (key, [even, odd]) in parts.into_values() {
        let mut cells = key;
        for (n, kept) in groups.aggregates.iter().enumerate() {
            let of =
                |part: &[Vec<Value>]| part.iter().map(|row| row[n].clone()).collect::<Vec<_>>();
            cells.push(aggregate(kept.function, [&of(&even), &of(&odd)]));
        }
        let places: Vec<String> = (1..=cells.len()).map(|n| format!("?{n}")).collect();
        let insert = format!("insert into totals values ({})", places.join(", "));
        connection
            .execute(&insert, rusqlite::params_from_iter(cells))
            .unwrap();
    }
    table(connection, &groups.result)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn rows_come_in_batches(rows in prop::collection::vec(reading(), 0..12), sql in of_rows(), at in 0_usize..12) {
        let plan = with_front(|front| front.plan(&sql)).unwrap();
        let Class::Rows { ordered } = &plan.class else { panic!("{sql}") };
        let (first, second) = rows.split_at(at.min(rows.len()));
        let whole = table(sandbox(&rows).connection(), &plan.text);
        let mut added = table(sandbox(first).connection(), &plan.text);
        added.extend(table(sandbox(second).connection(), &plan.text));
        prop_assert!(alike(&whole, &added), "{}: {:?} {:?}", sql, whole, added);
        let mut newest = table(sandbox(&rows).connection(), ordered);
        let (mut whole, order) = (whole, |a: &Vec<Value>, b: &Vec<Value>| format!("{a:?}").cmp(&format!("{b:?}")));
        newest.sort_by(order);
        whole.sort_by(order);
        prop_assert!(alike(&whole, &newest), "{}: {:?} {:?}", sql, whole, newest);
    }

    #[test]
    fn groups_come_in_parts(rows in prop::collection::vec(reading(), 0..20), sql in of_groups()) {
        let plan = with_front(|front| front.plan(&sql)).unwrap();
        let Class::Groups(groups) = &plan.class else { panic!("{sql}") };
        let sandbox = sandbox(&rows);
        let whole = table(sandbox.connection(), &plan.text);
        let parts = groups_of(sandbox.connection(), groups);
        prop_assert!(alike(&whole, &parts), "{}: {:?} {:?}", sql, whole, parts);
    }
}
