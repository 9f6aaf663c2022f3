//! Expressions, checked and written anew for SQLite, always in the same way: what is not known is refused, names are
//! spelled as they were declared, intervals and `now()` are milliseconds, parentheses stand where they must.
//!
//! Who looks at what an expression is made of (`groups`) does so on what is written here, where equal ones are equal.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use sqlparser::ast::{
    BinaryOperator, CaseWhen, CeilFloorKind, Expr, Ident, Spanned, TrimWhereField, UnaryOperator,
    Value, ValueWithSpan,
};
use sqlparser::tokenizer::Location;

use crate::event::Topic;
use crate::live::schema::Schema;
use crate::live::sql::groups::Totals;
use crate::live::sql::interval;
use crate::live::sql::names::{nearest, quoted, said};
use crate::live::sql::parse::refuse;
use crate::live::sql::query::Source;
use crate::problem::Problem;

/// Levels of an expression; chains of AND and OR count little.
const LEVELS: usize = 220;

/// Writes a query. It takes note of what it sees in passing.
pub struct Printer<'a> {
    /// All tables, by their names in lower case.
    pub tables: &'a BTreeMap<String, Schema>,
    /// The one table that the query reads, when it reads one and nothing in it is nested: then each name is known.
    pub source: Option<&'a Source<'a>>,
    /// Aliases of the select list, by their names in lower case, for names that are no columns.
    pub aliases: BTreeMap<String, &'a Expr>,
    /// Set while the result of groups is written: keys and aggregates stand for themselves.
    pub totals: Option<&'a Totals>,
    /// Names of the common table expressions that can be read here.
    pub with: RefCell<Vec<String>>,
    pub seen: Seen,
    /// Whether names of columns are made: as people read them, and not for SQLite.
    pub naming: bool,
    depth: Cell<usize>,
}

/// What was in what was written.
#[derive(Default)]
pub struct Seen {
    pub tables: RefCell<Vec<Topic>>,
    /// `now()`.
    pub now: Cell<bool>,
    /// An aggregate function.
    pub aggregate: Cell<bool>,
    /// A subquery, a window function, a collation or chance: what only the whole can tell.
    pub whole: Cell<bool>,
}

/// An expression as text, and how strongly it holds together.
pub struct Piece {
    pub text: String,
    pub level: Level,
}

/// From the weakest to the strongest: https://www.sqlite.org/lang_expr.html
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Or,
    And,
    Not,
    Compare,
    Bits,
    Sum,
    Product,
    Concat,
    Collate,
    Unary,
    Atom,
}

impl Piece {
    pub fn new(text: impl Into<String>, level: Level) -> Piece {
        Piece {
            text: text.into(),
            level,
        }
    }

    pub fn atom(text: impl Into<String>) -> Piece {
        Piece::new(text, Level::Atom)
    }

    /// In parentheses if it is weaker.
    pub fn at_least(self, level: Level) -> String {
        if self.level >= level {
            self.text
        } else {
            format!("({})", self.text)
        }
    }
}

pub type Written<T = Piece> = Result<T, Problem>;

impl<'a> Printer<'a> {
    pub fn new(tables: &'a BTreeMap<String, Schema>) -> Printer<'a> {
        Printer {
            tables,
            source: None,
            aliases: BTreeMap::new(),
            totals: None,
            with: RefCell::default(),
            seen: Seen::default(),
            naming: false,
            depth: Cell::new(0),
        }
    }

    /// The name of a column that was given none: what it is, in short.
    pub fn titled(&self, expr: &Expr) -> Written<String> {
        let mut printer = Printer::new(self.tables);
        printer.source = self.source;
        printer.naming = true;
        printer.text(expr)
    }

    /// An expression where any may stand.
    pub fn text(&self, expr: &Expr) -> Written<String> {
        self.expr(expr).map(|piece| piece.text)
    }

    pub fn texts<'e>(&self, list: impl IntoIterator<Item = &'e Expr>) -> Written<String> {
        let texts: Vec<String> = list
            .into_iter()
            .map(|e| self.text(e))
            .collect::<Result<_, _>>()?;
        Ok(texts.join(", "))
    }

    fn held(&self, expr: &Expr, level: Level) -> Written<String> {
        self.expr(expr).map(|piece| piece.at_least(level))
    }

    pub fn expr(&self, expr: &Expr) -> Written {
        self.deeper(start(expr), || match self.totals {
            Some(totals) => totals.stand_in(self, expr),
            None => self.plain(expr),
        })
    }

    /// Counts levels, of expressions and of queries.
    pub fn deeper<T>(&self, at: Location, write: impl FnOnce() -> Written<T>) -> Written<T> {
        let depth = self.depth.get();
        if depth == LEVELS {
            return Err(refuse(
                at,
                format!("nested too deep: {LEVELS} levels are the most; write a simpler query"),
            ));
        }
        self.depth.set(depth + 1);
        let written = write();
        self.depth.set(depth);
        written
    }

    /// What an expression is made of, written.
    pub fn plain(&self, expr: &Expr) -> Written {
        use Level::{Atom, Collate, Compare, Not, Unary};
        let negation = |negated: bool| if negated { "not " } else { "" };
        Ok(match expr {
            Expr::Nested(inner) => return self.expr(inner),
            Expr::Identifier(name) => return self.name(name),
            Expr::CompoundIdentifier(path) => return self.path(path),
            Expr::Value(value) => self.value(value)?,
            Expr::Interval(i) => {
                let millis = interval::millis(i, start(expr))?;
                Piece::atom(if self.naming {
                    interval::said(millis)
                } else {
                    millis.to_string()
                })
            }
            Expr::BinaryOp { left, op, right } => return self.binary(expr, left, op, right),
            Expr::UnaryOp { op, expr: of } => match op {
                UnaryOperator::Not => Piece::new(format!("not {}", self.held(of, Not)?), Not),
                // Not nothing: it takes a column's affinity away.
                UnaryOperator::Plus => Piece::new(format!("+{}", self.held(of, Atom)?), Unary),
                UnaryOperator::Minus => Piece::new(format!("-{}", self.held(of, Atom)?), Unary),
                UnaryOperator::BitwiseNot => {
                    Piece::new(format!("~{}", self.held(of, Atom)?), Unary)
                }
                other => return Err(unknown(expr, &format!("the operator {other}"))),
            },
            Expr::IsTrue(of) => self.is(of, "true")?,
            Expr::IsNotTrue(of) => self.is(of, "not true")?,
            Expr::IsFalse(of) => self.is(of, "false")?,
            Expr::IsNotFalse(of) => self.is(of, "not false")?,
            Expr::IsNull(of) | Expr::IsUnknown(of) => self.is(of, "null")?,
            Expr::IsNotNull(of) | Expr::IsNotUnknown(of) => self.is(of, "not null")?,
            Expr::IsDistinctFrom(a, b) => {
                let b = self.held(b, Level::Bits)?;
                self.is(a, &format!("not {b}"))?
            }
            Expr::IsNotDistinctFrom(a, b) => {
                let b = self.held(b, Level::Bits)?;
                self.is(a, &b)?
            }
            Expr::InList {
                expr: of,
                list,
                negated,
            } => {
                let of = self.held(of, Level::Bits)?;
                let list = self.texts(list)?;
                Piece::new(format!("{of} {}in ({list})", negation(*negated)), Compare)
            }
            Expr::InSubquery {
                expr: of,
                subquery,
                negated,
            } => {
                let of = self.held(of, Level::Bits)?;
                let query = self.subquery(subquery)?;
                Piece::new(format!("{of} {}in ({query})", negation(*negated)), Compare)
            }
            Expr::Between {
                expr: of,
                negated,
                low,
                high,
            } => {
                let of = self.held(of, Level::Bits)?;
                let (low, high) = (self.held(low, Level::Bits)?, self.held(high, Level::Bits)?);
                let not = negation(*negated);
                Piece::new(format!("{of} {not}between {low} and {high}"), Compare)
            }
            // Without case for ASCII, as SQLite's LIKE is anyway.
            Expr::Like {
                negated,
                any: false,
                expr: of,
                pattern,
                escape_char,
            }
            | Expr::ILike {
                negated,
                any: false,
                expr: of,
                pattern,
                escape_char,
            } => {
                let of = self.held(of, Level::Bits)?;
                let pattern = self.held(pattern, Level::Bits)?;
                let escape = match escape_char {
                    Some(by) => format!(" escape {}", self.held(by, Level::Bits)?),
                    None => String::new(),
                };
                Piece::new(
                    format!("{of} {}like {pattern}{escape}", negation(*negated)),
                    Compare,
                )
            }
            Expr::Cast {
                expr: of,
                data_type,
                format: None,
                ..
            } => {
                let name = held_as(data_type).ok_or_else(|| {
                    refuse(
                        start(of),
                        format!("nothing can be cast to {data_type}: take integer, real, text or numeric"),
                    )
                })?;
                Piece::atom(format!("cast({} as {name})", self.text(of)?))
            }
            Expr::Collate {
                expr: of,
                collation,
            } => {
                self.seen.whole.set(true);
                let name = collation.to_string().to_ascii_lowercase();
                if !["binary", "nocase", "rtrim"].contains(&name.as_str()) {
                    let why = format!("no collation {name}: there are binary, nocase and rtrim");
                    return Err(refuse(start(expr), why));
                }
                Piece::new(
                    format!("{} collate {name}", self.held(of, Collate)?),
                    Collate,
                )
            }
            Expr::Case {
                operand,
                conditions,
                else_result,
                ..
            } => self.case(operand.as_deref(), conditions, else_result.as_deref())?,
            Expr::Function(function) => return self.function(function),
            Expr::Ceil {
                expr: of,
                field: CeilFloorKind::DateTimeField(sqlparser::ast::DateTimeField::NoDateTime),
            } => Piece::atom(format!("ceil({})", self.text(of)?)),
            Expr::Floor {
                expr: of,
                field: CeilFloorKind::DateTimeField(sqlparser::ast::DateTimeField::NoDateTime),
            } => Piece::atom(format!("floor({})", self.text(of)?)),
            Expr::Position { expr: part, r#in } => {
                Piece::atom(format!("instr({}, {})", self.text(r#in)?, self.text(part)?))
            }
            Expr::Substring {
                expr: of,
                substring_from,
                substring_for,
                ..
            } => {
                let list = [Some(of), substring_from.as_ref(), substring_for.as_ref()];
                let list = self.texts(list.into_iter().flatten().map(|e| &**e))?;
                Piece::atom(format!("substr({list})"))
            }
            Expr::Trim {
                trim_where,
                trim_what,
                expr: of,
                trim_characters,
            } => {
                let name = match trim_where {
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                    Some(TrimWhereField::Both) | None => "trim",
                };
                let more = trim_characters.iter().flatten();
                let list = [&**of].into_iter().chain(trim_what.as_deref()).chain(more);
                Piece::atom(format!("{name}({})", self.texts(list)?))
            }
            Expr::Exists { subquery, negated } => {
                let query = self.subquery(subquery)?;
                match negated {
                    true => Piece::new(format!("not exists ({query})"), Not),
                    false => Piece::atom(format!("exists ({query})")),
                }
            }
            Expr::Subquery(query) => Piece::atom(format!("({})", self.subquery(query)?)),
            Expr::Tuple(list) => Piece::atom(format!("({})", self.texts(list)?)),
            _ => return Err(unknown(expr, "this")),
        })
    }

    fn is(&self, of: &Expr, what: &str) -> Written {
        let of = self.held(of, Level::Bits)?;
        Ok(Piece::new(format!("{of} is {what}"), Level::Compare))
    }

    fn binary(&self, expr: &Expr, left: &Expr, op: &BinaryOperator, right: &Expr) -> Written {
        use BinaryOperator as Op;
        let (sign, level) = match op {
            Op::And | Op::Or => return self.chain(expr, op),
            Op::Eq => ("=", Level::Compare),
            Op::NotEq => ("<>", Level::Compare),
            Op::Lt => ("<", Level::Compare),
            Op::LtEq => ("<=", Level::Compare),
            Op::Gt => (">", Level::Compare),
            Op::GtEq => (">=", Level::Compare),
            Op::BitwiseAnd => ("&", Level::Bits),
            Op::BitwiseOr => ("|", Level::Bits),
            Op::PGBitwiseShiftLeft => ("<<", Level::Bits),
            Op::PGBitwiseShiftRight => (">>", Level::Bits),
            Op::Plus => ("+", Level::Sum),
            Op::Minus => ("-", Level::Sum),
            Op::Multiply => ("*", Level::Product),
            Op::Divide => ("/", Level::Product),
            Op::Modulo => ("%", Level::Product),
            Op::StringConcat => ("||", Level::Concat),
            Op::Arrow => ("->", Level::Concat),
            Op::LongArrow => ("->>", Level::Concat),
            other => return Err(unknown(expr, &format!("the operator {other}"))),
        };
        let stronger = match level {
            Level::Compare => Level::Bits,
            Level::Bits => Level::Sum,
            Level::Sum => Level::Product,
            Level::Product => Level::Concat,
            _ => Level::Collate,
        };
        // From left to right, but for comparisons: theirs differ from dialect to dialect, so they say it.
        let first = if level == Level::Compare {
            stronger
        } else {
            level
        };
        let (left, right) = (self.held(left, first)?, self.held(right, stronger)?);
        Ok(Piece::new(format!("{left} {sign} {right}"), level))
    }

    /// A chain of AND or of OR, however long: SQLite counts its levels, so a long one is written as a tree.
    fn chain(&self, expr: &Expr, op: &BinaryOperator) -> Written {
        let (word, level, stronger) = match op {
            BinaryOperator::And => (" and ", Level::And, Level::Not),
            _ => (" or ", Level::Or, Level::And),
        };
        let mut terms = Vec::new();
        for term in links(expr, op) {
            terms.push(self.held(term, stronger)?);
        }
        Ok(Piece::new(balanced(&terms, word), level))
    }

    fn case(
        &self,
        operand: Option<&Expr>,
        conditions: &[CaseWhen],
        other: Option<&Expr>,
    ) -> Written {
        let mut text = "case".to_owned();
        if let Some(operand) = operand {
            text += &format!(" {}", self.text(operand)?);
        }
        for CaseWhen { condition, result } in conditions {
            text += &format!(
                " when {} then {}",
                self.text(condition)?,
                self.text(result)?
            );
        }
        if let Some(other) = other {
            text += &format!(" else {}", self.text(other)?);
        }
        Ok(Piece::atom(text + " end"))
    }

    fn value(&self, value: &ValueWithSpan) -> Written {
        let at = value.span.start;
        Ok(Piece::atom(match &value.value {
            Value::Number(digits, false) => digits.to_ascii_lowercase(),
            Value::SingleQuotedString(text) => said(text),
            Value::Boolean(true) => "true".to_owned(),
            Value::Boolean(false) => "false".to_owned(),
            Value::Null => "null".to_owned(),
            Value::Placeholder(name) => {
                return Err(refuse(
                    at,
                    format!("the parameter {name} has no value here; write it out"),
                ));
            }
            other => return Err(refuse(at, format!("{other} is no number and no 'text'"))),
        }))
    }

    /// A column of the one table, or whatever SQLite finds by this name.
    fn name(&self, name: &Ident) -> Written {
        let key = name.value.to_ascii_lowercase();
        if ["rowid", "_rowid_", "oid"].contains(&key.as_str()) {
            return Err(refuse(
                name.span.start,
                format!("there is no column {}", name.value),
            ));
        }
        let Some(source) = self.source else {
            return Ok(Piece::atom(if self.naming {
                self.spelled(&key).unwrap_or(&key).to_owned()
            } else {
                quoted(&key)
            }));
        };
        if self.naming {
            return Ok(Piece::atom(source.spelled(&key).unwrap_or(&key)));
        }
        if let Some(piece) = source.column(&key) {
            return Ok(piece);
        }
        if self.aliases.contains_key(&key) {
            return Ok(Piece::atom(quoted(&key)));
        }
        let known = source
            .names()
            .chain(self.aliases.keys().map(String::as_str));
        let hint = nearest(&name.value, known);
        Err(refuse(
            name.span.start,
            format!("there is no column {}{hint}", name.value),
        ))
    }

    /// A column of any table as it was declared.
    fn spelled(&self, key: &str) -> Option<&str> {
        let schemas = self.tables.values();
        let mut names = schemas.flat_map(|schema| schema.all_columns().map(|(name, _)| name));
        names.find(|name| name.eq_ignore_ascii_case(key))
    }

    fn path(&self, path: &[Ident]) -> Written {
        let [table, column] = path else {
            let at = path.first().map_or(Location::empty(), |p| p.span.start);
            return Err(refuse(at, "a column is named by itself or as table.column"));
        };
        if self.naming {
            return self.name(column);
        }
        match self.source {
            Some(source) if source.answers_to(&table.value) => {
                let key = column.value.to_ascii_lowercase();
                source.column(&key).ok_or_else(|| {
                    let hint = nearest(&column.value, source.names());
                    refuse(
                        column.span.start,
                        format!("there is no column {}{hint}", column.value),
                    )
                })
            }
            Some(source) => {
                let hint = nearest(&table.value, [source.alias()]);
                Err(refuse(
                    table.span.start,
                    format!("there is no table {} here{hint}", table.value),
                ))
            }
            None => {
                let column = self.name(column)?.text;
                let table = quoted(&table.value.to_ascii_lowercase());
                Ok(Piece::atom(format!("{table}.{column}")))
            }
        }
    }
}

/// The terms of a chain of one operator, without recursion.
pub fn links<'e>(expr: &'e Expr, op: &BinaryOperator) -> Vec<&'e Expr> {
    let mut terms = Vec::new();
    let mut rest = vec![expr];
    while let Some(next) = rest.pop() {
        match next {
            Expr::Nested(inner) => rest.push(inner),
            Expr::BinaryOp {
                left,
                op: same,
                right,
            } if same == op => {
                rest.push(right);
                rest.push(left);
            }
            term => terms.push(term),
        }
    }
    terms
}

fn balanced(terms: &[String], word: &str) -> String {
    const FEW: usize = 50;
    if terms.len() <= FEW {
        return terms.join(word);
    }
    let (left, right) = terms.split_at(terms.len() / 2);
    format!(
        "({}){word}({})",
        balanced(left, word),
        balanced(right, word)
    )
}

/// Where an expression begins, as far as the parser knows.
pub fn start(expr: &Expr) -> Location {
    // The parser finds it by looking at all that is in it: not on each level of a deep one.
    match expr {
        Expr::Identifier(name) => name.span.start,
        Expr::Value(value) => value.span.start,
        Expr::Function(function) => function.name.span().start,
        Expr::Case { case_token, .. } => case_token.0.span.start,
        Expr::Interval(interval) => start(&interval.value),
        Expr::CompoundIdentifier(path) => path.first().map_or(Location::empty(), |p| p.span.start),
        _ => Location::empty(),
    }
}

fn unknown(expr: &Expr, what: &str) -> Problem {
    refuse(expr.span().start, format!("{what} cannot be used here"))
}

/// What a type of a cast is called in SQLite.
fn held_as(data_type: &sqlparser::ast::DataType) -> Option<&'static str> {
    let name = data_type.to_string().to_ascii_lowercase();
    let word = name.split(|c: char| !c.is_ascii_alphabetic()).next()?;
    Some(match word {
        "int" | "integer" | "bigint" | "smallint" | "tinyint" | "uint" => "integer",
        "float" | "double" | "real" => "real",
        "text" | "string" | "varchar" | "char" | "character" => "text",
        "numeric" | "decimal" | "dec" => "numeric",
        _ => return None,
    })
}
