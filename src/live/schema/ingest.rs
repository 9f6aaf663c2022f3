//! Rows as a client sends many of them: `{"columns":[…],"data":[[…],…]}`, to the objects that are published.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Schema, Type, cell};
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
struct Rows<'a> {
    /// As declared, if they are left out.
    columns: Option<Vec<String>>,
    #[serde(borrow)]
    data: Vec<Vec<&'a RawValue>>,
}

impl Schema {
    /// The rows of a request's body, each as a JSON object of its columns, in order: all, or none.
    ///
    /// # Errors
    /// 400 that names the row, counted from 1, and the column of the first bad value.
    pub fn ingest(&self, body: &[u8]) -> Result<Vec<Bytes>, Problem> {
        let rows: Rows<'_> = serde_json::from_slice(body).map_err(|error| {
            let shape = "{\"columns\": [\"a\", \"b\"], \"data\": [[1, 2], [3, 4]]}";
            refused(format!(
                "the body is not of the form {shape}, where columns may be left out: {error}"
            ))
        })?;
        let columns = match rows.columns {
            Some(names) => self.chosen(&names)?,
            None => self.columns.iter().map(|c| (&*c.name, &c.kind)).collect(),
        };
        let numbered = rows.data.iter().enumerate();
        numbered
            .map(|(index, cells)| object(&columns, cells, index + 1))
            .collect()
    }

    /// The columns that a body names, each at most once; none that is left out may be needed.
    fn chosen(&self, names: &[String]) -> Result<Vec<(&str, &Type)>, Problem> {
        let mut places = Vec::with_capacity(names.len());
        for name in names {
            let place = self
                .position(name)
                .ok_or_else(|| refused(format!("table {} has no column {name:?}", self.name)))?;
            if places.contains(&place) {
                return Err(refused(format!("column {name:?} is there twice")));
            }
            places.push(place);
        }
        let left_out = self.columns.iter().enumerate();
        let mut left_out =
            left_out.filter(|(place, c)| !c.kind.bare().1 && !places.contains(place));
        if let Some((_, column)) = left_out.next() {
            return Err(refused(format!(
                "column {:?} is left out, and is not nullable",
                column.name
            )));
        }
        let all: Vec<(&str, &Type)> = self.all_columns().collect();
        Ok(places.into_iter().map(|place| all[place]).collect())
    }
}

fn object(columns: &[(&str, &Type)], cells: &[&RawValue], number: usize) -> Result<Bytes, Problem> {
    if cells.len() != columns.len() {
        return Err(refused(format!(
            "row {number} has {} values for {} columns",
            cells.len(),
            columns.len()
        )));
    }
    let mut json = String::from("{");
    for ((name, kind), cell) in columns.iter().zip(cells) {
        cell::check(kind, cell.get())
            .map_err(|why| refused(format!("row {number}, column {name:?}: {why}")))?;
        if json.len() > 1 {
            json.push(',');
        }
        // Names of columns need no escapes.
        json.extend(["\"", name, "\":", cell.get()]);
    }
    json.push('}');
    Ok(json.into())
}

fn refused(detail: String) -> Problem {
    Problem::bad_request("rows", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Topic;
    use crate::live::schema::{Column, Retention};

    fn schema() -> Schema {
        let column = |(name, kind): (&str, &str)| Column {
            name: name.to_owned(),
            kind: kind.parse().expect(kind),
        };
        Schema {
            name: Topic::new("t").expect("a topic"),
            columns: [("a", "int8"), ("b", "nullable(string)")]
                .map(column)
                .into(),
            retention: Retention {
                rows: 1,
                age_ms: None,
            },
        }
    }

    #[test]
    fn rows_become_objects_of_their_columns() {
        for (body, objects) in [
            (
                r#"{"data":[[1,"x"],[2,null]]}"#,
                &[r#"{"a":1,"b":"x"}"#, r#"{"a":2,"b":null}"#][..],
            ),
            (
                r#"{"columns":["B","a"],"data":[["x",1]]}"#,
                &[r#"{"b":"x","a":1}"#],
            ),
            (
                r#"{"columns":["a","_tp_time"],"data":[[1,5]]}"#,
                &[r#"{"a":1,"_tp_time":5}"#],
            ),
            (r#"{"data":[]}"#, &[]),
        ] {
            let got = schema().ingest(body.as_bytes()).expect(body);
            assert_eq!(got, objects, "{body}");
            for object in got {
                assert!(schema().row(&object, 1).expect("it was checked").is_some());
            }
        }
    }

    #[test]
    fn the_first_bad_value_is_named() {
        for (body, part) in [
            (
                r#"{"data":[[1,"x"],[2,3]]}"#,
                "row 2, column \"b\": 3 is no string",
            ),
            (r#"{"data":[[1]]}"#, "row 1 has 1 values for 2 columns"),
            (r#"{"columns":["c"],"data":[]}"#, "no column \"c\""),
            (r#"{"columns":["a","A"],"data":[]}"#, "\"A\" is there twice"),
            (r#"{"columns":["b"],"data":[["x"]]}"#, "\"a\" is left out"),
            (r#"{"rows":[]}"#, "not of the form"),
            (r#"{"data":[[NaN,"x"]]}"#, "line 1"),
            ("", "not of the form"),
        ] {
            let problem = schema().ingest(body.as_bytes()).expect_err(body);
            assert!(problem.detail.contains(part), "{body}: {problem}");
        }
    }
}
