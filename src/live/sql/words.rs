//! Operators that are words: predicates such as IN, BETWEEN and LIKE, and calls that have a syntax of their own, such as
//! CAST, CASE and `trim(both … from …)`.

use sqlparser::ast::{CaseWhen, CeilFloorKind, DateTimeField, Expr, TrimWhereField};

use crate::live::sql::atoms::held_as;
use crate::live::sql::parse::refuse;
use crate::live::sql::print::{Level, Piece, Printer, Written, start, unknown};

impl Printer<'_> {
    /// What is true or false, or a call.
    pub fn predicate(&self, expr: &Expr) -> Written {
        use Level::{Compare, Not};
        let negation = |negated: bool| if negated { "not " } else { "" };
        Ok(match expr {
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
            Expr::Exists { subquery, negated } => {
                let query = self.subquery(subquery)?;
                match negated {
                    true => Piece::new(format!("not exists ({query})"), Not),
                    false => Piece::atom(format!("exists ({query})")),
                }
            }
            _ => return self.call_of_words(expr),
        })
    }

    fn call_of_words(&self, expr: &Expr) -> Written {
        Ok(match expr {
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
                    format!("{} collate {name}", self.held(of, Level::Collate)?),
                    Level::Collate,
                )
            }
            Expr::Case {
                operand,
                conditions,
                else_result,
                ..
            } => self.case(operand.as_deref(), conditions, else_result.as_deref())?,
            Expr::Ceil {
                expr: of,
                field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime),
            } => Piece::atom(format!("ceil({})", self.text(of)?)),
            Expr::Floor {
                expr: of,
                field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime),
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
            _ => return Err(unknown(expr, "this")),
        })
    }

    fn is(&self, of: &Expr, what: &str) -> Written {
        let of = self.held(of, Level::Bits)?;
        Ok(Piece::new(format!("{of} is {what}"), Level::Compare))
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
}
