//! What is kept of a group: values as SQLite compares them, and aggregates that can be put together from parts.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use rusqlite::types::{Value, ValueRef};

use super::room::Size;
use crate::live::sandbox::moments::{Moments, number};
use crate::live::sql::Function;

/// What an allocation takes beside what it is of.
pub(super) const ALLOCATION: usize = 16;

/// What a map takes at least.
pub(super) const LEAST_MAP: usize = 160;

/// A value, equal to others and in an order with them as in SQLite: 1 is 1.0.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(Box<[u8]>),
    Blob(Box<[u8]>),
}

impl Cell {
    pub(super) fn of(value: ValueRef<'_>) -> Cell {
        match value {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(number) => Cell::Integer(number),
            ValueRef::Real(number) => Cell::Real(number),
            ValueRef::Text(text) => Cell::Text(text.into()),
            ValueRef::Blob(bytes) => Cell::Blob(bytes.into()),
        }
    }

    pub(super) fn value(&self) -> Value {
        match self {
            Cell::Null => Value::Null,
            Cell::Integer(number) => Value::Integer(*number),
            Cell::Real(number) => Value::Real(*number),
            Cell::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
            Cell::Blob(bytes) => Value::Blob(bytes.to_vec()),
        }
    }

    /// Bytes that it holds beside itself.
    pub(super) fn heap(&self) -> usize {
        match self {
            Cell::Text(bytes) | Cell::Blob(bytes) => ALLOCATION + bytes.len(),
            _ => 0,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Cell::Null => 0,
            Cell::Integer(_) | Cell::Real(_) => 1,
            Cell::Text(_) => 2,
            Cell::Blob(_) => 3,
        }
    }
}

impl Ord for Cell {
    fn cmp(&self, other: &Cell) -> Ordering {
        match (self, other) {
            (Cell::Integer(a), Cell::Integer(b)) => a.cmp(b),
            (Cell::Real(a), Cell::Real(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Cell::Integer(a), Cell::Real(b)) => integer_to_real(*a, *b),
            (Cell::Real(a), Cell::Integer(b)) => integer_to_real(*b, *a).reverse(),
            (Cell::Text(a), Cell::Text(b)) | (Cell::Blob(a), Cell::Blob(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

/// Exactly: not every integer is a double.
fn integer_to_real(integer: i64, real: f64) -> Ordering {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if real >= BEYOND {
        return Ordering::Less;
    }
    if real < -BEYOND {
        return Ordering::Greater;
    }
    let whole = integer.cmp(&(real as i64));
    whole.then_with(|| 0.0.partial_cmp(&real.fract()).unwrap_or(Ordering::Equal))
}

impl PartialOrd for Cell {
    fn partial_cmp(&self, other: &Cell) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Cell {
    fn eq(&self, other: &Cell) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Cell {}

impl Hash for Cell {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rank().hash(state);
        match self {
            Cell::Null => {}
            Cell::Integer(number) => number.hash(state),
            Cell::Real(number) => {
                let whole = *number as i64;
                match integer_to_real(whole, *number) {
                    Ordering::Equal => whole.hash(state),
                    _ => number.to_bits().hash(state),
                }
            }
            Cell::Text(bytes) | Cell::Blob(bytes) => bytes.hash(state),
        }
    }
}

/// What an aggregate keeps of some rows.
#[derive(Clone, Debug)]
pub(super) enum State {
    Count(u64),
    Distinct(Distinct),
    Sum(Sum),
    Least(Option<Cell>),
    Greatest(Option<Cell>),
    Moments(Moments),
    First(Option<Cell>),
    Last(Option<Cell>),
}

/// Values, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Distinct {
    values: HashSet<Cell>,
    size: Size,
}

/// A sum: exact while all are integers; else with what rounding has lost (Kahan, Babuška, Neumaier), as in SQLite.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    count: u64,
    integers: i128,
    reals: f64,
    lost: f64,
    has_real: bool,
}

impl State {
    pub(super) fn new(function: Function) -> State {
        match function {
            Function::Count => State::Count(0),
            Function::CountDistinct => State::Distinct(Distinct::default()),
            Function::Sum | Function::Total | Function::Avg => State::Sum(Sum::default()),
            Function::Min => State::Least(None),
            Function::Max => State::Greatest(None),
            Function::VarPop | Function::VarSamp | Function::StddevPop | Function::StddevSamp => {
                State::Moments(Moments::default())
            }
            Function::Earliest => State::First(None),
            Function::Latest => State::Last(None),
        }
    }

    /// Takes the value of one more row; how much more it keeps.
    pub(super) fn add(&mut self, value: ValueRef<'_>) -> Size {
        if matches!(value, ValueRef::Null) {
            return Size::default();
        }
        match self {
            State::Count(count) => *count += 1,
            State::Distinct(distinct) => return distinct.add(Cell::of(value)),
            State::Sum(sum) => sum.add(value),
            State::Least(least) => return replace(least, value, Ordering::Less),
            State::Greatest(greatest) => return replace(greatest, value, Ordering::Greater),
            State::Moments(moments) => number(value).into_iter().for_each(|x| moments.add(x)),
            State::First(Some(_)) => {}
            State::First(cell) | State::Last(cell) => return put(cell, Cell::of(value)),
        }
        Size::default()
    }

    /// Takes what was kept of other rows by the same aggregate; how much more it keeps.
    pub(super) fn merge(&mut self, other: &State) -> Size {
        let before = self.size();
        match (&mut *self, other) {
            (State::Count(a), State::Count(b)) => *a += b,
            (State::Distinct(a), State::Distinct(b)) => {
                for value in &b.values {
                    if !a.values.contains(value) {
                        a.add(value.clone());
                    }
                }
            }
            (State::Sum(a), State::Sum(b)) => a.merge(b),
            (State::Least(a), State::Least(Some(b))) => replace_by(a, b, Ordering::Less),
            (State::Greatest(a), State::Greatest(Some(b))) => replace_by(a, b, Ordering::Greater),
            (State::Moments(a), State::Moments(b)) => a.merge(b),
            _ => {}
        }
        self.size() - before
    }

    /// How much it keeps beside itself; of values that it tells apart, how many.
    pub(super) fn size(&self) -> Size {
        match self {
            State::Distinct(distinct) => distinct.size,
            State::Least(cell) | State::Greatest(cell) | State::First(cell) | State::Last(cell) => {
                Size::of_bytes(cell.as_ref().map_or(0, Cell::heap))
            }
            State::Count(_) | State::Sum(_) | State::Moments(_) => Size::default(),
        }
    }

    /// The aggregate's value.
    ///
    /// # Errors
    /// When the sum of integers is no integer that can be held.
    pub(super) fn finish(&self, function: Function) -> Result<Value, &'static str> {
        Ok(match (self, function) {
            (State::Count(count), _) => Value::Integer(*count as i64),
            (State::Distinct(values), _) => Value::Integer(values.values.len() as i64),
            (State::Sum(sum), _) => return sum.finish(function),
            (
                State::Least(cell) | State::Greatest(cell) | State::First(cell) | State::Last(cell),
                _,
            ) => cell.as_ref().map_or(Value::Null, Cell::value),
            (State::Moments(moments), _) => moments.finish(function).map_or(Value::Null, real),
        })
    }
}

impl Distinct {
    fn add(&mut self, value: Cell) -> Size {
        // A map is up to twice as large as what is in it.
        let mut bytes = 2 * (size_of::<Cell>() + 1) + value.heap();
        if self.values.is_empty() {
            bytes += LEAST_MAP;
        }
        if !self.values.insert(value) {
            return Size::default();
        }
        let more = Size::of_cell(bytes);
        self.size += more;
        more
    }
}

impl Sum {
    fn add(&mut self, value: ValueRef<'_>) {
        self.count += 1;
        match numeric(value) {
            Value::Integer(number) => self.integers += i128::from(number),
            Value::Real(number) => {
                self.has_real = true;
                self.add_real(number);
            }
            _ => {}
        }
    }

    fn add_real(&mut self, number: f64) {
        let sum = self.reals + number;
        let lost = match self.reals.abs() > number.abs() {
            true => (self.reals - sum) + number,
            false => (number - sum) + self.reals,
        };
        // Beyond the infinities nothing is lost.
        if lost.is_finite() {
            self.lost += lost;
        }
        self.reals = sum;
    }

    fn merge(&mut self, other: &Sum) {
        self.count += other.count;
        self.integers += other.integers;
        self.has_real |= other.has_real;
        self.add_real(other.reals);
        self.lost += other.lost;
    }

    fn float(&self) -> f64 {
        let mut sum = *self;
        // In two parts, each of which is a double.
        let high = (self.integers >> 32) as f64 * 4_294_967_296.0;
        sum.add_real(high);
        sum.add_real((self.integers & 0xffff_ffff) as f64);
        let whole = sum.reals + sum.lost;
        if whole.is_nan() { sum.reals } else { whole }
    }

    fn finish(&self, function: Function) -> Result<Value, &'static str> {
        let none = self.count == 0;
        Ok(match function {
            Function::Total => real(self.float()),
            _ if none => Value::Null,
            Function::Avg => real(self.float() / self.count as f64),
            _ if self.has_real => real(self.float()),
            _ => Value::Integer(i64::try_from(self.integers).map_err(|_| "integer overflow")?),
        })
    }
}

/// SQLite has no NaN.
fn real(number: f64) -> Value {
    match number.is_nan() {
        true => Value::Null,
        false => Value::Real(number),
    }
}

/// What `sum` takes a value for: text that is a number is that number, other text counts as what it begins with.
fn numeric(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Text(text) => {
            let whole = std::str::from_utf8(text).ok();
            match whole.and_then(|text| text.trim_ascii().parse().ok()) {
                Some(number) => Value::Integer(number),
                None => Value::Real(number(value).unwrap_or_default()),
            }
        }
        other => Value::Real(number(other).unwrap_or_default()),
    }
}

fn replace(kept: &mut Option<Cell>, new: ValueRef<'_>, when: Ordering) -> Size {
    let new = Cell::of(new);
    match kept.as_ref().is_none_or(|kept| new.cmp(kept) == when) {
        true => put(kept, new),
        false => Size::default(),
    }
}

fn put(kept: &mut Option<Cell>, new: Cell) -> Size {
    let more = Size::of_bytes(new.heap());
    let old = kept.replace(new);
    more - Size::of_bytes(old.as_ref().map_or(0, Cell::heap))
}

fn replace_by(kept: &mut Option<Cell>, new: &Cell, when: Ordering) {
    if kept.as_ref().is_none_or(|kept| new.cmp(kept) == when) {
        *kept = Some(new.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    const VALUES: [&str; 16] = [
        "null",
        "0",
        "1",
        "1.0",
        "-1",
        "0.5",
        "9223372036854775807",
        "9223372036854775808.0",
        "-9223372036854775808",
        "-9223372036854775808.0",
        "9007199254740993",
        "9007199254740992.0",
        "''",
        "'12x'",
        "' 7 '",
        "x'31'",
    ];

    fn cell(connection: &Connection, sql: &str) -> Cell {
        connection
            .query_row(&format!("select {sql}"), [], |row| {
                Ok(Cell::of(row.get_ref(0)?))
            })
            .expect("a value")
    }

    #[test]
    fn cells_compare_as_in_sqlite() {
        let connection = Connection::open_in_memory().expect("a database");
        let hash = |cell: &Cell| {
            let mut hasher = std::hash::DefaultHasher::new();
            cell.hash(&mut hasher);
            hasher.finish()
        };
        for a in VALUES {
            for b in VALUES {
                let sql = format!(
                    "select case when v is w then 0 when v is null then -1 when w is null then 1 when v < w then -1 else 1 end from (select {a} as v, {b} as w)"
                );
                let order: i64 = connection
                    .query_row(&sql, [], |r| r.get(0))
                    .expect("an order");
                let (left, right) = (cell(&connection, a), cell(&connection, b));
                assert_eq!(left.cmp(&right) as i64, order, "{a} and {b}");
                assert!(order != 0 || hash(&left) == hash(&right), "{a} and {b}");
            }
        }
    }

    #[test]
    fn parts_make_what_sqlite_makes_of_the_whole() {
        let connection = Connection::open_in_memory().expect("a database");
        let functions = [
            ("count(v)", Function::Count),
            ("count(distinct v)", Function::CountDistinct),
            ("sum(v)", Function::Sum),
            ("total(v)", Function::Total),
            ("avg(v)", Function::Avg),
            ("min(v)", Function::Min),
            ("max(v)", Function::Max),
        ];
        for picked in [
            &VALUES[..],
            &VALUES[..1],
            &VALUES[..6],
            &VALUES[1..3],
            &VALUES[6..7],
            &VALUES[12..],
            &["3", "4", "-9"],
        ] {
            let list: Vec<String> = picked.iter().map(|v| format!("({v})")).collect();
            for (call, function) in functions {
                let sql = format!(
                    "with t(v) as (values {}) select {call} from t",
                    list.join(",")
                );
                let whole = cell(&connection, &format!("({sql})"));
                for at in 0..=picked.len() {
                    let part = |values: &[&str]| {
                        let mut state = State::new(function);
                        for value in values {
                            let sql = format!("select {value}");
                            connection
                                .query_row(&sql, [], |row| {
                                    state.add(row.get_ref(0)?);
                                    Ok(())
                                })
                                .expect("a value");
                        }
                        state
                    };
                    let mut state = part(&picked[..at]);
                    state.merge(&part(&picked[at..]));
                    let merged = state.finish(function).expect("no overflow");
                    assert_eq!(
                        Cell::of((&merged).into()),
                        whole,
                        "{call} of {picked:?} at {at}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_sum_of_integers_that_is_none_is_an_error() {
        let mut state = State::new(Function::Sum);
        state.add(ValueRef::Integer(i64::MAX));
        state.add(ValueRef::Integer(1));
        assert!(state.finish(Function::Sum).is_err());
        state.add(ValueRef::Integer(-1));
        assert_eq!(state.finish(Function::Sum), Ok(Value::Integer(i64::MAX)));
    }
}
