//! As much of CQL's protocol as an operator needs: simple statements, values as bytes.
//! <https://github.com/apache/cassandra/blob/trunk/doc/native_protocol_v4.spec>

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::options::Credentials;

/// One row, each value as the bytes of its type; `None` is null.
pub type Row = Vec<Option<Vec<u8>>>;

/// Larger frames are not read: nothing that an operator asks for has any.
const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

const ERROR: u8 = 0x00;
const STARTUP: u8 = 0x01;
const READY: u8 = 0x02;
const AUTHENTICATE: u8 = 0x03;
const QUERY: u8 = 0x07;
const RESULT: u8 = 0x08;
const AUTH_RESPONSE: u8 = 0x0F;
const AUTH_SUCCESS: u8 = 0x10;

/// Consistency QUORUM.
const QUORUM: u16 = 0x0004;

/// Why a session or a statement failed.
#[derive(Debug, thiserror::Error)]
pub enum CqlError {
    /// The connection.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The node's own error.
    #[error("{message} (0x{code:04x})")]
    Server {
        /// Section 9 of the protocol.
        code: u32,
        /// Its message.
        message: String,
    },
}

/// A session with one node.
#[derive(Debug)]
pub struct Session {
    stream: TcpStream,
}

impl Session {
    /// Connects, and logs in if the node asks for it.
    ///
    /// # Errors
    /// Nobody listens there, or the node refuses.
    pub fn open(
        address: SocketAddr,
        credentials: Option<&Credentials>,
        patience: Duration,
    ) -> Result<Self, CqlError> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let mut session = Self { stream };
        let mut body = 1_u16.to_be_bytes().to_vec();
        put_string(&mut body, "CQL_VERSION")?;
        put_string(&mut body, "3.0.0")?;
        match session.ask(STARTUP, &body)? {
            (READY, _) => Ok(session),
            (AUTHENTICATE, _) => {
                let (user, password) = credentials
                    .map(|credentials| (credentials.user.as_str(), credentials.password.reveal()))
                    .unwrap_or_default();
                // SASL PLAIN, RFC 4616.
                let token = format!("\0{user}\0{password}");
                let mut body = length(token.len())?.to_be_bytes().to_vec();
                body.extend_from_slice(token.as_bytes());
                match session.ask(AUTH_RESPONSE, &body)? {
                    (AUTH_SUCCESS, _) => Ok(session),
                    _ => Err(odd().into()),
                }
            }
            _ => Err(odd().into()),
        }
    }

    /// Runs a statement at consistency QUORUM; its rows, at most one page.
    ///
    /// # Errors
    /// The node refuses, or is gone.
    pub fn query(&mut self, cql: &str) -> Result<Vec<Row>, CqlError> {
        let mut body = length(cql.len())?.to_be_bytes().to_vec();
        body.extend_from_slice(cql.as_bytes());
        body.extend_from_slice(&QUORUM.to_be_bytes());
        body.push(0);
        match self.ask(QUERY, &body)? {
            (RESULT, body) => Ok(rows(&body).ok_or_else(odd)?),
            _ => Err(odd().into()),
        }
    }

    fn ask(&mut self, opcode: u8, body: &[u8]) -> Result<(u8, Vec<u8>), CqlError> {
        // Version 4 of a request, no flags, stream 0.
        let mut frame = vec![0x04, 0, 0, 0, opcode];
        frame.extend_from_slice(&length(body.len())?.to_be_bytes());
        frame.extend_from_slice(body);
        self.stream.write_all(&frame)?;
        let mut head = [0; 9];
        self.stream.read_exact(&mut head)?;
        let [_, flags, _, _, opcode, size @ ..] = head;
        let size = usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX);
        if size > FRAME_BYTES_MAX {
            return Err(odd().into());
        }
        let mut body = vec![0; size];
        self.stream.read_exact(&mut body)?;
        let body = after_warnings(flags, &body).ok_or_else(odd)?;
        if opcode == ERROR {
            let mut reader = Reader(body);
            let code = reader.int().ok_or_else(odd)?;
            let message = reader.string().ok_or_else(odd)?;
            return Err(CqlError::Server { code, message });
        }
        Ok((opcode, body.to_vec()))
    }
}

fn odd() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an answer that makes no sense")
}

fn length(length: usize) -> io::Result<u32> {
    u32::try_from(length).map_err(io::Error::other)
}

fn put_string(body: &mut Vec<u8>, text: &str) -> io::Result<()> {
    let length = u16::try_from(text.len()).map_err(io::Error::other)?;
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(text.as_bytes());
    Ok(())
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn int(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn string(&mut self) -> Option<String> {
        let length = self.short()?;
        Some(String::from_utf8_lossy(self.take(length.into())?).into_owned())
    }

    /// A length below zero is null.
    fn bytes(&mut self) -> Option<Option<Vec<u8>>> {
        let length = self.int()?;
        if i32::from_be_bytes(length.to_be_bytes()) < 0 {
            return Some(None);
        }
        Some(Some(self.take(usize::try_from(length).ok()?)?.to_vec()))
    }

    /// The type of a column, which is passed over. A type in a type in a type … ends:
    /// each takes two bytes of what is there.
    fn pass_type(&mut self) -> Option<()> {
        match self.short()? {
            0x00 => {
                self.string()?;
            }
            0x20 | 0x22 => self.pass_type()?,
            0x21 => {
                self.pass_type()?;
                self.pass_type()?;
            }
            0x30 => {
                self.string()?;
                self.string()?;
                for _ in 0..self.short()? {
                    self.string()?;
                    self.pass_type()?;
                }
            }
            0x31 => {
                for _ in 0..self.short()? {
                    self.pass_type()?;
                }
            }
            _ => {}
        }
        Some(())
    }
}

/// What follows the list of warnings that stands before an answer, if flag 0x08 says
/// that there is one (section 2.2). The other flags are for what was asked for.
fn after_warnings(flags: u8, body: &[u8]) -> Option<&[u8]> {
    if flags & 0x08 == 0 {
        return Some(body);
    }
    let mut reader = Reader(body);
    for _ in 0..reader.short()? {
        reader.string()?;
    }
    Some(reader.0)
}

/// Section 4.2.5 of the protocol: only kind 2 has rows.
fn rows(body: &[u8]) -> Option<Vec<Row>> {
    let mut reader = Reader(body);
    if reader.int()? != 2 {
        return Some(Vec::new());
    }
    let flags = reader.int()?;
    let columns = reader.int()?;
    if flags & 0x02 != 0 {
        reader.bytes()?;
    }
    if flags & 0x04 == 0 {
        let one_table = flags & 0x01 != 0;
        if one_table {
            reader.string()?;
            reader.string()?;
        }
        for _ in 0..columns {
            if !one_table {
                reader.string()?;
                reader.string()?;
            }
            reader.string()?;
            reader.pass_type()?;
        }
    }
    (0..reader.int()?)
        .map(|_| (0..columns).map(|_| reader.bytes()).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What 5.0.9 answered to `SELECT key, tokens FROM system.local`, tokens shortened
    /// to two: kind 2, one table, two columns, a text and a set of texts.
    fn answer() -> Vec<u8> {
        let mut body = Vec::new();
        for int in [2_u32, 1, 2] {
            body.extend_from_slice(&int.to_be_bytes());
        }
        for text in ["system", "local", "key"] {
            put_string(&mut body, text).unwrap();
        }
        body.extend_from_slice(&[0, 0x0D]);
        put_string(&mut body, "tokens").unwrap();
        body.extend_from_slice(&[0, 0x22, 0, 0x0D]);
        body.extend_from_slice(&1_u32.to_be_bytes());
        body.extend_from_slice(&[0, 0, 0, 5]);
        body.extend_from_slice(b"local");
        body.extend_from_slice(&[255, 255, 255, 255]);
        body
    }

    #[test]
    fn rows_are_read_and_cut_ones_are_not() {
        let body = answer();
        assert_eq!(rows(&body), Some(vec![vec![Some(b"local".to_vec()), None]]));
        for length in 0..body.len() {
            assert_eq!(rows(&body[..length]), None, "{length}");
        }
        let mut warned = vec![0, 1];
        put_string(&mut warned, "Aggregation query used without partition key").unwrap();
        warned.extend_from_slice(&body);
        assert_eq!(after_warnings(0x08, &warned), Some(body.as_slice()));
        assert_eq!(after_warnings(0, &body), Some(body.as_slice()));
        // Void.
        assert_eq!(rows(&[0, 0, 0, 1]), Some(Vec::new()));
    }
}
