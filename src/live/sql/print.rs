//! Expressions, checked and written anew for SQLite, always in the same way: what is not known is refused, names are
//! spelled as they were declared, intervals and `now()` are milliseconds, parentheses stand where they must.
//!
//! Who looks at what an expression is made of (`groups`) does so on what is written here, where equal ones are equal.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use sqlparser::ast::{BinaryOperator, Expr, Spanned, UnaryOperator};
use sqlparser::tokenizer::Location;

use crate::event::Topic;
use crate::live::schema::Schema;
use crate::live::sql::groups::Totals;
use crate::live::sql::interval;
use crate::live::sql::parse::refuse;
use crate::live::sql::source::Source;
use crate::problem::Problem;

/// The time of the evaluation, as a parameter.
pub const NOW: &str = ":now";

/// The time when a query of the dialect began.
pub const START: &str = ":start";

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
    /// Whether it is of the dialect that streams are read in: what differs from SQLite's is written for it.
    pub dialect: bool,
    /// What is read, where that is known: to tell where a clause is that the parser gives no place.
    pub sql: &'a str,
    /// What `now()` is: [`NOW`] or [`START`].
    pub now: Cell<&'static str>,
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
#[derive(Clone, Debug)]
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
            dialect: false,
            sql: "",
            now: Cell::new(NOW),
            depth: Cell::new(0),
        }
    }

    /// A new one for the same tables and dialect.
    pub fn like(&self) -> Printer<'a> {
        Printer {
            dialect: self.dialect,
            sql: self.sql,
            now: self.now.clone(),
            ..Printer::new(self.tables)
        }
    }

    /// A condition: in the dialect, the time in it is that of the query's beginning.
    pub fn condition<T>(&self, write: impl FnOnce() -> T) -> T {
        let now = self.now.get();
        self.now.set(if self.dialect { START } else { now });
        let written = write();
        self.now.set(now);
        written
    }

    /// The name of a column that was given none: what it is, in short.
    pub fn titled(&self, expr: &Expr) -> Written<String> {
        let mut printer = self.like();
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

    /// In parentheses if it is weaker than that.
    pub fn held(&self, expr: &Expr, level: Level) -> Written<String> {
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
        use Level::{Atom, Not, Unary};
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
            Expr::Function(function) => return self.function(function),
            Expr::Subquery(query) => Piece::atom(format!("({})", self.subquery(query)?)),
            Expr::Tuple(list) => Piece::atom(format!("({})", self.texts(list)?)),
            _ => return self.predicate(expr),
        })
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
        if self.dialect && matches!(op, Op::Divide) && !self.naming {
            // There, the quotient of whole numbers is none.
            let (left, right) = (self.text(left)?, self.held(right, stronger)?);
            return Ok(Piece::new(format!("cast({left} as real) / {right}"), level));
        }
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

/// A refusal of what SQLite has not, or strangers may not.
pub fn unknown(expr: &Expr, what: &str) -> Problem {
    let (at, what) = match expr {
        // The parser knows no place of it.
        Expr::RLike { expr: of, .. } => (of.span().start, "REGEXP"),
        Expr::Array(_) => (expr.span().start, "an array"),
        Expr::CompoundFieldAccess { .. } => (expr.span().start, "[…]"),
        _ => (expr.span().start, what),
    };
    refuse(at, format!("{what} cannot be used here"))
}
