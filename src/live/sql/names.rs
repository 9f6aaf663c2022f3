//! Names and texts as SQL writes them, and the name that was meant.

/// A name, in double quotes.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text, in single quotes.
pub fn said(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// "; did you mean …?", if there is a name that is near.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    // As many letters may differ as a name of such a length can lose and still be told.
    let most = name.chars().count().clamp(3, 12) / 3;
    let lower = name.to_lowercase();
    known
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= 8)
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map_or(String::new(), |(_, name)| format!("; did you mean {name}?"))
}

/// How many letters are to be added, taken away, changed or swapped with their neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_meant() {
        let known = ["metrics", "calls", "duration_s"];
        for (name, hint) in [
            ("metric", "; did you mean metrics?"),
            ("METRISC", "; did you mean metrics?"),
            ("cals", "; did you mean calls?"),
            ("duration", "; did you mean duration_s?"),
            ("queue", ""),
            ("", ""),
        ] {
            assert_eq!(nearest(name, known), hint, "{name}");
        }
    }
}
