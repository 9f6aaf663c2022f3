//! Queries around expressions: SELECT and its clauses. Each clause that is not known is refused.

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, LimitClause, OrderBy, OrderByExpr, OrderByKind,
    OrderByOptions, OrderBySort, Query, Select, SelectFlavor, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier, Spanned, Values,
    WildcardAdditionalOptions, With,
};
use sqlparser::tokenizer::Location;

use crate::live::sql::function::single;
use crate::live::sql::names::{nearest, quoted};
use crate::live::sql::parse::{last_word, refuse};
use crate::live::sql::print::{Level, Printer, Written, start};
use crate::problem::Problem;

impl Printer<'_> {
    /// A query, with its own common table expressions.
    pub fn query(&self, query: &Query) -> Written<String> {
        let outer = self.with.borrow().len();
        let written = self.deeper(query.span().start, || self.query_here(query));
        self.with.borrow_mut().truncate(outer);
        written
    }

    /// A query within an expression.
    pub fn subquery(&self, query: &Query) -> Written<String> {
        if self.naming {
            return Ok("select".to_owned());
        }
        self.seen.whole.set(true);
        self.query(query)
    }

    fn query_here(&self, query: &Query) -> Written<String> {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        let at = query.span().start;
        for (is_there, clause) in [
            (fetch.is_some(), "FETCH (write LIMIT)"),
            (!locks.is_empty() || for_clause.is_some(), "FOR"),
            (settings.is_some(), "SETTINGS"),
            (format_clause.is_some(), "FORMAT"),
            (!pipe_operators.is_empty(), "|>"),
        ] {
            if is_there {
                let place = clause_at(self.sql, clause, at);
                return Err(refuse(place, format!("{clause} cannot be used here")));
            }
        }
        let mut text = String::new();
        if let Some(with) = with {
            text += &self.with(with)?;
        }
        text += &self.set(body)?;
        if let Some(order_by) = order_by {
            text += &format!(" order by {}", self.order_by(order_by)?);
        }
        if let Some(limit) = limit_clause {
            text += &self.limit(limit)?;
        }
        Ok(text)
    }

    fn with(&self, with: &With) -> Written<String> {
        let names = with
            .cte_tables
            .iter()
            .map(|t| t.alias.name.value.to_ascii_lowercase());
        self.with.borrow_mut().extend(names);
        let mut tables = Vec::new();
        for table in &with.cte_tables {
            if let Some(from) = &table.from {
                return Err(refuse(from.span.start, "FROM cannot be used here"));
            }
            let alias = self.alias(&table.alias)?;
            tables.push(format!("{alias} as ({})", self.query(&table.query)?));
        }
        let recursive = if with.recursive { "recursive " } else { "" };
        Ok(format!("with {recursive}{} ", tables.join(", ")))
    }

    fn set(&self, body: &SetExpr) -> Written<String> {
        self.deeper(Location::empty(), || match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => Ok(format!("select * from ({})", self.query(query)?)),
            SetExpr::Values(values) => self.values(values),
            SetExpr::SetOperation {
                left,
                op,
                set_quantifier,
                right,
            } => {
                let op = match (op, set_quantifier) {
                    (SetOperator::Union, SetQuantifier::All) => "union all",
                    (SetOperator::Union, SetQuantifier::None | SetQuantifier::Distinct) => "union",
                    (SetOperator::Except, SetQuantifier::None) => "except",
                    (SetOperator::Intersect, SetQuantifier::None) => "intersect",
                    _ => {
                        let why = format!("{op} {set_quantifier} cannot be used here");
                        return Err(refuse(body.span().start, why));
                    }
                };
                // SQLite goes from left to right and knows no parentheses.
                let right = match &**right {
                    nested @ SetExpr::SetOperation { .. } => {
                        format!("select * from ({})", self.set(nested)?)
                    }
                    plain => self.set(plain)?,
                };
                Ok(format!("{} {op} {right}", self.set(left)?))
            }
            _ => Err(refuse(
                body.span().start,
                "only SELECT can be used here: nothing is written or changed",
            )),
        })
    }

    fn values(&self, values: &Values) -> Written<String> {
        let mut rows = Vec::new();
        for row in &values.rows {
            rows.push(format!("({})", self.texts(&row.content)?));
        }
        Ok(format!("values {}", rows.join(", ")))
    }

    fn select(&self, select: &Select) -> Written<String> {
        let parts = Parts::of(select, self.sql)?;
        let distinct = if parts.distinct { "distinct " } else { "" };
        let mut text = format!("select {distinct}{}", self.items(&select.projection)?);
        if !select.from.is_empty() {
            text += &format!(" from {}", self.from(&select.from)?);
        }
        let mut terms: Vec<String> = self.filter().into_iter().collect();
        if let Some(condition) = &select.selection {
            let level = if terms.is_empty() {
                Level::Or
            } else {
                Level::Not
            };
            terms.push(self.condition(|| self.held(condition, level))?);
        }
        if !terms.is_empty() {
            text += &format!(" where {}", terms.join(" and "));
        }
        if !parts.group_by.is_empty() {
            text += &format!(" group by {}", self.texts(parts.group_by)?);
        }
        if let Some(condition) = &select.having {
            text += &format!(" having {}", self.text(condition)?);
        }
        Ok(text)
    }

    /// What the subquery that the source stands for holds rows to.
    fn filter(&self) -> Option<String> {
        let filter = self.source.and_then(|source| source.filter());
        filter.map(str::to_owned)
    }

    /// The select list, each with the name that its column has in the result.
    pub fn items(&self, projection: &[SelectItem]) -> Written<String> {
        let mut items = Vec::new();
        for item in projection {
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    let name = quoted(&self.titled(expr)?);
                    let text = self.text(expr)?;
                    items.push(if text == name {
                        text
                    } else {
                        format!("{text} as {name}")
                    });
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    let name = quoted(&alias.value);
                    let text = self.text(expr)?;
                    items.push(if text == name {
                        text
                    } else {
                        format!("{text} as {name}")
                    });
                }
                SelectItem::Wildcard(options) => items.push(self.star(None, options)?),
                SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(table),
                    options,
                ) => {
                    let at = table.span().start;
                    let name = single(table).ok_or_else(|| refuse(at, "write table.*"))?;
                    items.push(self.star(Some((name, at)), options)?);
                }
                other => {
                    let why = format!("{other} cannot be selected");
                    return Err(refuse(other.span().start, why));
                }
            }
        }
        Ok(items.join(", "))
    }

    fn star(
        &self,
        table: Option<(String, Location)>,
        options: &WildcardAdditionalOptions,
    ) -> Written<String> {
        let plain = WildcardAdditionalOptions {
            wildcard_token: options.wildcard_token.clone(),
            ..WildcardAdditionalOptions::default()
        };
        if *options != plain {
            let at = options.wildcard_token.0.span.start;
            return Err(refuse(at, "* cannot be changed; name the columns"));
        }
        if let (Some(source), Some((name, at))) = (self.source, &table)
            && !source.answers_to(name)
        {
            let hint = nearest(name, [source.alias()]);
            return Err(refuse(*at, format!("there is no table {name} here{hint}")));
        }
        if let Some(source) = self.source {
            let names: Vec<SelectItem> = source
                .names()
                .map(|name| SelectItem::UnnamedExpr(Expr::Identifier(Ident::new(name))))
                .collect();
            return self.items(&names);
        }
        Ok(match table {
            Some((name, _)) => format!("{}.*", quoted(&name)),
            None => "*".to_owned(),
        })
    }

    pub fn order_by(&self, order_by: &OrderBy) -> Written<String> {
        match order_by {
            OrderBy {
                kind: OrderByKind::Expressions(terms),
                interpolate: None,
            } => self.ordering(terms),
            other => Err(refuse(other.span().start, "ORDER BY takes expressions")),
        }
    }

    pub fn ordering(&self, terms: &[OrderByExpr]) -> Written<String> {
        let mut written = Vec::new();
        for OrderByExpr {
            expr,
            options,
            with_fill,
        } in terms
        {
            let OrderByOptions { sort, nulls_first } = options;
            let sort = match sort {
                None | Some(OrderBySort::Asc) => "",
                Some(OrderBySort::Desc) => " desc",
                Some(OrderBySort::Using(_)) => {
                    return Err(refuse(start(expr), "USING cannot be used here"));
                }
            };
            if with_fill.is_some() {
                return Err(refuse(start(expr), "WITH FILL cannot be used here"));
            }
            let nulls = match nulls_first {
                None => "",
                Some(true) => " nulls first",
                Some(false) => " nulls last",
            };
            // A name alone is that of a column of the result, if there is one.
            let text = match expr {
                Expr::Identifier(name) if self.is_alias(name) => {
                    quoted(&name.value.to_ascii_lowercase())
                }
                expr => self.text(expr)?,
            };
            written.push(format!("{text}{sort}{nulls}"));
        }
        Ok(written.join(", "))
    }

    fn is_alias(&self, name: &Ident) -> bool {
        self.aliases.contains_key(&name.value.to_ascii_lowercase())
    }

    pub fn limit(&self, clause: &LimitClause) -> Written<String> {
        let (limit, offset) = match clause {
            LimitClause::LimitOffset {
                limit,
                offset,
                limit_by,
            } if limit_by.is_empty() => (limit.as_ref(), offset.as_ref().map(|o| &o.value)),
            LimitClause::OffsetCommaLimit { offset, limit } => (Some(limit), Some(offset)),
            LimitClause::LimitOffset { .. } => {
                let at = last_word(self.sql, "by");
                return Err(refuse(at, "LIMIT BY cannot be used here"));
            }
        };
        let limit = limit.map_or(Ok("-1".to_owned()), |limit| self.text(limit))?;
        Ok(match offset {
            None => format!(" limit {limit}"),
            Some(offset) => format!(" limit {limit} offset {}", self.text(offset)?),
        })
    }
}

/// Where a clause is that begins with a word, or else what it is part of.
fn clause_at(sql: &str, clause: &str, of: Location) -> Location {
    let word = clause.split(' ').next().unwrap_or(clause);
    match last_word(sql, word) {
        place if place.line > 0 => place,
        _ => of,
    }
}

/// The clauses of a SELECT that are not written as they stand.
pub struct Parts<'e> {
    pub distinct: bool,
    pub group_by: &'e [Expr],
}

impl Parts<'_> {
    /// Looks at all clauses that a SELECT of any dialect can have; `sql` is what it is read from, if that is known.
    pub fn of<'s>(select: &'s Select, sql: &str) -> Result<Parts<'s>, Problem> {
        let Select {
            select_token,
            optimizer_hints,
            distinct,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection: _,
            exclude,
            into,
            from: _,
            lateral_views,
            prewhere,
            selection: _,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having: _,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        let at = select_token.0.span.start;
        let (group_by, modified) = match group_by {
            GroupByExpr::Expressions(list, modifiers) => (list.as_slice(), !modifiers.is_empty()),
            GroupByExpr::All(_) => (&[][..], true),
        };
        for (is_there, clause) in [
            (into.is_some(), "INTO"),
            (top.is_some(), "TOP (write LIMIT)"),
            (modified, "GROUP BY ALL, ROLLUP, CUBE and the like"),
            (!named_window.is_empty(), "WINDOW (write it after OVER)"),
            (qualify.is_some(), "QUALIFY"),
            (!lateral_views.is_empty(), "LATERAL VIEW"),
            (prewhere.is_some(), "PREWHERE"),
            (!connect_by.is_empty(), "CONNECT BY"),
            (!cluster_by.is_empty(), "CLUSTER BY"),
            (!distribute_by.is_empty(), "DISTRIBUTE BY"),
            (!sort_by.is_empty(), "SORT BY"),
            (exclude.is_some(), "EXCLUDE"),
            (
                !optimizer_hints.is_empty() || select_modifiers.is_some(),
                "a hint",
            ),
            (value_table_mode.is_some(), "SELECT AS"),
            (*flavor != SelectFlavor::Standard, "FROM before SELECT"),
            (matches!(distinct, Some(Distinct::On(_))), "DISTINCT ON"),
        ] {
            if is_there {
                let place = clause_at(sql, clause, at);
                return Err(refuse(place, format!("{clause} cannot be used here")));
            }
        }
        Ok(Parts {
            distinct: matches!(distinct, Some(Distinct::Distinct)),
            group_by,
        })
    }
}
