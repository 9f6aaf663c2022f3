//! Where the results of a comparison are kept.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::{env, process};

use crate::compare::html;
use crate::compare::results::Results;

/// The files that the results go to.
pub(super) struct Files {
    json: PathBuf,
    html: Option<PathBuf>,
    /// Whether nobody said where.
    ours: bool,
}

impl Files {
    /// Looks whether they can be written; what is in them stays until there is something new.
    pub(super) fn open(json: Option<&PathBuf>, html: Option<&PathBuf>) -> Result<Files, String> {
        if json.is_some() && json == html {
            return Err("--json and --html name the same file".to_owned());
        }
        let ours = || env::temp_dir().join(format!("triwire-compare-{}.json", process::id()));
        let files = Files {
            ours: json.is_none(),
            json: json.cloned().unwrap_or_else(ours),
            html: html.cloned(),
        };
        for file in files.all() {
            let opened = OpenOptions::new().create(true).append(true).open(file);
            opened.map_err(|error| {
                files.take_back();
                cannot(file, &error)
            })?;
        }
        Ok(files)
    }

    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        [Some(&self.json), self.html.as_ref()].into_iter().flatten()
    }

    /// Nothing came of it: leaves nothing behind that was not there.
    pub(super) fn take_back(&self) {
        let empty = |file: &&PathBuf| {
            fs::symlink_metadata(file).is_ok_and(|found| found.is_file() && found.len() == 0)
        };
        for file in self.all().filter(empty) {
            // An empty file does no harm.
            let _ = fs::remove_file(file);
        }
    }

    /// Keeps what there is, so that nothing is lost with what follows.
    pub(super) fn keep(&self, results: &Results) -> Result<(), String> {
        let json = serde_json::to_string(results).expect("it has string keys");
        write(&self.json, &json)
    }

    /// Keeps all of it.
    pub(super) fn end(&self, results: &Results) -> Result<(), String> {
        self.keep(results)?;
        match &self.html {
            Some(file) => write(file, &html::page(results)),
            None => Ok(()),
        }
    }

    /// Where it is, when nobody said where.
    pub(super) fn told(&self) -> Option<String> {
        let file = self.json.display();
        self.ours.then(|| format!("all samples are in {file}"))
    }
}

/// An earlier result.
pub(super) fn read(file: &Path) -> Result<Results, String> {
    let text = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    serde_json::from_slice(&text)
        .map_err(|error| format!("{}: no result of a comparison ({error})", file.display()))
}

/// As a whole or not at all, where the file is one that can be replaced: what was kept before is not risked.
fn write(file: &Path, text: &str) -> Result<(), String> {
    let regular = fs::symlink_metadata(file).is_ok_and(|found| found.is_file());
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = match regular.then(|| File::create(&beside)) {
        Some(Ok(mut new)) => new
            .write_all(text.as_bytes())
            .and_then(|()| fs::rename(&beside, file))
            .inspect_err(|_| drop(fs::remove_file(&beside))),
        // A device, or a directory in which nothing can be made.
        _ => File::create(file).and_then(|mut file| file.write_all(text.as_bytes())),
    };
    written.map_err(|error| cannot(file, &error))
}

fn cannot(file: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}; name another file", file.display())
}
