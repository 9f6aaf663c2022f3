//! What strangers try: refused with a reason, or stopped in time, and nothing falls over.

use std::time::Instant;

use rusqlite::named_params;

use super::*;

/// Reading and refusing takes no longer than this, in a debug build on a busy machine.
const READING: Duration = Duration::from_secs(3);

fn nested(open: &str, core: &str, close: &str, times: usize) -> String {
    format!("select {}{core}{}", open.repeat(times), close.repeat(times))
}

/// What must be refused by reading it.
fn refused() -> Vec<String> {
    let mut list: Vec<String> = [
        "attach 'x' as y",
        "select 1; attach 'x' as y",
        "detach main",
        "pragma hard_heap_limit = 0",
        "vacuum into '/tmp/x'",
        "explain select 1",
        "explain query plan select 1",
        "values (1)",
        "table metrics",
        "show tables",
        "set x = 1",
        "copy metrics to '/tmp/x'",
        "call f()",
        "begin",
        "commit",
        "with x as (select 1) insert into metrics select 1",
        "with x as (insert into metrics values (1) returning *) select * from x",
        "with x as (delete from metrics returning *) select * from x",
        "update metrics set value = 1",
        "delete from metrics",
        "drop table metrics",
        "create table x as select 1",
        "alter table metrics rename to x",
        "select * into x from metrics",
        "select * from metrics for update",
        "select * from sqlite_master",
        "select * from sqlite_schema",
        "select * from sqlite_temp_master",
        "select * from \"sqlite_master\"",
        "select * from main.sqlite_master",
        "select * from pragma_table_info('metrics')",
        "select * from pragma_database_list",
        "select * from generate_series(1, 1000000000)",
        "select * from json_each('[1]')",
        "select * from dbstat",
        "select load_extension('x')",
        "select readfile('/etc/passwd')",
        "select writefile('/tmp/x', 'y')",
        "select edit('x')",
        "select sqlite_version()",
        "select sqlite_compileoption_get(1)",
        "select zeroblob(1000000000)",
        "select randomblob(1000000000)",
        "select hex(name) from metrics",
        "select fts3_tokenizer('simple')",
        "select x'00ff'",
        "select name match 'x' from metrics",
        "select name regexp '(a+)+b' from metrics",
        "select name glob '*a*' from metrics",
        "select :now",
        "select ?1",
        "select $1",
        "select @x",
        "select _rowid_ from metrics",
        "select oid from metrics",
        "select \"rowid\" from metrics",
        "select * from metrics indexed by x",
        "select * from metrics not indexed",
        "select raise(abort, 'x')",
        "select 1 /* and",
        "select 'and",
        "select \"and",
        "select `and",
        "select [and",
        "select ‘a’",
        "select “value” from metrics",
        "select value from metrics where name = ’x’",
        "select \u{feff}1\u{202e}",
        "\0",
        "select\0 1",
        "select '\0'",
        ";",
        "((((",
        "select",
        "select from",
        "select * from",
        "select ((select",
        "select case when",
        "select 1 from metrics, metrics, ",
        "select interval 'x'",
        "select interval 99999999999999999999 second",
        "select interval 9223372036854775807 week",
        "select * from tumble(metrics, interval 0 second)",
        "select * from hop(metrics, interval 1 millisecond, interval 1 week)",
        "select unistr('\\u0000')",
        "select count(*) over w from metrics window w as (order by ts)",
        "select value from metrics qualify 1",
        "select top 5 value from metrics",
        "select distinct on (name) value from metrics",
        "select * exclude (value) from metrics",
        "select value from metrics group by all",
        "select value from metrics group by rollup (name)",
        "select * from metrics tablesample (10)",
        "select * from metrics pivot (sum(value) for name in ('a'))",
        "select * from unnest(array[1])",
        "select array[1, 2]",
        "select {'a': 1}",
        "select name from metrics limit all by name",
        "select extract(year from ts) from metrics",
        "select a -> b => c from metrics",
        "select 1 union values (2) union all table metrics",
        "select * from lateral (select 1)",
        "from metrics select value",
        "select value from metrics |> limit 1",
    ]
    .map(str::to_owned)
    .into();
    for times in [300, 1_000, 4_000] {
        list.push(nested("(", "1", ")", times));
        list.push(nested("abs(", "1", ")", times));
        list.push(nested("(select ", "1", ")", times));
        list.push(nested("case when ", "1", " then 1 end", times.min(800)));
        list.push(nested("-", "1", "", times) + "-");
        list.push(nested("not ", "1", "", times));
        list.push(nested("1 + ", "1", "", times));
        list.push(nested("1 || ", "1", "", times.min(3_000)));
        list.push(nested("(", "1", "", times));
        list.push(nested("[", "1", "]", times));
        list.push(nested("{a: ", "1", "}", times.min(2_500)));
        list.push(nested("cast(", "1", " as text)", times.min(800)));
        list.push(nested("1 in (", "1", ")", times.min(2_000)));
        list.push(nested("interval ", "1", "", times.min(1_700)));
        list.push(nested("date ", "1", "", times.min(3_000)));
        list.push(format!(
            "select * from {}metrics{}",
            "(".repeat(times),
            ")".repeat(times)
        ));
        list.push(format!(
            "select 1{}",
            " union select 1".repeat(times.min(1_000))
        ));
        list.push(format!(
            "select * from metrics{}",
            ", metrics".repeat(times.min(1_500))
        ));
    }
    list.push(format!("select {} from metrics", "x".repeat(15_000)));
    list.push(format!("select {} from metrics", "x".repeat(100_000)));
    list.push(format!("select '{}'", "x".repeat(100_000)));
    list.push("select 1, ".repeat(1_600));
    list.push("\u{1F600}".repeat(4_000));
    // Each reads the one before it twice.
    let mut twice = "with a0 as (select 1 as x)".to_owned();
    for n in 1..40 {
        twice += &format!(", a{n} as (select a.x from a{0} a, a{0} b)", n - 1);
    }
    list.push(twice + " select * from a39");
    list
}

#[test]
fn it_is_refused_with_a_reason() {
    with_front(|front| {
        let mut wrong = Vec::new();
        for sql in refused() {
            let began = Instant::now();
            let plan = front.plan(&sql);
            let (took, short) = (began.elapsed(), sql.get(..100).unwrap_or(&sql));
            match plan {
                Ok(plan) => wrong.push(format!("{short}: taken: {:.100}", plan.text)),
                Err(problem) if ![400, 413].contains(&problem.status.as_u16()) => {
                    wrong.push(format!("{short}: {problem}"));
                }
                Err(_) if took > READING => wrong.push(format!("{short}: {took:?}")),
                Err(_) => {}
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// What is a query, and must be stopped when it runs.
const ENDLESS: [&str; 12] = [
    "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n",
    "with recursive n(i) as (select 1 union all select i from n) select i from n where i > 1",
    "with recursive s(x) as (select 'ab' union all select x || x from s) select max(length(x)) from s",
    "select count(*) from readings a, readings b, readings c, readings d, readings e",
    "select count(*) from readings a join readings b on a.v < b.v join readings c on b.v < c.v join readings d on c.v <> d.v join readings e on e.v > d.v",
    "select a.v from readings a, readings b, readings c, readings d order by 1 limit 1",
    "select sum(length(format('%200000d', a.v))) from readings a, readings b, readings c",
    "select length(group_concat(format('%.200000c', k))) from readings",
    "select median(a.v) from readings a, readings b, readings c, readings d, readings e",
    "select count(distinct a.v * b.v * c.v * d.v * e.v) from readings a, readings b, readings c, readings d, readings e",
    "select sum(v) over (order by (select count(*) from readings b, readings c, readings d where b.v > a.v)) s from readings a",
    "select sum(format('%.200000c', a.k) like '%' || format('%.200c', b.k) || 'x%') from readings a, readings b, readings c",
];

#[test]
fn it_is_stopped_in_time() {
    let sandbox = Sandbox::open(&Limits::default()).unwrap();
    let connection = sandbox.connection();
    connection.execute_batch(&readings().ddl()).unwrap();
    sandbox.permit("readings");
    for n in 0..200 {
        connection
            .execute("insert into readings values ('a', ?1, ?1, 0)", [n])
            .unwrap();
    }
    let budget = Duration::from_millis(50);
    with_front(|front| ENDLESS.map(|sql| front.plan(sql).unwrap_or_else(|e| panic!("{sql}: {e}"))))
        .into_iter()
        .for_each(|plan| {
            let mut statement = sandbox.prepare_stranger(&plan.text).unwrap();
            let began = Instant::now();
            let stopped = sandbox.within(budget, || {
                let mut rows = match plan.timed {
                    true => statement.query(named_params! { ":now": 0 })?,
                    false => statement.query([])?,
                };
                while rows.next()?.is_some() {}
                Ok(())
            });
            let took = began.elapsed();
            assert!(
                matches!(stopped, Err(Stopped::Time | Stopped::Memory)),
                "{}: {stopped:?}",
                plan.text
            );
            assert!(
                took < budget + Duration::from_millis(400),
                "{}: {took:?}",
                plan.text
            );
        });
}
