//! What of the dialect is no SQL that the parser knows: EMIT and SETTINGS at the end, `table(s)`, `5s`, `count()`,
//! `raw:key`. It is taken from the tokens, or written in another way; each token keeps its place.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Word};

use crate::live::sql::parse::refuse;
use crate::problem::Problem;

/// When results of groups are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// So often, in milliseconds; without new rows only if `repeat`.
    Periodic {
        /// How often.
        every_ms: u64,
        /// Also when nothing has come.
        repeat: bool,
    },
    /// After rows have come, the groups that they have changed.
    OnUpdate,
    /// After each row.
    PerEvent,
    /// Each window when it is over: when there was a row so much later than its end; or, with a timeout, when there was
    /// no row for so long.
    AfterClose {
        /// How much later than its end a row must be.
        delay_ms: u64,
        /// For how long no row has come.
        timeout_ms: Option<u64>,
    },
}

/// What the clauses of the dialect say.
#[derive(Debug, Default)]
pub struct Clauses {
    pub emit: Option<(Emit, Location)>,
    /// Whether rows from before are wanted too.
    pub from_earliest: bool,
    /// Names of the streams that are read as `table(…)`, in lower case.
    pub tables: Vec<String>,
}

type Tokens = Vec<TokenWithSpan>;

/// A time before all rows.
const EARLIEST: [&str; 2] = ["earliest_ts", "earliest_timestamp"];

/// Takes the dialect's clauses away, and writes the rest so that the parser knows it.
///
/// # Errors
/// 400 that names the clause.
pub fn read(tokens: Tokens) -> Result<(Tokens, Clauses), Problem> {
    let mut clauses = Clauses::default();
    let mut tokens: Tokens = tokens
        .into_iter()
        .filter(|t| !matches!(t.token, Token::Whitespace(_)))
        .collect();
    while tokens.last().is_some_and(|t| t.token == Token::SemiColon) {
        tokens.pop();
    }
    refuse_others(&tokens)?;
    let mut rest = tokens.split_off(end_of_query(&tokens));
    while let Some(first) = rest.first() {
        let is_emit = is_word(first, "emit");
        let next = 1 + rest[1..]
            .iter()
            .position(|t| is_word(t, "settings") || is_word(t, "emit"))
            .unwrap_or(rest.len() - 1);
        let after = rest.split_off(next);
        match is_emit {
            true => emit(&rest, &mut clauses)?,
            false => settings(&rest, &mut clauses)?,
        }
        rest = after;
    }
    let tokens = rewritten(&tokens, &mut clauses)?;
    Ok((tokens, clauses))
}

/// Names clauses that other dialects have, which the parser takes for something else or says nothing of.
fn refuse_others(tokens: &[TokenWithSpan]) -> Result<(), Problem> {
    let word = |at: Option<usize>, words: &[&str]| {
        let token = at.and_then(|at| tokens.get(at));
        token.is_some_and(|token| words.iter().any(|word| is_word(token, word)))
    };
    let is = |at: Option<usize>, wanted: &Token| {
        let token = at.and_then(|at| tokens.get(at));
        token.is_some_and(|token| token.token == *wanted)
    };
    for at in 0..tokens.len() {
        let (here, next) = (Some(at), Some(at + 1));
        let before = |places: usize| at.checked_sub(places);
        let from = ["from", "join"];
        let is_of_value = |token: &Token| match token {
            Token::Word(word) => word.keyword == Keyword::NoKeyword,
            Token::RParen | Token::RBracket => true,
            _ => false,
        };
        let what = if word(here, &["shuffle"]) && word(next, &["by"]) {
            "SHUFFLE BY"
        } else if word(here, &["by"])
            && matches!(
                before(1).map(|at| &tokens[at].token),
                Some(Token::Number(..))
            )
            && word(before(2), &["limit", "offset"])
        {
            "LIMIT … BY"
        } else if word(here, &["rollup", "cube"])
            && is(next, &Token::LParen)
            && word(before(1), &["by"])
        {
            "ROLLUP or CUBE"
        } else if word(here, &["with"])
            && word(next, &["rollup", "cube", "totals", "ties", "fill"])
            && !word(Some(at + 2), &["as"])
        {
            "WITH ROLLUP, CUBE, TOTALS, TIES or FILL"
        } else if word(here, &["final"])
            && (word(before(2), &from) || (is(before(1), &Token::RParen) && word(before(5), &from)))
        {
            "FINAL"
        } else if word(here, &["asof"]) && word(next, &["join", "left", "inner"]) {
            "ASOF JOIN"
        } else if word(here, &["into"]) && word(next, &["outfile"]) {
            "INTO OUTFILE"
        } else if is(here, &Token::LBracket)
            && before(1).is_some_and(|at| is_of_value(&tokens[at].token))
        {
            "[…], for an element of an array or a map,"
        } else {
            continue;
        };
        let why = format!("{what} cannot be used here");
        return Err(refuse(tokens[at].span.start, why));
    }
    Ok(())
}

/// Where EMIT or SETTINGS begins, in no parentheses; either may also be the name of a column.
fn end_of_query(tokens: &[TokenWithSpan]) -> usize {
    let mut depth = 0_i32;
    for (at, token) in tokens.iter().enumerate() {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ if depth == 0 => {
                let next = |words: &[&str]| {
                    let next = tokens.get(at + 1);
                    next.is_some_and(|next| words.iter().any(|word| is_word(next, word)))
                };
                let emits = [
                    "after",
                    "changelog",
                    "last",
                    "on",
                    "per",
                    "periodic",
                    "stream",
                    "timeout",
                ];
                let is_setting = tokens.get(at + 2).is_some_and(|t| t.token == Token::Eq);
                if (is_word(token, "emit") && next(&emits))
                    || (is_word(token, "settings") && is_setting)
                {
                    return at;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// Reads words of a clause one after the other.
struct Words<'t> {
    rest: &'t [TokenWithSpan],
    at: Location,
}

impl Words<'_> {
    /// Whether these words are next, which are taken then.
    fn take(&mut self, words: &str) -> bool {
        let count = words.split(' ').count();
        let are_next = self.rest.len() >= count
            && words
                .split(' ')
                .zip(self.rest)
                .all(|(word, t)| is_word(t, word));
        if are_next {
            self.rest = &self.rest[count..];
        }
        are_next
    }

    /// `5s`, or `interval 5 second`.
    fn interval(&mut self) -> Result<u64, Problem> {
        let wrong = || refuse(self.at, "EMIT wants an interval here, such as 5s");
        let mut rest = self.rest;
        if rest.first().is_some_and(|t| is_word(t, "interval")) {
            rest = &rest[1..];
        }
        let [number, unit, ..] = rest else {
            return Err(wrong());
        };
        let digits = match &number.token {
            Token::Number(digits, false) | Token::SingleQuotedString(digits) => digits,
            _ => return Err(wrong()),
        };
        let Token::Word(unit) = &unit.token else {
            return Err(wrong());
        };
        let each = each_of(unit, number.span.start)?.ok_or_else(wrong)?;
        let ms = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(each));
        let ms = ms.filter(|ms| (1..=u64::from(u32::MAX)).contains(ms));
        self.rest = &rest[2..];
        ms.ok_or_else(|| {
            refuse(
                number.span.start,
                "an interval of EMIT is 1 ms to 49 days long",
            )
        })
    }
}

fn emit(tokens: &[TokenWithSpan], clauses: &mut Clauses) -> Result<(), Problem> {
    let at = tokens[0].span.start;
    if clauses.emit.is_some() {
        return Err(refuse(at, "there is one EMIT already"));
    }
    let mut words = Words {
        rest: &tokens[1..],
        at,
    };
    words.take("stream");
    let emit = if words.take("periodic") {
        Emit::Periodic {
            every_ms: words.interval()?,
            repeat: words.take("repeat"),
        }
    } else if words.take("on update") {
        Emit::OnUpdate
    } else if words.take("per event") {
        Emit::PerEvent
    } else if words.take("after window close") || words.take("after watermark") {
        let (mut delay_ms, mut timeout_ms) = (0, None);
        while words.take("with") || words.take("and") {
            if words.take("delay") {
                delay_ms = words.interval()?;
            } else if words.take("timeout") {
                timeout_ms = Some(words.interval()?);
            } else {
                let why = "after WITH stands DELAY 2s or TIMEOUT 5s, or one AND the other";
                return Err(refuse(at, why));
            }
        }
        Emit::AfterClose {
            delay_ms,
            timeout_ms,
        }
    } else {
        let why = "of EMIT there are PERIODIC 5s [REPEAT], ON UPDATE, PER EVENT and AFTER WINDOW CLOSE [WITH DELAY 2s [AND TIMEOUT 5s]]";
        return Err(refuse(at, why));
    };
    if let Some(more) = words.rest.first() {
        let why = format!("EMIT cannot go on with {}", more.token);
        return Err(refuse(more.span.start, why));
    }
    clauses.emit = Some((emit, at));
    Ok(())
}

/// `SETTINGS seek_to='earliest'`, the old way of asking for rows from before.
fn settings(tokens: &[TokenWithSpan], clauses: &mut Clauses) -> Result<(), Problem> {
    let parts = tokens[1..].split(|t| t.token == Token::Comma);
    for part in parts {
        let at = part.first().unwrap_or(&tokens[0]).span.start;
        let (name, value) = match part {
            [name, eq, value] if eq.token == Token::Eq => {
                (name.token.to_string(), value.token.to_string())
            }
            _ => return Err(refuse(at, "SETTINGS are written name = value")),
        };
        let value = value.trim_matches('\'').to_ascii_lowercase();
        match (name.to_ascii_lowercase().as_str(), value.as_str()) {
            ("seek_to", "earliest") => clauses.from_earliest = true,
            ("seek_to", "latest") => {}
            ("seek_to", _) => {
                let why = "of SETTINGS seek_to there are 'earliest' and 'latest'; write WHERE _tp_time > … for another time";
                return Err(refuse(at, why));
            }
            _ => return Err(refuse(at, format!("SETTINGS {name} is not known here"))),
        }
    }
    Ok(())
}

fn rewritten(tokens: &[TokenWithSpan], clauses: &mut Clauses) -> Result<Tokens, Problem> {
    let mut out = Tokens::with_capacity(tokens.len());
    let mut rest = tokens;
    while let Some(first) = rest.first() {
        let place = |token| TokenWithSpan {
            token,
            span: first.span,
        };
        let is_call = rest.get(1).is_some_and(|t| t.token == Token::LParen);
        let is_empty = is_call && rest.get(2).is_some_and(|t| t.token == Token::RParen);
        let taken = match &first.token {
            Token::Word(word) if word.quote_style.is_none() && is_call => {
                let name = word.value.to_ascii_lowercase();
                match (name.as_str(), rest) {
                    ("table", [_, _, inner, end, ..])
                        if matches!(inner.token, Token::Word(_)) && end.token == Token::RParen =>
                    {
                        if let Token::Word(word) = &inner.token {
                            clauses.tables.push(word.value.to_ascii_lowercase());
                        }
                        out.push(inner.clone());
                        4
                    }
                    ("count", _) if is_empty => {
                        let call = [Token::LParen, Token::Mul, Token::RParen];
                        out.push(first.clone());
                        out.extend(call.map(place));
                        3
                    }
                    ("count_distinct" | "uniq" | "unique" | "uniq_exact", _) if !is_empty => {
                        let call = [word_of("count"), Token::LParen, word_of("distinct")];
                        out.extend(call.map(place));
                        2
                    }
                    (name, _) if EARLIEST.contains(&name) && is_empty => {
                        // In the select list it is a time like any other.
                        clauses.from_earliest |= out.iter().any(|t| is_word(t, "where"));
                        out.push(place(Token::Number("0".to_owned(), false)));
                        3
                    }
                    _ => 0,
                }
            }
            // `raw:key` and `raw:key.of.it`: what JSON in a text says.
            Token::Word(_) if rest.get(1).is_some_and(|t| t.token == Token::Colon) => {
                let (path, taken) = json_path(&rest[2..], first.span.start)?;
                out.extend([word_of("json_text"), Token::LParen].map(place));
                // The column may be `stream.raw`.
                let of = match out.len().checked_sub(4) {
                    Some(dot) if out[dot + 1].token == Token::Period => {
                        out.drain(dot..dot + 2).collect()
                    }
                    _ => Vec::new(),
                };
                out.extend(of);
                out.push(first.clone());
                let path = Token::SingleQuotedString(path);
                out.extend([Token::Comma, path, Token::RParen].map(place));
                2 + taken
            }
            Token::Number(digits, false) => match adjacent(first, rest.get(1)) {
                Some(unit) if each_of(unit, first.span.start)?.is_some() => {
                    let number = Token::SingleQuotedString(digits.clone());
                    let unit = word_of(unit_of(unit));
                    out.extend([word_of("interval"), number, unit].map(place));
                    2
                }
                _ => 0,
            },
            _ => 0,
        };
        if taken == 0 {
            out.push(first.clone());
        }
        rest = &rest[taken.max(1)..];
    }
    Ok(out)
}

/// The word that stands right behind a number.
fn adjacent<'t>(number: &TokenWithSpan, next: Option<&'t TokenWithSpan>) -> Option<&'t Word> {
    match next? {
        TokenWithSpan {
            token: Token::Word(word),
            span,
        } if span.start == number.span.end => Some(word),
        _ => None,
    }
}

/// `key.of.it`, as the path that SQLite takes, and how many tokens it is.
fn json_path(tokens: &[TokenWithSpan], at: Location) -> Result<(String, usize), Problem> {
    let mut path = "$".to_owned();
    let mut taken = 0;
    loop {
        let key = match tokens.get(taken).map(|t| &t.token) {
            Some(Token::Word(word)) => &word.value,
            _ => {
                return Err(refuse(
                    at,
                    "a key of JSON is written raw:key or raw:key.of.it",
                ));
            }
        };
        if key.contains('"') {
            return Err(refuse(at, "a key of JSON has no quotes here"));
        }
        path += &format!(".\"{key}\"");
        taken += 1;
        match tokens.get(taken).map(|t| &t.token) {
            Some(Token::Period) => taken += 1,
            _ => return Ok((path, taken)),
        }
    }
}

/// How many milliseconds a unit is, if it is one.
fn each_of(unit: &Word, at: Location) -> Result<Option<u64>, Problem> {
    Ok(Some(match unit_of(unit) {
        "millisecond" => 1,
        "second" => 1_000,
        "minute" => 60_000,
        "hour" => 3_600_000,
        "day" => 86_400_000,
        "week" => 7 * 86_400_000,
        "month" => {
            let why =
                "months, quarters and years are not always as long: write days in an interval";
            return Err(refuse(at, why));
        }
        _ => return Ok(None),
    }))
}

/// Units are told apart by case: `m` is a minute and `M` a month.
fn unit_of(unit: &Word) -> &'static str {
    match unit.value.as_str() {
        "ms" => "millisecond",
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "M" | "q" | "y" | "Q" | "Y" => "month",
        other => match other.to_ascii_lowercase().as_str() {
            "millisecond" | "milliseconds" => "millisecond",
            "second" | "seconds" => "second",
            "minute" | "minutes" => "minute",
            "hour" | "hours" => "hour",
            "day" | "days" => "day",
            "week" | "weeks" => "week",
            "month" | "months" | "quarter" | "year" => "month",
            _ => "",
        },
    }
}

fn is_word(token: &TokenWithSpan, wanted: &str) -> bool {
    match &token.token {
        Token::Word(Word {
            value,
            quote_style: None,
            ..
        }) => value.eq_ignore_ascii_case(wanted),
        _ => false,
    }
}

fn word_of(word: &str) -> Token {
    let keyword = match word {
        "interval" => Keyword::INTERVAL,
        "distinct" => Keyword::DISTINCT,
        "millisecond" => Keyword::MILLISECOND,
        "second" => Keyword::SECOND,
        "minute" => Keyword::MINUTE,
        "hour" => Keyword::HOUR,
        "day" => Keyword::DAY,
        "week" => Keyword::WEEK,
        _ => Keyword::NoKeyword,
    };
    Token::Word(Word {
        value: word.to_owned(),
        quote_style: None,
        keyword,
    })
}
