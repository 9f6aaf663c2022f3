//! What strangers may do, and when they are stopped.

use std::time::Instant;

use super::*;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::open(&Limits::default()).unwrap();
    let connection = sandbox.connection();
    connection
        .execute_batch("create table t (a, b text); create table hidden (a)")
        .unwrap();
    for n in 0..100 {
        connection
            .execute("insert into t values (?1, ?2)", (n, format!("b{n}")))
            .unwrap();
    }
    sandbox.permit("T");
    sandbox
}

/// Runs a stranger's query to its end, and gives the first column of the last row.
fn run(sandbox: &Sandbox, sql: &str, time: Duration) -> Result<String, Stopped> {
    let mut statement = sandbox.prepare_stranger(sql)?;
    sandbox.within(time, || {
        let mut rows = statement.query([])?;
        let mut last = String::new();
        while let Some(row) = rows.next()? {
            last = format!("{:?}", row.get_ref(0)?);
        }
        Ok(last)
    })
}

const LONG: Duration = Duration::from_secs(10);

#[test]
fn what_is_permitted_runs() {
    let sandbox = sandbox();
    for (sql, result) in [
        ("select count(*) from t", "Integer(100)"),
        ("select b from t order by a desc limit 1", "Text(b99)"),
        ("select instr('häx', 'x')", "Integer(3)"),
        ("select replace('abab', 'ab', 'c')", "Text(cc)"),
        ("select trim('xxaxx', 'x')", "Text(a)"),
        ("select ltrim(12.0, '1')", "Text(2.0)"),
        ("select 'Häx' like 'h_X', 1", "Integer(1)"),
        ("select null like 'a'", "Null"),
        ("select floor(-1.5)", "Real(-2.0)"),
        ("select median(a) from t", "Real(49.5)"),
        ("select quantile(a, 1) from t", "Real(99.0)"),
        ("select '{\"a\":[1,2]}' ->> '$.a[1]'", "Integer(2)"),
        (
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 10) select max(i) from n",
            "Integer(10)",
        ),
    ] {
        let got = run(&sandbox, sql, LONG);
        let wanted = result.to_owned();
        assert_eq!(got.map(text), Ok(wanted), "{sql}");
    }
}

/// Text as text and not as bytes.
fn text(debugged: String) -> String {
    match debugged.strip_prefix("Text([") {
        Some(bytes) => {
            let bytes = bytes.trim_end_matches("])").split(", ");
            let bytes: Vec<u8> = bytes.map(|b| b.parse().unwrap()).collect();
            format!("Text({})", String::from_utf8(bytes).unwrap())
        }
        None => debugged,
    }
}

#[test]
fn what_is_not_is_refused() {
    let sandbox = sandbox();
    for sql in [
        "select * from hidden",
        "select * from sqlite_master",
        "select * from sqlite_schema",
        "select * from pragma_table_info('t')",
        "select * from json_each('[1]')",
        "select * from dbstat",
        "select count(*) from dbstat",
        "select count(*) from sqlite_master",
        "select count(*) from pragma_function_list",
        "select count(*) from json_tree('[1]')",
        "select load_extension('x')",
        "select readfile('/etc/passwd')",
        "select writefile('/x', 'y')",
        "select sqlite_version()",
        "select zeroblob(1000000000)",
        "select randomblob(1000000000)",
        "select fts3_tokenizer('simple')",
        "attach 'x' as y",
        "detach main",
        "pragma hard_heap_limit = 0",
        "pragma database_list",
        "vacuum into '/x'",
        "insert into t values (1, 2)",
        "update t set a = 1",
        "delete from t",
        "drop table t",
        "create table u (a)",
        "create temp table u (a)",
        "create virtual table u using fts5(a)",
        "explain select 1",
        "explain query plan select 1",
        "begin",
        "savepoint s",
        "reindex",
        "analyze",
        "",
        "select 1 from no_such_table",
        "select \"no such column\" from t",
    ] {
        let refused = run(&sandbox, sql, LONG);
        assert!(
            matches!(refused, Err(Stopped::Other(_))),
            "{sql}: {refused:?}"
        );
    }
    // The engine is not a stranger, and the gate is open for it again.
    let count = "select count(*) from hidden";
    let count: i64 = sandbox
        .connection()
        .query_row(count, [], |r| r.get(0))
        .unwrap();
    assert_eq!(count, 0);
}

#[test]
fn what_does_not_end_is_stopped() {
    let sandbox = sandbox();
    let (budget, slack) = (Duration::from_millis(50), Duration::from_millis(450));
    for sql in [
        "with recursive n(i) as (select 1 union all select i from n) select count(*) from n",
        "select count(*) from t a, t b, t c, t d, t e, t f",
        "select count(*) from t a join t b on a.a < b.a join t c on a.a < c.a join t d on c.a < d.a join t e",
        "select a.a from t a, t b, t c, t d, t e order by 1",
        "select (select count(*) from t b, t c, t d where b.a > a.a) from t a",
        "select sum(length(printf('%200000d', a.a))) from t a, t b, t c",
        "with s(x) as (select printf('%.200000c', 'a')) select sum(x like '%' || substr(x, 1, 200) || 'b%') from s, t, t b, t c",
        "with s(x) as (select printf('%.200000c', 'a')) select sum(x like '%a%a%a%a%a%a%a%a%a%a%b') from s, t, t b, t c",
        "with s(x) as (select printf('%.200000c', 'a')) select sum(instr(x, substr(x, 100000) || 'b')) from s, t, t b, t c",
        "with s(x) as (select printf('%.200000c', 'a')) select sum(length(trim(x, x))) from s, t, t b, t c",
        "with s(x) as (select printf('%.200000c', 'a')) select sum(length(replace(x, substr(x, 100000) || 'b', ''))) from s, t, t b, t c",
    ] {
        let began = Instant::now();
        let stopped = run(&sandbox, sql, budget);
        let took = began.elapsed();
        assert_eq!(stopped, Err(Stopped::Time), "{sql}");
        assert!(took < budget + slack, "{sql}: {took:?}");
    }
}

#[test]
fn what_is_too_large_is_stopped() {
    let sandbox = sandbox();
    for sql in [
        "select printf('%1000000000d', 1)",
        "select printf('%.*c', 1000000000, 'x')",
        "select length(replace(printf('%.200000c', 'a'), 'a', printf('%.200000c', 'b')))",
        "select length(group_concat(printf('%.200000c', 'a'))) from t",
        "with recursive s(x) as (select 'ab' union all select x || x from s) select max(length(x)) from s",
    ] {
        assert_eq!(run(&sandbox, sql, LONG), Err(Stopped::Memory), "{sql}");
    }
    assert_eq!(
        run(&sandbox, "select 1", LONG),
        Ok("Integer(1)".to_owned()),
        "and it goes on"
    );
}

#[test]
fn it_is_stopped_from_elsewhere() {
    let sandbox = sandbox();
    let stopper = sandbox.stopper();
    let (running, runs) = std::sync::mpsc::channel();
    let other = std::thread::spawn(move || {
        runs.recv().unwrap();
        stopper.stop();
    });
    let endless = "with recursive n(i) as (select 1 union all select i from n) select i from n";
    let mut statement = sandbox.prepare_stranger(endless).unwrap();
    let stopped = sandbox.within(LONG, || {
        let mut rows = statement.query([])?;
        rows.next()?;
        running.send(()).unwrap();
        while rows.next()?.is_some() {}
        Ok(())
    });
    assert_eq!(stopped, Err(Stopped::Aborted));
    other.join().unwrap();
}
