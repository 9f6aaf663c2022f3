//! What is said of mistakes, and where they are.

use super::*;

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let table = [
        (
            "select valeu from metrics",
            "line 1, column 8: there is no column valeu; did you mean value?",
        ),
        (
            "select value\nfrom metric",
            "line 2, column 6: there is no table metric; did you mean metrics?",
        ),
        (
            "select *\nfrom metrics\nwhere  agv(value) > 1",
            "line 3, column 8: there is no function agv; did you mean avg?",
        ),
        (
            "select m.valeu from metrics m",
            "line 1, column 10: there is no column valeu; did you mean value?",
        ),
        (
            "select n.value from metrics m",
            "line 1, column 8: there is no table n here",
        ),
        (
            "select a.valeu from metrics a join calls b on a.ts = b.ts",
            "line 1, column 8: there is no column a.valeu; did you mean value?",
        ),
        (
            "select ts from metrics a join calls b on a.ts = b.ts",
            "line 1, column 8: write table.column, since several tables have a column ts",
        ),
        (
            "select 1 from metrics where (select agentt from calls) = 1",
            "line 1, column 37: there is no column agentt; did you mean agent?",
        ),
        (
            "select round() from metrics",
            "line 1, column 8: wrong number of arguments to function round()",
        ),
        (
            "select value from metrics where avg(value) > 1",
            "line 1, column 33: misuse of aggregate function avg()",
        ),
        (
            "selec value from metrics",
            "line 1, column 1: only one SELECT can be run; this begins with selec",
        ),
        (
            "select value frm metrics where 1",
            "line 1, column 18: the query should end here, not go on with metrics; only one SELECT can be run",
        ),
        (
            "select value from metrics where",
            "line 1, column 32: expected: an expression, found: EOF",
        ),
        (
            "select value,, name from metrics",
            "line 1, column 14: expected: an expression, found: ,",
        ),
        (
            "select 'abc from metrics",
            "line 1, column 8: unterminated string literal",
        ),
        (
            "select \"value\"\" from metrics",
            "line 1, column 8: expected close delimiter '\"' before EOF.",
        ),
        (
            "select 1 /* and on",
            "line 1, column 19: unexpected EOF while in a multi-line comment",
        ),
        (
            "select 1; select 2",
            "line 1, column 11: the query should end here, not go on with select; only one SELECT can be run",
        ),
        (
            "select 1; drop table metrics",
            "line 1, column 11: the query should end here, not go on with drop; only one SELECT can be run",
        ),
        (
            "insert into metrics values (1)",
            "line 1, column 1: only one SELECT can be run; this begins with insert",
        ),
        (
            "select * from metrics where name glob 'cpu*'",
            "line 1, column 34: there is no operator glob",
        ),
        (
            "select a from metrics as m(a, b)",
            "line 1, column 26: columns are renamed with AS in a subquery",
        ),
        ("", "there is no query"),
        (" -- nothing", "there is no query"),
        (
            "select value from metrics where name = ?",
            "line 1, column 40: the parameter ? has no value here; write it out",
        ),
        (
            "select value from metrics fetch first 3 rows only",
            "line 1, column 27: FETCH (write LIMIT) cannot be used here",
        ),
        (
            "select substr(name, 1) from metrics for update",
            "line 1, column 37: FOR cannot be used here",
        ),
        (
            "select top 5 value from metrics",
            "line 1, column 8: TOP (write LIMIT) cannot be used here",
        ),
        (
            "select value from metrics\nwindow w as (order by ts)",
            "line 2, column 1: WINDOW (write it after OVER) cannot be used here",
        ),
        (
            "select value from metrics\nqualify row_number() over () = 1",
            "line 2, column 1: QUALIFY cannot be used here",
        ),
        (
            "select distinct on (name) name from metrics",
            "line 1, column 8: DISTINCT ON cannot be used here",
        ),
        (
            "select name, value from metrics order by 1, 7",
            "line 1, column 45: 2nd ORDER BY term out of range",
        ),
        (
            "select name from metrics having value > 1",
            "line 1, column 33: HAVING clause on a non-aggregate query",
        ),
        (
            "select name from metrics union select name, value from metrics",
            "line 1, column 32: SELECTs to the left and right of UNION",
        ),
        (
            "select name, 1 as n, 2 as n from metrics",
            "line 1, column 22: two columns of the result are called n",
        ),
        (
            "select value regexp 'a' from metrics",
            "line 1, column 8: REGEXP cannot be used here",
        ),
        (
            "select x'10'",
            "line 1, column 8: X'10' is no number and no 'text'",
        ),
        (
            "select 0x10000000000000000",
            "line 1, column 8: 0x10000000000000000 has more than 64 bits",
        ),
        (
            "select count(name limit 1) from metrics",
            "line 1, column 8: LIMIT or another clause between the arguments cannot be used in a call here",
        ),
        (
            "select a.value, b.value from metrics a, metrics b",
            "line 1, column 17: two columns of the result are called value; rename one with AS",
        ),
        (
            "with c as (select * from calls) select * from tumble(c, interval 1 second)",
            "line 1, column 54: c is no declared table, as it must be here",
        ),
        (
            "select * from tumble(metrics, 5)",
            "line 1, column 15: write tumble(table [, time], interval '5' second) or hop(table [, time], interval '1' second, interval '5' second)",
        ),
        (
            "select * from tumble(metrics, interval 'x' second)",
            "line 1, column 40: an interval is a whole number of milliseconds, seconds, minutes, hours, days or weeks: interval '5' minute",
        ),
        (
            "select * from tumble(metrics, tss, interval 1 second)",
            "line 1, column 31: metrics has no column tss that is a time; did you mean ts?",
        ),
        (
            "select * from hop(metrics, interval 2 second, interval 3 second)",
            "line 1, column 15: a window is at least 1 ms long, and a whole number of slides, at most 1000",
        ),
        (
            "select * from tumbel(metrics, interval 1 second)",
            "line 1, column 15: there is no function tumbel that gives rows; did you mean tumble?",
        ),
        (
            "select * from main.metrics",
            "line 1, column 15: a table has a name of one part",
        ),
        (
            "select rowid from metrics",
            "line 1, column 8: there is no column rowid",
        ),
        (
            "select value from metrics where x'00' = name",
            "line 1, column 33: X'00' is no number and no 'text'",
        ),
        (
            "select current_timestamp",
            "line 1, column 8: write now() for the present, in milliseconds; there is no current_timestamp",
        ),
        (
            "select value\0 from metrics",
            "line 1, column 13: there is a NUL in the query",
        ),
        (
            "select “value” from metrics",
            "line 1, column 8: expected: an expression, found: “",
        ),
    ];
    with_front(|front| {
        let mut wrong = Vec::new();
        for (sql, words) in table {
            let said = front
                .plan(sql)
                .err()
                .map_or("nothing".to_owned(), |e| e.detail.into_owned());
            if !said.starts_with(words) {
                wrong.push(format!("{sql}\n  wanted: {words}\n  got:    {said}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn what_is_nested_too_deep_is_said_to_be() {
    with_front(|front| {
        let said = |sql: &str| front.plan(sql).err().map(|e| e.detail.into_owned());
        let nested = |open: &str, close: &str, times: usize| {
            let sql = format!("select {}1{}", open.repeat(times), close.repeat(times));
            said(&sql)
        };
        for times in [1, 3, 10] {
            assert_eq!(nested("not ", "", times), None, "{times} times not");
            let case = nested("case when 1 then ", " end", times);
            assert_eq!(case, None, "{times} times case");
        }
        for times in (20..260).step_by(4).chain([700, 2_000]) {
            for (open, close) in [("not ", ""), ("(not ", ")"), ("case when 1 then ", " end")] {
                let close = if times < 700 { close } else { "" };
                let Some(told) = nested(open, close, times) else {
                    assert!(times < 200, "{times} times {open}");
                    continue;
                };
                assert!(
                    told.contains("too deep") || told.contains("query-bytes"),
                    "{times} times {open}: {told}"
                );
            }
        }
    });
}

/// As SQLite takes them.
#[test]
fn numbers_and_orders_that_sqlite_knows() {
    with_front(|front| {
        for (sql, text, words) in [
            ("select 0x1F as n", r#"select 31 as "n""#, "whole"),
            (
                "select 0xffffffffffffffff as n",
                r#"select -1 as "n""#,
                "whole",
            ),
            (
                "select name isnull as n from metrics where not value isnull or name notnull",
                r#"select "name" is null as "n" from "metrics" where not "value" is null or "name" is not null"#,
                "rows",
            ),
            (
                "select group_concat(distinct name order by name desc) as n from metrics",
                r#"select group_concat(distinct "name" order by "name" desc) as "n" from "metrics""#,
                "whole",
            ),
        ] {
            let plan = front.plan(sql);
            assert_eq!(class(&plan), words, "{sql}: {plan:?}");
            assert_eq!(plan.unwrap().text, text);
        }
    });
}
