//! `CREATE STREAM` and `DROP STREAM`.

use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::Statement;
use crate::live::sql::parse::refuse;
use crate::problem::Problem;

/// Reads a statement that makes or drops a stream; `None` for any other.
///
/// # Errors
/// 400 that names the clause.
pub fn read(tokens: &[TokenWithSpan]) -> Result<Option<Statement>, Problem> {
    let tokens: Vec<&TokenWithSpan> = tokens
        .iter()
        .filter(|t| !matches!(t.token, Token::Whitespace(_) | Token::SemiColon))
        .collect();
    let mut words = Words { rest: &tokens };
    if words.take("create stream") {
        let if_absent = words.take("if not exists");
        let name = words.name("the name of the stream")?;
        let columns = words.columns()?;
        words.end("CREATE STREAM")?;
        return Ok(Some(Statement::Create {
            name,
            columns,
            if_absent,
        }));
    }
    if words.take("drop stream") {
        let if_there = words.take("if exists");
        let name = words.name("the name of the stream")?;
        words.end("DROP STREAM")?;
        return Ok(Some(Statement::Drop { name, if_there }));
    }
    Ok(None)
}

struct Words<'t> {
    rest: &'t [&'t TokenWithSpan],
}

impl Words<'_> {
    fn take(&mut self, words: &str) -> bool {
        let wanted: Vec<&str> = words.split(' ').collect();
        let is = |token: &Token, word: &str| matches!(token, Token::Word(Word { value, quote_style: None, .. }) if value.eq_ignore_ascii_case(word));
        let are_next = self.rest.len() >= wanted.len()
            && wanted.iter().zip(self.rest).all(|(w, t)| is(&t.token, w));
        if are_next {
            self.rest = &self.rest[wanted.len()..];
        }
        are_next
    }

    fn next(&mut self, what: &str) -> Result<&Token, Problem> {
        let Some((first, rest)) = self.rest.split_first() else {
            let why = format!("{what} is missing at the end");
            return Err(Problem::bad_request("sql", why));
        };
        self.rest = rest;
        Ok(&first.token)
    }

    fn refused(&self, before: &str, why: &str) -> Problem {
        match self.rest.first() {
            Some(token) => refuse(token.span.start, format!("{why}, not {}", token.token)),
            None => Problem::bad_request("sql", format!("{why}, after {before}")),
        }
    }

    fn name(&mut self, what: &str) -> Result<String, Problem> {
        if let Some(TokenWithSpan {
            token: Token::Word(word),
            ..
        }) = self.rest.first()
        {
            self.rest = &self.rest[1..];
            return Ok(word.value.clone());
        }
        Err(self.refused("STREAM", &format!("{what} stands here")))
    }

    /// `(name type, …)`
    fn columns(&mut self) -> Result<Vec<(String, String)>, Problem> {
        if *self.next("(")? != Token::LParen {
            return Err(Problem::bad_request(
                "sql",
                "the columns stand in parentheses: CREATE STREAM s (a int64, b string)",
            ));
        }
        let mut columns = Vec::new();
        loop {
            let name = self.name("the name of a column")?;
            let mut kind = String::new();
            let mut depth = 0;
            loop {
                match self.next("a ) or a type")? {
                    Token::LParen => {
                        depth += 1;
                        kind.push('(');
                    }
                    Token::RParen if depth > 0 => {
                        depth -= 1;
                        kind.push(')');
                    }
                    end @ (Token::RParen | Token::Comma) if depth == 0 => {
                        let is_last = *end == Token::RParen;
                        if kind.is_empty() {
                            let why = format!("column {name} has no type");
                            return Err(Problem::bad_request("sql", why));
                        }
                        columns.push((name, kind));
                        if is_last {
                            return Ok(columns);
                        }
                        break;
                    }
                    Token::Word(word) if depth == 0 && !kind.is_empty() => {
                        let why = format!("column {name}: {} cannot be used here", word.value);
                        return Err(Problem::bad_request("sql", why));
                    }
                    token => kind += &token.to_string(),
                }
            }
        }
    }

    fn end(&self, statement: &str) -> Result<(), Problem> {
        match self.rest.first() {
            None => Ok(()),
            Some(token) => Err(refuse(
                token.span.start,
                format!("{statement} cannot go on with {}", token.token),
            )),
        }
    }
}
