//! What expressions are made of in the end: names of columns, numbers and texts.

use sqlparser::ast::{DataType, Ident, Value, ValueWithSpan};
use sqlparser::tokenizer::Location;

use crate::live::sql::names::{nearest, quoted, said};
use crate::live::sql::parse::{refuse, text_at};
use crate::live::sql::print::{Piece, Printer, Written};

impl Printer<'_> {
    /// A number, a text, a truth value or NULL.
    pub fn value(&self, value: &ValueWithSpan) -> Written {
        let at = value.span.start;
        Ok(Piece::atom(match &value.value {
            Value::Number(digits, false) => digits.to_ascii_lowercase(),
            Value::SingleQuotedString(text) => said(text),
            // Not x'…', of which the parser makes the same.
            Value::HexStringLiteral(digits) if text_at(self.sql, at).starts_with(['0']) => {
                match u64::from_str_radix(digits, 16) {
                    // As SQLite takes it: all 64 bits are an integer with its sign.
                    Ok(bits) => (bits as i64).to_string(),
                    Err(_) => return Err(refuse(at, format!("0x{digits} has more than 64 bits"))),
                }
            }
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
    pub fn name(&self, name: &Ident) -> Written {
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

    /// `table.column`.
    pub fn path(&self, path: &[Ident]) -> Written {
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

/// What a type of a cast is called in SQLite.
pub fn held_as(data_type: &DataType) -> Option<&'static str> {
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
