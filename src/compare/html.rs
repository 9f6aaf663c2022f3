//! The results as a page: one file that needs neither the network nor a script.

use std::fmt::Write as _;

use super::question::Answer;
use super::results::Results;
use super::series::Security;
use super::series::transports;
use super::table;
use super::table::Table;
use super::verdict::Half;
use super::verdict::verdict;
use super::warnings::warnings;

mod axis;
mod bars;
mod charts;
mod lines;

const STYLE: &str = include_str!("html/page.css");

/// All of it.
pub fn page(results: &Results) -> String {
    let verdict = verdict(results);
    let halves: String = verdict.halves.iter().map(half).collect();
    let weak = warnings(results);
    let notice = match weak.len() {
        0 => String::new(),
        1 => {
            r##"<p class="weak"><a href="#weak">One warning</a> says which figures are weak.</p>"##
                .to_owned()
        }
        count => format!(
            r##"<p class="weak"><a href="#weak">{count} warnings</a> say which figures are weak.</p>"##
        ),
    };
    let faults = escape(&table::faults(results));
    let measured = items(&table::environment(results));
    let wires = transports(results).into_iter();
    let legend: String = wires
        .map(|(wire, security)| swatch(wire, security))
        .collect();
    let charts = charts::charts(results);
    let tables: String = table::tables(results).iter().map(of_table).collect();
    let weak = match weak.is_empty() {
        true => "<p>None.</p>".to_owned(),
        false => items(&weak),
    };
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>triwire compare</title>
<style>
{STYLE}</style>
</head>
<body>
<header>
<h1>Which wire?</h1>
<p>The same load on every transport of triwire, and what came of it. Figures are medians, with the least and the greatest
of the repetitions.</p>
</header>
<section aria-label="Verdict">
{halves}<p class="faults">{faults}</p>
{notice}
</section>
<section>
<h2>Measured</h2>
{measured}</section>
<section>
<h2>Charts</h2>
<p class="legend">{legend}</p>
<p>What runs over TLS is full and solid, cleartext pale and dashed; a framing and version of HTTP has the same colour and
shape in both. Whiskers go from the least to the greatest of the repetitions.</p>
<div class="charts">
{charts}</div>
</section>
<section>
<h2>Tables</h2>
{tables}</section>
<section id="weak">
<h2>Weak figures</h2>
{weak}</section>
</body>
</html>
"#
    )
}

fn half(half: &Half) -> String {
    let mut html = String::from("<article>\n");
    let _ = writeln!(
        html,
        "<p class=\"headline\">{}</p>",
        unbroken(&half.headline)
    );
    html += &items(&half.out);
    if !half.answers.is_empty() {
        html += "<table class=\"answers\">\n<thead><tr><th>Question<th>Best<th>Not told apart from it<th>Behind: how many times the best's</tr></thead>\n<tbody>\n";
        html.extend(half.answers.iter().map(answer));
        html += "</tbody>\n</table>\n";
    }
    for (title, lines) in [
        ("What it depends on", &half.changes),
        ("What is not known", &half.open),
    ] {
        if !lines.is_empty() {
            let _ = write!(html, "<h3>{title}</h3>\n{}", items(lines));
        }
    }
    html + "</article>\n"
}

fn answer(answer: &Answer) -> String {
    let cells = [
        ("best", answer.best_words()),
        ("not told apart", answer.level_words()),
        ("behind", answer.worse_words()),
    ];
    let cells =
        cells.map(|(label, text)| format!("<td data-label=\"{label}\">{}", unbroken(&text)));
    let title = escape(&answer.title());
    format!("<tr><th scope=\"row\">{title}{}</tr>\n", cells.concat())
}

fn of_table(table: &Table) -> String {
    let head = table.head.iter().map(|(title, unit)| {
        format!(
            "<th scope=\"col\">{}<small>{}</small>",
            escape(title),
            escape(unit)
        )
    });
    let rows = table.rows.iter().map(|row| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let tag = if column < table.names {
                "th scope=\"row\""
            } else {
                "td"
            };
            format!("<{tag}>{}", escape(cell))
        });
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    });
    let (title, about) = (escape(table.scenario.title), escape(table.scenario.about));
    let (head, rows) = (head.collect::<String>(), rows.collect::<String>());
    format!(
        "<h3>{title}</h3>\n<p>{about}</p>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{title}\"><table>\n\
         <thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

fn items(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let items = lines
        .iter()
        .map(|line| format!("<li>{}</li>\n", unbroken(line)));
    format!("<ul>\n{}</ul>\n", items.collect::<String>())
}

/// A transport as the charts draw it, and its name.
fn swatch(wire: &str, security: Security) -> String {
    let class = if security == Security::Cleartext {
        " dashed"
    } else {
        ""
    };
    let shape = lines::shape(wire);
    format!(
        r#"<span><svg class="swatch w-{wire}{class}" viewBox="0 0 22 12" aria-hidden="true"><path class="line" d="M0 6H22"/><path class="point" transform="translate(11 6)" d="{shape}"/></svg>{wire}</span> "#
    )
}

fn svg(title: &str, width: f64, height: f64, body: &str) -> String {
    let title = escape(title);
    format!(
        r#"<svg viewBox="0 0 {width} {height:.0}" role="img" aria-label="{title}">{body}</svg>"#
    )
}

/// Text in which names and ranges are not broken at their hyphens.
fn unbroken(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let short = word.len() < 30 && word.contains('-');
        let word = escape(word);
        if short {
            format!("<span class=\"unbroken\">{word}</span>")
        } else {
            word
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Text as it may stand in an element or in a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            _ => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::planted::Planted;
    use super::super::planted::full;
    use super::super::results::Results;
    use super::*;

    #[test]
    fn it_needs_nothing_but_itself() {
        let page = page(&full());
        for part in [
            "http://", "https://", "<script", "src=", "@import", "url(", "NaN", "inf\"",
        ] {
            assert!(!page.contains(part), "{part}");
        }
    }

    #[test]
    fn every_scenario_has_a_chart_and_a_table() {
        let page = page(&full());
        for title in [
            "Latency at a steady rate, over TLS",
            "Latency at a steady rate, in cleartext",
            "CPU of the server for a delivery",
            "As fast as it goes",
            "Memory of a waiting reader",
            "Bytes of an event",
            "Rows a second, over TLS",
            "CPU of the server for 1,000 rows, in cleartext",
            "CPU of the server by streams on a connection, over TLS",
            "Memory by streams on a connection, in cleartext",
            "Connecting, all at once",
            "Coming back after a cut",
            "Beside readers that stopped",
            "A bad network",
        ] {
            let heading = format!("<figcaption><h3>{title}</h3>");
            assert_eq!(page.matches(&heading).count(), 1, "{title}");
        }
        assert_eq!(page.matches("<div class=\"wide\"").count(), 10);
    }

    #[test]
    fn nothing_of_the_results_is_markup() {
        const EVIL: &str = "<img src=x onerror=alert(1)>\"'&";
        let mut results = full();
        let place = &mut results.environment;
        for text in [
            &mut place.began,
            &mut place.command,
            &mut place.client,
            &mut place.server,
        ] {
            EVIL.clone_into(text);
        }
        for text in [&mut place.kernel, &mut place.cpu, &mut place.pinned] {
            EVIL.clone_into(text);
        }
        place.target = Some(EVIL.to_owned());
        results.skipped = vec![EVIL.to_owned()];
        results.ended = Some(EVIL.to_owned());
        for (index, run) in results.runs.iter_mut().enumerate() {
            match index % 50 {
                0 => run.error = Some(EVIL.to_owned()),
                1 => EVIL.clone_into(&mut run.wire),
                2 => EVIL.clone_into(&mut run.scenario),
                _ if run.scenario == "loss" => EVIL.clone_into(&mut run.variant),
                _ => {}
            }
        }
        let page = page(&results);
        assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;"));
        assert!(!page.contains("<img"));
    }

    #[test]
    fn little_or_nothing_makes_a_page_too() {
        let nothing = page(&Results::default());
        assert!(nothing.contains("Over TLS: nothing was measured."));
        assert!(!nothing.contains("<figure>"));

        let one = Planted::new(1).figure("fanout", "ws", "", "cpu_us", &[0.0]);
        let one = page(&one.results());
        assert_eq!(one.matches("<figure>").count(), 1);
        assert!(!one.contains("NaN"));
    }
}
