//! W3C trace context: which larger piece of work something belongs to.
//!
//! Source of the rules: W3C Recommendation "Trace Context" (level 1), section 3.2.

use std::fmt;
use std::future::Future;

/// A position in a trace, as in the `traceparent` header. It is `Copy` and made of
/// numbers, so that passing it on costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The whole piece of work; never zero.
    pub trace_id: u128,
    /// This step of it; never zero.
    pub span_id: u64,
    /// Whether someone up the line records this trace.
    pub sampled: bool,
}

impl TraceContext {
    /// Starts a trace. `random` gives 64 random bits a call.
    pub fn new(mut random: impl FnMut() -> u64) -> Self {
        let high = random();
        let low = random();
        Self {
            // Zero is not a valid id; one in 2^128 is made valid rather than drawn again.
            trace_id: (u128::from(high) << 64 | u128::from(low)).max(1),
            span_id: random().max(1),
            sampled: false,
        }
    }

    /// The next step of the same trace.
    #[must_use]
    pub fn child(self, span_id: u64) -> Self {
        Self {
            span_id: span_id.max(1),
            ..self
        }
    }

    /// Reads a `traceparent` header. `None` if it is not valid: the specification
    /// wants a new trace started then.
    pub fn parse(header: &[u8]) -> Option<Self> {
        // version "-" trace-id "-" parent-id "-" flags; later versions may append fields.
        if header.len() < 55 || header[2] != b'-' || header[35] != b'-' || header[52] != b'-' {
            return None;
        }
        let version = hex(&header[0..2])?;
        if version == 0xff || (version == 0 && header.len() != 55) {
            return None;
        }
        if version != 0 && header.len() > 55 && header[55] != b'-' {
            return None;
        }
        let trace_id = hex(&header[3..35])?;
        let span_id = u64::try_from(hex(&header[36..52])?).ok()?;
        let flags = hex(&header[53..55])?;
        if trace_id == 0 || span_id == 0 {
            return None;
        }
        Some(Self {
            trace_id,
            span_id,
            sampled: flags & 1 == 1,
        })
    }

    /// The `traceparent` header: 55 ASCII bytes.
    pub fn header(&self) -> [u8; 55] {
        let mut out = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&mut out[3..35], self.trace_id);
        write_hex(&mut out[36..52], u128::from(self.span_id));
        out[54] = if self.sampled { b'1' } else { b'0' };
        out
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.trace_id)
    }
}

/// Lower-case hexadecimal only, as the specification demands.
fn hex(digits: &[u8]) -> Option<u128> {
    let mut value = 0u128;
    for &digit in digits {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        value = value << 4 | u128::from(nibble);
    }
    Some(value)
}

fn write_hex(out: &mut [u8], mut value: u128) {
    for place in out.iter_mut().rev() {
        *place = b"0123456789abcdef"[(value & 0xf) as usize];
        value >>= 4;
    }
}

tokio::task_local! {
    static CURRENT: TraceContext;
}

/// The trace that the running task works for, if any.
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|context| *context).ok()
}

/// Runs a future as part of a trace.
pub fn scope<F: Future>(context: TraceContext, future: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(context, future)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_read_is_written_again() {
        let context = TraceContext::parse(HEADER).unwrap();
        assert_eq!(context.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(context.span_id, 0x00f0_67aa_0ba9_02b7);
        assert!(context.sampled);
        assert_eq!(context.header(), HEADER);
    }

    #[test]
    fn headers_outside_the_specification_are_not_read() {
        for bad in [
            &b""[..],
            b"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            b"00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{}", bad.escape_ascii());
        }
        let later = b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more";
        assert!(TraceContext::parse(later).is_some_and(|context| !context.sampled));
    }

    #[tokio::test]
    async fn a_task_knows_its_trace() {
        assert_eq!(current(), None);
        let context = TraceContext::parse(HEADER).unwrap();
        let seen = scope(context, async { current() }).await;
        assert_eq!(seen, Some(context));
    }
}
