//! What the URL of a bridge asks for. Whatever is wrong with it is said at once, and in words that have none of its secrets.

use percent_encoding::percent_decode_str;

use crate::event::{EventType, RESERVED, Topic};
use crate::trust::Authorities;

/// A URL, of which each part is taken once.
pub(super) struct Asked {
    /// Without its parameters.
    base: String,
    scheme: String,
    /// `HOST:PORT`, several with commas.
    place: String,
    user: Option<String>,
    password: Option<String>,
    /// Without its slash; `None` where there is not even that.
    path: Option<String>,
    query: Vec<(String, String)>,
    mistakes: Vec<String>,
    known: Vec<&'static str>,
}

impl Asked {
    pub(super) fn read(url: &str) -> Asked {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (place, path) = match rest.split_once('/') {
            Some((place, path)) => (place, Some(path.to_owned())),
            None => (rest, None),
        };
        let (who, place) = match place.rsplit_once('@') {
            Some((who, place)) => (Some(who), place),
            None => (None, place),
        };
        let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, password) = match who.map(|who| who.split_once(':').unwrap_or((who, ""))) {
            Some((user, password)) => (Some(plain(user)), Some(plain(password))),
            None => (None, None),
        };
        let mut asked = Asked {
            base: url.split('?').next().unwrap_or_default().to_owned(),
            scheme: scheme.to_owned(),
            place: place.to_owned(),
            user,
            password,
            path,
            query: form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
            mistakes: Vec::new(),
            known: Vec::new(),
        };
        if place
            .split(',')
            .any(|place| host_and_port(place, 1).is_none())
        {
            asked.wrong("it has no HOST:PORT");
        }
        asked
    }

    /// With its secrets, without its parameters.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Whether it is encrypted.
    pub(super) fn is_secure(&self) -> bool {
        matches!(&*self.scheme, "rediss" | "tls" | "mqtts" | "amqps")
    }

    /// `HOST:PORT`, as it was given.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn host_and_port(&self, port: u16) -> (String, u16) {
        host_and_port(&self.place, port).unwrap_or_default()
    }

    /// User and password, decoded.
    pub(super) fn who(&self) -> Option<(String, String)> {
        let user = self.user.clone()?;
        Some((user, self.password.clone().unwrap_or_default()))
    }

    pub(super) fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Takes a parameter.
    pub(super) fn take(&mut self, key: &'static str) -> Option<String> {
        self.known.push(key);
        let at = self.query.iter().position(|(name, _)| name == key)?;
        let (_, value) = self.query.remove(at);
        if value.is_empty() {
            self.wrong(format!("{key}= is empty"));
        }
        Some(value).filter(|value| !value.is_empty())
    }

    /// Takes one that must be there.
    pub(super) fn need(&mut self, key: &'static str) -> String {
        if !self.query.iter().any(|(name, _)| name == key) {
            self.wrong(format!("it needs {key}="));
        }
        self.take(key).unwrap_or_default()
    }

    /// The CAs to trust, if it names a file of them.
    pub(super) fn cacert(&mut self) -> Option<Authorities> {
        let file = self.take("cacert")?;
        self.sound(Authorities::named(&file))
    }

    /// The topic of all messages, if it names one.
    pub(super) fn topic(&mut self) -> Option<Topic> {
        let topic = self.take("topic")?;
        let topic = Topic::new(&topic).map_err(|problem| format!("topic=: {}", problem.detail));
        let topic = topic.and_then(|topic| match unreserved(&topic) {
            Ok(()) => Ok(topic),
            Err(reason) => Err(format!("topic={topic}: {reason}")),
        });
        self.sound(topic)
    }

    /// The type of all events.
    pub(super) fn event_type(&mut self) -> EventType {
        let Some(name) = self.take("type") else {
            return EventType::default();
        };
        let event_type =
            EventType::new(&name).map_err(|problem| format!("type=: {}", problem.detail));
        self.sound(event_type).unwrap_or_default()
    }

    /// The value, or a mistake.
    pub(super) fn sound<T>(&mut self, value: Result<T, String>) -> Option<T> {
        value.map_err(|reason| self.wrong(reason)).ok()
    }

    pub(super) fn wrong(&mut self, reason: impl Into<String>) {
        self.mistakes.push(reason.into());
    }

    /// Everything that is wrong; what nobody has taken is not known.
    pub(super) fn done(mut self) -> Result<(), Vec<String>> {
        for (name, _) in std::mem::take(&mut self.query) {
            let known = match self.known.contains(&&*name) {
                true => "is there twice".to_owned(),
                false => format!("is not known: {}", self.known.join(", ")),
            };
            self.wrong(format!("?{}= {known}", name.escape_debug()));
        }
        match self.mistakes.is_empty() {
            true => Ok(()),
            false => Err(self.mistakes),
        }
    }
}

/// Whether others than the server may publish there.
pub(super) fn unreserved(topic: &Topic) -> Result<(), String> {
    match topic.is_reserved() {
        true => Err(RESERVED.to_owned()),
        false => Ok(()),
    }
}

/// `HOST`, `HOST:PORT`, `[::1]:PORT`.
fn host_and_port(place: &str, port: u16) -> Option<(String, u16)> {
    let (host, port) = match place
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((host, "")) => (host, port),
        Some((host, rest)) => (host, rest.strip_prefix(':')?.parse().ok()?),
        None => match place.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (place, port),
        },
    };
    (!host.is_empty() && port != 0).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (place, read) in [
            ("a:1", Some(("a", 1))),
            ("a", Some(("a", 9))),
            ("[::1]:2", Some(("::1", 2))),
            ("[::1]", Some(("::1", 9))),
            ("", None),
            (":1", None),
            ("a:0", None),
            ("a:b", None),
            ("a:70000", None),
        ] {
            let read = read.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(host_and_port(place, 9), read, "{place}");
        }
    }

    #[test]
    fn a_url_in_its_parts() {
        let mut asked = Asked::read("x://us%40er:se%3Acret@h:1/a/b?one=1&two=%23&two=3&four=");
        assert_eq!(asked.who(), Some(("us@er".into(), "se:cret".into())));
        assert_eq!((asked.place(), asked.path()), ("h:1", Some("a/b")));
        assert_eq!(asked.take("one").as_deref(), Some("1"));
        assert_eq!(asked.need("two"), "#");
        assert_eq!((asked.need("three"), asked.take("four")), ("".into(), None));
        let mistakes = asked.done().expect_err("some are wrong");
        assert_eq!(
            mistakes,
            ["it needs three=", "four= is empty", "?two= is there twice"]
        );
    }
}
