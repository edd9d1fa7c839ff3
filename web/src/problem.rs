//! Answers that say what went wrong: problem+json (RFC 9457) for programs, a page for browsers.
//!
//! A handler returns a [`Problem`]; how it is shown is decided once, where the answer leaves the hub
//! ([`crate::shield`]), which also adds the trace id.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cathedral_engine::EngineError;
use cathedral_model::ports::{Cause, PortError};

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: StatusCode,
    /// A stable word for programs, for example `needs_role`.
    pub code: &'static str,
    /// One sentence for people, lower case, without a full stop.
    pub detail: String,
    /// What to do next, where there is something.
    pub hint: Option<String>,
    /// Seconds after which the same may work.
    pub retry_after: Option<u64>,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), hint: None, retry_after: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// 404: `what` as in "there is no run 12".
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", what)
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 422: the request is understood, and what it says makes no sense here.
    pub fn invalid(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// 401: nobody is signed in, or the token is not valid. All reasons look the same.
    #[must_use]
    pub fn signed_out() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "signed_out", "sign in, or send a valid token")
    }

    /// 403.
    pub fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// 409: the thing has moved on since it was looked at.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 429 with the time after which a request will be answered again.
    #[must_use]
    pub fn too_many(retry_after: u64) -> Self {
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "too many requests");
        Self { retry_after: Some(retry_after.max(1)), ..problem }
    }

    /// 503 with the time after which it may work.
    pub fn unavailable(code: &'static str, detail: impl Into<String>, retry_after: u64) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        Self { retry_after: Some(retry_after.max(1)), ..problem }
    }

    /// The document of RFC 9457.
    #[must_use]
    pub fn document(&self, trace_id: &str) -> serde_json::Value {
        let mut document = serde_json::json!({
            "type": format!("urn:cathedral:problem:{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
            "trace_id": trace_id,
        });
        if let Some(hint) = &self.hint {
            document["hint"] = hint.as_str().into();
        }
        document
    }
}

impl From<PortError> for Problem {
    fn from(error: PortError) -> Self {
        let message = error.to_string();
        match (&error, error.cause()) {
            (PortError::Fenced(_), _) => Self::unavailable("taken_over", message, 1),
            (PortError::Corrupt(_), _) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "corrupt", message),
            (_, Cause::NotFound) => Self::not_found(message),
            (_, Cause::Denied) => Self::new(StatusCode::BAD_GATEWAY, "denied", message),
            (_, Cause::Unreachable) => Self::new(StatusCode::BAD_GATEWAY, "unreachable", message),
            (_, Cause::Refused) => Self::conflict("refused", message),
            (_, Cause::Busy) => Self::unavailable("busy", message, 1),
            (_, Cause::Full) => Self::new(StatusCode::INSUFFICIENT_STORAGE, "full", message),
            (_, Cause::Invalid) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message),
            (PortError::Transient { .. }, _) => Self::unavailable("not_now", message, 1),
            (_, Cause::Key | Cause::Other) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", message),
        }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Port(error) => error.into(),
            EngineError::Stopped { source, .. } => Self::from(*source),
            // The answer does not fit the conflict as it stands: the sender's to mend, not the hub's fault.
            EngineError::Unfit { conflict, why, is_typed } => {
                let detail = format!("conflict {conflict} cannot be decided like this: {why}; nothing was recorded");
                let problem =
                    if is_typed { Self::bad_request("unfit", detail) } else { Self::conflict("unfit", detail) };
                problem.hint("look at both sides again, then choose another answer")
            }
            EngineError::NoRun(_) => Self::not_found(error.to_string()),
            other => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", other.to_string()),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use cathedral_model::ids::ConflictId;

    use super::*;

    #[test]
    fn an_answer_that_does_not_fit_is_no_fault_of_the_hub() {
        for (is_typed, status) in [(false, StatusCode::CONFLICT), (true, StatusCode::BAD_REQUEST)] {
            let why = "the agreed content was not kept".to_owned();
            let problem = Problem::from(EngineError::Unfit { conflict: ConflictId(2), why, is_typed });
            assert_eq!((problem.status, problem.code), (status, "unfit"));
            assert!(problem.detail.contains("was not kept") && problem.hint.is_some(), "{problem:?}");
        }
    }
}
