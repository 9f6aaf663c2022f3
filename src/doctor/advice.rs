//! What to do about what is wrong, in the words of the proxy that is there, where it says its name.

use hyper::HeaderMap;

/// What a proxy's settings can be to blame for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Answers are held until there is more of them.
    Buffered,
    /// A compressor waits for more.
    Compressed,
    /// Streams without traffic are cut.
    IdleCut,
    /// Streams are cut at an age.
    LengthCut,
    /// `Upgrade` is not passed on.
    LostUpgrade,
    /// HTTP/2 is not offered, or HTTP/1.0 is spoken.
    OldVersion,
    /// The certificate.
    Certificate,
}

const NGINX: &str = "nginx";
const HAPROXY: &str = "HAProxy";
const CADDY: &str = "Caddy";

/// What each proxy calls the remedy; docs/proxies.md has the whole of it.
fn remedies(trouble: Trouble) -> &'static [(&'static str, &'static str)] {
    match trouble {
        Trouble::Buffered => &[
            (NGINX, "proxy_buffering off and proxy_http_version 1.1"),
            (CADDY, "no buffer_responses in reverse_proxy"),
        ],
        Trouble::Compressed => &[
            (NGINX, "gzip off"),
            (HAPROXY, "no text/event-stream in compression type"),
            (CADDY, "no text/event-stream in the matcher of encode"),
        ],
        Trouble::IdleCut => &[
            (NGINX, "proxy_read_timeout 75s"),
            (
                HAPROXY,
                "timeout client 75s, timeout server 75s and, if it is set, timeout tunnel 75s",
            ),
            (CADDY, "read_timeout 75s in transport http"),
        ],
        Trouble::LengthCut => &[(CADDY, "no write in timeouts of servers")],
        Trouble::LostUpgrade => &[
            (
                NGINX,
                "proxy_http_version 1.1 and proxy_set_header for Upgrade and Connection",
            ),
            (HAPROXY, "no http-request del-header Upgrade"),
            (CADDY, "no header_up that takes Upgrade or Connection away"),
        ],
        Trouble::OldVersion => &[
            (NGINX, "listen 443 ssl http2"),
            (HAPROXY, "alpn h2,http/1.1 on the bind line"),
            (CADDY, "protocols h1 h2 in servers"),
        ],
        Trouble::Certificate => &[
            (NGINX, "ssl_certificate, and nginx -s reload"),
            (HAPROXY, "crt on the bind line, and a reload"),
            (CADDY, "tls, and caddy reload"),
        ],
    }
}

/// Advice for the proxy that is there.
#[derive(Clone, Debug, Default)]
pub struct Advice {
    proxy: Option<&'static str>,
}

impl Advice {
    /// Looks for a proxy's name in what it says of itself.
    pub fn notice(&mut self, marks: &str) {
        let marks = marks.to_ascii_lowercase();
        let mut known = [NGINX, HAPROXY, CADDY].into_iter();
        self.proxy = known.find(|name| marks.contains(&name.to_ascii_lowercase()));
    }

    /// What to do.
    pub fn on(&self, trouble: Trouble) -> String {
        let all = remedies(trouble).iter();
        let own: Vec<_> = all
            .filter(|(proxy, _)| self.proxy.is_none_or(|known| known == *proxy))
            .map(|(proxy, remedy)| format!("{proxy}: {remedy}"))
            .collect();
        match (own.is_empty(), self.proxy) {
            (false, _) => format!("{} (docs/proxies.md)", own.join("; ")),
            (true, Some(proxy)) => format!(
                "{proxy} does not do that by itself: look at what else is in between (docs/proxies.md)"
            ),
            (true, None) => "Look at what is in between (docs/proxies.md)".into(),
        }
    }
}

/// What those in between say of themselves; triwire itself says nothing.
pub fn marks(headers: &HeaderMap) -> Option<String> {
    let marks: Vec<String> = ["via", "server"]
        .into_iter()
        .flat_map(|name| headers.get_all(name).iter().map(move |value| (name, value)))
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    (!marks.is_empty()).then(|| marks.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_known_by_its_marks() {
        let mut headers = HeaderMap::new();
        assert_eq!(marks(&headers), None);
        headers.insert("server", "nginx/1.22.1".parse().expect("a value"));
        let marks = marks(&headers).expect("it says so");
        assert_eq!(marks, "server: nginx/1.22.1");
        let mut advice = Advice::default();
        assert!(advice.on(Trouble::IdleCut).contains("HAProxy: "));
        advice.notice(&marks);
        let words = advice.on(Trouble::IdleCut);
        assert!(
            words.contains("proxy_read_timeout") && !words.contains("HAProxy"),
            "{words}"
        );
        assert!(advice.on(Trouble::LengthCut).contains("does not do that"));
    }
}
