//! Calls over HTTP/1.1: one at a time on a connection.
//!
//! Only as much of the protocol (RFC 9112) as our server's answers need: a
//! status line, header fields, a body of the length that `content-length` says.
//! Anything else is an answer that cannot be read.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bodies up to this size go out in one piece with the header.
const ONE_PIECE_BYTES_MAX: usize = 16 << 10;
/// A header section of an answer is a few hundred bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// The largest answer that is taken.
const BODY_BYTES_MAX: usize = 64 << 20;

pub struct Http1 {
    stream: TcpStream,
    address: String,
    out: Vec<u8>,
    received: BytesMut,
}

impl Http1 {
    pub fn new(stream: TcpStream, address: &str) -> Self {
        Self {
            stream,
            address: address.to_owned(),
            out: Vec::new(),
            received: BytesMut::with_capacity(4 << 10),
        }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Status and body.
    pub async fn call(
        &mut self,
        method: &'static str,
        body: &[u8],
    ) -> Result<(u16, Bytes), String> {
        self.out.clear();
        for part in [
            "POST /",
            super::SERVICE,
            "/",
            method,
            " HTTP/1.1\r\nhost: ",
            &self.address,
            "\r\ncontent-type: application/proto\r\nconnect-protocol-version: 1\r\n",
            super::TIMEOUT_HEADER.0,
            ": ",
            super::TIMEOUT_HEADER.1,
            "\r\ncontent-length: ",
            &body.len().to_string(),
            "\r\n\r\n",
        ] {
            self.out.extend_from_slice(part.as_bytes());
        }
        let in_one_piece = body.len() <= ONE_PIECE_BYTES_MAX;
        if in_one_piece {
            self.out.extend_from_slice(body);
        }
        self.write(if in_one_piece { &[] } else { body })
            .await
            .map_err(|error| error.to_string())?;
        let Head {
            status,
            body_bytes,
            head_bytes,
        } = self.head().await?;
        let whole = head_bytes + body_bytes;
        self.received
            .reserve(whole.saturating_sub(self.received.len()));
        while self.received.len() < whole {
            self.more().await?;
        }
        let answer = self.received.split_to(whole).freeze();
        Ok((status, answer.slice(head_bytes..)))
    }

    async fn write(&mut self, rest: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(&self.out).await?;
        if !rest.is_empty() {
            self.stream.write_all(rest).await?;
        }
        Ok(())
    }

    async fn head(&mut self) -> Result<Head, String> {
        loop {
            if let Some(head) = Head::read(&self.received)? {
                return Ok(head);
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), String> {
        match self.stream.read_buf(&mut self.received).await {
            Ok(0) => Err("the connection was closed".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// What must be known of the beginning of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    head_bytes: usize,
    body_bytes: usize,
}

impl Head {
    /// None: it has not come whole yet.
    fn read(received: &[u8]) -> Result<Option<Self>, String> {
        let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else {
            return match received.len() {
                0..HEAD_BYTES_MAX => Ok(None),
                _ => Err("an answer's header does not end".to_owned()),
            };
        };
        let text = received.get(..end).unwrap_or_default();
        let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix(b"HTTP/1.1 "))
            .and_then(|rest| number(rest.get(..3)?))
            .and_then(|status| u16::try_from(status).ok())
            .ok_or_else(|| "the answer is not HTTP/1.1".to_owned())?;
        let body_bytes = lines
            .filter_map(|line| {
                let colon = line.iter().position(|byte| *byte == b':')?;
                let (name, value) = line.split_at(colon);
                let is_length = name.eq_ignore_ascii_case(b"content-length");
                is_length.then(|| number(value.get(1..)?.trim_ascii()))
            })
            .next()
            .flatten()
            .ok_or_else(|| "the answer does not say how long it is".to_owned())?;
        if body_bytes > BODY_BYTES_MAX {
            return Err(format!("the answer has {body_bytes} bytes"));
        }
        Ok(Some(Self {
            status,
            head_bytes: end + 4,
            body_bytes,
        }))
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_when_they_are_whole() {
        let whole = b"HTTP/1.1 404 Not Found\r\ndate: today\r\nContent-Length:  12\r\n\r\n{}";
        let head = Head {
            status: 404,
            head_bytes: whole.len() - 2,
            body_bytes: 12,
        };
        assert_eq!(Head::read(whole), Ok(Some(head)));
        for length in 0..whole.len() - 2 {
            assert_eq!(Head::read(&whole[..length]), Ok(None), "{length}");
        }
    }

    #[test]
    fn what_is_no_answer_of_ours_is_said() {
        let table: [(&[u8], &str); 4] = [
            (b"SSH-2.0\r\n\r\n", "not HTTP/1.1"),
            (
                b"HTTP/1.1 2x0 OK\r\ncontent-length: 0\r\n\r\n",
                "not HTTP/1.1",
            ),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                "how long",
            ),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
                "99999999999 bytes",
            ),
        ];
        for (bytes, expected) in table {
            let found = Head::read(bytes).unwrap_err();
            assert!(found.contains(expected), "{found}");
        }
        assert!(Head::read(&vec![b'x'; HEAD_BYTES_MAX]).is_err());
    }
}
