//! From text to a syntax tree, at a bounded cost: so many bytes, tokens, levels and attempts.

use std::cell::Cell;

use sqlparser::ast::{Expr, Query, UnaryOperator};
use sqlparser::dialect::Dialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::problem::Problem;

/// Levels of nesting. The parser and whoever walks its trees recurse; the stack of the thread allows for it.
const LEVELS: usize = 200;

/// Tokens: a tree that leans to one side is half as deep as it has tokens.
const TOKENS: usize = 10_000;

/// A refusal that says where.
pub fn refuse(at: Location, why: impl std::fmt::Display) -> Problem {
    // A place that the parser does not know is 0, 0.
    match at.line {
        0 => Problem::bad_request("sql", why.to_string()),
        line => Problem::bad_request("sql", format!("line {line}, column {}: {why}", at.column)),
    }
}

/// Reads one query.
///
/// # Errors
/// 400 with line and column; 413.
pub fn query(sql: &str, most_bytes: usize) -> Result<Query, Problem> {
    parsed(tokens(sql, most_bytes)?, sql)
}

/// The words and signs of a text.
///
/// # Errors
/// 400 with line and column; 413.
pub fn tokens(sql: &str, most_bytes: usize) -> Result<Vec<TokenWithSpan>, Problem> {
    if sql.len() > most_bytes {
        return Err(Problem::too_large(
            "the query",
            most_bytes as u64,
            "query-bytes",
        ));
    }
    if let Some(at) = sql.find('\0') {
        return Err(refuse(place(sql, at), "there is a NUL in the query"));
    }
    let tokens = Tokenizer::new(&Select::default(), sql)
        .tokenize_with_location()
        .map_err(|e| refuse(e.location, lower_first(&e.message)))?;
    if tokens.len() > TOKENS {
        return Err(Problem::bad_request(
            "sql",
            format!("the query has more than {TOKENS} words and signs; write a smaller one"),
        ));
    }
    Ok(tokens)
}

/// Reads one query from the tokens of a text.
///
/// # Errors
/// 400 with line and column.
pub fn parsed(tokens: Vec<TokenWithSpan>, sql: &str) -> Result<Query, Problem> {
    let dialect = Select::default();
    let mut words = tokens
        .iter()
        .filter(|t| !matches!(t.token, Token::Whitespace(_) | Token::LParen));
    match words.next() {
        None => return Err(Problem::bad_request("sql", "there is no query")),
        Some(first) => match &first.token {
            Token::Word(w) if matches!(w.keyword, Keyword::SELECT | Keyword::WITH) => {}
            other => {
                return Err(refuse(
                    first.span.start,
                    format!("only one SELECT can be run; this begins with {other}"),
                ));
            }
        },
    }
    dialect.attempts.set(1_000 + 50 * tokens.len());
    let is_deep = is_too_deep(&tokens);
    let tokens = spelled_out(tokens);
    read(&dialect, tokens, sql).map_err(|problem| if is_deep { too_deep() } else { problem })
}

fn read(dialect: &Select, tokens: Vec<TokenWithSpan>, sql: &str) -> Result<Query, Problem> {
    let mut parser = Parser::new(dialect)
        .with_recursion_limit(LEVELS)
        .with_tokens_with_locations(tokens);
    let query = parser.parse_query().map_err(|e| syntax(&e, sql))?;
    while parser.consume_token(&Token::SemiColon) {}
    let next = parser.next_token();
    match next.token {
        Token::EOF => Ok(*query),
        Token::Word(w) if w.keyword == Keyword::INTO => Err(refuse(
            next.span.start,
            "only one SELECT can be run, and nothing is written: there is no INTO",
        )),
        other => Err(refuse(
            next.span.start,
            format!(
                "the query should end here, not go on with {other}; only one SELECT can be run"
            ),
        )),
    }
}

/// In the parser's words, but for the place.
fn syntax(error: &ParserError, sql: &str) -> Problem {
    let text = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
        ParserError::RecursionLimitExceeded => {
            return too_deep();
        }
    };
    let located = text.rsplit_once(" at Line: ").and_then(|(words, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        let at = Location {
            line: line.parse().ok()?,
            column: column.parse().ok()?,
        };
        // Of an operator that is none here the parser tells its own names.
        let operator = words
            .strip_prefix("No infix parser for token Word(Word { value: \"")
            .and_then(|rest| rest.split('"').next());
        Some(match operator {
            Some(word) => refuse(at, format!("there is no operator {word}")),
            None => refuse(at, lower_first(words)),
        })
    });
    // What is missing at the end has no place in the parser's words.
    let end = place(sql, sql.trim_end().len());
    located.unwrap_or_else(|| refuse(end, lower_first(text)))
}

/// Where a word of SQL stands, for the last time; a place that is not known if it does not.
pub fn last_word(sql: &str, word: &str) -> Location {
    let tokens = Tokenizer::new(&Select::default(), sql).tokenize_with_location();
    let tokens = tokens.unwrap_or_default();
    let is_it = |token: &&TokenWithSpan| match &token.token {
        Token::Word(found) => found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word),
        _ => false,
    };
    let found = tokens.iter().rfind(is_it);
    found.map_or(Location::empty(), |token| token.span.start)
}

/// What stands at a place of a text.
pub fn text_at(sql: &str, at: Location) -> &str {
    let line = sql.split('\n').nth((at.line as usize).wrapping_sub(1));
    let line = line.unwrap_or_default();
    let mut letters = line
        .char_indices()
        .skip((at.column as usize).saturating_sub(1));
    letters.next().map_or("", |(start, _)| &line[start..])
}

/// `x isnull`, of which the parser does not know that it is `x is null`.
fn spelled_out(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let words = |token: TokenWithSpan| match &token.token {
        Token::Word(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("isnull") =>
        {
            let at = |word| TokenWithSpan::new(Token::make_keyword(word), token.span);
            vec![at("IS"), at("NULL")]
        }
        _ => vec![token],
    };
    tokens.into_iter().flat_map(words).collect()
}

/// Whether so many NOT or CASE are within each other that the parser has given up, and gone on as if it were something
/// else.
fn is_too_deep(tokens: &[TokenWithSpan]) -> bool {
    let (mut nots, mut cases) = (0, 0);
    for token in tokens {
        match &token.token {
            Token::Whitespace(_) => continue,
            Token::Word(word) if word.keyword == Keyword::NOT => nots += 1,
            Token::Word(word) if word.keyword == Keyword::CASE => (nots, cases) = (0, cases + 1),
            Token::Word(word) if word.keyword == Keyword::END => (nots, cases) = (0, cases - 1),
            _ => nots = 0,
        }
        if nots + cases > LEVELS / 4 {
            return true;
        }
    }
    false
}

fn too_deep() -> Problem {
    let words =
        format!("the query is nested too deep: {LEVELS} levels are the most; write a simpler one");
    Problem::bad_request("sql", words)
}

fn lower_first(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// Line and column of a byte, both from 1.
fn place(sql: &str, at: usize) -> Location {
    let before = &sql[..at];
    let line = before.matches('\n').count() as u64 + 1;
    let last = before.rsplit('\n').next().unwrap_or_default();
    Location {
        line,
        column: last.chars().count() as u64 + 1,
    }
}

/// What of SQL is read: SQLite's words and precedences, and a few words that are rewritten for it. It counts what the
/// parser tries, since that goes back and tries again, twice as often with each level.
#[derive(Debug, Default)]
struct Select {
    attempts: Cell<usize>,
}

impl Select {
    /// An error that the parser does not take for one of its failed attempts, when there were too many.
    fn attempt(&self) -> Result<(), ParserError> {
        match self.attempts.get().checked_sub(1) {
            Some(left) => {
                self.attempts.set(left);
                Ok(())
            }
            None => Err(ParserError::RecursionLimitExceeded),
        }
    }
}

impl Dialect for Select {
    fn is_delimited_identifier_start(&self, c: char) -> bool {
        c == '"' || c == '`'
    }

    fn is_identifier_start(&self, c: char) -> bool {
        c.is_alphabetic() || c == '_'
    }

    fn is_identifier_part(&self, c: char) -> bool {
        c.is_alphanumeric() || c == '_'
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_in_empty_list(&self) -> bool {
        true
    }

    fn supports_limit_comma(&self) -> bool {
        true
    }

    fn supports_notnull_operator(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        if let Err(error) = self.attempt() {
            return Some(Err(error));
        }
        let op = match parser.peek_token_ref().token {
            Token::Minus => UnaryOperator::Minus,
            Token::Plus => UnaryOperator::Plus,
            Token::Tilde => UnaryOperator::BitwiseNot,
            _ => return None,
        };
        parser.advance_token();
        let operand = parser.parse_subexpr(UNARY);
        Some(operand.map(|expr| Expr::UnaryOp {
            op,
            expr: Box::new(expr),
        }))
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        if let Err(error) = self.attempt() {
            return Some(Err(error));
        }
        // Where SQLite's differ: https://www.sqlite.org/lang_expr.html#operators_and_parse_affecting_attributes
        Some(Ok(match parser.peek_token_ref().token {
            Token::StringConcat | Token::Arrow | Token::LongArrow => CONCAT,
            Token::Pipe | Token::Ampersand | Token::ShiftLeft | Token::ShiftRight => BITS,
            Token::Lt | Token::LtEq | Token::Gt | Token::GtEq => LESS,
            _ => return None,
        }))
    }
}

// Among the parser's own: `=` is 20, `+` is 30, `*` is 40, `::` is 50.
const LESS: u8 = 21;
const BITS: u8 = 25;
const CONCAT: u8 = 45;
const UNARY: u8 = 46;
