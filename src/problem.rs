//! What a peer is told when something cannot be done (RFC 9457), with what to do about it.
//!
//! A problem is a value without a wire: HTTP writes it as `application/problem+json`, WebSocket as `$error`.

use std::borrow::Cow;
use std::fmt;

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};

/// A refusal: status, a short stable kind, and a sentence for the person who reads it.
#[derive(Debug, Clone)]
pub struct Problem {
    /// HTTP status (RFC 9110, section 15).
    pub status: StatusCode,
    /// What kind it is: the last part of the problem's `type`.
    pub kind: &'static str,
    /// What went wrong here, and what to do about it.
    pub detail: Cow<'static, str>,
    /// Headers that the answer must carry, such as `allow` or `retry-after`. Not a `HeaderMap`, which is so large
    /// that every `Result` with a problem would be.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What is wrong within what was sent: a JSON Pointer (RFC 6901), and why.
    pub errors: Vec<(String, String)>,
}

impl Problem {
    /// A problem with any status.
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Problem {
        Problem {
            status,
            kind,
            detail: detail.into(),
            headers: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// 400: malformed.
    pub fn bad_request(kind: &'static str, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, kind, detail)
    }

    /// 413: over the limit that is named, with its value and the key that changes it.
    pub fn too_large(what: &str, limit: u64, key: &str) -> Problem {
        let detail = format!(
            "{what} is over its limit of {limit} bytes ({key}); send less or raise the limit"
        );
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
    }

    /// 503 that asks to come back.
    pub fn unavailable(kind: &'static str, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, kind, detail)
            .with(hyper::header::RETRY_AFTER, "5")
    }

    /// 405 with what is allowed.
    pub fn method(allow: HeaderValue) -> Problem {
        let takes = allow.to_str().unwrap_or("other methods");
        let detail = format!("this path takes {takes}");
        let mut problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail);
        problem.headers.push((hyper::header::ALLOW, allow));
        problem
    }

    /// Adds a header to the answer.
    pub fn with(mut self, name: HeaderName, value: &'static str) -> Problem {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// Says on which of several lines it is, where there are several.
    pub fn of_line(self, line: Option<usize>) -> Problem {
        match line {
            Some(line) => Problem {
                detail: format!("line {line}: {}", self.detail).into(),
                ..self
            },
            None => self,
        }
    }

    /// The status' own name, such as `Bad Request`.
    pub fn title(&self) -> &'static str {
        self.status.canonical_reason().unwrap_or("Error")
    }

    /// The body of `application/problem+json` (RFC 9457, section 3).
    pub fn json(&self) -> String {
        let mut problem = serde_json::json!({
            "type": format!("/problems/{}", self.kind),
            "title": self.title(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if !self.errors.is_empty() {
            let errors = self.errors.iter();
            problem["errors"] = errors
                .map(
                    |(pointer, detail)| serde_json::json!({ "pointer": pointer, "detail": detail }),
                )
                .collect();
        }
        problem.to_string()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.kind, self.detail)
    }
}

impl std::error::Error for Problem {}
