//! Where a database is: a URL as every program of Postgres takes it, with what this one adds and what it cannot do.
//!
//! The URL holds a password: nothing that is shown or logged is made from its text.

pub mod pooler;
mod tls;

use std::error::Error as _;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use self::tls::Trust;

/// How long a connection may take to be made, to each address.
const CONNECTED: Duration = Duration::from_secs(5);

/// A peer that is silent is asked whether it is there after this long, and is given up after it again.
const SILENT: Duration = Duration::from_secs(15);

/// What the client says, as a cause, of one that is not what `target_session_attrs` asks for.
const READ_ONLY: &str = "database does not allow writes";

/// A database, and how it is spoken to.
#[derive(Clone)]
pub struct Place {
    /// What the URL says.
    pub config: Config,
    /// How it is encrypted.
    pub tls: MakeRustlsConnect,
    shown: String,
}

impl Place {
    /// Reads a URL: `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`.
    ///
    /// # Errors
    /// What is wrong with it, without a word of it.
    pub fn parse(url: &str) -> Result<Place, String> {
        let known = ["postgres://", "postgresql://"].iter();
        if !known.clone().any(|scheme| url.starts_with(scheme)) {
            return Err("it begins with postgres:// or postgresql://".into());
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut said = Said::default();
        let mut rest = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "sslmode" => said.mode = Some(value.into_owned()),
                "sslrootcert" => said.roots = Some(value.into_owned()),
                _ => {
                    said.names.push(name.clone().into_owned());
                    rest.append_pair(&name, &value);
                }
            }
        }
        // Its reader decodes percents, and leaves a plus as it is.
        let rest = rest.finish().replace('+', "%20");
        let mut config: Config = format!("{base}?{rest}")
            .parse()
            .map_err(|error| plainly(&error))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(
                "it names no host; for a socket in a directory, add ?host=/DIRECTORY".into(),
            );
        }
        let (mode, trust) = said.encryption()?;
        config.ssl_mode(mode);
        said.complete(&mut config);
        Ok(Place {
            tls: tls::connector(trust)?,
            shown: shown(&config),
            config,
        })
    }

    /// Where it is, without what is secret.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

/// What a URL says after its `?`.
#[derive(Default)]
struct Said {
    mode: Option<String>,
    roots: Option<String>,
    names: Vec<String>,
}

impl Said {
    /// As libpq understands it: a root makes what is encrypted checked too.
    fn encryption(&self) -> Result<(SslMode, Trust), String> {
        let roots = self.roots.as_deref().filter(|roots| *roots != "system");
        let file = roots.map(PathBuf::from);
        let checked = |file: Option<PathBuf>| match file {
            Some(file) => Trust::Issuer(file),
            None => Trust::Anybody,
        };
        match self.mode.as_deref().unwrap_or("prefer") {
            "disable" => Ok((SslMode::Disable, Trust::Anybody)),
            "prefer" => Ok((SslMode::Prefer, Trust::Anybody)),
            "require" => Ok((SslMode::Require, checked(file))),
            "verify-ca" if file.is_none() => {
                Err("sslmode=verify-ca needs sslrootcert=FILE; verify-full does without".into())
            }
            "verify-ca" => Ok((SslMode::Require, checked(file))),
            "verify-full" => Ok((SslMode::Require, Trust::Name(file))),
            _ => Err("sslmode is disable, prefer, require, verify-ca or verify-full".into()),
        }
    }

    /// Says what the URL leaves open.
    fn complete(&self, config: &mut Config) {
        let open = |name: &str| !self.names.iter().any(|known| known == name);
        if open("application_name") {
            config.application_name("triwire");
        }
        if open("connect_timeout") {
            config.connect_timeout(CONNECTED);
        }
        if open("keepalives_idle") {
            config.keepalives_idle(SILENT);
        }
        if open("tcp_user_timeout") {
            config.tcp_user_timeout(SILENT);
        }
        // A standby would refuse each write, and of several hosts one may be none.
        if open("target_session_attrs") {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
    }
}

/// All that is known of a failure, for a person; neither passwords nor documents are in it.
pub fn why(error: &tokio_postgres::Error) -> String {
    if let Some(refused) = error.as_db_error() {
        return refused.message().to_owned();
    }
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if more == READ_ONLY {
            return "it takes no writes: it is a standby, or only to be read".to_owned();
        }
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = inner.source();
    }
    words
}

/// What its reader says, which names options and never values.
fn plainly(error: &tokio_postgres::Error) -> String {
    let why = error.source().map(ToString::to_string);
    why.unwrap_or_else(|| error.to_string())
}

fn shown(config: &Config) -> String {
    let mut text = String::from("postgres://");
    if let Some(user) = config.get_user() {
        let _ = write!(text, "{user}@");
    }
    for (index, host) in config.get_hosts().iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = match host {
            Host::Tcp(name) => write!(text, "{comma}{name}"),
            Host::Unix(path) => write!(text, "{comma}{}", path.display()),
        };
        let port = config.get_ports().get(index).or(config.get_ports().first());
        if let Some(port) = port {
            let _ = write!(text, ":{port}");
        }
    }
    if let Some(name) = config.get_dbname() {
        let _ = write!(text, "/{name}");
    }
    text
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Place").field(&self.shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_says() {
        for (url, shown) in [
            ("postgres://u:secret@h/d", "postgres://u@h:5432/d"),
            ("postgresql://h:7/d?sslmode=require", "postgres://h:7/d"),
            ("postgres://a,b:2/d", "postgres://a:5432,b:2/d"),
            (
                "postgres:///d?host=/run/my%20db&user=u",
                "postgres://u@/run/my db/d",
            ),
        ] {
            let place = Place::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(place.shown(), shown, "{url}");
            assert!(!format!("{place:?}").contains("secret"));
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        for (url, word) in [
            ("mysql://u:secret@h/d", "postgres://"),
            ("postgres:///d", "no host"),
            ("postgres://u:secret@h/d?sslmode=allow", "sslmode"),
            ("postgres://u:secret@h/d?sslmode=verify-ca", "sslrootcert"),
            (
                "postgres://u:secret@h/d?sslmode=verify-full&sslrootcert=/none",
                "/none",
            ),
            ("postgres://u:secret@h:x/d", "port"),
            ("postgres://u:secret@h/d?pool=5", "pool"),
        ] {
            let mistake = Place::parse(url).expect_err(url);
            assert!(mistake.contains(word), "{url}: {mistake}");
            assert!(!mistake.contains("secret"), "{url}: {mistake}");
        }
    }
}
