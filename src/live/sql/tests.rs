//! Queries as people write them, and as nobody should.

mod agree;
mod hostile;
mod wrong;

use super::*;
use crate::live::schema::{Column, Retention, Type, built_in};

/// A front that knows the built-in tables and one with a column of each kind that matters, on a stack as it has in the
/// server.
fn with_front<T: Send>(work: impl FnOnce(&Front) -> T + Send) -> T {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, || {
                let mut front = Front::new(Limits::default()).unwrap();
                for schema in built_in(1_000).iter().chain([&readings()]) {
                    front.create(schema).unwrap();
                }
                work(&front)
            })
            .unwrap()
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn readings() -> Schema {
    let column = |name: &str, kind| Column {
        name: name.to_owned(),
        kind,
    };
    let int = Type::Int {
        bits: 64,
        signed: true,
    };
    Schema {
        name: Topic::new("Readings").unwrap(),
        columns: vec![
            column("k", Type::Nullable(Box::new(Type::String))),
            column("v", Type::Nullable(Box::new(int))),
            column("x", Type::Nullable(Box::new(Type::Float { bits: 64 }))),
        ],
        retention: Retention {
            rows: 1_000,
            age_ms: None,
        },
    }
}

fn class(plan: &Result<Plan, Problem>) -> &'static str {
    match plan {
        Ok(Plan {
            class: Class::Rows { .. },
            ..
        }) => "rows",
        Ok(Plan {
            class: Class::Groups(_),
            ..
        }) => "groups",
        Ok(Plan {
            class: Class::Whole,
            ..
        }) => "whole",
        Err(_) => "refused",
    }
}

#[test]
fn classes() {
    let table = [
        ("rows", "select * from metrics"),
        (
            "rows",
            "select m.* from metrics as m where m.value > 3 and name like 'cpu%'",
        ),
        (
            "rows",
            "select upper(name) as n, value * 2 from metrics where n <> 'X';",
        ),
        (
            "rows",
            "select window_start, name from tumble(metrics, interval '5' second)",
        ),
        (
            "rows",
            "select * from hop(metrics, ts, interval 1 second, interval 5 second) as w where w.window_end > 7",
        ),
        (
            "rows",
            "select case name when 'a' then 1 else 2 end from metrics",
        ),
        ("groups", "select count(*) from metrics"),
        (
            "groups",
            "select avg(duration_s) from calls where ts > now() - interval '1 hour'",
        ),
        (
            "groups",
            "select name, avg(value), stddev(value) from metrics where now() - interval 60 second <= ts group by name having count(*) > 2 order by 2 desc limit 3",
        ),
        (
            "groups",
            "select name n, max(value) - min(value) from metrics group by n order by n",
        ),
        (
            "groups",
            "select lower(name), count(distinct host) from metrics group by 1",
        ),
        (
            "groups",
            "select lower(name) || '!', sum(value) filter (where value > 0) from metrics group by lower( NAME )",
        ),
        (
            "groups",
            "select window_start, avg(value) from tumble(metrics, interval 5 second) group by window_start",
        ),
        (
            "groups",
            "select window_end, k, total(v) from hop(readings, interval 1 second, interval 5 second) group by window_end, k",
        ),
        ("groups", "select distinct k from readings group by k, v"),
        ("groups", "select count(*) as c from readings having c > 2"),
        (
            "groups",
            "select min(v, x), count(*) from readings group by v, x",
        ),
        ("whole", "select 1"),
        ("whole", "select now()"),
        ("whole", "select distinct name from metrics"),
        ("whole", "select * from metrics order by ts desc"),
        ("whole", "select * from metrics limit 10"),
        (
            "whole",
            "select * from metrics where ts > now() - interval 1 minute",
        ),
        (
            "whole",
            "select name, value, avg(value) over (partition by name order by ts) from metrics",
        ),
        (
            "whole",
            "select a.name from metrics a join metrics b on a.ts = b.ts",
        ),
        (
            "whole",
            "select name from metrics union select agent from calls",
        ),
        (
            "whole",
            "select name from metrics where value > (select avg(value) from metrics)",
        ),
        (
            "whole",
            "select agent from calls where queue in (select name from metrics)",
        ),
        (
            "whole",
            "with c as (select * from calls) select count(*) from c",
        ),
        ("whole", "select count(*) from (select * from calls)"),
        (
            "whole",
            "select count(*) from tumble(calls, interval 5 second) a join calls b on a.agent = b.agent",
        ),
        ("whole", "select name, value from metrics group by name"),
        ("whole", "select median(value) from metrics"),
        ("whole", "select group_concat(name) from metrics"),
        ("whole", "select sum(distinct v) from readings"),
        ("whole", "select count(*), now() from metrics"),
        (
            "whole",
            "select count(*) from metrics where ts > now() - interval 1 minute and ts < now()",
        ),
        (
            "whole",
            "select count(*) from metrics where name > now() - interval 1 minute",
        ),
        (
            "whole",
            "select name collate nocase, count(*) from metrics group by name collate nocase",
        ),
        ("whole", "select random(), value from metrics"),
        ("whole", "select date(), value from metrics"),
        (
            "whole",
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 5) select i from n",
        ),
        ("whole", "select * from (values (1, 'a'), (2, 'b'))"),
    ];
    with_front(|front| {
        for (wanted, sql) in table {
            let plan = front.plan(sql);
            assert_eq!(class(&plan), wanted, "{sql}: {plan:?}");
        }
    });
}

#[test]
fn plans() {
    with_front(|front| {
        let plan = front.plan("select name, AVG(Value), stddev(value) from tumble(Metrics, interval 5 second) as m where m.ts >= now() - interval 1 minute and (host = 'a' or host = 'b') group by name, window_start having count(*) filter (where value > 0) > 1 order by avg(value) limit 5").unwrap();
        assert!(plan.timed);
        assert_eq!(plan.tables, [Topic::new("metrics").unwrap()]);
        let Class::Groups(groups) = plan.class else {
            panic!()
        };
        assert_eq!(
            groups.rows,
            Grouped {
                table: Topic::new("metrics").unwrap(),
                from: r#""metrics" where ("host" = 'a' or "host" = 'b')"#.to_owned(),
                keys: vec![
                    r#""name""#.to_owned(),
                    r#""_tp_time" - ("_tp_time" % 5000 + 5000) % 5000"#.to_owned(),
                ],
                window: Some(Window {
                    time: r#""ts""#.to_owned(),
                    size: 60_000,
                    inclusive: true,
                }),
            }
        );
        assert_eq!(
            groups.result,
            r#"select k0 as "name", "avg(`value`)" as "avg(value)", "stddev_samp(`value`)" as "stddev(value)" from totals where "count(case when `value` > 0 then 1 end)" > 1 order by "avg(`value`)" limit 5"#
        );
        assert_eq!(groups.aggregates.len(), 3);
        let plan = front
            .plan("select *, v + 1 next from readings where k is not null")
            .unwrap();
        assert_eq!(
            plan.text,
            r#"select "k", "v", "x", "_tp_time", "v" + 1 as "next" from "Readings" where "k" is not null"#
        );
        assert!(!plan.timed);
        let plan = front
            .plan("select date('now'), strftime('%H') from calls")
            .unwrap();
        assert!(plan.timed);
    });
}

#[test]
fn equal_queries_have_equal_texts() {
    with_front(|front| {
        let text = |sql: &str| {
            front
                .plan(sql)
                .unwrap_or_else(|e| panic!("{sql}: {e}"))
                .text
        };
        for (a, b) in [
            (
                "select value from metrics",
                "SELECT  Value\nFROM \"METRICS\" ; -- all of them",
            ),
            (
                "select avg(value) from metrics",
                "select AVG( ((value)) ) from metrics /* m */",
            ),
            (
                "select v+1*2 from readings",
                "select v + (1 * 2) from readings",
            ),
            (
                "select v from readings where k='a' and v=1 and x=2",
                "select v from readings where (k = 'a') and (v == 1 and x = 2)",
            ),
            (
                "select v from readings where v != 1",
                "select v from readings where v <> 1",
            ),
            (
                "select v from readings r where r.v = 1",
                "select v from readings where v = 1",
            ),
            (
                "select v from readings where _tp_time > now() - interval '1' minute",
                "select v from readings where _tp_time > NOW() - interval 60 second",
            ),
            (
                "select cast(v as text) from readings",
                "select v::string from readings",
            ),
            (
                "select * from metrics m where value = 1e3",
                "select * from metrics where value = 1E3",
            ),
            (
                "select a.v from readings a, calls b",
                "select a.V from readings as A, calls B",
            ),
        ] {
            assert_eq!(text(a), text(b));
        }
        for (a, b) in [
            ("select v from readings", "select x from readings"),
            ("select v a from readings", "select v b from readings"),
            (
                "select v from readings where k = 'a'",
                "select v from readings where k = 'A'",
            ),
            (
                "select (v + 1) * 2 from readings",
                "select v + 1 * 2 from readings",
            ),
            (
                "select v - (v - 1) from readings",
                "select v - v - 1 from readings",
            ),
            (
                "select not v = 1 from readings",
                "select (not v) = 1 from readings",
            ),
            (
                "select -v * 2 from readings",
                "select -(v * 2) from readings",
            ),
        ] {
            assert_ne!(text(a), text(b));
        }
    });
}

#[test]
fn a_table_comes_and_goes() {
    with_front(|_| {
        let mut front = Front::new(Limits::default()).unwrap();
        assert_eq!(class(&front.plan("select v from readings")), "refused");
        front.create(&readings()).unwrap();
        assert_eq!(class(&front.plan("select v from readings")), "rows");
        front.forget(&Topic::new("READINGS").unwrap()).unwrap();
        assert_eq!(class(&front.plan("select v from readings")), "refused");
    });
}
