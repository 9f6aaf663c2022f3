//! `triwire watch-table`: which tables can be collections, and what it asks of those who write to them.

use super::database::Database;

#[test]
fn what_cannot_be_watched_is_told() {
    let Some(database) = Database::migrated() else {
        return;
    };
    database.sql(
        "create table two (a int, b int, primary key (a, b)); create table none (a int);
        create table bad (id numeric primary key); create table other (k int primary key, id int);
        create view seen as select 1 as id; create table good (id int primary key); create table taken (id int primary key);
        insert into triwire.documents (collection, document) values ('taken', '{}')",
    );
    for (args, words) in [
        (vec!["nothing"], "there is no table"),
        (vec!["two"], "2 columns"),
        (vec!["none"], "no primary key"),
        (vec!["bad"], "numeric"),
        (vec!["other"], "column id"),
        (vec!["seen"], "no table"),
        (vec!["taken"], "has documents"),
        (vec!["good", "--collection", "1x"], "collection"),
        (vec!["good; drop table good"], ""),
        (vec!["good", "--remove"], "not watched"),
    ] {
        let refused = database.refused(&[&["watch-table"], &*args].concat());
        assert!(refused.contains(words), "{args:?}: {refused}");
    }
    assert!(
        database
            .told(&["watch-table", "taken", "--collection", "others"])
            .contains("others")
    );
    assert!(
        database
            .refused(&["watch-table", "good", "--collection", "others"])
            .contains("already")
    );
    database.told(&["watch-table", "good"]);
    assert!(
        database
            .refused(&["watch-table", "good", "--collection", "second"])
            .contains("already")
    );
    database.sql("insert into good values (1)");
    assert_eq!(
        database.sql("select count(*) from triwire.outbox where collection = 'good'"),
        "1"
    );
    database.told(&["watch-table", "good", "--remove"]);
    database.sql("insert into good values (2)");
    assert_eq!(
        database.sql("select count(*) from triwire.outbox where collection = 'good'"),
        "1"
    );
}

#[test]
fn whoever_writes_to_a_table_needs_no_right_to_the_outbox() {
    let Some(database) = Database::migrated() else {
        return;
    };
    let role = database.sql("select 'r_' || replace(current_database(), 'test_', '')");
    database.sql(&format!(
        "create table good (id int primary key); create role {role}; grant insert, select on good to {role}"
    ));
    database.told(&["watch-table", "good"]);
    database.sql(&format!("set role {role}; insert into good values (1)"));
    let denied = database.try_sql(&format!("set role {role}; select * from triwire.outbox"));
    assert!(!denied.status.success());
    assert_eq!(database.sql("select count(*) from triwire.outbox"), "1");
    database.sql(&format!("drop owned by {role}; drop role {role}"));
}
