//! HTTP/1.1 over a socket, by hand: what an outsider does, and what he does wrong.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

/// Nothing takes longer, or it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection that is kept open between requests.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    address: String,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Of HTTP.
    pub status: u16,
    /// The body as JSON, or as a string where it is none.
    pub body: Value,
}

/// A typed error, as every service gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// "failed_precondition", …
    pub code: String,
    /// SCREAMING_SNAKE.
    pub reason: String,
    /// For a person.
    pub message: String,
    /// Figures and names.
    pub metadata: Value,
    /// Whether the same request may succeed when it is sent again.
    pub retryable: bool,
}

impl Connection {
    /// Connects to `HOST:PORT`.
    pub fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::new(stream),
            address: address.to_owned(),
        })
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// A call with a JSON body.
    pub fn call(&mut self, path: &str, body: &Value) -> io::Result<Answer> {
        self.post(
            path,
            &[("content-type", "application/json")],
            body.to_string().as_bytes(),
        )
    }

    /// A POST with any headers and body.
    pub fn post(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        self.request("POST", path, headers, body)
    }

    /// Any request.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n",
            self.address,
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        self.stream.get_mut().write_all(&request)?;
        self.read_answer()
    }

    /// Reads an answer to its end.
    pub fn read_answer(&mut self) -> io::Result<Answer> {
        let status_line = self.line()?;
        let status = status_line
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| broken(&status_line))?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().map_err(|_| broken(&line))?,
                "transfer-encoding" => chunked = value.trim() == "chunked",
                _ => {}
            }
        }
        let mut body = Vec::new();
        if chunked {
            loop {
                let line = self.line()?;
                let size = usize::from_str_radix(line.trim(), 16).map_err(|_| broken(&line))?;
                let mut chunk = vec![0; size];
                self.stream.read_exact(&mut chunk)?;
                body.extend(chunk);
                self.line()?;
                if size == 0 {
                    break;
                }
            }
        } else {
            body.resize(length, 0);
            self.stream.read_exact(&mut body)?;
        }
        let body =
            serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body)));
        Ok(Answer { status, body })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Answer {
    /// The body of a success; panics with what it was instead.
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{self}");
        self.body
    }

    /// The typed error; panics where it is none.
    pub fn refused(self) -> Refused {
        assert_ne!(self.status, 200, "{self}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let debug = self.body["details"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|detail| text(&detail["type"]).ends_with("rpc.v1.ErrorInfo"))
            .map(|detail| detail["debug"].clone())
            .unwrap_or_else(|| panic!("an error without its reason: {self}"));
        Refused {
            code: text(&self.body["code"]),
            reason: text(&debug["reason"]),
            message: text(&self.body["message"]),
            metadata: debug["metadata"].clone(),
            retryable: debug["retryable"].as_bool().unwrap_or(false),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}: {}", self.status, self.body)
    }
}

fn broken(line: &str) -> io::Error {
    io::Error::other(format!("not HTTP: {line}"))
}
