//! Page tokens: opaque to callers, plain to us.

use crate::refusal::Refusal;

/// Writes a place as a token.
pub fn token(place: &[u8]) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digits = place.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| char::from(HEX[usize::from(digit)]))
        .collect()
}

/// Reads a token; none: the caller gave none.
///
/// # Errors
/// `PAGE_TOKEN_INVALID`.
pub fn place<const N: usize>(token: &str) -> Result<Option<[u8; N]>, Refusal> {
    if token.is_empty() {
        return Ok(None);
    }
    let invalid = || {
        Refusal::invalid(
            "PAGE_TOKEN_INVALID",
            "a page token is what the page before gave, unchanged",
        )
    };
    let digits = token.as_bytes();
    if digits.len() != 2 * N {
        return Err(invalid());
    }
    let mut place = [0; N];
    for (byte, pair) in place.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let digit = char::from(*digit).to_digit(16).ok_or_else(invalid)?;
            *byte = (*byte << 4) | u8::try_from(digit).map_err(|_| invalid())?;
        }
    }
    Ok(Some(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_and_nothing_else_does() {
        assert_eq!(place(&token(&[0, 255, 16])), Ok(Some([0, 255, 16])));
        assert_eq!(place::<3>(""), Ok(None));
        for bad in ["00", "00ff1g", "00ff10aa", "é0ff1"] {
            assert_eq!(
                place::<3>(bad).unwrap_err().reason(),
                "PAGE_TOKEN_INVALID",
                "{bad}"
            );
        }
    }
}
