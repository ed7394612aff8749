//! Moments, as people write them and read them.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// The moment that a report is as of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// When the report is made.
    Now,
    /// Microseconds since the Unix epoch.
    Moment(i64),
}

/// What a day without a time stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DayEnd {
    /// Its first moment.
    First,
    /// Its last microsecond.
    Last,
}

/// Reads what a report is as of: a moment, the end of a day, or `now`.
///
/// # Errors
/// Says how to write it.
pub fn as_of(text: &str) -> Result<AsOf, String> {
    match text {
        "now" => Ok(AsOf::Now),
        text => moment(text, DayEnd::Last).map(AsOf::Moment),
    }
}

/// Reads a moment, or the beginning of a day.
///
/// # Errors
/// Says how to write it.
pub fn booked(text: &str) -> Result<i64, String> {
    moment(text, DayEnd::First)
}

/// Reads a time: RFC 3339, the same without a zone (UTC), or a day. Microseconds since the epoch.
fn moment(text: &str, day_end: DayEnd) -> Result<i64, String> {
    let utc = |time: DateTime| {
        time.to_zoned(TimeZone::UTC)
            .map(|zoned| zoned.timestamp().as_microsecond())
    };
    let wrong = |_| {
        "that is not a time: write it as 2026-01-31T12:00:00Z, or as a day: 2026-01-31".to_owned()
    };
    if let Ok(day) = text.parse::<Date>()
        && text.len() == "2026-01-31".len()
    {
        let time = match day_end {
            DayEnd::First => day.to_datetime(jiff::civil::Time::midnight()),
            DayEnd::Last => day.at(23, 59, 59, 999_999_000),
        };
        return utc(time).map_err(wrong);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_microsecond());
    }
    text.parse::<DateTime>().and_then(utc).map_err(wrong)
}

/// 2026-01-31 12:00:00.123456, UTC.
pub fn text(us: i64) -> String {
    match Timestamp::from_microsecond(us) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string(),
        Err(_) => format!("{us} µs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let table = [
            ("1970-01-01T00:00:01Z", 1_000_000),
            ("1970-01-01T01:00:01+01:00", 1_000_000),
            ("1970-01-01T00:00:01", 1_000_000),
            ("1970-01-01 00:00:01.5", 1_500_000),
        ];
        for (text, us) in table {
            assert_eq!(moment(text, DayEnd::Last).unwrap(), us, "{text}");
        }
        assert_eq!(moment("1970-01-02", DayEnd::First).unwrap(), 86_400_000_000);
        assert_eq!(moment("1970-01-01", DayEnd::Last).unwrap(), 86_399_999_999);
        assert!(moment("yesterday", DayEnd::First).is_err());
    }
}
