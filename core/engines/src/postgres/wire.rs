//! As much of PostgreSQL's protocol as an operator needs: a session of the superuser
//! over the Unix socket, simple queries, values as text.
//! <https://www.postgresql.org/docs/current/protocol.html>, version 3.0.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// One row, each value as text; `None` is NULL.
pub type Row = Vec<Option<String>>;

/// Larger messages are not read: nothing that an operator asks for has any.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why a session or a query failed.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The connection.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server's own error.
    #[error("{message} ({code})")]
    Server {
        /// SQLSTATE.
        code: String,
        /// Its message.
        message: String,
    },
}

/// A session.
#[derive(Debug)]
pub struct Session {
    stream: UnixStream,
}

impl Session {
    /// Connects without a password: the server trusts whoever reaches its socket.
    ///
    /// # Errors
    /// Nobody listens there, or not yet.
    pub fn open(
        socket: &Path,
        user: &str,
        database: &str,
        patience: Duration,
    ) -> Result<Self, WireError> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let mut session = Self { stream };
        // Protocol version 3.0.
        let mut body = 196_608_i32.to_be_bytes().to_vec();
        for word in ["user", user, "database", database] {
            body.extend_from_slice(word.as_bytes());
            body.push(0);
        }
        body.push(0);
        session.send(None, &body)?;
        session.answer()?;
        Ok(session)
    }

    /// Runs statements; the rows of all of them.
    ///
    /// # Errors
    /// The server refuses, or is gone.
    pub fn query(&mut self, sql: &str) -> Result<Vec<Row>, WireError> {
        let mut body = sql.as_bytes().to_vec();
        body.push(0);
        self.send(Some(b'Q'), &body)?;
        self.answer()
    }

    fn send(&mut self, kind: Option<u8>, body: &[u8]) -> io::Result<()> {
        let length = i32::try_from(body.len() + 4)
            .map_err(|_| io::Error::other("a statement of more than 2 GiB"))?;
        let mut message: Vec<u8> = kind.into_iter().collect();
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(body);
        self.stream.write_all(&message)
    }

    /// Reads up to ReadyForQuery.
    fn answer(&mut self) -> Result<Vec<Row>, WireError> {
        let mut rows = Vec::new();
        let mut refused = None;
        loop {
            let (kind, body) = match self.message() {
                Ok(message) => message,
                // A fatal error is the last that is heard of a session.
                Err(error) => return Err(refused.unwrap_or(WireError::Io(error))),
            };
            match kind {
                b'Z' => return refused.map_or(Ok(rows), Err),
                b'E' => refused = Some(error(&body)),
                b'D' => rows.push(row(&body).ok_or_else(cut)?),
                // Authentication: anything but Ok would ask for a password.
                b'R' if body != [0, 0, 0, 0] => {
                    return Err(io::Error::other("it asks for a password on its own socket").into());
                }
                // Parameters, notices, descriptions, and the ends of statements.
                _ => {}
            }
        }
    }

    fn message(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = usize::try_from(i32::from_be_bytes(length))
            .ok()
            .and_then(|length| length.checked_sub(4))
            .filter(|length| *length <= MESSAGE_BYTES_MAX)
            .ok_or_else(cut)?;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((kind, body))
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message that makes no sense")
}

/// ErrorResponse: fields of a letter and a text; C is the SQLSTATE, M the message.
fn error(body: &[u8]) -> WireError {
    let field = |letter: u8| {
        body.split(|byte| *byte == 0)
            .find(|field| field.first() == Some(&letter))
            .map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
            .unwrap_or_default()
    };
    WireError::Server {
        code: field(b'C'),
        message: field(b'M'),
    }
}

/// DataRow: how many values, and each with its length, -1 for NULL.
fn row(body: &[u8]) -> Option<Row> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut values = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = i32::from_be_bytes(*length);
        if length < 0 {
            values.push(None);
            rest = after;
            continue;
        }
        let (value, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
        values.push(Some(String::from_utf8_lossy(value).into_owned()));
        rest = after;
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_and_a_cut_one_is_not() {
        let body = [&[0, 2, 0, 0, 0, 1][..], b"1", &[255, 255, 255, 255]].concat();
        assert_eq!(row(&body), Some(vec![Some("1".to_owned()), None]));
        for length in 0..body.len() {
            assert_eq!(row(&body[..length]), None, "{length}");
        }
    }

    #[test]
    fn an_error_keeps_its_code_and_message() {
        let WireError::Server { code, message } =
            error(b"SFATAL\0C57P03\0Mthe database system is starting up\0\0")
        else {
            panic!("not the server's")
        };
        assert_eq!(code, "57P03");
        assert_eq!(message, "the database system is starting up");
    }
}
