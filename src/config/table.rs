//! The table of settings: what a row is, and all of them. A new setting is one row here and one
//! field of [`Config`].
//!
//! A row's kind holds the field that it fills, so the compiler checks the type; everything else
//! about a setting follows from its key.

mod collections;
mod general;
mod limits;
mod live;
mod relay;
mod store;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Config;
use crate::config::LogFormat;
use crate::config::host;
use crate::config::listeners;
use crate::config::listeners::Bind;
use crate::config::secret::Secret;
use crate::config::value;
use crate::config::value::Schemes;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The file's key, and the flag without its `--`.
    pub key: &'static str,
    /// As a user would write it; empty when there is none to write.
    pub default: &'static str,
    /// What it does and why, in one line.
    pub help: &'static str,
    /// Whether `-h` shows it; `--help` shows all.
    pub shown: bool,
    kind: Kind,
}

/// The rows of one heading.
#[derive(Debug)]
pub struct Section {
    /// What `--help` calls them.
    pub title: &'static str,
    /// The rows.
    pub settings: &'static [Setting],
}

/// All settings by heading.
pub static SECTIONS: [Section; 8] = [
    Section {
        title: "Listeners",
        settings: general::LISTENERS,
    },
    Section {
        title: "Server",
        settings: general::SERVER,
    },
    Section {
        title: "Times",
        settings: limits::TIMES,
    },
    Section {
        title: "Limits",
        settings: limits::LIMITS,
    },
    Section {
        title: "Live SQL",
        settings: live::LIVE,
    },
    Section {
        title: "Collections",
        settings: collections::COLLECTIONS,
    },
    Section {
        title: "Postgres",
        settings: store::STORE,
    },
    Section {
        title: "Relay",
        settings: relay::RELAY,
    },
];

/// All settings.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    SECTIONS.iter().flat_map(|section| section.settings)
}

/// The one with this key.
pub(super) fn setting(key: &str) -> &'static Setting {
    let found = settings().find(|setting| setting.key == key);
    found.expect("only keys of the table are asked for")
}

/// The field that a row fills.
type Field<T> = fn(&mut Config) -> &mut T;

/// What a value may be, and where it goes. Ranges are in milliseconds and bytes.
#[derive(Debug)]
enum Kind {
    Listen(Field<Bind>),
    Time(RangeInclusive<u64>, Field<Duration>),
    TimeOrOff(RangeInclusive<u64>, Field<Option<Duration>>),
    Size(RangeInclusive<u64>, Field<usize>),
    Number(RangeInclusive<u64>, Field<usize>),
    NumberOrAuto(RangeInclusive<u64>, Field<Option<usize>>),
    Switch(Field<bool>),
    Directory(Field<PathBuf>),
    DirectoryOrNone(Field<Option<PathBuf>>),
    Name(Field<Option<String>>),
    LogFormat(Field<LogFormat>),
    Origins(Field<Vec<String>>),
    Hosts(Field<Vec<String>>),
    Keys(Field<Vec<Secret>>),
    Url(&'static Schemes, Field<Option<Secret>>),
    Urls(&'static Schemes, Field<Vec<Secret>>),
}

/// A row that only `--help` and the documentation show.
const fn row(key: &'static str, default: &'static str, kind: Kind, help: &'static str) -> Setting {
    Setting {
        key,
        default,
        help,
        shown: false,
        kind,
    }
}

/// A row for what operators change.
const fn shown(
    key: &'static str,
    default: &'static str,
    kind: Kind,
    help: &'static str,
) -> Setting {
    Setting {
        key,
        default,
        help,
        shown: true,
        kind,
    }
}

impl Setting {
    /// `--topic-bytes`
    pub fn flag(&self) -> String {
        format!("--{}", self.key)
    }

    /// `TRIWIRE_TOPIC_BYTES`
    pub fn variable(&self) -> String {
        format!(
            "TRIWIRE_{}",
            self.key.to_ascii_uppercase().replace('-', "_")
        )
    }

    /// What it may be, in words: `64B to 64MiB`.
    pub fn allowed(&self) -> String {
        match &self.kind {
            Kind::Listen(_) => listeners::FORMS.to_owned(),
            Kind::Time(range, _) => value::times(range),
            Kind::TimeOrOff(range, _) => format!("{}, or off", value::times(range)),
            Kind::Size(range, _) => value::sizes(range),
            Kind::Number(range, _) => value::numbers(range),
            Kind::NumberOrAuto(range, _) => format!("{}, or auto", value::numbers(range)),
            Kind::Switch(_) => "true or false".to_owned(),
            Kind::Directory(_) | Kind::DirectoryOrNone(_) => "a directory".to_owned(),
            Kind::Name(_) => {
                "1 to 64 printable ASCII characters without quotes and backslashes".to_owned()
            }
            Kind::LogFormat(_) => "human or json".to_owned(),
            Kind::Origins(_) => "scheme://host or scheme://host:port, any number".to_owned(),
            Kind::Hosts(_) => "names without a port, any number".to_owned(),
            Kind::Keys(_) => value::KEYS.to_owned(),
            Kind::Url(schemes, _) => schemes.form.to_owned(),
            Kind::Urls(schemes, _) => format!("{}, any number", schemes.form),
        }
    }

    /// The unit, or another word for the value, as `--help` names it.
    pub(super) fn value_name(&self) -> &'static str {
        match self.kind {
            Kind::Listen(_) => "ADDR:PORT",
            Kind::Time(..) | Kind::TimeOrOff(..) => "TIME",
            Kind::Size(..) => "SIZE",
            Kind::Number(..) | Kind::NumberOrAuto(..) => "NUMBER",
            Kind::Switch(_) => "true|false",
            Kind::Directory(_) | Kind::DirectoryOrNone(_) => "DIR",
            Kind::Name(_) => "NAME",
            Kind::LogFormat(_) => "human|json",
            Kind::Origins(_) => "ORIGIN",
            Kind::Hosts(_) => "HOST",
            Kind::Keys(_) => "KEY",
            Kind::Url(..) | Kind::Urls(..) => "URL",
        }
    }

    /// Whether its flag alone, without a value, says something.
    pub(super) fn is_switch(&self) -> bool {
        matches!(self.kind, Kind::Switch(_))
    }

    /// How much its field says, in milliseconds, bytes or pieces; nothing where it says something else.
    pub(super) fn amount(&self, config: &Config) -> Option<u128> {
        // A row knows its field as one to be filled.
        let mut config = config.clone();
        match self.kind {
            Kind::Time(_, field) => Some(field(&mut config).as_millis()),
            Kind::Size(_, field) | Kind::Number(_, field) => Some(*field(&mut config) as u128),
            _ => None,
        }
    }

    /// Fills its field with the default, if it has one.
    pub(super) fn fill(&self, config: &mut Config) -> Result<(), Vec<String>> {
        if self.default.is_empty() {
            Ok(())
        } else {
            self.store(config, &[self.default.to_owned()])
        }
    }

    /// Fills its field, or says of each value what is wrong with it. Only a list takes more or
    /// fewer than one value.
    pub(super) fn store(&self, config: &mut Config, values: &[String]) -> Result<(), Vec<String>> {
        match self.kind {
            Kind::Origins(field) => {
                list(values, host::origin).map(|origins| *field(config) = origins)
            }
            Kind::Hosts(field) => list(values, host::host).map(|hosts| *field(config) = hosts),
            Kind::Keys(field) => keys(values).map(|keys| *field(config) = keys),
            Kind::Urls(schemes, field) => urls(values, schemes).map(|urls| *field(config) = urls),
            Kind::Url(schemes, field) => match values {
                [url] if schemes.take(url.trim()) => {
                    *field(config) = Some(Secret::new(url.trim()));
                    Ok(())
                }
                // There is a password in it.
                _ => Err(vec![format!("is none; write {}", schemes.form)]),
            },
            _ => match values {
                [text] => self
                    .store_one(config, text.trim())
                    .map_err(|reason| vec![complain(text, &reason)]),
                _ => Err(vec![format!(
                    "takes one value, not {}; write {}",
                    values.len(),
                    self.allowed()
                )]),
            },
        }
    }

    fn store_one(&self, config: &mut Config, text: &str) -> Result<(), String> {
        match &self.kind {
            Kind::Listen(field) => *field(config) = Bind::parse(text)?,
            Kind::Time(range, field) => *field(config) = value::time(text, range)?,
            Kind::TimeOrOff(range, field) => {
                *field(config) = unless("off", text, |text| value::time(text, range))?
            }
            Kind::Size(range, field) => *field(config) = value::size(text, range)?,
            Kind::Number(range, field) => *field(config) = value::number(text, range)?,
            Kind::NumberOrAuto(range, field) => {
                *field(config) = unless("auto", text, |text| value::number(text, range))?
            }
            Kind::Switch(field) => *field(config) = value::switch(text)?,
            Kind::Directory(_) | Kind::DirectoryOrNone(_) if text.is_empty() => {
                return Err("is not a directory".to_owned());
            }
            Kind::Directory(field) => *field(config) = PathBuf::from(text),
            Kind::DirectoryOrNone(field) => *field(config) = Some(PathBuf::from(text)),
            Kind::Name(field) => *field(config) = Some(value::name(text)?),
            Kind::LogFormat(field) => *field(config) = log_format(text)?,
            Kind::Origins(_) | Kind::Hosts(_) | Kind::Keys(_) | Kind::Url(..) | Kind::Urls(..) => {
                unreachable!("lists and secrets are stored whole")
            }
        }
        Ok(())
    }
}

/// `None` for the one word that stands for no value.
fn unless<T>(
    word: &str,
    text: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if text.eq_ignore_ascii_case(word) {
        return Ok(None);
    }
    read(text)
        .map(Some)
        .map_err(|reason| format!("{reason}, or {word}"))
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "human" => Ok(LogFormat::Human),
        "json" => Ok(LogFormat::Json),
        _ => Err("is not a log format; write human or json".to_owned()),
    }
}

/// Each value may itself be a list with commas, as variables need it. Doubles are kept once.
fn list(
    values: &[String],
    read: fn(&str) -> Result<String, String>,
) -> Result<Vec<String>, Vec<String>> {
    let (mut items, mut wrong) = (Vec::new(), Vec::new());
    for text in values
        .iter()
        .flat_map(|value| value.split(','))
        .map(str::trim)
    {
        match read(text) {
            Ok(item) if items.contains(&item) => {}
            Ok(item) => items.push(item),
            Err(reason) => wrong.push(complain(text, &reason)),
        }
    }
    if wrong.is_empty() {
        Ok(items)
    } else {
        Err(wrong)
    }
}

/// The same of keys, which are not shown: a mistake in one is told by its place.
fn keys(values: &[String]) -> Result<Vec<Secret>, Vec<String>> {
    let keys = values.iter().flat_map(|value| value.split(','));
    let keys: Vec<&str> = keys.map(str::trim).collect();
    let wrong = keys.iter().position(|key| !value::is_key(key));
    match wrong {
        Some(place) => Err(vec![format!(
            "key {} of {} is none; write {}",
            place + 1,
            keys.len(),
            value::KEYS
        )]),
        None => Ok(keys.into_iter().map(Secret::new).collect()),
    }
}

/// The same of URLs, which may have passwords, and commas: in one text they stand apart by spaces.
fn urls(values: &[String], schemes: &Schemes) -> Result<Vec<Secret>, Vec<String>> {
    let urls: Vec<&str> = values.iter().flat_map(|v| v.split_whitespace()).collect();
    let wrong = urls
        .iter()
        .enumerate()
        .filter(|(_, url)| !schemes.take(url));
    let wrong: Vec<String> = wrong
        .map(|(at, _)| {
            format!(
                "URL {} of {} is none; write {}",
                at + 1,
                urls.len(),
                schemes.form
            )
        })
        .collect();
    match wrong.is_empty() {
        true => Ok(urls.into_iter().map(Secret::new).collect()),
        false => Err(wrong),
    }
}

/// The value is quoted, so that a line stays a line, and cut, so that it stays short.
fn complain(text: &str, reason: &str) -> String {
    const SHOWN: usize = 80;
    let cut: String = text.chars().take(SHOWN).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{cut:?}{more} {reason}")
}
