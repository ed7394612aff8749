//! Calls over HTTP/2: many share a connection.

use std::collections::HashMap;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;

/// Bodies of a batch go out without waiting for window updates in between.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// A connection; clones share it.
#[derive(Clone)]
pub struct Http2 {
    sender: SendRequest<Full<Bytes>>,
    address: String,
    /// By method: parsing an address costs more than finding it.
    uris: HashMap<&'static str, Uri>,
}

impl Http2 {
    pub async fn new(stream: TcpStream, address: &str) -> Result<Self, String> {
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(STREAM_WINDOW_BYTES as usize)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        // Ends when the last sender is gone; what it ends with, the calls see too.
        drop(tokio::spawn(connection));
        Ok(Self {
            sender,
            address: address.to_owned(),
            uris: HashMap::new(),
        })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Status and body.
    pub async fn call(
        &mut self,
        method: &'static str,
        body: Bytes,
    ) -> Result<(u16, Bytes), String> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri(method)?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/proto"));
        headers.insert("connect-protocol-version", HeaderValue::from_static("1"));
        let (name, value) = super::TIMEOUT_HEADER;
        headers.insert(name, HeaderValue::from_static(value));
        self.sent(request).await.map_err(|error| error.to_string())
    }

    async fn sent(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<(u16, Bytes)> {
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status().as_u16();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }

    fn uri(&mut self, method: &'static str) -> Result<Uri, String> {
        if let Some(uri) = self.uris.get(method) {
            return Ok(uri.clone());
        }
        let uri: Uri = format!("http://{}/{}/{method}", self.address, super::SERVICE)
            .parse()
            .map_err(|error: http::uri::InvalidUri| error.to_string())?;
        self.uris.insert(method, uri.clone());
        Ok(uri)
    }
}
