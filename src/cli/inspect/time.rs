//! Seconds since 1970 as people read them.

use jiff::SignedDuration;
use jiff::civil::date;

/// `2027-11-25T04:10:44Z`. Certificates say 9999-12-31T23:59:59Z for "never".
pub(super) fn instant(seconds: i64) -> String {
    let begin = date(1970, 1, 1).at(0, 0, 0, 0);
    match begin.checked_add(SignedDuration::from_secs(seconds)) {
        Ok(time) => format!("{}Z", time.strftime("%Y-%m-%dT%H:%M:%S")),
        Err(_) => format!("{seconds} s after 1970"),
    }
}

#[cfg(test)]
mod tests {
    use super::instant;

    #[test]
    fn every_time_of_a_certificate_can_be_written() {
        assert_eq!(instant(0), "1970-01-01T00:00:00Z");
        assert_eq!(instant(253_402_300_799), "9999-12-31T23:59:59Z");
        assert_eq!(instant(-631_152_000), "1950-01-01T00:00:00Z");
        assert_eq!(instant(i64::MAX), "9223372036854775807 s after 1970");
    }
}
