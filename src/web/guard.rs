//! What every request must pass before a route sees it.
//!
//! A page in somebody's browser can resolve its own name to our address (DNS rebinding) and read what a
//! loopback address answers, so only names that we know are served. Routes that change something need the
//! admin token.

use std::{net::IpAddr, sync::Arc};

use actix_web::{
    HttpResponse,
    body::BoxBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, Version, header},
    middleware::Next,
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{head::MAX_HEAD, refuse};
use crate::config::Http;

/// The part of `[http]` that decides who is served.
pub struct Guard {
    hosts: Vec<String>,
    /// Of the token: the comparison then takes no time that depends on either length.
    token: Option<[u8; 32]>,
    require_token: bool,
}

/// Why a request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// 400: HTTP/1.1 without a `Host`, or with more than one.
    NoHost,
    /// 421: a name that is not ours.
    ForeignHost,
    /// 431: the head is too large.
    HeadTooLarge,
    /// 401: no token, or a wrong one.
    Unauthorized,
    /// 403: there is no admin token to show.
    Forbidden,
}

impl Guard {
    /// Of the configuration.
    pub fn new(http: &Http) -> Self {
        Self {
            hosts: http.hosts.iter().map(|host| normalize(host)).collect(),
            token: http.admin_token.as_ref().map(|token| digest(token.expose())),
            require_token: http.require_token,
        }
    }

    /// Whether a request with this `Host` is meant for us.
    pub fn knows(&self, host: &str) -> bool {
        let name = normalize(host);
        name == "localhost" || name.parse::<IpAddr>().is_ok() || self.hosts.contains(&name)
    }

    /// Whether the request may use the path: admin routes need the token, and with `require_token`
    /// everything but `/health…` and `/metrics`.
    ///
    /// # Errors
    /// [`Refused::Unauthorized`] or [`Refused::Forbidden`].
    pub fn authorize(&self, method: &Method, path: &str, authorization: Option<&[u8]>) -> Result<(), Refused> {
        let open = path == "/metrics" || path == "/health" || path.starts_with("/health/");
        if !is_admin(method, path) && (open || !self.require_token) {
            return Ok(());
        }
        let expected = self.token.ok_or(Refused::Forbidden)?;
        let shown = authorization.and_then(bearer).ok_or(Refused::Unauthorized)?;
        if digest(shown).ct_eq(&expected).into() { Ok(()) } else { Err(Refused::Unauthorized) }
    }

    fn admit(&self, request: &ServiceRequest) -> Result<(), Refused> {
        let headers = request.headers();
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if target + fields > MAX_HEAD {
            return Err(Refused::HeadTooLarge);
        }
        let mut hosts = headers.get_all(header::HOST);
        match (hosts.next(), hosts.next()) {
            (Some(host), None) if host.to_str().is_ok_and(|host| self.knows(host)) => {}
            (Some(_), None) => return Err(Refused::ForeignHost),
            (None, None) if request.version() < Version::HTTP_11 => {}
            _ => return Err(Refused::NoHost),
        }
        if request.uri().authority().is_some_and(|authority| !self.knows(authority.as_str())) {
            return Err(Refused::ForeignHost);
        }
        let authorization = headers.get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes);
        self.authorize(request.method(), request.path(), authorization)
    }
}

/// Routes that change something, and those that show what was refused.
fn is_admin(method: &Method, path: &str) -> bool {
    let Some(route) = path.strip_prefix("/api/") else { return false };
    let reads = *method == Method::GET || *method == Method::HEAD;
    !reads || route.starts_with("v1/dead-letters")
}

fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn digest(text: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Without port, brackets and a final dot, in lower case.
fn normalize(host: &str) -> String {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        // an IPv6 address without brackets has more than one colon
        None if host.matches(':').count() == 1 => host.split(':').next().unwrap_or_default(),
        None => host,
    };
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn answer(refused: Refused) -> HttpResponse {
    match refused {
        Refused::NoHost => refuse(400, "one Host header is needed"),
        Refused::ForeignHost => refuse(421, "not served under this name: add it to [http] hosts"),
        Refused::HeadTooLarge => refuse(431, "the request's head is larger than 16 kB"),
        Refused::Forbidden => refuse(403, "no admin_token is configured"),
        Refused::Unauthorized => {
            let mut answer = refuse(401, "the admin token is needed: Authorization: Bearer TOKEN");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
            answer
        }
    }
}

/// The middleware.
pub(super) async fn check(
    guard: Arc<Guard>,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    match guard.admit(&request) {
        Ok(()) => next.call(request).await,
        Err(refused) => Ok(request.into_response(answer(refused))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    fn guard(token: Option<&str>, require_token: bool) -> Guard {
        let admin_token = token.map(|token| Secret::new(token.to_owned()));
        Guard::new(&Http { listen: Vec::new(), hosts: vec!["News.example".into()], admin_token, require_token })
    }

    #[test]
    fn only_names_of_ours_are_served() {
        let guard = guard(None, false);
        for host in [
            "127.0.0.1:8787",
            "[::1]:8787",
            "[::1]",
            "::1",
            "localhost",
            "LOCALHOST:80",
            "localhost.",
            "news.example:443",
            "10.0.0.9",
        ] {
            assert!(guard.knows(host), "{host}");
        }
        for host in
            ["evil.example", "", "localhost.evil.example", "127.0.0.1.evil.example", "news.example.evil", "[evil]"]
        {
            assert!(!guard.knows(host), "{host}");
        }
    }

    #[test]
    fn admin_routes_need_the_token_and_reading_does_not() {
        let with = guard(Some("s3cret"), false);
        let post = |authorization: Option<&str>| {
            with.authorize(&Method::POST, "/api/v1/reload", authorization.map(str::as_bytes))
        };
        assert_eq!(post(Some("Bearer s3cret")), Ok(()));
        assert_eq!(post(Some("bearer s3cret")), Ok(()));
        for wrong in
            [None, Some("Bearer s3cre"), Some("Bearer s3cret2"), Some("Basic s3cret"), Some("Bearer"), Some("")]
        {
            assert_eq!(post(wrong), Err(Refused::Unauthorized), "{wrong:?}");
        }
        assert_eq!(with.authorize(&Method::GET, "/api/v1/dead-letters", None), Err(Refused::Unauthorized));
        for path in ["/", "/health", "/metrics", "/api/v1/sources"] {
            assert_eq!(with.authorize(&Method::GET, path, None), Ok(()), "{path}");
        }
        let without = guard(None, false);
        assert_eq!(without.authorize(&Method::POST, "/api/v1/reload", Some(b"Bearer x")), Err(Refused::Forbidden));
    }

    #[test]
    fn require_token_closes_all_but_what_monitors_probe() {
        let guard = guard(Some("s3cret"), true);
        for path in ["/health", "/health/live", "/health/source/a", "/metrics"] {
            assert_eq!(guard.authorize(&Method::GET, path, None), Ok(()), "{path}");
        }
        for path in ["/", "/events", "/api/v1/sources", "/healthy"] {
            assert_eq!(guard.authorize(&Method::GET, path, None), Err(Refused::Unauthorized), "{path}");
        }
    }
}
