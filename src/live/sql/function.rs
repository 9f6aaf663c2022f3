//! Calls: `now()`, functions by their usual names, FILTER and OVER.

use sqlparser::ast::Spanned;
use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, ObjectName, ObjectNamePart, OrderByExpr, Value, WindowFrame,
    WindowFrameBound, WindowSpec, WindowType,
};

use crate::live::sandbox::functions::{AGGREGATES, SCALARS, WINDOWS};
use crate::live::sql::dialect::functions;
use crate::live::sql::names::nearest;
use crate::live::sql::parse::refuse;
use crate::live::sql::print::{Level, Piece, Printer, Written};
use crate::problem::Problem;

/// Functions of time that take the present when they are told none, or `'now'`; and how many arguments come before.
pub const OF_TIME: [(&str, usize); 6] = [
    ("date", 0),
    ("datetime", 0),
    ("julianday", 0),
    ("strftime", 1),
    ("time", 0),
    ("unixepoch", 0),
];

/// A call, taken apart.
pub struct Call<'e> {
    /// In lower case, as SQLite or the sandbox calls it.
    pub name: String,
    pub arguments: Vec<&'e Expr>,
    /// `count(*)`.
    pub star: bool,
    pub distinct: bool,
    /// In which order it takes the rows.
    pub order_by: &'e [OrderByExpr],
    pub filter: Option<&'e Expr>,
    pub over: Option<&'e WindowSpec>,
}

impl Call<'_> {
    /// Whether it is an aggregate of a group, and not of a window: `min` and `max` of several arguments are not.
    pub fn is_aggregate(&self) -> bool {
        let of_rows = !["min", "max"].contains(&self.name.as_str()) || self.arguments.len() == 1;
        self.over.is_none() && of_rows && AGGREGATES.contains(&self.name.as_str())
    }
}

/// Takes a call apart.
///
/// # Errors
/// 400 for a function that there is not, and for clauses that are not known.
pub fn call(function: &Function) -> Result<Call<'_>, Problem> {
    let at = function.name.span().start;
    let other = |what: &str| Err(refuse(at, format!("{what} cannot be used in a call here")));
    let written = single(&function.name).unwrap_or_default();
    let name = match written.as_str() {
        "ceiling" => "ceil",
        "mean" => "avg",
        "power" => "pow",
        "printf" => "format",
        "stddev" => "stddev_samp",
        "substring" => "substr",
        "variance" => "var_samp",
        "if" => "iif",
        name => name,
    }
    .to_owned();
    if name.starts_with("current_") {
        let why = format!("write now() for the present, in milliseconds; there is no {name}");
        return Err(refuse(at, why));
    }
    let mut known = SCALARS.iter().chain(AGGREGATES).chain(WINDOWS).copied();
    if name != "now" && !known.any(|k| k == name) && !functions::is_of_dialect(&name) {
        let known = SCALARS.iter().chain(AGGREGATES).chain(WINDOWS).copied();
        let hint = nearest(&written, known.chain(["now"]));
        return Err(refuse(
            at,
            format!("there is no function {}{hint}", function.name),
        ));
    }
    if !matches!(function.parameters, FunctionArguments::None) {
        return other("a second list of arguments");
    }
    if function.null_treatment.is_some() || !function.within_group.is_empty() {
        return other("IGNORE NULLS, RESPECT NULLS or WITHIN GROUP");
    }
    let mut call = Call {
        name,
        arguments: Vec::new(),
        star: false,
        distinct: false,
        order_by: &[],
        filter: function.filter.as_deref(),
        over: match &function.over {
            None => None,
            Some(WindowType::WindowSpec(spec)) => Some(spec),
            Some(WindowType::NamedWindow(_)) => return other("a named window"),
        },
    };
    match &function.args {
        FunctionArguments::None => {}
        FunctionArguments::Subquery(_) => return other("a query without parentheses of its own"),
        FunctionArguments::List(list) => {
            match list.clauses.as_slice() {
                [] => {}
                [FunctionArgumentClause::OrderBy(terms)]
                    if AGGREGATES.contains(&call.name.as_str()) =>
                {
                    call.order_by = terms;
                }
                _ => return other("LIMIT or another clause between the arguments"),
            }
            call.distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
            for argument in &list.args {
                match argument {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => call.arguments.push(expr),
                    FunctionArg::Unnamed(FunctionArgExpr::Wildcard)
                        if call.name == "count" && list.args.len() == 1 && !call.distinct =>
                    {
                        call.star = true;
                    }
                    argument => return other(&format!("the argument {argument}")),
                }
            }
        }
    }
    Ok(call)
}

/// A name of one part, in lower case.
pub fn single(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => Some(name.value.to_ascii_lowercase()),
        _ => None,
    }
}

impl Printer<'_> {
    pub fn function(&self, function: &Function) -> Written {
        let call = call(function)?;
        if self.dialect && !call.order_by.is_empty() {
            let at = function.name.span().start;
            return Err(refuse(at, "ORDER BY cannot be used in a call here"));
        }
        if functions::is_of_dialect(&call.name) {
            return match self.dialect {
                true => self.of_dialect(function, &call),
                false => Err(refuse(
                    function.name.span().start,
                    format!("there is no function {}", function.name),
                )),
            };
        }
        if call.name == "now" {
            if !call.arguments.is_empty() || call.over.is_some() || call.filter.is_some() {
                let at = function.name.span().start;
                return Err(refuse(at, "now() takes no arguments"));
            }
            self.seen.now.set(true);
            return Ok(Piece::atom(match self.naming {
                true => "now()",
                false => self.now.get(),
            }));
        }
        if call.is_aggregate() {
            self.seen.aggregate.set(true);
        }
        if call.over.is_some() || call.name == "random" {
            self.seen.whole.set(true);
        }
        let mut list = self.arguments(&call)?;
        if !call.order_by.is_empty() {
            // Parts that are kept apart have no order.
            self.seen.whole.set(true);
            list += &format!(" order by {}", self.ordering(call.order_by)?);
        }
        let distinct = if call.distinct { "distinct " } else { "" };
        let name = match self.naming {
            true => &single(&function.name).unwrap_or_default(),
            false => &call.name,
        };
        let mut text = format!("{name}({distinct}{list})");
        if let Some(filter) = call.filter {
            text += &format!(" filter (where {})", self.text(filter)?);
        }
        if let Some(over) = call.over {
            text += &format!(" over ({})", self.window(over)?);
        }
        Ok(Piece::atom(text))
    }

    /// The present is the time of the evaluation, not SQLite's own.
    pub fn arguments(&self, call: &Call<'_>) -> Written<String> {
        if call.star {
            return Ok("*".to_owned());
        }
        let mut list = Vec::new();
        for argument in &call.arguments {
            list.push(self.text(argument)?);
        }
        let of_time = OF_TIME.iter().find(|(name, _)| *name == call.name);
        if let Some((_, at)) = of_time.filter(|_| !self.naming) {
            let is_now = match call.arguments.get(*at) {
                None => list.len() == *at,
                Some(Expr::Value(value)) => {
                    matches!(&value.value, Value::SingleQuotedString(s) if s.eq_ignore_ascii_case("now"))
                }
                Some(_) => false,
            };
            if is_now {
                self.seen.now.set(true);
                list.splice(
                    *at..list.len().min(at + 1),
                    [
                        format!("{} / 1000.0", self.now.get()),
                        "'unixepoch'".to_owned(),
                    ],
                );
            }
        }
        Ok(list.join(", "))
    }

    fn window(&self, spec: &WindowSpec) -> Written<String> {
        let mut parts = Vec::new();
        if let Some(name) = &spec.window_name {
            return Err(refuse(name.span.start, "named windows cannot be used here"));
        }
        if !spec.partition_by.is_empty() {
            parts.push(format!("partition by {}", self.texts(&spec.partition_by)?));
        }
        if !spec.order_by.is_empty() {
            parts.push(format!("order by {}", self.ordering(&spec.order_by)?));
        }
        if let Some(WindowFrame {
            units,
            start_bound,
            end_bound,
        }) = &spec.window_frame
        {
            let units = units.to_string().to_ascii_lowercase();
            let first = self.bound(start_bound)?;
            parts.push(match end_bound {
                Some(last) => format!("{units} between {first} and {}", self.bound(last)?),
                None => format!("{units} {first}"),
            });
        }
        Ok(parts.join(" "))
    }

    fn bound(&self, bound: &WindowFrameBound) -> Written<String> {
        let (edge, word) = match bound {
            WindowFrameBound::CurrentRow => return Ok("current row".to_owned()),
            WindowFrameBound::Preceding(edge) => (edge, "preceding"),
            WindowFrameBound::Following(edge) => (edge, "following"),
        };
        Ok(match edge {
            None => format!("unbounded {word}"),
            Some(edge) => {
                format!("{} {word}", self.expr(edge)?.at_least(Level::Sum))
            }
        })
    }
}
