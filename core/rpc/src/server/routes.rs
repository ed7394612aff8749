//! Plain HTTP for operators and tools, beside the calls.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use lombard_contracts::DESCRIPTOR_SET;
use lombard_telemetry::{CONTENT_TYPE, Registry, encode};

use super::metrics::ServerMetrics;

/// Says whether a service can do its work now; if not, what it waits for.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What the routes answer from.
pub(super) struct Routes {
    pub service: &'static str,
    pub methods: Vec<String>,
    pub readiness: Readiness,
    pub registries: Vec<Registry>,
    pub metrics: Arc<ServerMetrics>,
}

impl Routes {
    /// The answer, if the path is one of ours. Calls all have a `/` in the middle.
    pub(super) fn answer(
        &self,
        method: &Method,
        path: &str,
        draining: bool,
    ) -> Option<Response<Full<Bytes>>> {
        if method != Method::GET && method != Method::HEAD {
            return None;
        }
        match path {
            "/" => Some(text(StatusCode::OK, self.index())),
            "/health" => Some(text(StatusCode::OK, "ok\n".to_owned())),
            "/ready" => Some(self.ready(draining)),
            "/metrics" => Some(self.metrics()),
            "/descriptor.bin" => Some(respond(
                StatusCode::OK,
                "application/x-protobuf",
                Bytes::from_static(DESCRIPTOR_SET),
            )),
            _ => None,
        }
    }

    fn ready(&self, draining: bool) -> Response<Full<Bytes>> {
        let waiting = if draining {
            Err("draining".to_owned())
        } else {
            (self.readiness)()
        };
        match waiting {
            Ok(()) => text(StatusCode::OK, "ready\n".to_owned()),
            Err(what) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{what}\n")),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        self.metrics.refresh();
        let registries: Vec<&Registry> = self.registries.iter().collect();
        respond(StatusCode::OK, CONTENT_TYPE, encode(&registries).into())
    }

    fn index(&self) -> String {
        let mut page = format!(
            "Lombard, service {}.\n\n\
             GET /health          whether the process lives\n\
             GET /ready           whether it can work\n\
             GET /metrics         for Prometheus\n\
             GET /descriptor.bin  the contracts, as a FileDescriptorSet\n\n\
             Calls: POST with content-type application/json.\n",
            self.service
        );
        for method in &self.methods {
            let _ = writeln!(page, "  /{method}");
        }
        page
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", body.into())
}

fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static(content_type),
    );
    response
}
