//! The arrows between the modules: who may name whom. A new arrow is a decision, made here and with its reason; an
//! arrow that nobody takes any more is taken out here too, so that the table says what is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

type Row = (&'static str, &'static [&'static str], &'static str);

/// From the bottom to the top.
const ARROWS: [Row; 29] = [
    (
        "problem",
        &[],
        "a value: what a peer is told, without a wire",
    ),
    (
        "openapi",
        &[],
        "words of a description; it knows nobody's path",
    ),
    ("event", &["problem"], "a value, refused where it is made"),
    ("counts", &[], "numbers; it knows wires by name only"),
    (
        "bundle",
        &[],
        "futures and bells; it knows nobody's business",
    ),
    (
        "log",
        &["event", "counts", "problem", "bundle"],
        "events in, readers out; a reader holds its seat",
    ),
    (
        "live",
        &["event", "log", "problem"],
        "reads what is appended and announces by appending; it names no wire",
    ),
    (
        "trust",
        &[],
        "CAs in a file, for whoever speaks TLS to others",
    ),
    (
        "database",
        &["trust"],
        "where a Postgres is and how it is spoken to, for whoever keeps something there",
    ),
    (
        "store",
        &["event", "log", "problem", "database"],
        "keeps documents and announces each change by appending; it names no wire and no api",
    ),
    (
        "body",
        &["problem"],
        "what answers are made of, a refusal among them",
    ),
    ("page", &["body", "openapi"], "files, as answers"),
    ("access", &["problem"], "looks at requests and refuses some"),
    (
        "api",
        &[
            "event", "log", "live", "store", "counts", "body", "openapi", "access", "problem",
        ],
        "appends to the log, changes documents and what is defined and reads what is counted; a dialect asks for keys",
    ),
    (
        "wire",
        &[
            "event", "log", "counts", "body", "access", "api", "openapi", "problem", "bundle",
        ],
        "carries a reader; a two-way wire publishes by the api's own way, and remembers where its peer comes from",
    ),
    (
        "routes",
        &[
            "wire", "api", "page", "access", "store", "log", "event", "counts", "body", "openapi",
            "problem",
        ],
        "the one table: what a path is, which wire takes it, and a reader for it, which follows a subscription, a watch or neither",
    ),
    (
        "server",
        &[
            "routes", "wire", "log", "counts", "body", "problem", "bundle",
        ],
        "connections: of wire it names the carrier that it makes of each, of the log the end of all readers",
    ),
    ("certs", &[], "files and keys"),
    (
        "client",
        &[],
        "a stranger: the other end of the wires, which knows the protocol and nothing of the server's code",
    ),
    (
        "doctor",
        &["client"],
        "a stranger too: what it says of a server it has seen from outside",
    ),
    (
        "load",
        &["client"],
        "a stranger too: many readers at once, on the transports that client names",
    ),
    (
        "compare",
        &["client", "load"],
        "a stranger too: it measures a server from outside",
    ),
    (
        "greeting",
        &[],
        "says hello in several languages, and knows no more of any",
    ),
    ("pace", &[], "how long to wait, for whoever tries again"),
    (
        "source",
        &[
            "event", "log", "counts", "problem", "greeting", "pace", "trust",
        ],
        "publishes by itself, not as a peer, or what it hears elsewhere, which may be away, or something else",
    ),
    (
        "relay",
        &["event", "problem", "database", "greeting", "trust"],
        "carries bytes and gives them places; it knows no log",
    ),
    (
        "replica",
        &["relay", "log", "event", "problem", "pace"],
        "the one loop between a relay and the log, and who else there is",
    ),
    (
        "config",
        &[],
        "values; the library is given what it needs of them, never all",
    ),
    (
        "cli",
        &[
            "config", "certs", "client", "compare", "doctor", "server", "routes", "wire", "api",
            "log", "live", "store", "counts", "access", "source", "relay", "replica", "event",
            "problem", "database",
        ],
        "makes everything from the settings, and is named by nobody",
    ),
];

/// Modules whose files are several of a kind behind one trait, and know nothing of each other; and those files of theirs
/// that are none of the kind.
const DOORS: [(&[&str], &[&str]); 3] = [
    (&["wire"], &[]),
    (&["relay"], &[]),
    (&["source", "bridge"], &["asked", "carry", "line"]),
];

#[test]
fn modules_name_whom_they_may() {
    let mut taken: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for file in sources() {
        let named = taken.entry(file.module().to_owned()).or_default();
        for (line, path) in file.paths() {
            let Some(target) = file.resolve(&path).first().cloned() else {
                wrong.push(format!("{}:{line}: one path a line, please", file.name()));
                continue;
            };
            let row = ARROWS.iter().find(|(module, ..)| *module == file.module());
            let allowed = row.is_some_and(|(_, may, _)| may.contains(&&*target));
            if target != file.module() && !allowed {
                let place = format!("{}:{line}", file.name());
                wrong.push(format!("{place}: {} may not name {target}", file.module()));
            }
            named.insert(target);
        }
    }
    for (module, may, why) in ARROWS {
        let Some(named) = taken.remove(module) else {
            wrong.push(format!("{module} is in the table and not in src"));
            continue;
        };
        for target in may.iter().filter(|target| !named.contains(**target)) {
            wrong.push(format!("{module} does not name {target} any more ({why})"));
        }
    }
    let strangers = taken
        .keys()
        .map(|module| format!("{module} is not in the table"));
    wrong.extend(strangers);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn arrows_point_downwards() {
    // Config, certificates and sources stand beside the path of a request: only cli is above them.
    for (index, (module, may, _)) in ARROWS.iter().enumerate() {
        for target in *may {
            let place = ARROWS.iter().position(|(name, ..)| name == target);
            let place = place.unwrap_or_else(|| panic!("{target} has a row"));
            assert!(
                place < index,
                "{module} names {target}, which stands above it"
            );
        }
    }
}

#[test]
fn what_is_behind_a_door_knows_nothing_of_its_neighbours() {
    let mut wrong = Vec::new();
    for (door, common) in DOORS {
        let files = sources();
        let room = |file: &Source| file.room(door).filter(|room| !common.contains(&&**room));
        let rooms: BTreeSet<String> = files.iter().filter_map(room).collect();
        assert!(rooms.len() > 2, "{door:?}");
        for file in &files {
            let Some(own) = room(file) else { continue };
            // Any word, however it is imported.
            for (line, word) in file.words() {
                let mut segments = word.split("::").filter(|s| *s != own);
                if let Some(room) = segments.find(|s| rooms.contains(*s)) {
                    wrong.push(format!("{}:{line}: {own} names {room}", file.name()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One file below `src`, without its tests.
struct Source {
    path: PathBuf,
    code: String,
}

fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    collect(&root(), &mut sources);
    assert!(sources.len() > 20, "the sources are there");
    sources
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn collect(dir: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).expect("a source is text");
            let code = text.split("#[cfg(test)]").next().unwrap_or("").to_owned();
            let path = path.strip_prefix(root()).expect("below src").to_owned();
            // The two that stand above the modules.
            if !matches!(path.to_str(), Some("lib.rs" | "main.rs")) {
                sources.push(Source { path, code });
            }
        }
    }
}

impl Source {
    fn name(&self) -> String {
        format!("src/{}", self.path.display())
    }

    /// `wire`, `websocket`, `session`.
    fn place(&self) -> Vec<String> {
        let path = self.path.with_extension("");
        path.iter()
            .map(|s| s.to_string_lossy().into_owned())
            .collect()
    }

    fn module(&self) -> &str {
        let first = self.path.iter().next().and_then(|s| s.to_str());
        first.expect("UTF-8").trim_end_matches(".rs")
    }

    /// The module behind a door, if it is in one.
    fn room(&self, door: &[&str]) -> Option<String> {
        let place = self.place();
        let is_behind = place.len() > door.len() && place.iter().zip(door).all(|(a, b)| a == b);
        is_behind.then(|| place[door.len()].clone())
    }

    /// Names and paths, with their lines; not what comments and strings say.
    fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        self.code
            .lines()
            .enumerate()
            .flat_map(move |(number, line)| {
                let code = line.split("//").next().unwrap_or("");
                let code = code.split('"').step_by(2);
                let words = code.flat_map(move |part| part.split(move |c| !is_path(c)));
                words.map(move |word| (number + 1, word))
            })
    }

    /// Paths that begin with `crate` or `super`, with their lines.
    fn paths(&self) -> impl Iterator<Item = (usize, Vec<String>)> {
        self.words().filter_map(|(number, word)| {
            let path: Vec<String> = word.split("::").map(str::to_owned).collect();
            let inside = path.len() > 1 && matches!(&*path[0], "crate" | "super");
            inside.then_some((number, path))
        })
    }

    /// The same from the crate's root; empty when a brace follows where a module should be named.
    fn resolve(&self, path: &[String]) -> Vec<String> {
        let ups = path
            .iter()
            .take_while(|segment| *segment == "super")
            .count();
        let mut from = self.place();
        match ups {
            0 => from.clear(),
            _ => from.truncate(from.len().saturating_sub(ups)),
        }
        let rest = path
            .iter()
            .skip(ups.max(1))
            .filter(|segment| !segment.is_empty());
        from.extend(rest.cloned());
        from
    }
}
