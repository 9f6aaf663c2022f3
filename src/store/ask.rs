//! What is asked of a list: which page, in which order, and of which documents. Every face reads it here.

pub mod filter;

use std::fmt;
use std::sync::Arc;

use self::filter::Filter;
use super::name;
use crate::problem::Problem;

/// How many orders and filters one list may have.
const MOST: usize = 16;

/// Rows of a page, if nobody says how many.
const PER_PAGE: u64 = 50;

/// What is asked of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// Which page, from 1.
    pub page: u64,
    /// Documents of a page.
    pub per_page: u64,
    /// The order, which may leave something open: see [`Ask::order`].
    pub sort: Vec<Sort>,
    /// All of them must hold.
    pub filters: Vec<Filter>,
}

/// A member of documents, or one below it: identifiers with dots between.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Field(Arc<str>);

/// One order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub field: Field,
    /// The greatest first.
    pub descending: bool,
}

impl Ask {
    /// How many documents come before the page.
    pub fn offset(&self) -> u64 {
        (self.page - 1) * self.per_page
    }

    /// The whole order: what was asked for, and then the ids, in the direction of what was asked for last, so that one
    /// index does for both.
    ///
    /// In it, what is `null` or not there comes first, then numbers, with `false` as 0 and `true` as 1 among them, then
    /// texts by their bytes. Where lists and objects come is not promised.
    pub fn order(&self) -> Vec<Sort> {
        let last = self.sort.last();
        let by_id = Sort {
            field: Field("id".into()),
            descending: last.is_some_and(|sort| sort.descending),
        };
        let mut order = self.sort.clone();
        if !order.iter().any(|sort| sort.field.is_id()) {
            order.push(by_id);
        }
        order
    }

    /// Reads the pairs of a query. Names that are not of a list are left to others.
    ///
    /// # Errors
    /// A 400 that says what is wrong and what would be right.
    pub fn parse<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl Iterator<Item = (N, V)>,
        most_per_page: u64,
    ) -> Result<Ask, Problem> {
        let mut ask = Ask {
            page: 1,
            per_page: PER_PAGE.min(most_per_page),
            sort: Vec::new(),
            filters: Vec::new(),
        };
        for (name, value) in pairs {
            let value = value.as_ref();
            match name.as_ref() {
                // What it skips must be a number too.
                "page" => ask.page = number("page", value, i64::MAX as u64 / most_per_page)?,
                "per_page" => ask.per_page = number("per_page", value, most_per_page)?,
                "sort" => ask.sort = Sort::parse(value)?,
                name if name.starts_with("filter") => ask.filters.push(Filter::parse(name, value)?),
                _ => {}
            }
        }
        if ask.sort.len() > MOST || ask.filters.len() > MOST {
            let detail = format!("a list has at most {MOST} orders and {MOST} filters");
            return Err(Problem::bad_request("too-many", detail));
        }
        Ok(ask)
    }

    /// All that it names.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        let sorted = self.sort.iter().map(|sort| &sort.field);
        sorted.chain(self.filters.iter().map(|filter| &filter.field))
    }
}

impl Sort {
    fn parse(text: &str) -> Result<Vec<Sort>, Problem> {
        let one = |text: &str| {
            let plain = text.strip_prefix('-');
            Ok(Sort {
                field: Field::new(plain.unwrap_or(text))?,
                descending: plain.is_some(),
            })
        };
        text.split(',').map(one).collect()
    }
}

impl Field {
    /// Checks a field as a peer gave it.
    ///
    /// # Errors
    /// A 400 that says what a field may be.
    pub fn new(text: &str) -> Result<Field, Problem> {
        let good = text.len() <= 128
            && text.split('.').count() <= 8
            && text.split('.').all(name::is_identifier);
        match good {
            true => Ok(Field(text.into())),
            false => {
                let shown: String = text.chars().take(64).collect();
                let detail = format!(
                    "{shown:?} is no field: write letters, digits, _ and -, the first a letter or _, with dots for what is further inside; at most 128 bytes"
                );
                Err(Problem::bad_request("field", detail))
            }
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The members on the way to it.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// Whether it is the id.
    pub fn is_id(&self) -> bool {
        &*self.0 == "id"
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn number(name: &'static str, value: &str, most: u64) -> Result<u64, Problem> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let number = value
        .parse()
        .ok()
        .filter(|n| digits && (1..=most).contains(n));
    number.ok_or_else(|| Problem::bad_request(name, format!("{name} is a number, 1 to {most}")))
}
